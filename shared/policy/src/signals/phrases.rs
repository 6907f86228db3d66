//! Phrases with alternatives and gaps, searched for in one pass.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use contracts::facts::TextSignal;

use super::fold;

pub static PHRASES: LazyLock<Phrases> =
    LazyLock::new(|| Phrases::parse(include_str!("../../data/phrases.txt")));

/// The words that `..` stands for, at most.
const GAP_WORDS: usize = 3;

pub struct Phrases {
    all: Vec<Phrase>,
    /// Where each word stands in phrases.
    exact: BTreeMap<String, Vec<Place>>,
    /// The same for beginnings of words.
    beginnings: BTreeMap<String, Vec<Place>>,
    /// Of the longest beginning.
    beginning_chars_max: usize,
    vocabulary: BTreeSet<String>,
    /// Of all phrases together.
    parts: usize,
}

struct Phrase {
    signal: TextSignal,
    parts: Vec<Part>,
    /// How many parts the phrases before it have.
    parts_before: usize,
}

#[derive(Default)]
struct Part {
    words: Vec<Word>,
    /// The most words between this part and the one before.
    gap: usize,
    unless_next: Vec<Word>,
}

#[derive(Clone, Copy)]
struct Place {
    phrase: usize,
    part: usize,
}

enum Word {
    Exact(String),
    Beginning(String),
}

impl Phrases {
    fn parse(data: &str) -> Self {
        let mut signal = None;
        let (mut phrases, mut parts_before) = (Vec::new(), 0);
        for line in data.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[') {
                signal = signal_named(name.trim_end_matches(']'));
            } else if let Some(signal) = signal {
                let parts = parts(line);
                let further = parts.len();
                phrases.push(Phrase {
                    signal,
                    parts,
                    parts_before,
                });
                parts_before += further;
            }
        }
        Self::index(phrases)
    }

    fn index(phrases: Vec<Phrase>) -> Self {
        let mut exact: BTreeMap<String, Vec<Place>> = BTreeMap::new();
        let mut beginnings: BTreeMap<String, Vec<Place>> = BTreeMap::new();
        for (phrase, Phrase { parts, .. }) in phrases.iter().enumerate() {
            for (part, Part { words, .. }) in parts.iter().enumerate() {
                for word in words {
                    let (index, word) = match word {
                        Word::Exact(word) => (&mut exact, word),
                        Word::Beginning(word) => (&mut beginnings, word),
                    };
                    let places = index.entry(word.clone()).or_default();
                    places.push(Place { phrase, part });
                }
            }
        }
        let vocabulary = exact.keys().chain(beginnings.keys()).cloned().collect();
        let beginning_chars = beginnings.keys().map(|it| it.chars().count());
        Self {
            beginning_chars_max: beginning_chars.max().unwrap_or(0),
            parts: phrases.iter().map(|phrase| phrase.parts.len()).sum(),
            all: phrases,
            exact,
            beginnings,
            vocabulary,
        }
    }

    pub fn vocabulary(&self) -> &BTreeSet<String> {
        &self.vocabulary
    }

    /// Linear in the words: of each part of each phrase only the latest place is kept, since
    /// whatever may follow an earlier one may follow the latest one too.
    pub fn search(&self, words: &[String]) -> BTreeSet<TextSignal> {
        let mut found = BTreeSet::new();
        let mut latest: Vec<Option<usize>> = vec![None; self.parts];
        for (at, word) in words.iter().enumerate() {
            let mut places = self.places(word);
            // The later part first: one word is not two parts of a phrase.
            places.sort_by_key(|place| (place.phrase, std::cmp::Reverse(place.part)));
            for place in places {
                let Some(phrase) = self.all.get(place.phrase) else {
                    continue;
                };
                let Some(part) = phrase.parts.get(place.part) else {
                    continue;
                };
                let reached = phrase.parts_before..phrase.parts_before + phrase.parts.len();
                let Some(reached) = latest.get_mut(reached) else {
                    continue;
                };
                let follows = match place.part.checked_sub(1) {
                    None => true,
                    Some(before) => reached
                        .get(before)
                        .copied()
                        .flatten()
                        .is_some_and(|before| at - before <= part.gap + 1),
                };
                let vetoed = words
                    .get(at + 1)
                    .is_some_and(|next| part.unless_next.iter().any(|word| word.is(next)));
                if !follows || vetoed {
                    continue;
                }
                if place.part + 1 == phrase.parts.len() {
                    found.insert(phrase.signal);
                }
                if let Some(reached) = reached.get_mut(place.part) {
                    *reached = Some(at);
                }
            }
        }
        found
    }

    fn places(&self, word: &str) -> Vec<Place> {
        let mut places = self.exact.get(word).cloned().unwrap_or_default();
        for (end, c) in word.char_indices().take(self.beginning_chars_max) {
            let beginning = word.get(..end + c.len_utf8()).unwrap_or_default();
            if let Some(more) = self.beginnings.get(beginning) {
                places.extend(more);
            }
        }
        places
    }

    /// Each phrase with the first of its alternatives, and nothing in its gaps.
    pub fn examples(&self) -> Vec<(TextSignal, String)> {
        self.all
            .iter()
            .map(|phrase| {
                let words: Vec<&str> = phrase
                    .parts
                    .iter()
                    .filter_map(|part| part.words.first().map(Word::text))
                    .collect();
                (phrase.signal, words.join(" "))
            })
            .collect()
    }
}

impl Word {
    /// A word that folds to several, such as one in another script, is taken as a whole.
    fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(beginning) => Self::Beginning(fold::plain(beginning).concat()),
            None => Self::Exact(fold::plain(text).concat()),
        }
    }

    fn is(&self, word: &str) -> bool {
        match self {
            Self::Exact(exact) => word == exact,
            Self::Beginning(beginning) => word.starts_with(beginning.as_str()),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Beginning(text) => text,
        }
    }
}

fn parts(line: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut gap = 0;
    for token in line.split_whitespace() {
        if let Some(words) = token.strip_prefix("..") {
            gap = words.parse().unwrap_or(GAP_WORDS);
        } else if let Some(words) = token.strip_prefix('!') {
            if let Some(part) = parts.last_mut() {
                part.unless_next = words.split('|').map(Word::parse).collect();
            }
        } else {
            parts.push(Part {
                words: token.split('|').map(Word::parse).collect(),
                gap,
                unless_next: Vec::new(),
            });
            gap = 0;
        }
    }
    parts
}

fn signal_named(name: &str) -> Option<TextSignal> {
    match name {
        "instruction_override" => Some(TextSignal::InstructionOverride),
        "secret_request" => Some(TextSignal::SecretRequest),
        "control_bypass" => Some(TextSignal::ControlBypass),
        _ => None,
    }
}
