//! The state machine of one virtual router: what happens and what time it is go in, what to do
//! comes out.
//!
//! Driven by the Linux engine and by the simulated networks of the tests, through [`Node`] or
//! directly. Reads no clock, opens no socket, and no input makes it panic.

mod active;
mod check;
mod facts;
pub mod io;
mod leaving;
mod node;
mod standby;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub use check::ConfigError;
pub use facts::Peer;
pub use node::Node;

use crate::config::{RouterConfig, down_interval, skew_time};
use crate::types::{Centiseconds, Priority, Version};
use facts::{Damping, Rules, Vanishing};
use io::{Action, Command, Count, Fault, GroupMove, Health, Heard, Input, Link, Phase, Reason, Start, Transition};
use state::{Backup, Leave, Linger, Out, State, Wait, after};

/// How long a limping Active that found no taker waits before it offers the addresses again.
const LIMP_RETRY: Duration = Duration::from_secs(10);

/// One virtual router.
///
/// ```text
///              Start                 down timer: Advertise, Hold, Announce
///  ┌──────┐ ─────────────▶ ┌────────┐ ─────────────────────────▶ ┌────────┐
///  │ Init │                │ Backup │                            │ Active │
///  └──────┘                └────────┘ ◀───────────────────────── └────────┘
///   ▲                        │    ▲    outranked: Drop              │    ▲
///   │                  fault │    │    late: addresses kept         │    │
///   │                        ▼    │ mended                          │    │
///   │                      ┌───────┐      no link: Drop             │    │
///   │                      │ Fault │ ◀──────────────────────────────┤    │
///   │                      └───────┘                                │    │
///   │                          ▲       handover, hold, unfit,       │    │
///   │                          │       shutdown: priority 0         ▼    │ nobody came
///   │      out: Drop           │                                 ┌─────────┐
///   │                          └──────────────────────────────── │         │
///   │      taken: Drop, then Backup                              │ Leaving │
///   └─────────────────────────────────────────────────────────── │         │
///          shut down: Drop                                       └─────────┘
/// ```
///
/// Inputs may come in any order and at any time. [`Input::Link`] and [`Input::Health`] are
/// remembered before [`Input::Start`], and a start waits for the first word about the link; until
/// told otherwise the node counts as fit. What was received should be handed in before
/// [`Input::Wake`], but a machine that finds itself late behaves either way: it listens again
/// before it believes that a peer is silent.
///
/// Where this differs from the letter of RFC 9568 §6.4:
///
/// - Resigning keeps the addresses until a peer has them (Leaving), and says priority 0 again each
///   interval until then. A resignation heard never lengthens the wait of a Backup.
/// - Whoever gives way to a peer that it heard keeps the addresses for 10 ms more, silently, whatever
///   its state then is: what is on its way to it is still answered. Not with a virtual MAC.
/// - The loser of an election sends one last advertisement, so that the winner announces again.
/// - A router that limps, or has nothing to serve yet, claims one interval later than others would
///   and never from a living router.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    rules: Rules,
    state: State,
    moved: Option<(Instant, Reason)>,
    link: Option<Link>,
    health: Health,
    hold: Option<Hold>,
    group_out: bool,
    not_before: Option<Instant>,
    yielding: bool,
    peer: Option<Peer>,
    learned: Centiseconds,
    damping: Damping,
    vanishing: Vanishing,
    offered: Option<Instant>,
    linger: Option<Linger>,
}

/// An operator wants this router out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Hold {
    force: bool,
}

impl Machine {
    /// A router that has not started.
    pub fn new(config: &RouterConfig) -> Self {
        Self {
            rules: Rules::from(config),
            state: State::Init { start: None },
            moved: None,
            link: None,
            health: Health::default(),
            hold: None,
            group_out: false,
            not_before: None,
            yielding: false,
            peer: None,
            learned: config.interval,
            damping: Damping::NEW,
            vanishing: Vanishing::NEW,
            offered: None,
            linger: None,
        }
    }

    /// Takes in what happened at `now`; returns what to do, in order. Lateness is judged before
    /// anything else, and whatever is due is done whatever the input was.
    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Action> {
        let mut out = Vec::new();
        self.judge_lateness(now, &mut out);
        if self.linger.is_some_and(|linger| now >= linger.until) {
            self.end_linger(&mut out);
        }
        match input {
            Input::Start(start) => {
                if let State::Init { start: waiting } = &mut self.state {
                    *waiting = Some(start);
                }
            }
            Input::Advert(heard) => self.hear(heard, now, &mut out),
            Input::Link(link) => self.link = Some(link),
            Input::Health(health) => self.health = health,
            Input::AddressLost(_) => self.address_lost(now, &mut out),
            Input::Rival => self.rival(now, &mut out),
            Input::Command(command) => self.command(command, now, &mut out),
            Input::Group(change) => self.group_moved(change, now, &mut out),
            Input::Wake => (),
        }
        self.vanishing.expire(now);
        let ill = self.unfit().is_some() || self.limping();
        self.damping.note(ill, now);
        self.settle(now, &mut out);
        self.tick(now, &mut out);
        if !ill && !matches!(self.state, State::Init { .. }) {
            self.damping.begin();
        }
        out
    }

    /// When to hand in [`Input::Wake`] at the latest. Earlier and more often is harmless.
    pub fn deadline(&self) -> Option<Instant> {
        earliest([self.state_deadline(), self.linger.map(|linger| linger.until)])
    }

    fn state_deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Init { .. } => None,
            State::Fault(_) => self.trusted_at(),
            State::Backup(backup) => earliest([
                Some(self.claim_at(backup)),
                backup.kept.map(|lease| lease.refresh_at.min(lease.end)),
                self.vanishing.until(),
            ]),
            State::Active(active) => earliest([
                Some(active.advert_at),
                Some(active.lease.refresh_at),
                Some(active.announcer.next()),
                self.limping().then(|| self.offered.map(|at| after(at, LIMP_RETRY))).flatten(),
                self.vanishing.until(),
            ]),
            State::Leaving(leaving) => earliest([
                Some(leaving.until),
                Some(leaving.again_at),
                Some(leaving.lease.refresh_at),
                self.vanishing.until(),
            ]),
        }
    }

    /// The present state.
    pub fn phase(&self) -> Phase {
        self.state.phase()
    }

    /// When and why the present state began; nothing before the first.
    pub fn moved(&self) -> Option<(Instant, Reason)> {
        self.moved
    }

    /// The priority that stands in advertisements: the base priority and the health's delta, 1–254.
    pub fn priority(&self) -> Priority {
        let sum = i32::from(self.rules.priority.0) + i32::from(self.health.delta);
        Priority(u8::try_from(sum.clamp(1, 254)).unwrap_or(1))
    }

    /// The last advertisement heard from another router.
    pub fn peer(&self) -> Option<Peer> {
        self.peer
    }

    /// Active_Adver_Interval: that of the Active router, as far as known.
    pub fn learned_interval(&self) -> Centiseconds {
        self.learned
    }

    /// Whether this machine has the addresses on the interface. After [`Command::Suspend`] they are
    /// there as well, but are no longer its affair.
    pub fn holds(&self) -> bool {
        self.state.lease().is_some() || self.linger.is_some()
    }

    /// Why this node should not hold the addresses: what it was told, and what it found itself.
    pub fn faults(&self) -> BTreeSet<Fault> {
        let mut faults = self.health.faults.clone();
        if self.vanishing.until().is_some() {
            faults.insert(Fault::Tracked("an address keeps vanishing".to_owned()));
        }
        faults
    }

    /// Whether an operator keeps this router out.
    pub fn held_by_operator(&self) -> bool {
        self.hold.is_some()
    }

    /// Whether there is something to serve.
    pub fn ready(&self) -> bool {
        self.health.ready
    }

    /// The interface, as told last.
    pub fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// Skew_Time, with the learned interval (RFC 9568 §6.1).
    fn skew(&self) -> Duration {
        skew_time(self.rules.version, self.priority(), self.learned)
    }

    /// Active_Down_Interval, with the learned interval (RFC 9568 §6.1).
    fn down(&self) -> Duration {
        down_interval(self.rules.version, self.priority(), self.learned)
    }

    fn link_down(&self) -> bool {
        !self.link.as_ref().is_some_and(|link| link.up && link.source.is_some())
    }

    /// What of the node's health forbids to hold the addresses.
    fn unfit(&self) -> Option<Reason> {
        let any = |kind: fn(&Fault) -> bool| self.health.faults.iter().any(kind);
        if any(|fault| matches!(fault, Fault::Down(_))) {
            Some(Reason::Unfit)
        } else if any(|fault| matches!(fault, Fault::Tracked(_))) {
            Some(Reason::Tracked)
        } else {
            None
        }
    }

    /// What forbids to take part, an operator's hold aside.
    fn blocked_but_for_hold(&self) -> Option<Reason> {
        if self.link_down() {
            return Some(Reason::Link);
        }
        self.unfit().or_else(|| self.group_out.then_some(Reason::Group))
    }

    fn blocked(&self) -> Option<Reason> {
        match self.blocked_but_for_hold() {
            Some(Reason::Link) => Some(Reason::Link),
            _ if self.hold.is_some() => Some(Reason::Hold),
            other => other,
        }
    }

    fn limping(&self) -> bool {
        self.vanishing.until().is_some() || self.health.faults.iter().any(|fault| matches!(fault, Fault::Limping(_)))
    }

    /// Routers in this condition let any other go first.
    fn impaired(&self) -> bool {
        self.limping() || !self.health.ready
    }

    /// Changes state and says so.
    fn go(&mut self, state: State, reason: Reason, now: Instant, out: &mut Vec<Action>) {
        let transition = Transition { from: self.phase(), to: state.phase(), reason };
        self.state = state;
        self.moved = Some((now, reason));
        out.push(Action::Moved(transition));
    }

    /// An advertisement arrived that passed every check of the packet.
    fn hear(&mut self, heard: Heard, now: Instant, out: &mut Vec<Action>) {
        let ours = self.link.as_ref().and_then(|link| link.source) == Some(heard.source);
        // RFC 9568 §6.4.1: Initialize ignores packets. Our own, looped back, mean nothing anywhere.
        if self.phase() == Phase::Init || heard.version != self.rules.version || ours {
            return;
        }
        let Heard { source, priority, interval, .. } = heard;
        self.peer = Some(Peer { source, priority, interval, heard: now });
        if interval != self.rules.interval {
            out.push(Action::Count(Count::IntervalDiffers));
        }
        if priority == Priority::RESIGN {
            out.push(Action::Count(Count::Resignation));
        }
        match self.state {
            State::Init { .. } => (),
            State::Fault(_) => self.learn(heard),
            State::Backup(backup) => self.hear_as_backup(backup, heard, now, out),
            State::Active(active) => self.hear_as_active(active, heard, now, out),
            State::Leaving(leaving) => self.hear_as_leaving(leaving, heard, now, out),
        }
    }

    /// RFC 9568 §6.4.2: Active_Adver_Interval is that of the Active router. Version 2 knows one
    /// interval for all.
    fn learn(&mut self, heard: Heard) {
        if self.rules.version == Version::V3 && heard.priority != Priority::RESIGN {
            self.learned = heard.interval;
        }
    }

    fn command(&mut self, command: Command, now: Instant, out: &mut Vec<Action>) {
        match (command, self.state) {
            (Command::HandOver, State::Active(active)) => {
                self.leave(active, Leave::HandOver, Reason::HandOver, now, out)
            }
            (Command::HandOver, _) => (),
            (Command::Hold { force }, _) => self.hold = Some(Hold { force }),
            (Command::Release, state) => {
                let held = self.hold.take().is_some();
                if held && self.blocked().is_none() && matches!(state, State::Leaving(l) if l.why == Leave::Blocked) {
                    self.become_active(Reason::Release, now, out);
                }
            }
            (Command::Shutdown, state) => self.shut_down(state, now, out),
            (Command::Suspend, state) => self.suspend(state, now, out),
        }
    }

    fn group_moved(&mut self, change: GroupMove, now: Instant, out: &mut Vec<Action>) {
        match (change, self.state) {
            (GroupMove::Fault, _) => self.group_out = true,
            (GroupMove::Fit, _) => self.group_out = false,
            (GroupMove::Active, state @ (State::Backup(_) | State::Fault(_))) if self.blocked().is_none() => {
                if let State::Fault(state) = state {
                    // Its probation ends with that of the others.
                    self.recover(state, now, out);
                }
                self.become_active(Reason::Group, now, out);
            }
            (GroupMove::Active, State::Leaving(leaving))
                if leaving.why != Leave::Shutdown && self.blocked_but_for_hold().is_none() =>
            {
                self.hold = None;
                self.become_active(Reason::Group, now, out);
            }
            (GroupMove::Backup, State::Active(active)) => self.leave(active, Leave::Group, Reason::Group, now, out),
            (GroupMove::Backup, State::Leaving(leaving)) => {
                self.state = State::Leaving(state::Leaving { group_taken: true, ..leaving });
            }
            (GroupMove::Active | GroupMove::Backup, _) => (),
        }
    }

    /// Makes the state follow from what is known.
    fn settle(&mut self, now: Instant, out: &mut Vec<Action>) {
        if let (State::Init { start: Some(start) }, Some(_)) = (self.state, &self.link) {
            self.begin(start, now, out);
        }
        match (self.state, self.blocked()) {
            (State::Init { .. }, _) => (),
            (State::Fault(state), Some(cause)) => {
                self.state = State::Fault(Out { cause, link: state.link || cause == Reason::Link });
            }
            (State::Fault(state), None) => {
                if self.trusted_at().is_none_or(|at| now >= at) {
                    self.recover(state, now, out);
                }
            }
            (State::Backup(_), Some(reason)) => self.go_out(reason, now, out),
            (State::Backup(_), None) => (),
            (State::Active(_), Some(Reason::Link)) => self.go_out(Reason::Link, now, out),
            (State::Active(active), Some(reason)) => self.leave(active, Leave::Blocked, reason, now, out),
            (State::Active(active), None) => {
                if self.limping() && self.offered.is_none_or(|at| now >= after(at, LIMP_RETRY)) {
                    self.offered = Some(now);
                    let told = self.health.faults.iter().any(|fault| matches!(fault, Fault::Limping(_)));
                    let reason = if told { Reason::Unfit } else { Reason::Tracked };
                    self.leave(active, Leave::Limping, reason, now, out);
                }
            }
            (State::Leaving(leaving), Some(Reason::Link)) => self.leave_at_once(leaving, Reason::Link, now, out),
            (State::Leaving(_), _) => (),
        }
    }

    /// RFC 9568 §6.4.1, but never straight to Active: nobody owns an address that floats.
    fn begin(&mut self, start: Start, now: Instant, out: &mut Vec<Action>) {
        self.learned = self.rules.interval;
        self.end_linger(out);
        match (start, self.link_down()) {
            (Start::Fresh, false) => {
                self.go(State::Backup(Backup::listening(now, Wait::Down)), Reason::Started, now, out);
            }
            (Start::Fresh, true) => self.go_out(Reason::Link, now, out),
            (Start::Leftover | Start::Resume, true) => {
                out.push(Action::Drop);
                self.go_out(Reason::Link, now, out);
            }
            (Start::Leftover, false) => self.keep_and_listen(None, Reason::Leftover, now, out),
            (Start::Resume, false) => self.become_active(Reason::Resumed, now, out),
        }
    }

    /// Does what is due.
    fn tick(&mut self, now: Instant, out: &mut Vec<Action>) {
        match self.state {
            State::Init { .. } | State::Fault(_) => (),
            State::Backup(backup) => self.tick_backup(backup, now, out),
            State::Active(active) => self.tick_active(active, now, out),
            State::Leaving(leaving) => self.tick_leaving(leaving, now, out),
        }
    }
}

fn earliest<const N: usize>(deadlines: [Option<Instant>; N]) -> Option<Instant> {
    deadlines.into_iter().flatten().min()
}
