//! Times as people write them in configuration files: `"100ms"`, `"10s"`, `"5m"`, `"1h"`, `"7d"`.
//!
//! Used by every section of the configuration.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A time with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

impl Time {
    /// `text` as a time.
    ///
    /// # Errors
    /// When it is no whole number followed by `ms`, `s`, `m`, `h` or `d`.
    pub fn parse(text: &str) -> Result<Self, BadTime> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or(BadTime)?;
        let (number, unit) = text.split_at(split);
        let number: u64 = number.parse().map_err(|_| BadTime)?;
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(BadTime),
        };
        number.checked_mul(millis).map(|ms| Self(Duration::from_millis(ms))).ok_or(BadTime)
    }

    /// A whole number of seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A whole number of milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl From<Time> for Duration {
    fn from(time: Time) -> Self {
        time.0
    }
}

/// The text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time with its unit, such as \"100ms\", \"10s\", \"5m\", \"1h\" or \"7d\"")]
pub struct BadTime;

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{BadTime}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                Time::parse(text).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (text, ms) in [("100ms", 100), ("10s", 10_000), ("5m", 300_000), ("1h", 3_600_000), ("7d", 604_800_000)] {
            assert_eq!(Time::parse(text), Ok(Time::millis(ms)), "{text}");
        }
        for bad in ["", "10", "s", "-1s", "1.5s", "10 s", "99999999999999999999s", "999999999999999999d"] {
            assert_eq!(Time::parse(bad), Err(BadTime), "{bad:?}");
        }
    }
}
