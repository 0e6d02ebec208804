//! A LAN in memory: hosts that each run one machine, a network that misbehaves as told, and the
//! kernels that let leased addresses lapse. Used by the scenarios of this test; knows no property.
//!
//! Time is in microseconds since the start. Everything random comes from one seed.

#![allow(clippy::unwrap_used, reason = "a simulation that breaks is a failed test")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::plain::Plain;
use vrrp::config::{Preempt, RouterConfig};
use vrrp::machine::Machine;
use vrrp::machine::io::{Action, Command, Heard, Input, Link, Phase, Start};
use vrrp::types::{Centiseconds, Priority, Version, Vrid};

pub(crate) const MS: u64 = 1000;
pub(crate) const SECOND: u64 = 1_000_000;

/// SplitMix64: small, seeded, good enough.
#[derive(Debug, Clone)]
pub(crate) struct Rng(pub u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to below `high`.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low).max(1)
    }

    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[usize::try_from(self.range(0, items.len() as u64)).unwrap()]
    }

    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.range(0, 1000) < per_mille
    }
}

/// How a host is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub priority: u8,
    pub interval: u16,
    pub preempt: Preempt,
    /// How fast its clock runs, in parts per million too many.
    pub clock_ppm: i64,
    /// Not one of ours, but a plain router of RFC 9568.
    pub plain: bool,
}

/// What runs on a host.
pub(crate) enum Router {
    Ours(Box<Machine>),
    Plain(Plain),
}

impl Router {
    fn new(config: &RouterConfig, plain: bool) -> Self {
        if plain { Self::Plain(Plain::new(config)) } else { Self::Ours(Box::new(Machine::new(config))) }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self {
            Self::Ours(machine) => machine.phase(),
            Self::Plain(plain) => plain.phase(),
        }
    }

    pub(crate) fn holds(&self) -> bool {
        match self {
            Self::Ours(machine) => machine.holds(),
            Self::Plain(plain) => plain.phase() == Phase::Active,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Ours(machine) => machine.deadline(),
            Self::Plain(plain) => plain.deadline(),
        }
    }

    fn handle(&mut self, input: Input, now: Instant) -> Vec<Action> {
        match self {
            Self::Ours(machine) => machine.handle(input, now),
            Self::Plain(plain) => plain.handle(input, now),
        }
    }
}

pub(crate) struct Host {
    pub setup: Setup,
    config: RouterConfig,
    pub machine: Router,
    pub alive: bool,
    pub frozen: bool,
    inbox: Vec<Heard>,
    /// Until when the kernel keeps the addresses.
    pub leased_until: Option<u64>,
    /// Since when it has them, if it does.
    pub held_since: u64,
    pub adverts: u64,
    pub announcements: u64,
    pub takeovers: u64,
    /// Since when it is Active, alive and not frozen.
    pub active_since: Option<u64>,
    /// Since when it runs: started, or thawed.
    pub runs_since: Option<u64>,
    pub finished: bool,
}

/// What the network does to frames.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    pub loss_per_mille: u64,
    pub duplicates_per_mille: u64,
    pub max_delay: u64,
}

pub(crate) struct Lan {
    pub seed: u64,
    pub now: u64,
    pub rng: Rng,
    pub hosts: Vec<Host>,
    pub weather: Weather,
    /// `cut[from][to]`: frames do not arrive.
    cut: Vec<Vec<bool>>,
    /// Since when each direction is whole.
    pub whole_since: Vec<Vec<u64>>,
    wires: BTreeMap<(u64, u64), (usize, Heard)>,
    /// A LAN delays frames, but keeps those between two hosts in order.
    last_arrival: Vec<Vec<u64>>,
    frames: u64,
    trace: Vec<String>,
}

impl Lan {
    pub(crate) fn new(seed: u64, setups: &[Setup]) -> Self {
        let count = setups.len();
        Self {
            seed,
            now: 0,
            rng: Rng(seed),
            hosts: setups.iter().map(|setup| Host::new(*setup)).collect(),
            weather: Weather { max_delay: 500, ..Weather::default() },
            cut: vec![vec![false; count]; count],
            whole_since: vec![vec![0; count]; count],
            wires: BTreeMap::new(),
            last_arrival: vec![vec![0; count]; count],
            frames: 0,
            trace: Vec::new(),
        }
    }

    /// The daemon of a host starts, beside whatever its predecessor left.
    pub(crate) fn boot(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        let start = if host.leased_until.is_some() { Start::Leftover } else { Start::Fresh };
        self.boot_as(index, start);
    }

    pub(crate) fn boot_as(&mut self, index: usize, start: Start) {
        let host = &mut self.hosts[index];
        host.machine = Router::new(&host.config, host.setup.plain);
        (host.alive, host.frozen, host.finished) = (true, false, false);
        host.runs_since = Some(self.now);
        host.inbox.clear();
        self.give(index, Input::Link(Link { up: true, source: Some(address(index)) }));
        self.give(index, Input::Start(start));
    }

    /// The daemon dies; the kernel stays.
    pub(crate) fn crash(&mut self, index: usize) {
        self.note(index, "crashes");
        self.hosts[index].alive = false;
        self.hosts[index].active_since = None;
    }

    pub(crate) fn freeze(&mut self, index: usize) {
        self.note(index, "freezes");
        self.hosts[index].frozen = true;
        self.hosts[index].active_since = None;
    }

    /// The frames of the meantime are in the socket; whether they or the timer come first is left to
    /// chance.
    pub(crate) fn thaw(&mut self, index: usize) {
        if !self.hosts[index].frozen {
            return;
        }
        self.note(index, "thaws");
        self.hosts[index].frozen = false;
        self.hosts[index].runs_since = Some(self.now);
        if self.rng.chance(500) {
            self.give(index, Input::Wake);
        }
        for heard in std::mem::take(&mut self.hosts[index].inbox) {
            self.give(index, Input::Advert(heard));
        }
        self.give(index, Input::Wake);
        self.track(index);
    }

    /// Frames of `from` do, or do not, reach `to`.
    pub(crate) fn connect(&mut self, from: usize, to: usize, whole: bool) {
        if self.cut[from][to] == whole {
            self.note(from, &format!("{} {to}", if whole { "reaches" } else { "no longer reaches" }));
            self.whole_since[from][to] = self.now;
        }
        self.cut[from][to] = !whole;
    }

    pub(crate) fn connected(&self, a: usize, b: usize) -> bool {
        !self.cut[a][b] && !self.cut[b][a]
    }

    pub(crate) fn command(&mut self, index: usize, command: Command) {
        self.note(index, &format!("is told {command:?}"));
        self.give(index, Input::Command(command));
    }

    /// Hosts that the LAN may find the addresses at.
    pub(crate) fn holders(&self) -> Vec<usize> {
        (0..self.hosts.len()).filter(|index| self.hosts[*index].leased_until.is_some()).collect()
    }

    pub(crate) fn actives(&self) -> Vec<usize> {
        (0..self.hosts.len()).filter(|index| self.hosts[*index].active_since.is_some()).collect()
    }

    /// The next thing happens, if it does before `end`. Whether anything did.
    pub(crate) fn step(&mut self, end: u64) -> bool {
        let frame = self.wires.keys().next().copied();
        let wake = (0..self.hosts.len()).filter_map(|index| Some((self.hosts[index].wake_at()?, index))).min();
        let lapse = (0..self.hosts.len()).filter_map(|index| Some((self.hosts[index].leased_until?, index))).min();
        let at = [frame.map(|key| key.0), wake.map(|wake| wake.0), lapse.map(|lapse| lapse.0)];
        let Some(at) = at.into_iter().flatten().min().filter(|at| *at <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(at);
        if let Some((_, index)) = lapse.filter(|lapse| lapse.0 <= at) {
            self.note(index, "lets the addresses lapse");
            self.hosts[index].leased_until = None;
        } else if let Some(key) = frame.filter(|key| key.0 <= at) {
            let (to, heard) = self.wires.remove(&key).unwrap();
            let host = &mut self.hosts[to];
            if host.alive && host.frozen {
                host.inbox.push(heard);
            } else if host.alive {
                self.give(to, Input::Advert(heard));
            }
        } else if let Some((_, index)) = wake {
            // A scheduler is never exact.
            self.now += self.rng.range(0, 200);
            self.give(index, Input::Wake);
        }
        true
    }

    fn give(&mut self, index: usize, input: Input) {
        let at = self.hosts[index].clock(self.now);
        let actions = self.hosts[index].machine.handle(input, at);
        for action in actions {
            self.carry_out(index, action);
        }
        self.track(index);
    }

    fn track(&mut self, index: usize) {
        let now = self.now;
        let host = &mut self.hosts[index];
        let active = host.alive && !host.frozen && host.machine.phase() == Phase::Active;
        host.active_since = if active { host.active_since.or(Some(now)) } else { None };
    }

    fn carry_out(&mut self, index: usize, action: Action) {
        let slack = self.rng.range(0, 250 * MS);
        let host = &mut self.hosts[index];
        match action {
            Action::Advertise { priority, interval } => {
                host.adverts += 1;
                self.send(index, Heard { source: address(index), priority, interval, version: Version::V3 });
            }
            Action::Hold { lease } => {
                assert_eq!(lease.subsec_nanos(), 0, "the kernel counts whole seconds");
                if host.leased_until.is_none() {
                    host.held_since = self.now;
                }
                host.leased_until = Some(self.now + host.real(lease) + slack);
            }
            Action::Drop => host.leased_until = None,
            Action::Announce => host.announcements += 1,
            Action::Moved(moved) => {
                host.takeovers += u64::from(moved.to == Phase::Active);
                self.note(index, &format!("{:?} → {:?}: {:?}", moved.from, moved.to, moved.reason));
            }
            Action::Count(count) => self.note(index, &format!("counts {count:?}")),
            Action::Finished => (host.alive, host.finished) = (false, true),
        }
    }

    fn send(&mut self, from: usize, heard: Heard) {
        for to in 0..self.hosts.len() {
            if to == from || self.cut[from][to] || self.rng.chance(self.weather.loss_per_mille) {
                continue;
            }
            let copies = 1 + u64::from(self.rng.chance(self.weather.duplicates_per_mille));
            for _ in 0..copies {
                let at = self.now + self.rng.range(50, self.weather.max_delay.max(51));
                let at = at.max(self.last_arrival[from][to]);
                self.last_arrival[from][to] = at;
                self.frames += 1;
                self.wires.insert((at, self.frames), (to, heard));
            }
        }
    }

    pub(crate) fn note(&mut self, index: usize, what: &str) {
        let seconds = Duration::from_micros(self.now).as_secs_f64();
        self.trace.push(format!("{seconds:10.6} host {index} (priority {}) {what}", self.hosts[index].setup.priority));
    }

    /// Ends the test, with what led to it.
    pub(crate) fn fail(&self, what: &str) -> ! {
        let tail = self.trace.len().saturating_sub(60);
        let setups: Vec<_> = self.hosts.iter().map(|host| host.setup).collect();
        panic!(
            "seed {}: {what}\nat {} µs\n{}\n{setups:?} {:?}",
            self.seed,
            self.now,
            self.trace[tail..].join("\n"),
            self.weather
        );
    }
}

impl Host {
    fn new(setup: Setup) -> Self {
        let vip = "192.0.2.100/24".parse().unwrap();
        let config = RouterConfig {
            interval: Centiseconds::new(setup.interval).unwrap(),
            preempt: setup.preempt,
            ..RouterConfig::new("public", "eth0", Vrid::new(51).unwrap(), Priority(setup.priority), vec![vip])
        };
        let machine = Router::new(&config, setup.plain);
        Self {
            setup,
            config,
            machine,
            alive: false,
            frozen: false,
            inbox: Vec::new(),
            leased_until: None,
            held_since: 0,
            adverts: 0,
            announcements: 0,
            takeovers: 0,
            active_since: None,
            runs_since: None,
            finished: false,
        }
    }

    /// What the clock of this host shows at `now`.
    fn clock(&self, now: u64) -> Instant {
        let rate = u64::try_from(1_000_000 + self.setup.clock_ppm).unwrap();
        epoch() + Duration::from_nanos(now * rate / 1000)
    }

    /// How long `span` of this host's clock really is, rounded up.
    fn real(&self, span: Duration) -> u64 {
        let rate = u128::try_from(1_000_000 + self.setup.clock_ppm).unwrap();
        u64::try_from((span.as_nanos() * 1000).div_ceil(rate)).unwrap()
    }

    fn wake_at(&self) -> Option<u64> {
        let deadline = self.machine.deadline().filter(|_| self.alive && !self.frozen)?;
        Some(self.real(deadline.saturating_duration_since(epoch())))
    }
}

fn address(index: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, u8::try_from(index + 1).unwrap()))
}

#[allow(
    clippy::disallowed_methods,
    reason = "an Instant can be had from the clock only; the simulation counts from it"
)]
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}
