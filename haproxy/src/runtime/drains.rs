//! The end of servers that are not wanted any more: in drain until their connections are through
//! or their time is up, then in maintenance, and deleted a while later.
//!
//! Why later: who could not connect to a server waits up to a second before trying it again, and, if it
//! is in maintenance by then, up to another second before trying somebody else. In the second wait HAProxy does
//! not count it among the server's streams; deletes the server; and the stream writes into freed memory
//! (2.6.12 aborts at times; 3.0.11 has the same lines: `stream_choose_redispatch`, then
//! `assign_server_and_queue`).
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
    leaving: BTreeMap<Place, Leaving>,
    next: Option<Look>,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
struct Leaving {
    /// Its connections have so long.
    until: Instant,
    /// In maintenance, and to be deleted then.
    deletion: Option<Instant>,
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
    /// It is deleted, too; otherwise it comes into maintenance only.
    pub delete: bool,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is in maintenance.
    Closed,
    /// HAProxy does not know it any more.
    Gone,
    /// It has connections still: all of it again.
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
    pub fn backends(&self, now: Instant) -> BTreeSet<BackendId> {
        let asked = self.leaving.iter().filter(|(_, leaving)| !leaving.waits(now));
        asked.map(|(place, _)| place.backend.clone()).collect()
    }

    /// How many may finish their connections still.
    pub fn draining(&self) -> usize {
        self.leaving.values().filter(|leaving| leaving.deletion.is_none()).count()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.leaving.is_empty()
    }

    /// The sessions are these; who can go?
    pub fn tick(&mut self, sessions: &BTreeMap<Place, u32>, now: Instant) -> Vec<Removal> {
        let mut removals = Vec::new();
        for (place, leaving) in self.leaving.iter_mut().filter(|(_, leaving)| !leaving.waits(now)) {
            let late = now >= leaving.until;
            // Whom HAProxy does not list is gone, which deleting it will tell.
            let idle = sessions.get(place).map_or(!late, |count| *count == 0);
            if idle || late {
                let delete = leaving.deletion.is_some();
                removals.push(Removal { place: place.clone(), cut: !idle, delete });
            } else {
                // Somebody came before it was in maintenance.
                leaving.deletion = None;
            }
        }
        if let Some(look) = &mut self.next {
            look.pause = (look.pause * 2).min(LAST_PAUSE);
            let times = self.leaving.values().map(|leaving| leaving.next(now, look.pause));
            look.at = times.min().unwrap_or(now + look.pause);
        }
        removals
    }

    /// What became of a removal. Who is in maintenance may be deleted at `deletion`: HAProxy's `timeout connect` and
    /// [`TURN_AROUND`] from now, or later.
    pub fn ended(&mut self, place: &Place, how: Removed, deletion: Instant) {
        if how == Removed::Gone {
            self.leaving.remove(place);
            self.settle();
        } else if let Some(leaving) = self.leaving.get_mut(place) {
            leaving.deletion = (how == Removed::Closed).then_some(deletion);
        }
    }

    fn begin(&mut self, place: Place, now: Instant) {
        self.leaving.entry(place).or_insert(Leaving { until: now + self.timeout, deletion: None });
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

impl Leaving {
    /// For its deletion, and nothing changes before.
    fn waits(&self, now: Instant) -> bool {
        self.deletion.is_some_and(|at| at > now)
    }

    /// When to look after it.
    fn next(&self, now: Instant, pause: Duration) -> Instant {
        let coming = |at: &Instant| *at > now;
        let look = || Some(self.until).filter(coming).map_or(now + pause, |until| until.min(now + pause));
        self.deletion.filter(coming).unwrap_or_else(look)
    }
}

/// HAProxy's two waits, and a moment for what it then does.
pub const TURN_AROUND: Duration = Duration::from_millis(2_500);

/// An answer of the server is often through by then.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Who takes longer than this is looked at this often.
const LAST_PAUSE: Duration = Duration::from_secs(1);
