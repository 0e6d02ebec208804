//! The Active state: becoming it, advertising, answering contenders, noticing lateness.
//!
//! Part of [`Machine`].

use std::time::{Duration, Instant};

use crate::machine::Machine;
use crate::machine::io::{Action, Count, Heard, Reason};
use crate::machine::state::{Active, Announcer, Backup, FENCE_FOR, Lease, REFRESH, State, Wait, after, lease};
use crate::types::Priority;

impl Machine {
    /// RFC 9568 §6.4.2, the down timer fired: the advertisement first, so that an old Active that lives gives
    /// way; then the addresses; then the word to the hosts.
    pub(super) fn become_active(&mut self, reason: Reason, now: Instant, out: &mut Vec<Action>) {
        let interval = self.rules.interval;
        self.linger = None;
        out.push(self.advertisement());
        out.push(Action::Hold { lease: lease(interval) });
        out.push(Action::Announce);
        let announcer = match reason {
            Reason::Resumed => Announcer::once(now),
            // The one before us knows that it resigned, or was us.
            Reason::PeerResigned | Reason::NobodyElse | Reason::Release => Announcer::burst(now, now),
            // The one before us may be frozen, and answer ARP until its addresses lapse.
            _ => Announcer::burst(now, after(now, FENCE_FOR)),
        };
        // Active_Adver_Interval is that of the Active router, which is us.
        self.learned = interval;
        self.yielding = false;
        if self.limping() {
            // Silence has just shown that there is nobody to offer them to.
            self.offered = Some(now);
        }
        let active = Active {
            advert_at: after(now, interval.into()),
            lease: Lease::taken(now, interval),
            announcer,
            answered: None,
        };
        self.go(State::Active(active), reason, now, out);
    }

    /// The advertisement of an Active router; RFC 9568 §6.1: always with its own interval.
    fn advertisement(&self) -> Action {
        Action::Advertise { priority: self.priority(), interval: self.rules.interval }
    }

    /// RFC 9568 §6.4.3.
    pub(super) fn hear_as_active(&mut self, active: Active, heard: Heard, now: Instant, out: &mut Vec<Action>) {
        if heard.priority == Priority::RESIGN {
            let mut active = active;
            self.answer(&mut active, now, out);
            self.state = State::Active(active);
            return;
        }
        out.push(Action::Count(Count::Contention));
        // Preempt_Mode has no say here, and only here does the address decide.
        let own = self.link.as_ref().and_then(|link| link.source);
        let outranked = heard.priority > self.priority()
            || heard.priority == self.priority() && own.is_none_or(|own| heard.source > own);
        if outranked {
            // A last word, so that the winner knows of us and announces again. It cannot come back
            // to us: a Backup answers nothing.
            out.push(self.advertisement());
            self.begin_linger(now, out);
            self.learn(heard);
            self.go(State::Backup(Backup::listening(now, Wait::Down)), Reason::Outranked, now, out);
            return;
        }
        let mut active = active;
        self.answer(&mut active, now, out);
        if active.announcer.restart(now) {
            out.push(Action::Announce);
        }
        self.state = State::Active(active);
    }

    /// An advertisement at once, at most one for each own interval.
    fn answer(&self, active: &mut Active, now: Instant, out: &mut Vec<Action>) {
        let interval = self.rules.interval.into();
        if active.answered.is_none_or(|at| now.saturating_duration_since(at) >= interval) {
            out.push(self.advertisement());
            active.answered = Some(now);
            active.advert_at = after(now, interval);
        }
    }

    pub(super) fn tick_active(&mut self, mut active: Active, now: Instant, out: &mut Vec<Action>) {
        if now >= active.advert_at {
            out.push(self.advertisement());
            // From the deadline and not from now, so that lateness does not add up.
            let interval = self.rules.interval.into();
            let next = after(active.advert_at, interval);
            active.advert_at = if next > now { next } else { after(now, interval) };
            // One wake for both, where the next advertisement would be too late for the lease.
            if active.lease.refresh_at < active.advert_at.min(after(now, REFRESH / 5)) {
                self.refresh(&mut active.lease, now, out);
            }
        }
        if now >= active.lease.refresh_at {
            self.refresh(&mut active.lease, now, out);
        }
        if active.announcer.due(now) {
            out.push(Action::Announce);
        }
        self.state = State::Active(active);
    }

    /// Renews the lease of addresses that are held.
    pub(super) fn refresh(&self, held: &mut Lease, now: Instant, out: &mut Vec<Action>) {
        out.push(Action::Hold { lease: lease(self.rules.interval) });
        *held = Lease::taken(now, self.rules.interval);
    }

    /// Someone removed an address: it is put back at once, unless it keeps vanishing. Then it comes
    /// back with the next renewal only, and the router limps: a peer may have better luck.
    pub(super) fn address_lost(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.state.lease().is_none() {
            return;
        }
        if self.vanishing.lost(now) {
            out.push(Action::Hold { lease: lease(self.rules.interval) });
            out.push(Action::Count(Count::AddressRestored));
            let lease = Lease::taken(now, self.rules.interval);
            match &mut self.state {
                State::Active(active) => active.lease = lease,
                State::Leaving(leaving) => leaving.lease = lease,
                State::Backup(backup) => backup.kept = Some(lease),
                State::Init { .. } | State::Fault(_) => (),
            }
        }
    }

    /// Another host answers for our addresses: the hosts are told again.
    pub(super) fn rival(&mut self, now: Instant, out: &mut Vec<Action>) {
        if let State::Active(active) = &mut self.state {
            out.push(Action::Count(Count::Rival));
            if active.announcer.restart(now) {
                out.push(Action::Announce);
            }
        }
    }

    /// What a pause of this process has made untrue. Past the lease the kernel has removed the
    /// addresses, and a renewal would bring them back beside those of the new Active. Four intervals
    /// after the last advertisement every living peer has taken over, so nothing is lost by
    /// listening first; if nobody is heard the addresses were never away.
    pub(super) fn judge_lateness(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Some(held) = self.state.lease() else { return };
        if now >= held.end {
            out.push(Action::Count(Count::Late));
            match self.state {
                State::Leaving(leaving) => self.leave_at_once(leaving, Reason::LeaseEnded, now, out),
                _ => {
                    out.push(Action::Drop);
                    self.go(State::Backup(Backup::listening(now, Wait::Down)), Reason::LeaseEnded, now, out);
                }
            }
            return;
        }
        if let State::Active(active) = self.state
            && now > after(active.advert_at, 3 * Duration::from(self.rules.interval))
        {
            out.push(Action::Count(Count::Late));
            self.keep_and_listen(Some(active.lease), Reason::Late, now, out);
        }
    }

    /// Backup that keeps the addresses: an advertisement removes them, silence makes it Active.
    pub(super) fn keep_and_listen(&mut self, held: Option<Lease>, reason: Reason, now: Instant, out: &mut Vec<Action>) {
        let lease = held.unwrap_or_else(|| {
            out.push(Action::Hold { lease: lease(self.rules.interval) });
            Lease::taken(now, self.rules.interval)
        });
        let backup = Backup { kept: Some(lease), ..Backup::listening(now, Wait::Down) };
        self.go(State::Backup(backup), reason, now, out);
    }
}
