//! RFC 8785 JSON and SHA-256: the bytes of everything that is hashed.
//!
//! Stricter than the RFC in one point: a number must be an integer within ±2⁵³, or a finite
//! number that is not integral. Larger integers would be rounded silently by other readers.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A SHA-256, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 lower-case hexadecimal digits")]
pub struct InvalidDigest;

/// A value that has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {number} cannot be represented exactly; send integers beyond 2^53 as strings")]
pub struct NotCanonical {
    /// JSON pointer to the number.
    pub path: String,
    pub number: String,
}

impl Digest {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Of parts that are each preceded by their length, so that no two lists of parts give the
    /// same digest.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// Of the canonical JSON of `value`.
    pub fn of_json<T: Serialize>(value: &T) -> Result<Self, NotCanonical> {
        Ok(Self::of(&to_bytes(value)?))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // Every event has a few of these: the general way takes ten times as long.
        let mut text = [0; 64];
        for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let digit = |b: u8| match b {
            b'0'..=b'9' => Ok(b - b'0'),
            b'a'..=b'f' => Ok(b - b'a' + 10),
            _ => Err(InvalidDigest),
        };
        let text: &[u8; 64] = text.as_bytes().try_into().map_err(|_| InvalidDigest)?;
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(text.as_chunks::<2>().0) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Digest {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
    }
}

/// The canonical bytes of anything that serialises to JSON.
pub fn to_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, NotCanonical> {
    let value = serde_json::to_value(value).map_err(|error| NotCanonical {
        path: String::new(),
        number: error.to_string(),
    })?;
    let mut out = Vec::with_capacity(256);
    write(&value, &mut String::new(), &mut out)?;
    Ok(out)
}

/// Whether every number in `value` has a canonical form.
pub fn check(value: &Value) -> Result<(), NotCanonical> {
    write(value, &mut String::new(), &mut Vec::new())
}

fn write(value: &Value, path: &mut String, out: &mut Vec<u8>) -> Result<(), NotCanonical> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, path, out)?,
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                within(path, &index.to_string(), |path| write(item, path, out))?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push(b'{');
            for (index, (key, item)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_string(key, out);
                out.push(b':');
                within(path, key, |path| write(item, path, out))?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn within<T>(path: &mut String, token: &str, then: impl FnOnce(&mut String) -> T) -> T {
    let length = path.len();
    path.push('/');
    path.push_str(&token.replace('~', "~0").replace('/', "~1"));
    let result = then(path);
    path.truncate(length);
    result
}

const INTEGER_MAX: i64 = 1 << 53;

fn write_number(
    number: &serde_json::Number,
    path: &str,
    out: &mut Vec<u8>,
) -> Result<(), NotCanonical> {
    let refused = || NotCanonical {
        path: path.to_owned(),
        number: number.to_string(),
    };
    if let Some(integer) = number.as_i64() {
        if !(-INTEGER_MAX..=INTEGER_MAX).contains(&integer) {
            return Err(refused());
        }
        out.extend_from_slice(integer.to_string().as_bytes());
        return Ok(());
    }
    let float = number
        .as_f64()
        .filter(|float| float.is_finite())
        .ok_or_else(refused)?;
    if float.fract() == 0.0 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "2^53 is exact, and what is cast is no larger"
        )]
        if float.abs() <= INTEGER_MAX as f64 {
            out.extend_from_slice((float as i64).to_string().as_bytes());
            return Ok(());
        }
        return Err(refused());
    }
    out.extend_from_slice(ecmascript(float).as_bytes());
    Ok(())
}

/// A finite number as ECMAScript's `Number::toString` writes it.
pub fn ecmascript(float: f64) -> String {
    /// From here on integers are written with an exponent too.
    const POSITIONAL_MAX: usize = 21;
    if float == 0.0 {
        return "0".to_owned();
    }
    let scientific = shortest(float.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let sign = if float < 0.0 { "-" } else { "" };
    // How many digits stand before the point.
    let whole = usize::try_from(exponent + 1).unwrap_or(0);
    if exponent < -6 || whole > POSITIONAL_MAX {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        return format!("{sign}{first}{point}{rest}e{exponent:+}");
    }
    if exponent < 0 {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
        return format!("{sign}0.{zeros}{digits}");
    }
    if digits.len() <= whole {
        let zeros = "0".repeat(whole - digits.len());
        return format!("{sign}{digits}{zeros}");
    }
    let (whole, fraction) = digits.split_at(whole);
    format!("{sign}{whole}.{fraction}")
}

/// The shortest digits that read back as the same number, the closest of them, and of two equally
/// close the even ones, in scientific notation.
fn shortest(float: f64) -> String {
    let shortest = format!("{float:e}");
    // Of two equally close Rust takes the upper; with a given number of digits it takes the even.
    let digits = shortest
        .bytes()
        .take_while(|b| *b != b'e')
        .filter(u8::is_ascii_digit)
        .count();
    let even = format!("{float:.*e}", digits.saturating_sub(1));
    if even.parse() == Ok(float) {
        even
    } else {
        shortest
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    // serde_json escapes exactly what RFC 8785 asks for, in the same spelling.
    match serde_json::to_vec(text) {
        Ok(quoted) => out.extend_from_slice(&quoted),
        Err(_) => out.extend_from_slice(b"\"\""),
    }
}
