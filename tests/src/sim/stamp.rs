//! A point in Marathon's time, and how it is written.
//!
//! The world only ever sees [`Stamp`]s handed to it; the shell (`shared`) reads the clock. Two written forms exist
//! because Marathon 1.5 to 1.9 trims trailing zeros of RAML dates (`app.version`) but not of task and event times.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since the epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub i64);

impl Stamp {
    /// `2019-02-11T09:14:05.120Z`: tasks and events of every generation, everything in 1.4.
    #[must_use]
    pub fn full(self) -> String {
        format!("{}.{:03}Z", self.seconds(), self.0.rem_euclid(1000))
    }

    /// `2019-02-11T09:14:05.12Z`, `…05Z`: dates of apps, groups and deployments in 1.8.
    #[must_use]
    pub fn trimmed(self) -> String {
        match self.0.rem_euclid(1000) {
            0 => format!("{}Z", self.seconds()),
            ms => format!("{}.{}Z", self.seconds(), format!("{ms:03}").trim_end_matches('0')),
        }
    }

    /// Reads either form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(parsed.unix_timestamp_nanos() / 1_000_000).ok().map(Self)
    }

    /// This moment and `ms` milliseconds.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
    }

    fn seconds(self) -> String {
        let when = OffsetDateTime::from_unix_timestamp(self.0.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            when.year(),
            u8::from(when.month()),
            when.day(),
            when.hour(),
            when.minute(),
            when.second()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_the_same_instant() {
        let stamp = Stamp(1_549_876_445_120);
        assert_eq!(stamp.full(), "2019-02-11T09:14:05.120Z");
        assert_eq!(stamp.trimmed(), "2019-02-11T09:14:05.12Z");
        assert_eq!(Stamp(1_549_876_445_000).trimmed(), "2019-02-11T09:14:05Z");
        assert_eq!(Stamp::parse(&stamp.full()), Some(stamp));
        assert_eq!(Stamp::parse(&stamp.trimmed()), Some(stamp));
        assert_eq!(Stamp::parse("yesterday"), None);
    }
}
