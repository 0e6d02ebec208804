//! What the engine tells its owner: moves as they happen, and the status of each router.
//!
//! Made on the VRRP thread, read by the owner through [`Reports`](super::engine::Reports). Plain
//! values; what cannot be delivered is dropped and counted, never waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::SystemTime;

use nix::sys::eventfd::EventFd;

use super::remark::Remark;
use crate::machine::io::{Count, Fault, Phase, Reason, Transition};
use crate::types::{Centiseconds, Family, Priority, Version, Vrid};
use crate::wire::counters::Counters;
use crate::wire::reject::Reject;

/// One thing to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A router changed its state.
    Moved {
        /// The router's name.
        router: String,
        /// From where to where, and why.
        transition: Transition,
    },
    /// How a router stands; comes after every move, and a few times per second while it changes.
    Status(Box<RouterStatus>),
    /// What came in on an interface for no router of ours; as seldom as a status.
    Strays(Box<InterfaceStatus>),
    /// A remark about a router is new (it stands in the status as long as it holds).
    Remark {
        /// The router's name.
        router: String,
        /// What to say.
        remark: Remark,
    },
    /// Something about the thread itself, told once.
    Warning(String),
    /// A `Shutdown` or `Suspend` of this router is done.
    Finished(Saved),
    /// A router left the configuration, and has resigned.
    Removed {
        /// The router's name.
        router: String,
    },
    /// So many reports were dropped before this one because nobody read them.
    Dropped(u64),
    /// The thread has ended, by order or by a failure of the system that it cannot work without.
    Ended(Result<(), String>),
}

/// What a process that replaces itself hands to its successor about one router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The router's name.
    pub router: String,
    /// It held the addresses and was not shut down: the successor may resume.
    pub active: bool,
    /// Until when, in nanoseconds of CLOCK_MONOTONIC, which all processes of the host share. Later
    /// a peer may have taken over.
    pub deadline: u64,
}

/// How one router stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterStatus {
    /// The router's name.
    pub name: String,
    /// Its interface.
    pub interface: String,
    /// Its number there.
    pub vrid: Vrid,
    /// The family of its advertisements.
    pub family: Family,
    /// The version it speaks.
    pub version: Version,
    /// Its state.
    pub phase: Phase,
    /// Since when; the start of the engine before the first move.
    pub since: SystemTime,
    /// Why; nothing before the first move.
    pub reason: Option<Reason>,
    /// The priority configured.
    pub base_priority: Priority,
    /// The priority in effect.
    pub priority: Priority,
    /// The Advertisement Interval learned from the Active router, else our own.
    pub active_interval: Centiseconds,
    /// Whom we heard last.
    pub peer: Option<PeerStatus>,
    /// The addresses that we hold.
    pub held: Vec<IpAddr>,
    /// An operator keeps this router out.
    pub held_by_operator: bool,
    /// There is something to serve.
    pub ready: bool,
    /// Why it should not hold the addresses.
    pub faults: BTreeSet<Fault>,
    /// What was received for this router.
    pub received: Counters,
    /// Advertisements sent.
    pub sent: u64,
    /// Advertisements that the kernel did not take.
    pub send_errors: u64,
    /// Announcements sent, each of all addresses.
    pub announced: u64,
    /// Times it became Active.
    pub became_active: u64,
    /// What the state machine counted.
    pub counts: BTreeMap<Count, u64>,
    /// Who sent packets that were refused, the latest ones.
    pub refused: Vec<Refused>,
    /// Who advertises other addresses than ours (each address list as last heard).
    pub differing: BTreeMap<IpAddr, Vec<IpAddr>>,
    /// What else to say.
    pub remarks: BTreeSet<Remark>,
}

/// Another router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerStatus {
    /// The source of its advertisements.
    pub address: IpAddr,
    /// Its priority; 0 = it resigned.
    pub priority: Priority,
    /// Its Advertisement Interval.
    pub interval: Centiseconds,
    /// When it was heard last.
    pub heard: SystemTime,
}

/// Packets refused from one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The source.
    pub source: IpAddr,
    /// Why, the last time.
    pub last: Reject,
    /// When, the last time.
    pub at: SystemTime,
    /// How often.
    pub count: u64,
}

/// What came in on an interface and could not be told to belong to a router of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceStatus {
    /// The interface.
    pub interface: String,
    /// The family.
    pub family: Family,
    /// Refusals by rung.
    pub received: Counters,
    /// Who sent them, the latest ones.
    pub refused: Vec<Refused>,
}

impl fmt::Display for RouterStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}: {:?}, priority {}", self.name, self.interface, self.phase, self.priority.0)
    }
}

/// The thread's end of the reports.
#[derive(Debug)]
pub(super) struct Reporter {
    reports: SyncSender<Report>,
    ready: Arc<EventFd>,
    dropped: u64,
}

impl Reporter {
    pub(super) fn new(reports: SyncSender<Report>, ready: Arc<EventFd>) -> Self {
        Self { reports, ready, dropped: 0 }
    }

    /// Tells it, unless nobody has read for long.
    pub(super) fn tell(&mut self, report: Report) {
        if self.dropped > 0 && self.reports.try_send(Report::Dropped(self.dropped)).is_ok() {
            self.dropped = 0;
        }
        match self.reports.try_send(report) {
            Ok(()) => {
                // It can only fail where the reader has been woken already.
                let _ = self.ready.write(1);
            }
            Err(_) => self.dropped += 1,
        }
    }
}

/// Refused packets by source, bounded: whoever was heard least recently makes room.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals(Vec<Refused>);

/// How many sources are remembered.
const SOURCES: usize = 16;

impl Refusals {
    /// One more.
    pub(super) fn note(&mut self, source: IpAddr, last: Reject, at: SystemTime) {
        if let Some(known) = self.0.iter_mut().find(|known| known.source == source) {
            *known = Refused { last, at, count: known.count + 1, ..*known };
            return;
        }
        if self.0.len() == SOURCES {
            let oldest = self.0.iter().enumerate().min_by_key(|(_, refused)| refused.at).map(|(at, _)| at);
            self.0.swap_remove(oldest.unwrap_or_default());
        }
        self.0.push(Refused { source, last, at, count: 1 });
    }

    /// All of them.
    pub(super) fn list(&self) -> Vec<Refused> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn refusals_are_kept_of_the_latest_sources() {
        let mut refusals = Refusals::default();
        let source = |last: u8| IpAddr::from([192, 0, 2, last]);
        for step in 0..20_u8 {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(step.into());
            refusals.note(source(0), Reject::Vrid { found: step }, at);
            refusals.note(source(step), Reject::Password, at);
        }
        let list = refusals.list();
        assert_eq!(list.len(), SOURCES);
        let first = list.iter().find(|refused| refused.source == source(0)).expect("heard all the time");
        assert_eq!((first.count, first.last), (21, Reject::Vrid { found: 19 }));
        assert!(
            list.iter()
                .all(|refused| refused.source == source(0)
                    || refused.at > SystemTime::UNIX_EPOCH + Duration::from_secs(4))
        );
    }
}
