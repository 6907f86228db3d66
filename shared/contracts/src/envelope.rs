//! An event on the wire: `CloudEvents` 1.0 in the binary mode of the NATS binding, with a
//! `MessagePack` payload, hashed and chained to the event before it.
//!
//! Few headers, because each costs at every hop; what the subject says is not said again.
//! Everything here works on the bytes as they are stored, never on bytes encoded anew.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _, str::FromStr};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::{
    canonical::Digest,
    event::EventName,
    ids::EventId,
    subject::{ROOT, Subject},
    time::Timestamp,
};

pub const CONTENT_TYPE: &str = "application/msgpack";
const SPEC_VERSION: &str = "1.0";

/// The most headers a stored event may have, and the most bytes in one name and in one value.
pub const HEADERS_MAX: usize = 32;
pub const HEADER_NAME_BYTES_MAX: usize = 256;
pub const HEADER_VALUE_BYTES_MAX: usize = 4096;

/// Payloads above this many bytes are kept in the object store under their digest
/// (`ce-dataref`), so that streams stay quick to read and no message nears the broker's limit of
/// 1 MiB.
pub const INLINE_PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// Header names and values as they stand on the wire, sorted by name, without `Nats-*`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(Vec<(Cow<'static, str>, String)>);

/// The bytes of one event and where they belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub subject: Subject,
    pub headers: Headers,
    /// What the event says, also where `ce-dataref` keeps it out of the stored message.
    pub payload: Bytes,
}

/// What the headers of an event say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    pub id: EventId,
    pub event: EventName,
    /// `/control-plane/<service>`.
    pub source: String,
    pub time: Timestamp,
    /// W3C trace context, as it was received.
    pub traceparent: Option<String>,
    /// The event or wake-up that led to this one.
    pub causation: Option<EventId>,
    /// The hash of the version before; nothing for version 1.
    pub prev_hash: Option<Digest>,
    /// The digest of a payload that was too large to be stored in the event itself.
    pub data_ref: Option<Digest>,
    /// What a newer writer added. Kept, hashed, not understood.
    pub extensions: BTreeMap<String, String>,
}

/// Headers that an event of the log may not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeaders {
    #[error("header `{0}` is missing")]
    Missing(&'static str),
    #[error("header `{0}` is given twice")]
    Twice(String),
    #[error("header name `{0}` is not plain lower-case ASCII")]
    NotLowerCase(String),
    #[error("header `{name}` has a value that cannot be read: `{value}`")]
    Value { name: String, value: String },
    #[error("more than {HEADERS_MAX} headers")]
    TooMany,
    #[error("the name or the value of header `{0}` is too long")]
    TooLong(String),
}

/// Headers as they were received, borrowed: in the order and with the guarantees of [`Headers`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl Headers {
    /// Takes headers as the broker delivers them, one pair per value; drops the broker's own
    /// (`Nats-*`), refuses what a stored event may not have.
    pub fn from_wire<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, InvalidHeaders> {
        let pairs: Vec<_> = pairs.into_iter().collect();
        let pairs = pairs.iter();
        let fields = Fields::from_wire(pairs.map(|(name, value)| (name.as_ref(), value.as_ref())))?;
        let owned = |(name, value): (&str, &str)| (name.to_owned().into(), value.to_owned());
        Ok(Self(fields.iter().map(owned).collect()))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    pub fn fields(&self) -> Fields<'_> {
        Fields(self.iter().collect())
    }
}

impl<'a> Fields<'a> {
    /// As [`Headers::from_wire`].
    pub fn from_wire(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, InvalidHeaders> {
        let mut fields: Vec<(&str, &str)> = Vec::with_capacity(HEADERS_MAX / 2);
        for (name, value) in pairs {
            if is_broker_header(name) {
                continue;
            }
            check(name, value)?;
            match place(&fields, name) {
                Ok(_) => return Err(InvalidHeaders::Twice(name.to_owned())),
                Err(place) => fields.insert(place, (name, value)),
            }
            if fields.len() > HEADERS_MAX {
                return Err(InvalidHeaders::TooMany);
            }
        }
        Ok(Self(fields))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().copied()
    }

    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    fn required(&self, name: &'static str) -> Result<&'a str, InvalidHeaders> {
        self.get(name).ok_or(InvalidHeaders::Missing(name))
    }

    fn parsed<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, InvalidHeaders> {
        self.get(name)
            .map(|value| value.parse().map_err(|_| unreadable(name, value)))
            .transpose()
    }
}

/// Where a name is in what is sorted by name, or belongs. They nearly always come in order.
fn place<N: AsRef<str>, V>(sorted: &[(N, V)], name: &str) -> Result<usize, usize> {
    match sorted.last() {
        Some((last, _)) if last.as_ref() >= name => {
            sorted.binary_search_by(|(known, _)| known.as_ref().cmp(name))
        }
        Some(_) | None => Err(sorted.len()),
    }
}

/// Whether a stored event may have such a header.
fn check(name: &str, value: &str) -> Result<(), InvalidHeaders> {
    if name.len() > HEADER_NAME_BYTES_MAX {
        return Err(InvalidHeaders::TooLong(printable(name)));
    }
    if name.is_empty()
        || !name
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase() && b != b':')
    {
        return Err(InvalidHeaders::NotLowerCase(printable(name)));
    }
    if value.len() > HEADER_VALUE_BYTES_MAX {
        return Err(InvalidHeaders::TooLong(name.to_owned()));
    }
    if value.bytes().any(|b| b.is_ascii_control()) {
        return Err(unreadable(name, value));
    }
    Ok(())
}

fn is_broker_header(name: &str) -> bool {
    name.get(..5)
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case("nats-"))
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn unreadable(name: &str, value: &str) -> InvalidHeaders {
    InvalidHeaders::Value {
        name: name.to_owned(),
        value: printable(value),
    }
}

impl Attributes {
    pub fn to_headers(&self) -> Headers {
        let event = [ROOT, self.event.as_str()].join(".");
        let causation = self.causation.map(|id| id.to_string());
        let data_ref = self.data_ref.map(|digest| format!("sha256:{digest}"));
        let prev_hash = self.prev_hash.map(|hash| hash.to_string());
        let traceparent = self.traceparent.as_deref().map(percent_encode);
        // By name.
        let known = [
            ("ce-causationid", causation),
            ("ce-datacontenttype", Some(CONTENT_TYPE.to_owned())),
            ("ce-dataref", data_ref),
            ("ce-id", Some(self.id.to_string())),
            ("ce-prevhash", prev_hash),
            ("ce-source", Some(percent_encode(&self.source))),
            ("ce-specversion", Some(SPEC_VERSION.to_owned())),
            ("ce-time", Some(self.time.to_string())),
            ("ce-type", Some(event)),
            ("traceparent", traceparent),
        ];
        let mut headers = Vec::with_capacity(known.len());
        headers.extend(
            known
                .into_iter()
                .filter_map(|(name, value)| Some((Cow::Borrowed(name), value?))),
        );
        for (name, value) in &self.extensions {
            let name = format!("ce-{name}");
            if let Err(place) = place(&headers, &name) {
                headers.insert(place, (name.into(), percent_encode(value)));
            }
        }
        Headers(headers)
    }

    pub fn from_headers(headers: &Headers) -> Result<Self, InvalidHeaders> {
        Self::from_fields(&headers.fields())
    }

    pub fn from_fields(headers: &Fields<'_>) -> Result<Self, InvalidHeaders> {
        let version = headers.required("ce-specversion")?;
        if version != SPEC_VERSION {
            return Err(unreadable("ce-specversion", version));
        }
        // The binding's drafts spell it both ways.
        let spellings = ["ce-datacontenttype", "content-type"];
        let mut given = spellings
            .into_iter()
            .filter_map(|name| Some((name, headers.get(name)?)));
        if let Some((name, value)) = given.clone().find(|(_, value)| *value != CONTENT_TYPE) {
            return Err(unreadable(name, value));
        }
        given
            .next()
            .ok_or(InvalidHeaders::Missing("ce-datacontenttype"))?;
        let text = |name: &'static str| {
            let value = headers.required(name)?;
            percent_decode(value).ok_or_else(|| unreadable(name, value))
        };
        let event_type = headers.required("ce-type")?;
        let event = event_type
            .strip_prefix(ROOT)
            .and_then(|rest| EventName::parse(rest.strip_prefix('.')?))
            .ok_or_else(|| unreadable("ce-type", event_type))?;
        let data_ref = headers
            .get("ce-dataref")
            .map(|value| {
                value
                    .strip_prefix("sha256:")
                    .and_then(|digest| digest.parse().ok())
                    .ok_or_else(|| unreadable("ce-dataref", value))
            })
            .transpose()?;
        let known = [
            "ce-specversion",
            "ce-id",
            "ce-source",
            "ce-type",
            "ce-time",
            "ce-datacontenttype",
            "ce-causationid",
            "ce-prevhash",
            "ce-dataref",
        ];
        let extensions = headers
            .iter()
            .filter(|(name, _)| !known.contains(name))
            .filter_map(|(name, value)| Some((name.strip_prefix("ce-")?, value)))
            .map(|(name, value)| {
                let value = percent_decode(value).ok_or_else(|| unreadable(name, value))?;
                Ok((name.to_owned(), value))
            })
            .collect::<Result<_, InvalidHeaders>>()?;
        Ok(Self {
            id: headers
                .parsed("ce-id")?
                .ok_or(InvalidHeaders::Missing("ce-id"))?,
            event,
            source: text("ce-source")?,
            time: headers
                .parsed("ce-time")?
                .ok_or(InvalidHeaders::Missing("ce-time"))?,
            traceparent: headers
                .get("traceparent")
                .map(|_| text("traceparent"))
                .transpose()?,
            causation: headers.parsed("ce-causationid")?,
            prev_hash: headers.parsed("ce-prevhash")?,
            data_ref,
            extensions,
        })
    }
}

impl Envelope {
    /// SHA-256 of `cp.event.v1`, the subject, every header sorted by name, and the payload, over
    /// the stored bytes. `log.md` §4 fixes the layout; committed vectors hold it in place.
    pub fn hash(&self) -> Digest {
        let subject = self.subject.to_string();
        hash_of(&subject, self.headers.iter(), &self.stored_payload())
    }

    /// The payload as the stream holds it: empty where `ce-dataref`, which is hashed, names it.
    pub fn stored_payload(&self) -> Bytes {
        if self.headers.get("ce-dataref").is_some() {
            Bytes::new()
        } else {
            self.payload.clone()
        }
    }
}

/// As [`Envelope::hash`], of a message whose subject and headers may be such as this version does
/// not know. The headers are sorted by name, and the payload is as it is stored.
pub fn hash_of<'a>(
    subject: &str,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    stored_payload: &[u8],
) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(b"cp.event.v1\n");
    hasher.update(subject.as_bytes());
    hasher.update(b"\n");
    for (name, value) in headers {
        hasher.update(name.as_bytes());
        hasher.update(b":");
        hasher.update(value.as_bytes());
        hasher.update(b"\n");
    }
    hasher.update(b"\n");
    hasher.update(stored_payload);
    Digest::from_bytes(hasher.finalize().into())
}

/// As the `CloudEvents` bindings ask: space, `"`, `%` and everything outside U+0021 to U+007E.
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'"' && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Nothing for a broken escape or for bytes that are not UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let (hex, tail) = tail.split_at_checked(2)?;
            if !hex.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}
