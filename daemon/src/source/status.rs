//! What a source says about itself: for the status page, metrics and readiness.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

/// The state of one source. Latest wins; counters only grow.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceStatus {
    /// The member (URL without credentials) or file that gave the last good answer.
    pub origin: Option<String>,
    /// Who answered there, as `X-Marathon-Leader` says.
    pub leader: Option<String>,
    /// Reading the whole list.
    pub fetch: FetchStatus,
    /// Following events; stays at its default where a source has none.
    pub stream: StreamStatus,
}

impl SourceStatus {
    /// Whether what is served may be out of date: nothing was ever read, or the last try failed.
    pub fn is_stale(&self) -> bool {
        self.fetch.last.is_none() || self.fetch.trouble.is_some()
    }
}

/// How reading the list goes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FetchStatus {
    /// The last good one.
    pub last: Option<GoodFetch>,
    /// Why it does not work now.
    pub trouble: Option<Trouble>,
    /// How many were good.
    pub ok: u64,
    /// How many failed, by kind of failure: one per member asked in vain.
    pub failed: BTreeMap<&'static str, u64>,
}

/// A good read of the whole list.
#[derive(Debug, Clone, PartialEq)]
pub struct GoodFetch {
    /// When it ended.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// How long the answer was.
    pub bytes: usize,
    /// How many apps were in it.
    pub apps: usize,
}

/// How following events goes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamStatus {
    /// The member we are attached to.
    pub member: Option<String>,
    /// Since when.
    pub attached_at: Option<SystemTime>,
    /// When the last byte came: heartbeats come each 10 s.
    pub last_byte: Option<Instant>,
    /// When the last event came.
    pub last_event: Option<Instant>,
    /// Why there is no stream, or was none a moment ago: kept until a new one has proven itself.
    pub trouble: Option<Trouble>,
    /// How often a stream was opened.
    pub attached: u64,
    /// How often one ended or could not be opened, by kind.
    pub failed: BTreeMap<&'static str, u64>,
    /// Events by type; types we do not know are `other`.
    pub events: BTreeMap<&'static str, u64>,
}

/// Something that does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: SystemTime,
    /// What and why, as last seen.
    pub text: String,
}

impl Trouble {
    /// Notes trouble in `slot`, keeping since when; whether it is news: it just began, or it is
    /// another trouble than before.
    pub fn note(slot: &mut Option<Self>, text: &str, now: SystemTime) -> bool {
        match slot {
            Some(known) if known.text == text => false,
            Some(known) => {
                text.clone_into(&mut known.text);
                true
            }
            None => {
                *slot = Some(Self { since: now, text: text.to_owned() });
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_news_once_and_keeps_when_it_began() {
        let at = |secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
        let mut slot = None;
        assert!(Trouble::note(&mut slot, "refused", at(1)));
        assert!(!Trouble::note(&mut slot, "refused", at(2)));
        assert!(Trouble::note(&mut slot, "timeout", at(3)));
        assert_eq!(slot, Some(Trouble { since: at(1), text: "timeout".to_owned() }));
    }
}
