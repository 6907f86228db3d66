//! The order of keys: that of JavaScript's `localeCompare` in the root locale, which is the root
//! collation of CLDR, as far as all who sort by it agree.
//!
//! They do not agree on ideographs. Builds of ICU carry either of two orders for them (by radical
//! and stroke, as Node.js does, or by code point), and the first changes with the Unicode version.
//! And some keys compare as equal, so that they stay as whoever signed them happened to insert
//! them. Keys whose order depends on that are [`Unsettled`].

use std::{cmp::Ordering, fmt, sync::LazyLock};

use icu_collator::{
    Collator, CollatorBorrowed, CollatorPreferences,
    options::{CollatorOptions, Strength},
};
use unicode_normalization::UnicodeNormalization as _;

/// Why nobody can know in which order two keys were signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsettled {
    Equal,
    Ideographs,
}

impl fmt::Display for Unsettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "sort as equal, so they have no order to be signed in",
            Self::Ideographs => {
                "differ first in an ideograph, and implementations do not agree on the order of those"
            }
        })
    }
}

/// The order of two different keys in an object.
pub fn compare(left: &str, right: &str) -> Result<Ordering, Unsettled> {
    if array_index(left).is_some() || array_index(right).is_some() {
        return Ok(total(left, right));
    }
    if ideographs_decide(left, right) {
        return Err(Unsettled::Ideographs);
    }
    let order = collated(left, right);
    if order.is_eq() && left != right {
        return Err(Unsettled::Equal);
    }
    Ok(order)
}

/// An order of all keys that agrees with [`compare`] wherever that has an answer.
pub(super) fn total(left: &str, right: &str) -> Ordering {
    // JavaScript lists keys that are array indices first and by number, whatever the order of
    // their insertion; only the others keep the order they were sorted into.
    match (array_index(left), array_index(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => collated(left, right).then_with(|| left.cmp(right)),
    }
}

/// The largest array index of ECMAScript: 2³² − 2.
const ARRAY_INDEX_MAX: u32 = u32::MAX - 1;

fn array_index(key: &str) -> Option<u32> {
    let index: u32 = key.parse().ok()?;
    (index <= ARRAY_INDEX_MAX && index.to_string() == key).then_some(index)
}

/// Without a table: the digests that plans are pinned to must not move with a Unicode version, and
/// nearly all keys are of these characters.
fn collated(left: &str, right: &str) -> Ordering {
    if is_printable_ascii(left) && is_printable_ascii(right) {
        return collated_ascii(left, right);
    }
    WHOLE
        .as_ref()
        .map_or(Ordering::Equal, |collator| collator.compare(left, right))
}

/// The root collation; none where its data were left out of the build, and then no order is
/// settled.
static WHOLE: LazyLock<Option<CollatorBorrowed<'static>>> =
    LazyLock::new(|| collator(Strength::Tertiary));

/// The same, without regard to accents and case.
static LETTERS: LazyLock<Option<CollatorBorrowed<'static>>> =
    LazyLock::new(|| collator(Strength::Primary));

fn collator(strength: Strength) -> Option<CollatorBorrowed<'static>> {
    let mut options = CollatorOptions::default();
    options.strength = Some(strength);
    Collator::try_new(CollatorPreferences::default(), options).ok()
}

fn is_printable_ascii(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The order of the printable ASCII characters in the root collation of CLDR, letters once.
const ROOT_ORDER: &[u8; 69] =
    b" _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz";

/// First by character without regard to case, over the whole length, then lower case before upper
/// case at the first difference.
fn collated_ascii(left: &str, right: &str) -> Ordering {
    let primary = |text: &str| -> Vec<usize> { text.bytes().map(weight).collect() };
    primary(left).cmp(&primary(right)).then_with(|| {
        let upper = |byte: u8| byte.is_ascii_uppercase();
        left.bytes().map(upper).cmp(right.bytes().map(upper))
    })
}

fn weight(byte: u8) -> usize {
    let byte = byte.to_ascii_lowercase();
    ROOT_ORDER
        .iter()
        .position(|known| *known == byte)
        .unwrap_or(usize::MAX)
}

/// Whether the first letters that differ are ideographs in both. Accents and case count only
/// where all letters are the same.
fn ideographs_decide(left: &str, right: &str) -> bool {
    if left.is_ascii() || right.is_ascii() {
        return false;
    }
    let (left, right): (String, String) = (left.nfkd().collect(), right.nfkd().collect());
    let (mut left, mut right) = (left.as_str(), right.as_str());
    while let (Some((before, ideograph, rest)), Some((other_before, other, other_rest))) =
        (at_ideograph(left), at_ideograph(right))
    {
        let same = LETTERS
            .as_ref()
            .is_none_or(|letters| letters.compare(before, other_before).is_eq());
        if !same {
            return false;
        }
        if ideograph != other {
            return true;
        }
        (left, right) = (rest, other_rest);
    }
    false
}

fn at_ideograph(text: &str) -> Option<(&str, char, &str)> {
    let (at, ideograph) = text.char_indices().find(|(_, c)| is_ideograph(*c))?;
    let (before, rest) = text.split_at(at);
    Some((before, ideograph, rest.get(ideograph.len_utf8()..)?))
}

/// Of a text in NFKD: the Han script, with its radicals and numerals.
fn is_ideograph(c: char) -> bool {
    matches!(
        c,
        '\u{2E80}'..='\u{2FDF}'
            | '\u{3005}'..='\u{3007}'
            | '\u{3021}'..='\u{3029}'
            | '\u{3038}'..='\u{303B}'
            | '\u{3400}'..='\u{4DBF}'
            | '\u{4E00}'..='\u{9FFF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{16FF0}'..='\u{16FFF}'
            | '\u{20000}'..='\u{3FFFF}'
    )
}
