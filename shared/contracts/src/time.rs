//! Instants as the log knows them: milliseconds since the Unix epoch, in UTC, written as RFC 3339
//! with three decimals. Reading the clock is the host's business, never this crate's.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// An instant, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an RFC 3339 instant between the years 0 and 9999")]
pub struct InvalidTimestamp(String);

impl Timestamp {
    /// The earliest instant that still prints with a four-digit year: 0000-01-01T00:00:00Z.
    const MIN_MS: i64 = -62_167_219_200_000;
    /// 9999-12-31T23:59:59.999Z.
    const MAX_MS: i64 = 253_402_300_799_999;

    /// As this type prints; nothing where it is another form.
    fn parse_own(text: &str) -> Option<Self> {
        let text: &[u8; 24] = text.as_bytes().try_into().ok()?;
        let marks = [
            (4, b'-'),
            (7, b'-'),
            (10, b'T'),
            (13, b':'),
            (16, b':'),
            (19, b'.'),
        ];
        let is_marked = |(place, mark): &(usize, u8)| text.get(*place) == Some(mark);
        if !marks.iter().all(is_marked) || text.last() != Some(&b'Z') {
            return None;
        }
        let number = |place: std::ops::Range<usize>| {
            text.get(place)?.iter().try_fold(0_u16, |number, byte| {
                let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
                Some(number * 10 + u16::from(digit))
            })
        };
        let small = |place| u8::try_from(number(place)?).ok();
        let month = time::Month::try_from(small(5..7)?).ok()?;
        let date =
            time::Date::from_calendar_date(number(0..4)?.into(), month, small(8..10)?).ok()?;
        let ms = number(20..23)?;
        let at = date.with_hms_milli(small(11..13)?, small(14..16)?, small(17..19)?, ms);
        let seconds = at.ok()?.assume_utc().unix_timestamp();
        Some(Self(seconds * 1000 + i64::from(ms)))
    }

    /// Milliseconds since the epoch, kept within the years that RFC 3339 can write.
    pub fn from_millis(ms: i64) -> Self {
        Self(ms.clamp(Self::MIN_MS, Self::MAX_MS))
    }

    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// The instant `ms` milliseconds later; saturates at the end of year 9999.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self::from_millis(self.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
    }

    /// Milliseconds from `earlier` to this instant, zero if it is not earlier.
    pub fn since_ms(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.rem_euclid(1000);
        let at =
            OffsetDateTime::from_unix_timestamp(self.0.div_euclid(1000)).map_err(|_| fmt::Error)?;
        // Every event has several of these: digits into their places, and not the general way.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let parts = [
            (0..4, i64::from(at.year())),
            (5..7, i64::from(u8::from(at.month()))),
            (8..10, i64::from(at.day())),
            (11..13, i64::from(at.hour())),
            (14..16, i64::from(at.minute())),
            (17..19, i64::from(at.second())),
            (20..23, ms),
        ];
        for (place, mut number) in parts {
            for digit in text.get_mut(place).into_iter().flatten().rev() {
                *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
                number /= 10;
            }
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(own) = Self::parse_own(text) {
            return Ok(own);
        }
        let refused = || InvalidTimestamp(text.chars().take(40).collect());
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| refused())?;
        let ms = i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000))
            .map_err(|_| refused())?;
        if (Self::MIN_MS..=Self::MAX_MS).contains(&ms) {
            Ok(Self(ms))
        } else {
            Err(refused())
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DateTime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}
