//! The end of servers that are not wanted any more: in drain until their connections are through
//! or their time is up, then deleted.
//!
//! Ticked by the reconcile loop with what HAProxy says about their sessions. Pure: time is an
//! argument, and what is to be done is an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::diff::{Op, Place};
use crate::model::BackendId;

/// The servers on their way out of one worker.
#[derive(Debug, Clone)]
pub struct Drains {
    timeout: Duration,
    leaving: BTreeMap<Place, Instant>,
    next: Option<Look>,
}

/// When to look again.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    /// How long after the last one.
    pause: Duration,
}

/// A server whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Which.
    pub place: Place,
    /// Its connections are cut: it had its time.
    pub cut: bool,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// HAProxy does not know it any more.
    Gone,
    /// It has connections still: again at the next look.
    Busy,
}

impl Drains {
    /// Nothing is on its way out; what will be has `timeout` for its connections.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, leaving: BTreeMap::new(), next: None }
    }

    /// These operations were carried out: some servers leave, some stay after all.
    pub fn note(&mut self, ops: &[Op], now: Instant) {
        for op in ops {
            match op {
                Op::Drain { place } => self.begin(place.clone(), now),
                Op::Let { place, .. } => drop(self.leaving.remove(place)),
                Op::Create { .. } | Op::Publish { .. } | Op::Add { .. } => (),
                Op::Move { .. } | Op::Weigh { .. } | Op::Map { .. } | Op::Cert { .. } => (),
            }
        }
        self.settle();
    }

    /// As after reading back: exactly these are on their way out.
    pub fn adopt(&mut self, places: impl IntoIterator<Item = Place>, now: Instant) {
        let places: BTreeSet<Place> = places.into_iter().collect();
        self.leaving.retain(|place, _| places.contains(place));
        for place in places {
            self.begin(place, now);
        }
        self.settle();
    }

    /// Another worker serves: it never had them.
    pub fn forget(&mut self) {
        self.leaving.clear();
        self.next = None;
    }

    /// When to look; none if nothing is on its way out.
    pub fn deadline(&self) -> Option<Instant> {
        self.next.map(|look| look.at)
    }

    /// The backends to ask about.
    pub fn backends(&self) -> BTreeSet<BackendId> {
        self.leaving.keys().map(|place| place.backend.clone()).collect()
    }

    /// How many are on their way out.
    pub fn len(&self) -> usize {
        self.leaving.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.leaving.is_empty()
    }

    /// The sessions are these; who can go?
    pub fn tick(&mut self, sessions: &BTreeMap<Place, u32>, now: Instant) -> Vec<Removal> {
        let removal = |(place, until): (&Place, &Instant)| {
            let late = now >= *until;
            // Whom HAProxy does not list is gone, which deleting it will tell.
            let idle = sessions.get(place).map_or(!late, |count| *count == 0);
            (idle || late).then(|| Removal { place: place.clone(), cut: !idle })
        };
        let removals = self.leaving.iter().filter_map(removal).collect();
        let soonest = self.leaving.values().filter(|until| **until > now).min();
        if let Some(look) = &mut self.next {
            look.pause = (look.pause * 2).min(LAST_PAUSE);
            look.at = soonest.map_or(now + look.pause, |until| (now + look.pause).min(*until));
        }
        removals
    }

    /// What became of a removal.
    pub fn ended(&mut self, place: &Place, how: Removed) {
        if how == Removed::Gone {
            self.leaving.remove(place);
            self.settle();
        }
    }

    fn begin(&mut self, place: Place, now: Instant) {
        let until = now + self.timeout;
        self.leaving.entry(place).or_insert(until);
        let at = now + FIRST_PAUSE.min(self.timeout);
        let at = self.next.map_or(at, |look| look.at.min(at));
        self.next = Some(Look { at, pause: FIRST_PAUSE });
    }

    fn settle(&mut self) {
        if self.leaving.is_empty() {
            self.next = None;
        }
    }
}

/// An answer of the server is often through by then.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Who takes longer than this is looked at this often.
const LAST_PAUSE: Duration = Duration::from_secs(1);
