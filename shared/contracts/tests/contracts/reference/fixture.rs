//! What the reference contract says, as `reference.txt` has it.

use std::collections::{BTreeMap, BTreeSet};

/// `reference.txt`, parsed: blocks of lines, each with a head and indented properties.
pub struct Reference {
    pub operations: BTreeMap<String, Block>,
    pub not_served: BTreeSet<String>,
    pub events: BTreeMap<String, Block>,
    pub capabilities: BTreeMap<String, Block>,
    pub models: BTreeMap<String, BTreeMap<String, Type>>,
}

/// The words after the block's name, and its properties in order.
pub struct Block {
    pub head: Vec<String>,
    properties: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    pub name: String,
    pub list: bool,
    pub required: bool,
}

impl Block {
    pub fn all(&self, property: &str) -> Vec<&str> {
        self.properties
            .iter()
            .filter(|(name, _)| name == property)
            .map(|(_, text)| text.as_str())
            .collect()
    }

    pub fn fields(&self, property: &str) -> BTreeMap<String, Type> {
        parse_fields(self.all(property)[0])
    }
}

fn parse_fields(text: &str) -> BTreeMap<String, Type> {
    text.split(", ")
        .map(|field| {
            let (name, text) = field.split_once(": ").unwrap();
            let required = text.ends_with('!');
            let text = text.trim_end_matches('!');
            let item = text
                .strip_prefix('[')
                .and_then(|text| text.strip_suffix(']'));
            let parsed = Type {
                name: item.unwrap_or(text).to_owned(),
                list: item.is_some(),
                required,
            };
            (name.to_owned(), parsed)
        })
        .collect()
}

pub fn reference() -> Reference {
    let mut reference = Reference {
        operations: BTreeMap::new(),
        not_served: BTreeSet::new(),
        events: BTreeMap::new(),
        capabilities: BTreeMap::new(),
        models: BTreeMap::new(),
    };
    let mut blocks: Vec<Block> = Vec::new();
    for line in include_str!("../reference.txt").lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(property) = line.strip_prefix("  ") {
            let (name, text) = property.split_once(' ').unwrap_or((property, ""));
            let block = blocks.last_mut().unwrap();
            block.properties.push((name.to_owned(), text.to_owned()));
        } else {
            blocks.push(Block {
                head: line.split(' ').map(str::to_owned).collect(),
                properties: Vec::new(),
            });
        }
    }
    for block in blocks {
        let name = block.head[1].clone();
        match block.head[0].as_str() {
            "command" | "query" => {
                reference.operations.insert(name, block);
            }
            "event" => {
                reference.events.insert(name, block);
            }
            "capability" => {
                reference.capabilities.insert(name, block);
            }
            "model" => {
                reference.models.insert(name, block.fields("fields"));
            }
            "not-served" => {
                reference.not_served.insert(block.head[1..].join(" "));
            }
            other => panic!("unknown block `{other}`"),
        }
    }
    reference
}
