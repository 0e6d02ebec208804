//! What goes into a machine and what comes out of it.
//!
//! Used by [`Machine`](super::Machine) and by everyone who drives one: the Linux engine and the
//! simulated network of the tests. Plain values.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::types::{Centiseconds, Priority, Version};

/// One thing that happened to a router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The engine runs; nothing else counts before.
    Start(Start),
    /// An advertisement that passed every check of `wire`.
    Advert(Heard),
    /// The interface is as told from now on.
    Link(Link),
    /// The node is as fit as told from now on.
    Health(Health),
    /// Someone else removed one of our addresses while we hold them.
    AddressLost(IpAddr),
    /// Another host answers ARP or neighbour discovery for one of our addresses while we hold it.
    Rival,
    /// An operator, or the process that owns us, wants something.
    Command(Command),
    /// Another member of the sync group moved.
    Group(GroupMove),
    /// Time has passed. Harmless when nothing is due.
    Wake,
}

/// What a router knows when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// No address of ours is on the interface.
    Fresh,
    /// A crashed predecessor left our addresses there: keep them and listen for one
    /// Active_Down_Interval (an advertisement = remove, silence = Active).
    Leftover,
    /// The predecessor of an upgrade in place was Active until now and handed over in time.
    Resume,
}

/// An advertisement as the machine sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Who sent it.
    pub source: IpAddr,
    /// Its priority; 0 = it resigns.
    pub priority: Priority,
    /// Its Advertisement Interval.
    pub interval: Centiseconds,
    /// Its version.
    pub version: Version,
}

/// The interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// It exists, is up and has a carrier.
    pub up: bool,
    /// The source of our advertisements, as soon as there is a usable one.
    pub source: Option<IpAddr>,
}

/// What the rest of the daemon knows of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Reasons not to hold the addresses; empty = fit.
    pub faults: BTreeSet<Fault>,
    /// Added to the base priority; the sum is kept within 1–254.
    pub delta: i16,
    /// There was a valid configuration at least once. Without one the node does not claim the
    /// addresses while a peer is heard.
    pub ready: bool,
}

/// Why a node must not hold the addresses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The service does not run.
    Down(String),
    /// The service runs but does not answer: better than nobody (design: "a lone limping node").
    Limping(String),
    /// A tracked interface or script says so.
    Tracked(String),
}

/// What an operator or the owning process wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Give the addresses away once, if somebody takes them.
    HandOver,
    /// Give them away and stay out until `Release`; `force` = even if nobody takes them.
    Hold {
        /// Also where no peer takes over within one down interval.
        force: bool,
    },
    /// Take part again.
    Release,
    /// The process ends: resign by make-before-break, then [`Action::Finished`].
    Shutdown,
    /// The process is about to replace itself: bridge the pause, then [`Action::Finished`].
    Suspend,
}

/// What another member of the sync group did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupMove {
    /// It became Active: so do we.
    Active,
    /// It left Active for a better router: so do we.
    Backup,
    /// It is in Fault, or gives its addresses away: so do we.
    Fault,
    /// It is fit again.
    Fit,
}

/// One thing to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send one advertisement.
    Advertise {
        /// Its priority; 0 = we resign.
        priority: Priority,
        /// Its interval; raised before a pause that peers should sit out.
        interval: Centiseconds,
    },
    /// Have all addresses on the interface for `lease` from now: add or refresh them.
    Hold {
        /// After it the kernel removes them by itself.
        lease: Duration,
    },
    /// Remove all addresses.
    Drop,
    /// Announce all addresses once: gratuitous ARP, unsolicited neighbour advertisement.
    Announce,
    /// The state changed.
    Moved(Transition),
    /// Something worth a counter happened.
    Count(Count),
    /// `Shutdown` or `Suspend` is done: the process may go.
    Finished,
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: Phase,
    /// After.
    pub to: Phase,
    /// Why.
    pub reason: Reason,
}

/// The name of a state, without its timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Not started, or stopped (RFC 9568 Initialize).
    Init,
    /// Something forbids to take part.
    Fault,
    /// Another router is Active, or nobody yet.
    Backup,
    /// This router holds the addresses.
    Active,
    /// Resigned, addresses kept until a peer has them.
    Leaving,
}

/// Why a state was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The engine started.
    Started,
    /// A predecessor handed over in time.
    Resumed,
    /// A predecessor left its addresses: listening before anything else.
    Leftover,
    /// No advertisement for one down interval.
    Silence,
    /// The Active router resigned (priority 0), and one skew time passed.
    PeerResigned,
    /// A living router of lower priority was to be taken over from.
    Preempted,
    /// A router of higher priority, or of equal priority and higher address, is there.
    Outranked,
    /// We woke so late that somebody else may hold the addresses.
    Late,
    /// We woke after our lease had ended.
    LeaseEnded,
    /// The interface is down or gone, or has no usable address.
    Link,
    /// The service is unfit.
    Unfit,
    /// A tracked interface or script failed.
    Tracked,
    /// What kept us out is mended.
    Recovered,
    /// Nobody took over: a limping router is better than none.
    NobodyElse,
    /// An operator's handover.
    HandOver,
    /// An operator's hold.
    Hold,
    /// An operator released the hold.
    Release,
    /// A peer has the addresses now.
    Taken,
    /// The process stops.
    Shutdown,
    /// The process replaces itself.
    Suspend,
    /// Another member of the sync group moved.
    Group,
}

/// Events of a router that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Count {
    /// An advertisement of priority 0 was heard.
    Resignation,
    /// A second Active was heard.
    Contention,
    /// The Advertisement Interval heard differs from ours.
    IntervalDiffers,
    /// We woke too late.
    Late,
    /// An address of ours was removed by someone else and restored.
    AddressRestored,
    /// Another host answered for an address of ours.
    Rival,
}
