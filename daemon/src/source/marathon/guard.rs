//! Judges answers about all apps: a list that takes away most of what is served must be said twice.
//!
//! Used by `refetch`; pure, time is an argument. A Marathon that has just been elected, a proxy with
//! another view or a wiped state give well-formed lists that lack much or everything. Only answers
//! about all apps come here; answers about one app and events are believed as they are.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::book::{Endpoint, Loss};

/// How careful to be: `[guard]`.
#[derive(Debug, Clone, Copy)]
pub struct GuardConfig {
    /// The part of the endpoints that may vanish at once after a reconnect or a change of leader.
    pub max_removal: f64,
    /// Before a list that takes away more is asked for again.
    pub confirm: Duration,
}

/// The state between answers.
#[derive(Debug)]
pub struct Guard {
    config: GuardConfig,
    /// When we last reconnected or saw another leader.
    shaken: Option<Instant>,
    held: Option<Held>,
}

/// What is held back.
#[derive(Debug)]
struct Held {
    /// When it was asked for.
    asked: Instant,
    empty: bool,
    lost: HashSet<Endpoint>,
}

/// What becomes of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Take,
    /// It counts, because it was said twice.
    Confirmed,
    /// It does not count yet.
    Hold {
        /// When to ask again.
        until: Instant,
        /// What is odd about it.
        why: String,
    },
}

/// What an answer about all apps is judged by.
#[derive(Debug)]
pub struct Evidence {
    /// When it was asked for.
    pub asked: Instant,
    /// It holds no app.
    pub empty: bool,
    /// Apps are served.
    pub serving: bool,
    /// What it would take away.
    pub loss: Loss,
}

impl Guard {
    /// Nothing held.
    pub fn new(config: GuardConfig) -> Self {
        Self { config, shaken: None, held: None }
    }

    /// We reconnected, or somebody else leads.
    pub fn shaken(&mut self, now: Instant) {
        self.shaken = Some(now);
    }

    /// When the list that is held back may be confirmed.
    pub fn confirm_at(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.asked + self.config.confirm)
    }

    /// What the list that is held back takes away.
    pub fn held(&self) -> Option<&HashSet<Endpoint>> {
        self.held.as_ref().map(|held| &held.lost)
    }

    /// Nothing is held back any more: what it would take away is gone by itself.
    pub fn release(&mut self) {
        self.held = None;
    }

    /// Decides.
    pub fn judge(&mut self, evidence: Evidence, now: Instant) -> Verdict {
        let Evidence { asked, empty, serving, loss } = evidence;
        let empty = empty && serving;
        let mass = self.is_mass(loss.lost.len(), loss.of);
        let wary = self.held.is_some() || self.shaken.is_some_and(|at| now.duration_since(at) <= WARY);
        if !(empty || (mass && wary)) {
            self.held = None;
            return Verdict::Take;
        }
        let why = match empty {
            true => "Marathon lists no apps any more".to_owned(),
            false => format!("Marathon lists {} of {} endpoints no more", loss.lost.len(), loss.of),
        };
        match &self.held {
            Some(held) if asked < held.asked + self.config.confirm => {
                Verdict::Hold { until: held.asked + self.config.confirm, why }
            }
            Some(held) if held.empty || (!empty && !self.is_more(&loss, held)) => {
                self.held = None;
                Verdict::Confirmed
            }
            _ => {
                self.held = Some(Held { asked, empty, lost: loss.lost });
                Verdict::Hold { until: asked + self.config.confirm, why }
            }
        }
    }

    fn is_mass(&self, lost: usize, of: usize) -> bool {
        #[allow(clippy::cast_precision_loss, reason = "a count of endpoints")]
        let share = lost as f64 / of.max(1) as f64;
        of >= FEW && share > self.config.max_removal
    }

    /// Whether this one lacks as much again that the one before had.
    fn is_more(&self, loss: &Loss, held: &Held) -> bool {
        self.is_mass(loss.lost.difference(&held.lost).count(), loss.of)
    }
}

/// After a reconnect or a change of leader.
const WARY: Duration = Duration::from_secs(60);

/// With fewer endpoints a large part is soon gone for good reasons.
const FEW: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        guard: Guard,
        start: Instant,
    }

    #[allow(clippy::disallowed_methods, reason = "any moment will do")]
    fn bench() -> Bench {
        let config = GuardConfig { max_removal: 0.5, confirm: Duration::from_secs(10) };
        Bench { guard: Guard::new(config), start: Instant::now() }
    }

    impl Bench {
        fn at(&self, secs: u64) -> Instant {
            self.start + Duration::from_secs(secs)
        }

        /// Judges a list asked for and answered at this second, which lacks these of `of` endpoints.
        fn judge(&mut self, secs: u64, lost: std::ops::Range<u16>, of: usize) -> String {
            let empty = lost.len() == of;
            let lost = lost.map(|port| ("t".to_owned(), port)).collect();
            let evidence = Evidence { asked: self.at(secs), empty, serving: of > 0, loss: Loss { of, lost } };
            match self.guard.judge(evidence, self.at(secs)) {
                Verdict::Hold { until, .. } => format!("hold {}", until.duration_since(self.start).as_secs()),
                other => format!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_mass_removal_counts_at_once_in_quiet_times() {
        let mut b = bench();
        assert_eq!(b.judge(0, 0..90, 100), "Take");
        b.guard.shaken(b.at(0));
        assert_eq!(b.judge(61, 0..90, 100), "Take");
    }

    #[test]
    fn after_a_reconnect_it_must_be_said_twice() {
        let mut b = bench();
        b.guard.shaken(b.at(0));
        assert_eq!(b.judge(1, 0..50, 100), "Take", "no more than the limit");
        assert_eq!(b.judge(1, 0..9, 9), "hold 11", "an empty list");
        assert_eq!(b.judge(2, 0..8, 9), "Take", "few endpoints");
        assert_eq!(b.judge(3, 0..51, 100), "hold 13");
        assert_eq!(b.judge(5, 0..51, 100), "hold 13", "not yet");
        assert_eq!(b.judge(13, 0..52, 100), "Confirmed");
        assert_eq!(b.guard.confirm_at(), None);
    }

    #[test]
    fn an_empty_list_must_always_be_said_twice_unless_there_was_nothing() {
        let mut b = bench();
        assert_eq!(b.judge(100, 0..0, 0), "Take");
        assert_eq!(b.judge(100, 0..3, 3), "hold 110");
        assert_eq!(b.judge(110, 0..3, 3), "Confirmed");
    }

    #[test]
    fn a_second_list_that_has_it_all_ends_the_matter() {
        let mut b = bench();
        b.guard.shaken(b.at(0));
        assert_eq!(b.judge(1, 0..90, 100), "hold 11");
        assert_eq!(b.judge(4, 0..2, 100), "Take");
        assert_eq!(b.guard.confirm_at(), None);
    }

    #[test]
    fn a_second_list_that_lacks_something_else_confirms_nothing() {
        let mut b = bench();
        b.guard.shaken(b.at(0));
        assert_eq!(b.judge(1, 0..60, 120), "Take");
        assert_eq!(b.judge(1, 0..61, 120), "hold 11");
        assert_eq!(b.judge(11, 55..120, 120), "Confirmed", "59 others are not more than the limit");
        assert_eq!(b.judge(12, 0..51, 100), "hold 22");
        assert_eq!(b.judge(22, 0..100, 100), "hold 32", "everything is more than half");
        assert_eq!(b.judge(32, 0..100, 100), "Confirmed");
        assert_eq!(b.judge(33, 0..51, 100), "hold 43");
        assert_eq!(b.judge(43, 49..101, 101), "Confirmed", "50 others");
        assert_eq!(b.judge(44, 0..51, 100), "hold 54");
        assert_eq!(b.judge(54, 49..100, 100), "Confirmed");
        assert_eq!(b.judge(55, 0..60, 100), "hold 65");
        assert_eq!(b.judge(80, 0..60, 100), "Confirmed", "late, but held all the same");
    }
}
