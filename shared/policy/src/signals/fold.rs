//! Texts as plain words.

use std::{collections::BTreeSet, sync::LazyLock};

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};
use unicode_security::skeleton;

/// Longer words are cut: no phrase is that long, and a hostile text has no word boundaries.
const WORD_CHARS_MAX: usize = 256;

/// From this many characters on, a word that is in no phrase may be several run together.
const RUN_CHARS_MIN: usize = 12;

/// Letters in a row, each a word of its own, that are taken for a word spaced out.
const SPACED_LETTERS_MIN: usize = 5;

/// The words of `text`, folded; those run together or spaced out are parted by `vocabulary`.
pub fn words(text: &str, vocabulary: &BTreeSet<String>) -> Vec<String> {
    let mut words = Vec::new();
    let mut letters = String::new();
    for word in plain(text) {
        if word.chars().count() == 1 {
            letters.push_str(&word);
            continue;
        }
        end_of_letters(&mut letters, vocabulary, &mut words);
        if could_be_a_run(&word, vocabulary) {
            part(&word, vocabulary, &mut words);
        } else {
            words.push(word);
        }
    }
    end_of_letters(&mut letters, vocabulary, &mut words);
    words
}

/// The words of a text without parting any.
pub fn plain(text: &str) -> Vec<String> {
    let folded = if text.is_ascii() {
        let folded = text.bytes().map(|byte| ASCII.get(usize::from(byte)));
        folded.flatten().map(String::as_str).collect()
    } else {
        folded(text)
    };
    folded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(WORD_CHARS_MAX).collect())
        .collect()
}

/// What each folds to: nothing that is ASCII depends on what stands beside it, and most texts are
/// nothing else.
static ASCII: LazyLock<Vec<String>> = LazyLock::new(|| {
    let all = (0..128u8).map(char::from);
    all.map(|c| folded(c.encode_utf8(&mut [0; 4]))).collect()
});

fn folded(text: &str) -> String {
    let visible: String = text
        .nfkc()
        .filter(|c| !is_invisible(*c))
        // These part words, but look like letters or nothing at all to the skeleton.
        .map(|c| if matches!(c, '|' | '"') { ' ' } else { c })
        .flat_map(char::to_lowercase)
        .collect();
    let bare: String = visible.nfkd().filter(|c| !is_combining_mark(*c)).collect();
    skeleton(&bare)
        .flat_map(char::to_lowercase)
        .filter(|c| !matches!(c, '\'' | '`' | '\u{2019}') && !is_combining_mark(*c))
        .map(leetspeak)
        .collect()
}

/// Characters that leave no mark on the page.
pub fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

fn leetspeak(c: char) -> char {
    match c {
        // The skeleton of `1` is `l`, so `i` and `l` become one.
        'l' | '1' => 'i',
        '0' => 'o',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

fn could_be_a_run(word: &str, vocabulary: &BTreeSet<String>) -> bool {
    !vocabulary.contains(word) && (word.chars().count() >= RUN_CHARS_MIN || !word.is_ascii())
}

fn end_of_letters(letters: &mut String, vocabulary: &BTreeSet<String>, words: &mut Vec<String>) {
    if letters.chars().count() >= SPACED_LETTERS_MIN {
        part(letters, vocabulary, words);
    } else {
        words.extend(letters.chars().map(String::from));
    }
    letters.clear();
}

/// Parts a run at each word of the vocabulary, longest first; what lies between is one word.
fn part(run: &str, vocabulary: &BTreeSet<String>, words: &mut Vec<String>) {
    let mut between = String::new();
    let mut rest = run;
    while let Some(first) = rest.chars().next() {
        if let Some(word) = longest_at_start(rest, vocabulary) {
            if !between.is_empty() {
                words.push(std::mem::take(&mut between));
            }
            words.push(word.to_owned());
            rest = rest.get(word.len()..).unwrap_or_default();
        } else {
            between.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    if !between.is_empty() {
        words.push(between);
    }
}

fn longest_at_start<'a>(text: &str, vocabulary: &'a BTreeSet<String>) -> Option<&'a str> {
    const WORD_CHARS_LONGEST: usize = 24;
    let ends: Vec<usize> = text
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .take(WORD_CHARS_LONGEST)
        .collect();
    ends.into_iter()
        .rev()
        .filter_map(|end| vocabulary.get(text.get(..end)?))
        .map(String::as_str)
        // Shorter ones, such as `is`, stand in the middle of too many words.
        .find(|word| word.len() >= 3)
}
