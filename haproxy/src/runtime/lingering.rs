//! Servers that are gone and whose sessions go on in workers that reloads replaced.
//!
//! Ticked by the reconcile loop. HAProxy lets an old worker's sessions be until `hard_stop_after`, and
//! takes no orders about its servers any more; a server that is gone has no longer than a drain may
//! take. Pure: time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::diff::{Op, Place};

/// When the sessions of which servers end in old workers.
#[derive(Debug)]
pub struct Lingering {
    timeout: Duration,
    until: BTreeMap<Place, Instant>,
    /// There may be old workers.
    old: bool,
    /// The next look is not before that.
    rest: Option<Instant>,
}

impl Lingering {
    /// Servers have `timeout` for their sessions.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, until: BTreeMap::new(), old: false, rest: None }
    }

    /// There may be old workers from now on; these servers are not in the new one.
    pub fn reloaded(&mut self, gone: impl IntoIterator<Item = Place>, now: Instant) {
        self.old = true;
        for place in gone {
            self.until.entry(place).or_insert(now + self.timeout);
        }
    }

    /// These operations were carried out in the new one: who leaves it leaves the old ones too.
    pub fn note(&mut self, ops: &[Op], now: Instant) {
        for op in ops {
            match op {
                Op::Drain { place } if self.old => {
                    self.until.entry(place.clone()).or_insert(now + self.timeout);
                }
                Op::Add { backend, server, .. } => {
                    self.until.remove(&Place { backend: backend.clone(), server: server.name.clone() });
                }
                Op::Let { place, .. } => drop(self.until.remove(place)),
                _ => (),
            }
        }
    }

    /// There is no old worker.
    pub fn forget(&mut self) {
        *self = Self::new(self.timeout);
    }

    /// When to look; none if nothing is waited for.
    pub fn deadline(&self) -> Option<Instant> {
        let soonest = self.until.values().min().copied()?;
        Some(self.rest.map_or(soonest, |rest| rest.max(soonest)))
    }

    /// The servers whose time is up; each is told once.
    pub fn due(&mut self, now: Instant) -> BTreeSet<Place> {
        let late = |until: &Instant| *until <= now;
        let due = self.until.iter().filter(|(_, until)| late(until)).map(|(place, _)| place.clone()).collect();
        self.until.retain(|_, until| !late(until));
        self.rest = Some(now + REST);
        due
    }
}

/// Where servers come and go all the time, old workers are not asked each time.
const REST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a start for times that are added up")]

    use super::*;
    use crate::app::AppId;
    use crate::model::{Admin, BackendId};

    #[test]
    fn each_server_has_its_time_once_there_are_old_workers() {
        let backend = BackendId::new(&AppId::parse("/a").unwrap(), 80);
        let place = |server: &str| Place { backend: backend.clone(), server: server.into() };
        let drain = |server: &str| [Op::Drain { place: place(server) }];
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut lingering = Lingering::new(Duration::from_secs(5));
        lingering.note(&drain("x"), start);
        assert_eq!(lingering.deadline(), None, "no reload yet");
        lingering.reloaded([place("x"), place("back")], start);
        lingering.note(&drain("y"), at(400));
        lingering.note(&drain("x"), at(400));
        lingering.note(&[Op::Let { place: place("back"), admin: Admin::Ready, checked: false }], at(500));
        assert_eq!((lingering.deadline(), lingering.due(at(4_999))), (Some(at(5_000)), BTreeSet::new()));
        assert_eq!(lingering.due(at(5_000)), BTreeSet::from([place("x")]));
        assert_eq!(lingering.deadline(), Some(at(6_000)), "not at once again");
        assert_eq!(lingering.due(at(6_000)), BTreeSet::from([place("y")]));
        assert_eq!(lingering.deadline(), None);
        lingering.forget();
        lingering.note(&drain("z"), at(7_000));
        assert_eq!(lingering.deadline(), None);
    }
}
