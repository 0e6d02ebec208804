//! What the VRRP tests share: load balancers of either kind on a LAN, and the story that a pair of them goes through.
//!
//! The story is told by the capture and by a client; what may differ by kind is in [`Pair::stop_and_return`].

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

pub(crate) mod scene;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use e2e::lab::capture::Capture;
use e2e::lab::dissect::{Advert, Checksum, Dissected, dissect};
use e2e::lab::front::PORT;
use e2e::lab::host::Host;
use e2e::lab::keepalived::Keepalived;
use e2e::lab::lan::Lan;
use e2e::lab::node::Node;
use e2e::lab::probe::log::Log;
use e2e::lab::probe::{Client, Probing};
use e2e::lab::router::Router;

/// Who runs a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Baton,
    Keepalived,
}

/// A load balancer of either kind.
#[derive(Debug)]
pub(crate) enum Balancer {
    Baton(Node),
    Keepalived(Keepalived),
}

impl Balancer {
    pub(crate) fn start(kind: Kind, host: &Arc<Host>, router: Router) -> Self {
        match kind {
            Kind::Baton => Self::Baton(Node::start(host, router, "").unwrap()),
            Kind::Keepalived => {
                let mut keepalived = Keepalived::prepare(host, vec![router]).unwrap();
                // What a busy machine does to it is not what is tested.
                keepalived.realtime();
                keepalived.resume().unwrap();
                Self::Keepalived(keepalived)
            }
        }
    }

    pub(crate) fn host(&self) -> &Arc<Host> {
        match self {
            Self::Baton(node) => node.host(),
            Self::Keepalived(keepalived) => keepalived.host(),
        }
    }

    pub(crate) fn stop(&mut self) {
        match self {
            Self::Baton(node) => node.stop().unwrap(),
            Self::Keepalived(keepalived) => keepalived.stop().unwrap(),
        }
    }

    pub(crate) fn resume(&mut self) {
        match self {
            Self::Baton(node) => node.resume().unwrap(),
            Self::Keepalived(keepalived) => keepalived.resume().unwrap(),
        }
    }

    pub(crate) fn log(&self) -> String {
        match self {
            Self::Baton(node) => node.log(),
            Self::Keepalived(keepalived) => keepalived.log(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Baton(_) => Kind::Baton,
            Self::Keepalived(_) => Kind::Keepalived,
        }
    }
}

/// A client of the virtual address, and beside it one of a host that nothing happens to: what the machine itself does to
/// both is no fault of VRRP.
#[derive(Debug)]
pub(crate) struct Watching {
    client: Client,
    control: Client,
}

/// What the client noted, and the longest that the other one had to wait meanwhile.
#[derive(Debug)]
pub(crate) struct Watched {
    log: Log,
    pub(crate) disturbed: Duration,
}

impl Watching {
    pub(crate) fn start(client: &Host, address: IpAddr, steady: IpAddr) -> Self {
        let control = Probing { spacing: Duration::from_millis(4), ..Probing::warm(SocketAddr::new(steady, PORT)) };
        let control = Client::start(client, control).unwrap();
        Self { client: Client::start(client, Probing::warm(SocketAddr::new(address, PORT))).unwrap(), control }
    }

    pub(crate) fn until_answered_by(&self, server: &str, times: u64, patience: Duration) -> anyhow::Result<()> {
        self.client.until_answered_by(server, times, patience)
    }

    pub(crate) fn finish(self) -> Watched {
        let (log, control) = (self.client.finish(), self.control.finish());
        let disturbed = control.gap().max(control.outage()).max(log.latest);
        Watched { log, disturbed }
    }
}

impl std::ops::Deref for Watched {
    type Target = Log;

    fn deref(&self) -> &Log {
        &self.log
    }
}

/// What a pair is told; the second host has the lower priority and, with unicast, the first one's address as its peer.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) router: Router,
    pub(crate) unicast: bool,
}

impl Case {
    pub(crate) fn new(router: Router) -> Self {
        Self { router, unicast: false }
    }

    fn of(&self, number: usize) -> Router {
        let priority = [200, 100][number];
        let own = |number: usize| if self.address().is_ipv4() { own(number) } else { own6(number) };
        let unicast = self.unicast.then(|| (own(number), vec![own(1 - number)]));
        Router { priority, unicast, ..self.router.clone() }
    }

    /// The address that clients ask: the last one, which of IPv6 is the global one.
    fn address(&self) -> IpAddr {
        self.router.addresses.last().unwrap().split('/').next().unwrap().parse().unwrap()
    }
}

/// Tells the whole story of a pair: the preferred one serves, is stopped, comes back, and the Active host dies.
pub(crate) fn play(case: &Case, kinds: [Kind; 2]) {
    let mut pair = Pair::start(case, kinds);
    pair.stop_and_return();
    pair.die();
    pair.check();
}

/// Two load balancers on a LAN.
struct Pair {
    lan: Lan,
    case: Case,
    capture: Capture,
    both: [Balancer; 2],
    client: Arc<Host>,
    /// Who is to have advertised, in turns.
    turns: Vec<usize>,
}

impl Pair {
    fn start(case: &Case, kinds: [Kind; 2]) -> Self {
        let lan = Lan::new().unwrap();
        let host = |name: &str, last: u8| {
            lan.host(name, &[&format!("10.77.0.{last}/24"), &format!("fd77::{last}/64")]).unwrap()
        };
        let hosts = [host("lb1", 11), host("lb2", 12)];
        let client = host("client", 50);
        // At the port of the host that does not die.
        let survivor = &hosts[usize::from(case.router.preempt)];
        let capture = lan.capture(survivor, "proto 112 or ip6 proto 112 or arp or icmp6").unwrap();
        let first = Balancer::start(kinds[0], &hosts[0], case.of(0));
        hosts[0].until_holds(case.address(), true, PATIENCE).unwrap();
        let second = Balancer::start(kinds[1], &hosts[1], case.of(1));
        // Long enough for one that does not hear the other to take over.
        std::thread::sleep(case.of(1).down_interval() + case.router.interval);
        let pair = Self { lan, case: case.clone(), capture, both: [first, second], client, turns: vec![0] };
        pair.is_active(0);
        pair
    }

    /// The preferred one is stopped in order and comes back.
    fn stop_and_return(&mut self) {
        let probes = self.probe();
        probes.until_answered_by("lb1", 50, PATIENCE).unwrap();
        self.both[0].stop();
        probes.until_answered_by("lb2", 50, PATIENCE).unwrap();
        let log = probes.finish();
        let skew = self.case.of(1).skew();
        match self.both[0].kind() {
            // It keeps the address until the other one has it; some for a busy machine.
            Kind::Baton => assert!(log.outage() < self.slack() + log.disturbed * 2, "{}", told(&log)),
            Kind::Keepalived => {
                let fits = log.outage() + SLACK >= skew && log.outage() <= skew + self.busy() + log.disturbed;
                assert!(fits, "skew {skew:?}, {}\n{}", told(&log), logs(&self.both));
            }
        }
        self.turns.push(1);
        self.is_active(1);

        let probes = self.probe();
        self.both[0].resume();
        if self.case.router.preempt {
            probes.until_answered_by("lb1", 50, PATIENCE).unwrap();
            self.turns.push(0);
            if self.both[1].kind() == Kind::Baton {
                // One advertisement more from the loser, so that the winner announces again.
                self.turns.extend([1, 0]);
            }
            self.is_active(0);
        } else {
            std::thread::sleep(self.case.of(0).down_interval() * 2);
            self.is_active(1);
        }
        let log = probes.finish();
        assert!(
            log.outage() < self.busy() / 2 + log.disturbed * 2,
            "the old one stays until it hears the new one: {}\n{}",
            told(&log),
            logs(&self.both)
        );
    }

    /// The Active host dies.
    fn die(&mut self) {
        let active = usize::from(!self.case.router.preempt);
        let probes = self.probe();
        probes.until_answered_by(["lb1", "lb2"][active], 50, PATIENCE).unwrap();
        let dead = self.both[active].host();
        self.lan.kill(dead, &dead.pids()).unwrap();
        probes.until_answered_by(["lb2", "lb1"][active], 50, PATIENCE).unwrap();
        let log = probes.finish();
        let (down, interval) = (self.case.of(1 - active).down_interval(), self.case.router.interval);
        // The last advertisement may have come late.
        let least = down - interval * 3 / 2;
        assert!(
            log.outage() + SLACK >= least && log.outage() <= down + self.busy() + log.disturbed,
            "{least:?} to {down:?}, {}",
            told(&log)
        );
        self.turns.push(1 - active);
    }

    /// What was on the wire.
    fn check(self) {
        let (case, v4) = (&self.case, self.case.address().is_ipv4());
        let mut seen = dissect(&self.capture.finish().unwrap(), Checksum::PseudoHeader).unwrap();
        let kinds = [self.both[0].kind(), self.both[1].kind()];
        for advert in seen.adverts.iter_mut().filter(|_| case.unicast && !v4) {
            if kinds[sender(&advert.mac)] == Kind::Keepalived {
                // With unicast over IPv6 it leaves the hop limit to the kernel.
                assert_eq!(advert.ttl, 64);
                advert.ttl = 255;
            }
        }
        assert_eq!(seen.faults(), Vec::<String>::new());
        let addresses = case.router.addresses.iter().map(|text| text.split('/').next().unwrap().parse().unwrap());
        let addresses: Vec<IpAddr> = addresses.collect();
        for advert in &seen.adverts {
            assert_eq!((advert.version, advert.vrid), (case.router.version, case.router.vrid), "{advert:?}");
            assert_eq!((&advert.addresses, advert.interval), (&addresses, case.router.interval), "{advert:?}");
            assert_eq!(advert.to.is_multicast(), !case.unicast, "{advert:?}");
            let number = sender(&advert.mac);
            assert!([case.of(number).priority, 0].contains(&advert.priority), "{advert:?}");
            assert_eq!(
                advert.auth_type,
                (case.router.version == 2).then_some(u8::from(case.router.auth_pass.is_some()))
            );
            // Multicast over IPv6 comes from the link-local address.
            let from = match (v4, case.unicast) {
                (true, _) => advert.from == own(number),
                (false, true) => advert.from == own6(number),
                (false, false) => advert.from.to_string().starts_with("fe80:"),
            };
            assert!(from, "{advert:?}");
        }
        // One that was sent before its sender could hear the other's first.
        let crossing = |at: &usize| {
            let (before, advert) = (&seen.adverts[at - 1], &seen.adverts[*at]);
            before.mac != advert.mac && advert.priority > 0 && advert.at - before.at < CROSSING
        };
        let told = turns(&seen.adverts, None);
        assert!(
            told == self.turns
                || (1..seen.adverts.len()).filter(crossing).any(|at| turns(&seen.adverts, Some(at)) == self.turns),
            "{told:?}, not {:?}\n{}",
            self.turns,
            logs(&self.both)
        );
        spacing(&seen, case.router.interval);
        for number in [0, 1] {
            let announced = seen.announcements.iter().filter(|row| row.address == case.address());
            assert!(
                announced.filter(|row| sender_of(&row.mac) == Some(number)).count() > 0,
                "{number} never announced"
            );
        }
    }

    /// What a busy machine may add. A new IPv6 address is usable when a worker of the kernel has run, even without
    /// duplicate address detection, and that one waits for its turn like any process.
    fn busy(&self) -> Duration {
        if self.case.address().is_ipv4() { BUSY } else { BUSY * 8 }
    }

    /// As [`Self::busy`], where the old one keeps the address for a moment (`vrrp`'s linger).
    fn slack(&self) -> Duration {
        if self.case.address().is_ipv4() { SLACK * 2 } else { SLACK * 8 }
    }

    fn probe(&self) -> Watching {
        // The one that never dies.
        let survivor = own(usize::from(self.case.router.preempt));
        Watching::start(&self.client, self.case.address(), survivor)
    }

    /// One of ours that gives way keeps its addresses for 10 ms more ([`vrrp`]'s linger).
    #[track_caller]
    fn is_active(&self, number: usize) {
        let holders = || [0, 1].map(|number: usize| self.both[number].host().holds(self.case.address()));
        for _ in 0..BUSY.as_millis() {
            if holders() != [true, true] {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let holds = holders();
        assert!(holds[number] && !holds[1 - number], "{holds:?}\n{}", logs(&self.both));
    }
}

/// Who advertised, a name again only after another one, without the advertisement `but`.
fn turns(adverts: &[Advert], but: Option<usize>) -> Vec<usize> {
    let counted = adverts.iter().enumerate().filter(|(at, _)| Some(*at) != but);
    let mut turns: Vec<usize> = counted.map(|(_, advert)| sender(&advert.mac)).collect();
    turns.dedup();
    turns
}

/// The time between two advertisements of one Active router is the interval, in the middle of all.
fn spacing(seen: &Dissected, interval: Duration) {
    let pairs = seen.adverts.windows(2).filter(|pair| pair[0].mac == pair[1].mac && pair[1].priority > 0);
    let mut times: Vec<Duration> = pairs.map(|pair| pair[1].at - pair[0].at).collect();
    times.sort();
    let middle = times[times.len() / 2];
    assert!(middle.abs_diff(interval) < interval / 10 + Duration::from_micros(500), "{middle:?} between two");
}

fn logs(both: &[Balancer]) -> String {
    both.iter().map(|one| format!("{}:\n{}\n", one.host().name(), one.log())).collect()
}

pub(crate) fn told(log: &Watched) -> String {
    let (gap, outage) = (log.gap(), log.outage());
    let text = format!("gap {gap:?}, outage {outage:?}, {} lost, {:?}, {:?}", log.lost(), log.turns(), log.failures());
    format!("{text}; a host that nothing happened to was away for {:?}", log.disturbed)
}

/// The host's own address.
pub(crate) fn own(number: usize) -> IpAddr {
    IpAddr::from([10, 77, 0, [11, 12, 13][number]])
}

/// Its IPv6 address.
fn own6(number: usize) -> IpAddr {
    IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, [0x11, 0x12][number]])
}

/// Which of the two hosts a MAC address belongs to.
fn sender_of(mac: &str) -> Option<usize> {
    [0, 1].into_iter().find(|number| mac == e2e::lab::lan::mac(own(*number)))
}

#[track_caller]
fn sender(mac: &str) -> usize {
    sender_of(mac).unwrap_or_else(|| panic!("{mac} is nobody's"))
}

/// On its way from one host to the other.
const CROSSING: Duration = Duration::from_millis(3);

/// What a probing client cannot see.
const SLACK: Duration = Duration::from_millis(6);

/// What a busy machine may add.
const BUSY: Duration = Duration::from_millis(120);

const PATIENCE: Duration = Duration::from_secs(10);
