//! Bodies: JSON objects of a bounded size and depth, in which no member stands twice. Readers
//! differ in which of two equal members they take, and what was judged must be what is run.

use std::{
    cell::{Cell, RefCell},
    fmt,
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap,
        header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
    },
};
use contracts::problem::{Code, Problem};
use futures::StreamExt as _;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::input::{DUPLICATE_MEMBER, finding};

/// A whole body: the largest message the broker takes is larger, so whatever is let in here can
/// be stored.
pub const BYTES_MAX: usize = 1024 * 1024;

/// How many arrays and objects may stand in each other.
pub const DEPTH_MAX: usize = 64;

/// How many values a body may hold: hundreds of steps with dozens of inputs each. In memory each
/// takes up to fifty times what it takes on the wire.
pub const VALUES_MAX: usize = 20_000;

/// How long a body may take to arrive: it holds a place of those that are served at once.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);

/// What the operations take.
pub const JSON: &str = "application/json";

/// Reads JSON from a request whose media type is one of `kinds`, and says which.
pub(super) async fn json(
    headers: &HeaderMap,
    body: Body,
    kinds: &[&'static str],
) -> Result<(&'static str, Value), Problem> {
    let kind = media_type(headers, kinds)?;
    let bytes = bytes(headers, body).await?;
    Ok((kind, parse_any(&bytes)?))
}

async fn bytes(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Problem> {
    let announced = announced(headers);
    if announced.is_some_and(|length| length > BYTES_MAX) {
        return Err(too_large());
    }
    let reading = async {
        let mut whole = Vec::with_capacity(announced.unwrap_or(0));
        let mut parts = body.into_data_stream();
        while let Some(part) = parts.next().await {
            let part: Bytes = part.map_err(|error| {
                tracing::debug!(%error, "a body broke off");
                Problem::new(Code::InvalidJson, "the body broke off; send it again")
            })?;
            if whole.len() + part.len() > BYTES_MAX {
                return Err(too_large());
            }
            whole.extend_from_slice(&part);
        }
        Ok(whole)
    };
    match tokio::time::timeout(ARRIVES_WITHIN, reading).await {
        Ok(read) => read,
        Err(_) => Err(Problem::new(
            Code::InvalidJson,
            format!(
                "the body did not arrive within {} seconds",
                ARRIVES_WITHIN.as_secs()
            ),
        )),
    }
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The most that a body can turn out to have.
pub(super) fn bytes_at_most(headers: &HeaderMap) -> usize {
    announced(headers).unwrap_or(BYTES_MAX).min(BYTES_MAX)
}

fn too_large() -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("a body has at most {BYTES_MAX} bytes; send large data by reference"),
    )
}

fn media_type(headers: &HeaderMap, kinds: &[&'static str]) -> Result<&'static str, Problem> {
    let encoded = headers
        .get(CONTENT_ENCODING)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "send the body without `Content-Encoding`",
        ));
    }
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut parts = text.split(';').map(str::trim);
    let named = parts.next().unwrap_or_default();
    let kind = kinds.iter().find(|kind| named.eq_ignore_ascii_case(kind));
    let is_utf8 = parts.all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !name.eq_ignore_ascii_case("charset")
            || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    match kind {
        Some(kind) if is_utf8 => Ok(kind),
        Some(_) | None => Err(Problem::new(
            Code::UnsupportedMediaType,
            format!("send `Content-Type: {}`", kinds.join("` or `")),
        )),
    }
}

/// Reads a JSON object from text.
pub fn parse(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    object(parse_any(bytes)?)
}

pub(super) fn object(value: Value) -> Result<Map<String, Value>, Problem> {
    match value {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Problem::of(Code::InvalidJson))
        }
    }
}

fn parse_any(bytes: &[u8]) -> Result<Value, Problem> {
    let fault = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let seed = Strict {
        depth: 0,
        values: &Cell::new(0),
        fault: &fault,
    };
    let read = seed
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match (read, fault.into_inner()) {
        (Ok(value), _) => Ok(value),
        (Err(_), Some(fault)) => Err(fault.problem()),
        (Err(error), None) => Err(Problem::new(Code::InvalidJson, error.to_string())),
    }
}

/// What is JSON, and is refused all the same.
struct Fault {
    /// Grows from the inside while the reader gives up.
    path: String,
    kind: FaultKind,
}

enum FaultKind {
    TooDeep,
    TooMany,
    Twice,
}

impl Fault {
    fn problem(self) -> Problem {
        match self.kind {
            FaultKind::TooDeep => Problem::new(
                Code::TooDeep,
                format!("at most {DEPTH_MAX} arrays and objects may stand in each other"),
            ),
            FaultKind::TooMany => Problem::new(
                Code::BodyTooLarge,
                format!("a body has at most {VALUES_MAX} values; send large data by reference"),
            ),
            FaultKind::Twice => {
                let message = "this member stands twice; leave one of the two".to_owned();
                Problem::new(Code::InvalidJson, "a member stands twice")
                    .with_findings(vec![finding(self.path, DUPLICATE_MEMBER, message)])
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    /// Read so far.
    values: &'a Cell<usize>,
    fault: &'a RefCell<Option<Fault>>,
}

impl<'a> Strict<'a> {
    fn deeper<E: serde::de::Error>(self) -> Result<Strict<'a>, E> {
        if self.depth < DEPTH_MAX {
            Ok(Strict {
                depth: self.depth + 1,
                ..self
            })
        } else {
            Err(self.give_up(FaultKind::TooDeep))
        }
    }

    fn give_up<E: serde::de::Error>(self, kind: FaultKind) -> E {
        *self.fault.borrow_mut() = Some(Fault {
            path: String::new(),
            kind,
        });
        E::custom("refused")
    }

    fn within(self, token: &str) {
        if let Some(fault) = self.fault.borrow_mut().as_mut() {
            fault.path = domain::schema::join("", token) + &fault.path;
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.values.get() >= VALUES_MAX {
            return Err(self.give_up(FaultKind::TooMany));
        }
        self.values.set(self.values.get() + 1);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let item = self.deeper()?;
        let mut read = Vec::new();
        loop {
            match items.next_element_seed(item) {
                Ok(Some(value)) => read.push(value),
                Ok(None) => return Ok(Value::Array(read)),
                Err(error) => {
                    self.within(&read.len().to_string());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let member = self.deeper()?;
        let mut read = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if read.contains_key(&name) {
                let error = self.give_up::<A::Error>(FaultKind::Twice);
                self.within(&name);
                return Err(error);
            }
            match members.next_value_seed(member) {
                Ok(value) => read.insert(name, value),
                Err(error) => {
                    self.within(&name);
                    return Err(error);
                }
            };
        }
        Ok(Value::Object(read))
    }
}
