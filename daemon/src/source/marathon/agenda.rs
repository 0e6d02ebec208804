//! Which single apps are fetched when: coalesced, bounded, and once more after their last event.
//!
//! Used by `refetch`; pure, time is an argument. Each app is asked for by one request at a time;
//! whatever is hinted at meanwhile becomes one more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use haproxy::app::AppId;

/// How apps are paced.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The most requests at a time.
    pub at_once: usize,
    /// The least time between the starts of two requests for one app.
    pub spacing: Duration,
    /// After an app's last event, the trailing fetch.
    pub trailing: Duration,
}

/// The apps that are to be fetched, or are being.
#[derive(Debug)]
pub struct Agenda {
    pace: Pace,
    apps: BTreeMap<AppId, Entry>,
    flying: usize,
}

#[derive(Debug, Default)]
struct Entry {
    /// When it may be fetched because of an event, and which that was.
    due: Option<(Instant, &'static str)>,
    /// When it is fetched once more.
    trailing: Option<Instant>,
    /// When the last request started.
    started: Option<Instant>,
    /// A request is under way.
    flying: bool,
}

impl Entry {
    fn next(&self) -> Option<Instant> {
        let due = self.due.map(|(at, _)| at);
        due.into_iter().chain(self.trailing).min().filter(|_| !self.flying)
    }
}

impl Agenda {
    /// Nothing to do yet.
    pub fn new(pace: Pace) -> Self {
        Self { pace, apps: BTreeMap::new(), flying: 0 }
    }

    /// The app may have changed: it is fetched at once if `soon`, and in any case once more when
    /// its events have ended.
    pub fn hint(&mut self, app: &AppId, kind: &'static str, soon: bool, now: Instant) {
        let entry = match self.apps.get_mut(app) {
            Some(entry) => entry,
            None => self.apps.entry(app.clone()).or_default(),
        };
        entry.trailing = Some(now + self.pace.trailing);
        if soon && entry.due.is_none() {
            let spaced = entry.started.map_or(now, |started| started + self.pace.spacing);
            entry.due = Some((spaced.max(now), kind));
        }
    }

    /// The next app to ask for now, and why; it counts as under way until [`Self::done`].
    pub fn start(&mut self, now: Instant) -> Option<(AppId, &'static str)> {
        if self.flying >= self.pace.at_once {
            return None;
        }
        let ready = self.apps.iter().filter_map(|(id, entry)| Some((entry.next()?, id)));
        let (_, id) = ready.filter(|(at, _)| *at <= now).min()?;
        let id = id.clone();
        let entry = self.apps.get_mut(&id)?;
        let why = entry.due.take().map_or(TRAILING, |(_, why)| why);
        entry.trailing = entry.trailing.filter(|at| *at > now);
        entry.started = Some(now);
        entry.flying = true;
        self.flying += 1;
        Some((id, why))
    }

    /// The request for this app has ended, well or not.
    pub fn done(&mut self, app: &AppId) {
        let Some(entry) = self.apps.get_mut(app).filter(|entry| entry.flying) else { return };
        entry.flying = false;
        self.flying -= 1;
        if entry.next().is_none() {
            self.apps.remove(app);
        }
    }

    /// When [`Self::start`] has something; none while nothing waits or all requests are in use.
    pub fn deadline(&self) -> Option<Instant> {
        if self.flying >= self.pace.at_once {
            return None;
        }
        self.apps.values().filter_map(Entry::next).min()
    }
}

/// Why, when no event is to blame.
pub const TRAILING: &str = "trailing";

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        agenda: Agenda,
        start: Instant,
    }

    #[allow(clippy::disallowed_methods, reason = "any moment will do")]
    fn bench() -> Bench {
        let (spacing, trailing) = (Duration::from_millis(20), Duration::from_secs(1));
        Bench { agenda: Agenda::new(Pace { at_once: 2, spacing, trailing }), start: Instant::now() }
    }

    impl Bench {
        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn hint(&mut self, app: &str, soon: bool, ms: u64) {
            self.agenda.hint(&AppId::parse(app).unwrap(), "e", soon, self.at(ms));
        }

        fn start(&mut self, ms: u64) -> Vec<String> {
            let now = self.at(ms);
            std::iter::from_fn(|| self.agenda.start(now)).map(|(id, why)| format!("{id} {why}")).collect()
        }

        fn done(&mut self, app: &str) {
            self.agenda.done(&AppId::parse(app).unwrap());
        }

        fn deadline(&self) -> Option<u128> {
            self.agenda.deadline().map(|at| at.duration_since(self.start).as_millis())
        }
    }

    #[test]
    fn at_once_then_once_more_after_the_last_event() {
        let mut b = bench();
        assert_eq!(b.deadline(), None);
        b.hint("/a", true, 0);
        assert_eq!(b.start(0), ["/a e"]);
        b.done("/a");
        b.hint("/a", false, 500);
        assert_eq!(b.deadline(), Some(1500));
        assert!(b.start(1499).is_empty());
        assert_eq!(b.start(1500), ["/a trailing"]);
        b.done("/a");
        assert!(b.agenda.apps.is_empty() && b.deadline().is_none());
    }

    #[test]
    fn events_during_a_request_are_one_more_spaced_apart() {
        let mut b = bench();
        b.hint("/a", true, 0);
        assert_eq!(b.start(0), ["/a e"]);
        for ms in 1..10 {
            b.hint("/a", true, ms);
            assert!(b.start(ms).is_empty(), "one request at a time");
        }
        b.done("/a");
        assert_eq!(b.deadline(), Some(20));
        assert_eq!(b.start(20), ["/a e"]);
        b.done("/a");
        assert!(b.start(1008).is_empty());
        assert_eq!(b.start(1009), ["/a trailing"]);
    }

    #[test]
    fn a_bounded_number_in_order_of_time() {
        let mut b = bench();
        for (ms, app) in ["/d", "/c", "/b", "/a"].iter().enumerate() {
            b.hint(app, true, u64::try_from(ms).unwrap());
        }
        assert_eq!(b.start(9), ["/d e", "/c e"]);
        assert_eq!(b.deadline(), None, "no room");
        b.done("/c");
        assert_eq!(b.start(9), ["/b e"]);
    }
}
