//! The states without the addresses: Backup and Fault.
//!
//! Part of [`Machine`].

use std::time::{Duration, Instant};

use crate::config::Preempt;
use crate::machine::Machine;
use crate::machine::io::{Action, Count, Heard, Reason};
use crate::machine::state::{Backup, Out, State, Wait, after};
use crate::types::Priority;

impl Machine {
    /// RFC 9568 §6.4.2, an advertisement is received.
    pub(super) fn hear_as_backup(&mut self, mut backup: Backup, heard: Heard, now: Instant, out: &mut Vec<Action>) {
        if heard.priority == Priority::RESIGN {
            // With the learned interval and our priority. Never later than without the resignation,
            // or a flood of them would keep everybody out.
            if after(now, self.skew()) < self.down_at(&backup) {
                (backup.since, backup.wait) = (now, Wait::Skew);
                backup.why = Reason::PeerResigned;
            }
            self.state = State::Backup(backup);
            return;
        }
        if backup.kept.take().is_some() {
            out.push(Action::Drop);
        }
        if heard.priority >= self.priority() {
            backup.lower_since = None;
            self.accept(&mut backup, heard, now);
        } else if !self.preempts(&mut backup, now) {
            self.accept(&mut backup, heard, now);
        } else {
            // Not restarted: the running timer will end the reign of the lower priority.
            backup.why = Reason::Preempted;
        }
        self.state = State::Backup(backup);
    }

    fn accept(&mut self, backup: &mut Backup, heard: Heard, now: Instant) {
        self.learn(heard);
        (backup.since, backup.wait, backup.why) = (now, Wait::Down, Reason::Silence);
    }

    /// Whether a living router of lower priority is to be taken over from by now.
    fn preempts(&self, backup: &mut Backup, now: Instant) -> bool {
        let Preempt::After(delay) = self.rules.preempt else { return false };
        let on_probation = self.damping.until().is_some_and(|until| now < until);
        if self.impaired() || self.yielding || on_probation {
            backup.lower_since = None;
            return false;
        }
        let since = *backup.lower_since.get_or_insert(now);
        now.saturating_duration_since(since) >= delay
    }

    /// When Active_Down_Timer fires.
    fn down_at(&self, backup: &Backup) -> Instant {
        let wait = match backup.wait {
            Wait::Skew => self.skew(),
            Wait::Down | Wait::Again => self.down(),
            Wait::Longer => self.down() + Duration::from(self.learned),
        };
        after(backup.since, wait)
    }

    /// When this router claims the addresses if nothing else happens: an impaired one an interval
    /// later than anybody else would, and a member of a group not before the others may.
    pub(super) fn claim_at(&self, backup: &Backup) -> Instant {
        let at = self.own_claim_at(backup);
        self.not_before.map_or(at, |gate| at.max(gate))
    }

    fn own_claim_at(&self, backup: &Backup) -> Instant {
        let extra = if self.impaired() { self.learned.into() } else { Duration::ZERO };
        after(self.down_at(backup), extra)
    }

    /// Until when other members of the group must not claim: while this router is not trusted again,
    /// or its Active was heard lately. Within the last interval before the claim the members need not
    /// wait for each other.
    pub(super) fn veto_until(&self) -> Option<Instant> {
        match &self.state {
            State::Backup(backup) => self.own_claim_at(backup).checked_sub(self.learned.into()),
            State::Fault(_) => self.trusted_at(),
            _ => None,
        }
    }

    /// Members of the group forbid to claim until `gate`.
    pub(super) fn gate(&mut self, gate: Option<Instant>, now: Instant) {
        // A gate that opens early opens now: a claim that waited for it is not late.
        let waited = self.not_before.is_some_and(|old| old > now);
        self.not_before = if waited { Some(gate.map_or(now, |gate| gate.max(now))) } else { gate };
    }

    pub(super) fn tick_backup(&mut self, mut backup: Backup, now: Instant, out: &mut Vec<Action>) {
        let claim_at = self.claim_at(&backup);
        let late = now > after(claim_at, self.learned.into());
        if now >= claim_at && (!late || backup.wait == Wait::Again) {
            return self.become_active(backup.why, now, out);
        }
        if now >= claim_at {
            // We slept; what the Active sent meanwhile may wait in the socket. Once only, so that a
            // host that is always late still takes over in the end.
            out.push(Action::Count(Count::Late));
            (backup.since, backup.wait) = (now, Wait::Again);
        }
        if let Some(lease) = &mut backup.kept
            && now >= lease.refresh_at
        {
            self.refresh(lease, now, out);
        }
        self.state = State::Backup(backup);
    }

    /// Drops the addresses, if any, and waits until nothing forbids to take part.
    pub(super) fn go_out(&mut self, cause: Reason, now: Instant, out: &mut Vec<Action>) {
        self.end_linger(out);
        if self.holds() {
            out.push(Action::Drop);
        }
        self.go(State::Fault(Out { cause, link: cause == Reason::Link }), cause, now, out);
    }

    /// When a router that nothing forbids any more may leave Fault: after its probation, or as soon
    /// as no peer lives. Nothing = at once, or not for now.
    pub(super) fn trusted_at(&self) -> Option<Instant> {
        if self.blocked().is_some() {
            return None;
        }
        let silent_at = self.peer.and_then(|peer| peer.silent_at(self.rules.version, self.priority()))?;
        self.damping.until().map(|until| until.min(silent_at))
    }

    pub(super) fn recover(&mut self, state: Out, now: Instant, out: &mut Vec<Action>) {
        let alive = self.peer.and_then(|peer| peer.silent_at(self.rules.version, self.priority()));
        if alive.is_none_or(|until| now >= until) {
            self.learned = self.rules.interval;
        }
        let wait = if state.link { Wait::Longer } else { Wait::Down };
        let reason = match state.cause {
            Reason::Hold => Reason::Release,
            Reason::Group => Reason::Group,
            _ => Reason::Recovered,
        };
        self.go(State::Backup(Backup::listening(now, wait)), reason, now, out);
    }

    /// Whether this router is out for reasons of its own, and its group with it.
    pub(super) fn grounded(&self) -> bool {
        matches!(self.state, State::Fault(_)) && !matches!(self.blocked(), None | Some(Reason::Group))
    }
}
