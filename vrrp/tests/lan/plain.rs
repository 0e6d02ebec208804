//! A router that follows RFC 9568 §6.4 to the letter and does no more, as most others do: no lease,
//! no word before it leaves, no second thought when it is late. Used by `sim` as a peer.

#![allow(clippy::unwrap_used, reason = "a simulation that breaks is a failed test")]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vrrp::config::{Preempt, RouterConfig, down_interval, skew_time};
use vrrp::machine::io::{Action, Command, Heard, Input, Phase, Reason, Transition};
use vrrp::types::{Centiseconds, Priority, Version};

/// Longer than any test: these addresses stay when their daemon dies.
const FOR_EVER: Duration = Duration::from_secs(1_000_000);

pub(crate) struct Plain {
    priority: Priority,
    interval: Centiseconds,
    preempt: bool,
    source: Option<IpAddr>,
    state: State,
    learned: Centiseconds,
}

#[derive(Clone, Copy)]
enum State {
    Init,
    Backup { down_at: Instant },
    Active { advert_at: Instant },
}

impl Plain {
    pub(crate) fn new(config: &RouterConfig) -> Self {
        Self {
            priority: config.priority,
            interval: config.interval,
            preempt: config.preempt != Preempt::Never,
            source: None,
            state: State::Init,
            learned: config.interval,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.state {
            State::Init => Phase::Init,
            State::Backup { .. } => Phase::Backup,
            State::Active { .. } => Phase::Active,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Init => None,
            State::Backup { down_at } => Some(down_at),
            State::Active { advert_at } => Some(advert_at),
        }
    }

    pub(crate) fn handle(&mut self, input: Input, now: Instant) -> Vec<Action> {
        let before = self.phase();
        let mut out = Vec::new();
        match (input, self.state) {
            (Input::Link(link), _) => self.source = link.source,
            (Input::Start(_), _) => {
                out.push(Action::Drop);
                self.state = State::Backup { down_at: self.down_at(now) };
            }
            (Input::Advert(heard), State::Backup { .. }) => self.hear_as_backup(heard, now),
            (Input::Advert(heard), State::Active { .. }) => {
                let wins = (heard.priority, heard.source) > (self.priority, self.source.unwrap());
                if wins {
                    out.push(Action::Drop);
                    self.learned = heard.interval;
                    self.state = State::Backup { down_at: self.down_at(now) };
                } else {
                    out.push(self.advertisement(self.priority));
                    self.state = State::Active { advert_at: now + Duration::from(self.interval) };
                }
            }
            (Input::Wake, State::Backup { down_at }) if now >= down_at => {
                out.extend([self.advertisement(self.priority), Action::Hold { lease: FOR_EVER }, Action::Announce]);
                self.state = State::Active { advert_at: now + Duration::from(self.interval) };
            }
            (Input::Wake, State::Active { advert_at }) if now >= advert_at => {
                out.push(self.advertisement(self.priority));
                self.state = State::Active { advert_at: now + Duration::from(self.interval) };
            }
            (Input::Command(Command::Shutdown), State::Active { .. }) => {
                out.extend([self.advertisement(Priority::RESIGN), Action::Drop, Action::Finished]);
                self.state = State::Init;
            }
            (Input::Command(Command::Shutdown), _) => {
                out.push(Action::Finished);
                self.state = State::Init;
            }
            _ => (),
        }
        if self.phase() != before {
            let transition = Transition { from: before, to: self.phase(), reason: Reason::Silence };
            out.push(Action::Moved(transition));
        }
        out
    }

    fn hear_as_backup(&mut self, heard: Heard, now: Instant) {
        if heard.priority == Priority::RESIGN {
            self.state = State::Backup { down_at: now + skew_time(Version::V3, self.priority, self.learned) };
        } else if !self.preempt || heard.priority >= self.priority {
            self.learned = heard.interval;
            self.state = State::Backup { down_at: self.down_at(now) };
        }
    }

    fn down_at(&self, now: Instant) -> Instant {
        now + down_interval(Version::V3, self.priority, self.learned)
    }

    fn advertisement(&self, priority: Priority) -> Action {
        Action::Advertise { priority, interval: self.interval }
    }
}
