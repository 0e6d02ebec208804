//! The states of a router, each with the timers that it needs and no others.
//!
//! Used by the other files of `machine`. Values and small arithmetic on them; decisions are made by
//! [`Machine`](super::Machine).

use std::time::{Duration, Instant};

use crate::machine::io::{Phase, Reason, Start};
use crate::types::Centiseconds;

/// Offsets of the announcements after a takeover.
pub(super) const BURST: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// Announcements once the burst is over.
const REPEAT: Duration = Duration::from_secs(60);
/// Announcements while a frozen predecessor may still answer ARP …
const FENCE_EVERY: Duration = Duration::from_millis(250);
/// … which it does until its lease ends.
pub(super) const FENCE_FOR: Duration = Duration::from_secs(4);
/// The shortest time between two bursts.
pub(super) const BURST_SPACING: Duration = Duration::from_secs(1);
/// How long the addresses stay once a peer has them: packets that are on their way to us, and answers
/// to them, are not lost. A peer has announced within a millisecond or two; and a host that asks
/// meanwhile, and takes our answer, hears the announcement of 20 ms (`BURST`) when ours are gone.
pub(super) const LINGER: Duration = Duration::from_millis(10);
/// How often the lease of held addresses is renewed, at the latest.
pub(super) const REFRESH: Duration = Duration::from_secs(1);

/// Where the router is (RFC 9568 §6.3 has Initialize, Backup and Active).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// Not started, or `start` waits for the first word about the link.
    Init {
        start: Option<Start>,
    },
    Fault(Out),
    Backup(Backup),
    Active(Active),
    Leaving(Leaving),
}

impl State {
    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::Init { .. } => Phase::Init,
            Self::Fault(_) => Phase::Fault,
            Self::Backup(_) => Phase::Backup,
            Self::Active(_) => Phase::Active,
            Self::Leaving(_) => Phase::Leaving,
        }
    }

    /// The lease of the addresses, in the states that hold them.
    pub(super) fn lease(&self) -> Option<Lease> {
        match self {
            Self::Init { .. } | Self::Fault(_) => None,
            Self::Backup(backup) => backup.kept,
            Self::Active(active) => Some(active.lease),
            Self::Leaving(leaving) => Some(leaving.lease),
        }
    }
}

/// Something forbids to take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Out {
    /// What forbade it last.
    pub(super) cause: Reason,
    /// The link was among the causes: peers need time to be heard again.
    pub(super) link: bool,
}

/// Another router is Active, or nobody yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Backup {
    /// When Active_Down_Timer was set …
    pub(super) since: Instant,
    /// … and to what. The length follows from priority and interval as they are when asked.
    pub(super) wait: Wait,
    /// Why this router would become Active when the timer fires.
    pub(super) why: Reason,
    /// Since when a router of lower priority is Active, where that matters.
    pub(super) lower_since: Option<Instant>,
    /// Addresses still on the interface, from an Active time that ended in doubt.
    pub(super) kept: Option<Lease>,
}

impl Backup {
    /// Listens from `now` on.
    pub(super) fn listening(now: Instant, wait: Wait) -> Self {
        Self { since: now, wait, why: Reason::Silence, lower_since: None, kept: None }
    }
}

/// What Active_Down_Timer is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Wait {
    /// Active_Down_Interval.
    Down,
    /// Skew_Time, after a resignation.
    Skew,
    /// One interval more than Active_Down_Interval, while a port may still be settling.
    Longer,
    /// Active_Down_Interval once more, because the timer was looked at too late to be believed.
    Again,
}

/// This router holds the addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Active {
    /// Adver_Timer.
    pub(super) advert_at: Instant,
    pub(super) lease: Lease,
    pub(super) announcer: Announcer,
    /// When an advertisement last answered somebody else's.
    pub(super) answered: Option<Instant>,
}

/// Resigned; the addresses stay until a peer has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Leaving {
    pub(super) why: Leave,
    /// Nobody came.
    pub(super) until: Instant,
    /// The resignation is said again: the first one may be lost.
    pub(super) again_at: Instant,
    pub(super) lease: Lease,
    /// `until` was put off because it was looked at too late to be believed.
    pub(super) put_off: bool,
    /// A peer took over from another member of the group.
    pub(super) group_taken: bool,
}

/// What a resignation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Leave {
    HandOver,
    Shutdown,
    /// Another member of the group left.
    Group,
    /// Something forbids to take part.
    Blocked,
    /// The service does not answer well.
    Limping,
}

/// Addresses that a peer has, and that are still on our interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Linger {
    /// They are removed.
    pub(super) until: Instant,
    /// Then this router is finished.
    pub(super) finishes: bool,
}

/// How long the kernel keeps the addresses without us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Lease {
    pub(super) refresh_at: Instant,
    pub(super) end: Instant,
}

impl Lease {
    /// A lease taken now, for an Active that advertises `interval`.
    pub(super) fn taken(now: Instant, interval: Centiseconds) -> Self {
        Self { refresh_at: after(now, REFRESH), end: after(now, lease(interval)) }
    }
}

/// The lease for an Active that advertises `interval`: whole seconds, as the kernel counts. Renewed
/// each [`REFRESH`], what is left never falls below four intervals, by which time every living peer
/// has taken over.
pub(super) fn lease(interval: Centiseconds) -> Duration {
    let four = (4 * u64::from(interval.get())).div_ceil(100);
    Duration::from_secs((four + 1).max(3))
}

/// The schedule of announcements of one takeover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Announcer {
    /// The burst began.
    from: Instant,
    /// The offset from then up to which everything is announced.
    done: Duration,
    /// A predecessor may answer ARP until then.
    fence_until: Instant,
}

impl Announcer {
    /// A burst whose first announcement is made now, and closer ones until `fence_until`.
    pub(super) fn burst(now: Instant, fence_until: Instant) -> Self {
        Self { from: now, done: Duration::ZERO, fence_until }
    }

    /// One announcement now, then only the repetitions.
    pub(super) fn once(now: Instant) -> Self {
        Self { from: now, done: BURST[BURST.len() - 1], fence_until: now }
    }

    pub(super) fn next(&self) -> Instant {
        after(self.from, self.next_offset())
    }

    /// Whether an announcement is due; it counts as made. What was missed is not made up for.
    pub(super) fn due(&mut self, now: Instant) -> bool {
        let due = now >= self.next();
        if due {
            self.done = now.saturating_duration_since(self.from).max(self.next_offset());
        }
        due
    }

    /// Begins a new burst, unless the last one is younger than [`BURST_SPACING`].
    pub(super) fn restart(&mut self, now: Instant) -> bool {
        let may = now.saturating_duration_since(self.from) >= BURST_SPACING;
        if may {
            (self.from, self.done) = (now, Duration::ZERO);
        }
        may
    }

    fn next_offset(&self) -> Duration {
        let burst = BURST.into_iter().find(|offset| *offset > self.done);
        let next = burst.unwrap_or_else(|| multiple_after(self.done, REPEAT));
        let fence = multiple_after(self.done, FENCE_EVERY);
        if after(self.from, fence) <= self.fence_until { next.min(fence) } else { next }
    }
}

/// The first multiple of `step` that is greater than `offset`.
fn multiple_after(offset: Duration, step: Duration) -> Duration {
    let (offset, step) = (offset.as_micros(), step.as_micros());
    Duration::from_micros(u64::try_from((offset / step + 1) * step).unwrap_or(u64::MAX))
}

/// `at + wait`, or `at` at the end of the clock.
pub(super) fn after(at: Instant, wait: Duration) -> Instant {
    at.checked_add(wait).unwrap_or(at)
}
