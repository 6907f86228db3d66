//! Positions in the log, and the opaque token that callers hold.
//!
//! A position is a stream and a sequence in it; a token is a set of positions, compared stream
//! by stream, so that a reader never sees less than it was told.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A stream of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// `CONTROL_PLANE_00` and so on: executions and incidents, by shard.
    Log(u8),
    Catalogue,
}

impl StreamId {
    /// The stream's name on the broker.
    pub fn name(self) -> String {
        match self {
            Self::Log(index) => format!("CONTROL_PLANE_{index:02}"),
            Self::Catalogue => "CONTROL_PLANE_CATALOGUE".to_owned(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub stream: StreamId,
    pub sequence: u64,
}

/// What a reader has seen or must see: at most one sequence per stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Positions(BTreeMap<StreamId, u64>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a position token: take it unchanged from an earlier answer")]
pub struct InvalidToken;

impl Positions {
    /// Before everything.
    pub fn beginning() -> Self {
        Self::default()
    }

    pub fn get(&self, stream: StreamId) -> u64 {
        self.0.get(&stream).copied().unwrap_or(0)
    }

    /// Moves forward to `position`; never backward.
    pub fn advance(&mut self, position: Position) {
        let reached = self.0.entry(position.stream).or_default();
        *reached = (*reached).max(position.sequence);
    }

    /// Moves forward to all of `other`; never backward.
    pub fn advance_to(&mut self, other: &Self) {
        for position in other.iter() {
            self.advance(position);
        }
    }

    /// Whether everything up to `other` is included.
    pub fn covers(&self, other: &Self) -> bool {
        other
            .iter()
            .all(|wanted| self.get(wanted.stream) >= wanted.sequence)
    }

    pub fn iter(&self) -> impl Iterator<Item = Position> {
        self.0
            .iter()
            .map(|(&stream, &sequence)| Position { stream, sequence })
    }
}

impl From<Position> for Positions {
    fn from(position: Position) -> Self {
        let mut positions = Self::beginning();
        positions.advance(position);
        positions
    }
}

/// `v1` and, per stream, its two digits (or `c`) and the sequence: `v1.00-1f4.c-9`.
impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("v1")?;
        for position in self.iter() {
            match position.stream {
                StreamId::Log(index) => write!(f, ".{index:02}-{:x}", position.sequence)?,
                StreamId::Catalogue => write!(f, ".c-{:x}", position.sequence)?,
            }
        }
        Ok(())
    }
}

impl FromStr for Positions {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let mut parts = text.split('.');
        if parts.next() != Some("v1") {
            return Err(InvalidToken);
        }
        let mut positions = Self::beginning();
        for part in parts {
            let (stream, sequence) = part.split_once('-').ok_or(InvalidToken)?;
            let stream = match stream {
                "c" => StreamId::Catalogue,
                index => StreamId::Log(index.parse().map_err(|_| InvalidToken)?),
            };
            let sequence = u64::from_str_radix(sequence, 16).map_err(|_| InvalidToken)?;
            positions.advance(Position { stream, sequence });
        }
        if positions.to_string() == text {
            Ok(positions)
        } else {
            Err(InvalidToken)
        }
    }
}

impl Serialize for Positions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Positions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl JsonSchema for Positions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Position".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "opaque; compare by passing it back" })
    }
}
