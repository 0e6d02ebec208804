//! The Leaving state and the ends of a router: resigning so that nobody notices.
//!
//! Part of [`Machine`].

use std::time::{Duration, Instant};

use crate::config::down_interval;
use crate::machine::io::{Action, Heard, Reason};
use crate::machine::state::{Active, Backup, LINGER, Leave, Leaving, Linger, Out, State, Wait, after, lease};
use crate::machine::{Count, Machine};
use crate::types::{Centiseconds, Priority, Version};

/// The interval said before a pause that peers should sit out.
const PAUSE_INTERVAL: u16 = 100;

impl Machine {
    /// RFC 9568 §6.4.3, Shutdown, as make-before-break: says priority 0 but keeps the addresses until a
    /// peer has them, or one down interval has passed.
    pub(super) fn leave(&mut self, active: Active, why: Leave, reason: Reason, now: Instant, out: &mut Vec<Action>) {
        out.push(self.resignation());
        let leaving = Leaving {
            why,
            until: after(now, self.own_down()),
            again_at: after(now, self.rules.interval.into()),
            lease: active.lease,
            put_off: false,
            group_taken: false,
        };
        self.go(State::Leaving(leaving), reason, now, out);
    }

    fn resignation(&self) -> Action {
        Action::Advertise { priority: Priority::RESIGN, interval: self.rules.interval }
    }

    fn own_down(&self) -> Duration {
        down_interval(self.rules.version, self.priority(), self.rules.interval)
    }

    pub(super) fn hear_as_leaving(&mut self, leaving: Leaving, heard: Heard, now: Instant, out: &mut Vec<Action>) {
        if heard.priority == Priority::RESIGN {
            return;
        }
        self.learn(heard);
        self.leave_at_once(leaving, Reason::Taken, now, out);
    }

    /// The addresses are a peer's now, or nobody's.
    pub(super) fn leave_at_once(&mut self, leaving: Leaving, reason: Reason, now: Instant, out: &mut Vec<Action>) {
        if reason == Reason::Taken {
            self.begin_linger(now, out);
        } else {
            out.push(Action::Drop);
        }
        if leaving.why == Leave::Shutdown {
            self.go(State::Init { start: None }, Reason::Shutdown, now, out);
            self.finish(out);
        } else if let Some(cause) = self.blocked() {
            self.go(State::Fault(Out { cause, link: cause == Reason::Link }), cause, now, out);
        } else {
            self.yielding = leaving.why == Leave::HandOver;
            self.go(State::Backup(Backup::listening(now, Wait::Down)), reason, now, out);
        }
    }

    /// A peer has the addresses: ours go in a moment. With a virtual MAC at once, since a single frame
    /// of ours would draw the switch back to us.
    pub(super) fn begin_linger(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.rules.virtual_mac {
            out.push(Action::Drop);
        } else {
            self.linger = Some(Linger { until: after(now, LINGER), finishes: false });
        }
    }

    /// What lingers goes.
    pub(super) fn end_linger(&mut self, out: &mut Vec<Action>) {
        if let Some(linger) = self.linger.take() {
            out.push(Action::Drop);
            out.extend(linger.finishes.then_some(Action::Finished));
        }
    }

    /// There is nothing more to do once the addresses are gone.
    fn finish(&mut self, out: &mut Vec<Action>) {
        match &mut self.linger {
            Some(linger) => linger.finishes = true,
            None => out.push(Action::Finished),
        }
    }

    pub(super) fn tick_leaving(&mut self, mut leaving: Leaving, now: Instant, out: &mut Vec<Action>) {
        if now >= leaving.until {
            let late = now > after(leaving.until, self.rules.interval.into());
            if late && !leaving.put_off && leaving.why != Leave::Shutdown {
                // We slept; the advertisement of the one who took over may wait in the socket.
                out.push(Action::Count(Count::Late));
                (leaving.until, leaving.put_off) = (after(now, self.own_down()), true);
            } else {
                return self.nobody_came(leaving, now, out);
            }
        }
        if now >= leaving.again_at {
            // Skew_Time is below one interval: this cannot hold up those who heard the first one.
            out.push(self.resignation());
            leaving.again_at = after(now, self.rules.interval.into());
        }
        if now >= leaving.lease.refresh_at {
            self.refresh(&mut leaving.lease, now, out);
        }
        self.state = State::Leaving(leaving);
    }

    fn nobody_came(&mut self, leaving: Leaving, now: Instant, out: &mut Vec<Action>) {
        let given_up = leaving.group_taken || leaving.why == Leave::Shutdown;
        if given_up {
            return self.leave_at_once(leaving, Reason::Group, now, out);
        }
        let forced = self.hold.is_some_and(|hold| hold.force);
        if forced || self.blocked_but_for_hold().is_some() {
            return self.leave_at_once(leaving, Reason::NobodyElse, now, out);
        }
        if leaving.why == Leave::Group {
            return self.leave_at_once(leaving, Reason::Group, now, out);
        }
        // A hold without force is over where nobody else is.
        self.hold = None;
        self.become_active(Reason::NobodyElse, now, out);
    }

    /// The process ends.
    pub(super) fn shut_down(&mut self, state: State, now: Instant, out: &mut Vec<Action>) {
        match state {
            State::Active(active) => self.leave(active, Leave::Shutdown, Reason::Shutdown, now, out),
            State::Leaving(leaving) => self.state = State::Leaving(Leaving { why: Leave::Shutdown, ..leaving }),
            State::Init { .. } => {
                self.state = State::Init { start: None };
                self.finish(out);
            }
            State::Fault(_) | State::Backup(_) => {
                if state.lease().is_some() {
                    out.push(Action::Drop);
                }
                self.go(State::Init { start: None }, Reason::Shutdown, now, out);
                self.finish(out);
            }
        }
    }

    /// The process replaces itself: peers learn an interval long enough to sit the pause out
    /// (RFC 9568 §6.4.2; version 2 has whole seconds anyway), said three times because one may be
    /// lost, and the addresses stay as long.
    pub(super) fn suspend(&mut self, state: State, now: Instant, out: &mut Vec<Action>) {
        let own = self.rules.interval;
        let interval = match self.rules.version {
            Version::V2 => own,
            Version::V3 => Centiseconds::new(PAUSE_INTERVAL).map_or(own, |pause| pause.max(own)),
        };
        if let State::Active(_) = state {
            let advertisement = Action::Advertise { priority: self.priority(), interval };
            out.extend(std::iter::repeat_n(advertisement, 3));
        }
        if self.linger.take().is_some() {
            out.push(Action::Drop);
        }
        if self.holds() {
            out.push(Action::Hold { lease: lease(interval) });
        }
        if !matches!(state, State::Init { .. }) {
            self.go(State::Init { start: None }, Reason::Suspend, now, out);
        } else {
            self.state = State::Init { start: None };
        }
        out.push(Action::Finished);
    }
}
