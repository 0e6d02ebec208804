//! What a router remembers whatever state it is in: peers, and how often it was ill.
//!
//! Used by the other files of `machine`. Values and small arithmetic on them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::{Preempt, RouterConfig, down_interval};
use crate::machine::state::after;
use crate::types::{Centiseconds, Priority, Version};

/// Health that must have lasted before a router that was unfit takes part again.
const PROBATION: Duration = Duration::from_secs(5);
/// The longest probation; each relapse doubles it.
const PROBATION_MAX: Duration = Duration::from_secs(300);
/// Health that makes earlier illness forgotten.
const CALM: Duration = Duration::from_secs(600);
/// An address that vanished more than [`VANISH_LIMIT`] times in so long is being fought over.
const VANISH_WINDOW: Duration = Duration::from_secs(10);
const VANISH_LIMIT: u32 = 10;
/// How long a router whose address was fought over counts as limping.
const VANISH_PENALTY: Duration = Duration::from_secs(60);

/// The part of the configuration that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Rules {
    pub(super) version: Version,
    pub(super) priority: Priority,
    pub(super) interval: Centiseconds,
    pub(super) preempt: Preempt,
    pub(super) virtual_mac: bool,
}

impl From<&RouterConfig> for Rules {
    fn from(config: &RouterConfig) -> Self {
        let RouterConfig { version, priority, interval, preempt, virtual_mac, .. } = *config;
        Self { version, priority, interval, preempt, virtual_mac }
    }
}

/// The last advertisement heard from another router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Who sent it.
    pub source: IpAddr,
    /// Its priority; 0 = it resigned.
    pub priority: Priority,
    /// Its Advertisement Interval.
    pub interval: Centiseconds,
    /// When it was heard.
    pub heard: Instant,
}

impl Peer {
    /// When this peer counts as silent, to a listener of `priority`; nothing once it resigned.
    pub(super) fn silent_at(&self, version: Version, priority: Priority) -> Option<Instant> {
        let down = down_interval(version, priority, self.interval);
        (self.priority != Priority::RESIGN).then(|| after(self.heard, down))
    }
}

/// How long a router that was ill is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Damping {
    ill: bool,
    /// It took part and was well at least once; before that it only had not begun.
    began: bool,
    wait: Duration,
    mended: Option<Instant>,
}

impl Damping {
    pub(super) const NEW: Self = Self { ill: false, began: false, wait: PROBATION, mended: None };

    /// Takes note of the present health. Only a relapse after a whole probation is a repeat.
    pub(super) fn note(&mut self, ill: bool, now: Instant) {
        if ill && !self.ill {
            let well_for = self.mended.map(|at| now.saturating_duration_since(at));
            self.wait = match well_for {
                Some(well) if well >= CALM => PROBATION,
                Some(well) if well >= self.wait => (2 * self.wait).min(PROBATION_MAX),
                _ => self.wait,
            };
        }
        if !ill && self.ill && self.began {
            self.mended = Some(now);
        }
        self.ill = ill;
    }

    /// It takes part and is well.
    pub(super) fn begin(&mut self) {
        self.began = true;
    }

    /// The end of the probation, if there ever was one.
    pub(super) fn until(&self) -> Option<Instant> {
        self.mended.map(|at| after(at, self.wait))
    }
}

/// Counts how often an address of ours was removed by someone else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Vanishing {
    window: Option<(Instant, u32)>,
    until: Option<Instant>,
}

impl Vanishing {
    pub(super) const NEW: Self = Self { window: None, until: None };

    /// One more was lost; whether it is to be restored at once.
    pub(super) fn lost(&mut self, now: Instant) -> bool {
        let (from, lost) = match self.window {
            Some((from, lost)) if now.saturating_duration_since(from) < VANISH_WINDOW => (from, lost.saturating_add(1)),
            _ => (now, 1),
        };
        self.window = Some((from, lost));
        if lost > VANISH_LIMIT {
            self.until = Some(after(now, VANISH_PENALTY));
        }
        lost <= VANISH_LIMIT
    }

    /// Until when the router limps because of it.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Forgets what is over.
    pub(super) fn expire(&mut self, now: Instant) {
        self.until = self.until.filter(|until| now < *until);
    }
}
