//! What a source says about itself: for the status page, metrics and readiness.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
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
    /// Reading single apps, after events about them.
    pub single: SingleStatus,
    /// Lists that take too much away.
    pub guard: GuardStatus,
    /// When what is served was written down, while it comes from the store and no list was read.
    pub restored: Option<SystemTime>,
    /// Tasks that are served although no answer vouches for them: restored, or held by the guard.
    pub unconfirmed: Arc<BTreeSet<String>>,
    /// Writing down what is served.
    pub store: StoreStatus,
    /// Following events; stays at its default where a source has none.
    pub stream: StreamStatus,
}

impl SourceStatus {
    /// Whether what is served may be out of date: nothing was ever read, or the last try failed, or
    /// the last list is held back.
    pub fn is_stale(&self) -> bool {
        self.fetch.last.is_none() || self.fetch.trouble.is_some() || self.guard.held.is_some()
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
    /// How many were started, by reason: an event's type, or `start`, `attached`, `no_stream`,
    /// `command`, `resync`, `retry`, `confirm`, `app_failed`, `overflow`.
    pub reasons: BTreeMap<&'static str, u64>,
    /// The bytes of all good answers.
    pub bytes: u64,
}

/// How reading single apps goes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SingleStatus {
    /// Good answers, those included that say that the app does not exist.
    pub ok: u64,
    /// How long the last one took.
    pub took: Duration,
    /// Answers that an app does not exist.
    pub gone: u64,
    /// Answers that came too late: one that was asked for later was there already.
    pub late: u64,
    /// Apps that could not be read: each is answered by reading the whole list.
    pub failed: u64,
    /// How many were started, by reason: an event's type, `trailing`, `vanished` (a list lacks the
    /// app) or `contradiction` (an answer lists a task that an event ended).
    pub reasons: BTreeMap<&'static str, u64>,
    /// The bytes of all good answers.
    pub bytes: u64,
}

/// What the guard does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GuardStatus {
    /// Why the last list does not count yet.
    pub held: Option<Trouble>,
    /// How many lists were held back.
    pub holds: u64,
    /// How many were confirmed by a second one.
    pub confirmed: u64,
}

/// How writing down goes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StoreStatus {
    /// When it was last written.
    pub written: Option<SystemTime>,
    /// How often.
    pub writes: u64,
    /// How often that failed.
    pub failures: u64,
    /// Why it cannot be written now, or could not be read at start.
    pub trouble: Option<Trouble>,
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
