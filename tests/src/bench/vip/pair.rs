//! Two load balancers of one kind on a LAN with clients, and one fault after another at a chosen moment.
//!
//! Called by [`vip`](super). The first host is the preferred one; a fault hits whichever the table of
//! [`Fault`] says, between two advertisements of the Active one, and the hosts are made whole again afterwards.
#![allow(clippy::disallowed_methods, reason = "measures")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::unistd::Pid;

use super::fault::Fault;
use super::player::{CHECK, Player};
use crate::lab::front::{Front, PORT};
use crate::lab::heard::Ear;
use crate::lab::host::Host;
use crate::lab::lan::{Lan, wait_for};
use crate::lab::probe::log::Log;
use crate::lab::probe::{Client, Probing};
use crate::lab::router::Router;

/// The hosts of a measurement.
pub(super) struct Pair<P> {
    lan: Lan,
    fault: Fault,
    interval: Duration,
    one: P,
    hosts: [Arc<Host>; 2],
    /// What each of the two hears of the other.
    ears: [Ear; 2],
    client: Arc<Host>,
    stranger: Arc<Host>,
    two: P,
    // Only to be there.
    _witness: Front,
}

/// What one fault cost.
#[derive(Debug)]
pub(super) struct Cost {
    /// What the client that was there all the time saw.
    pub(super) warm: Log,
    /// What a client saw that came for the first time, every time; only where the address stays behind.
    pub(super) fresh: Option<Log>,
    /// What the same client saw meanwhile of a server that nothing happened to: gaps in it are the machine's.
    pub(super) control: Log,
    /// When the dead daemon's host had lost the address, from the fault on.
    pub(super) fenced: Option<Duration>,
}

impl<P: Player> Pair<P> {
    /// Starts everything and waits until the first host is Active.
    pub(super) fn start(fault: Fault, interval: Duration) -> anyhow::Result<Self> {
        let lan = Lan::new()?;
        let host = |name: &str, last: u8| lan.host(name, &[&format!("10.77.0.{last}/24")]);
        let hosts = [host(ONE, 11)?, host(TWO, 12)?];
        let router = |priority| Router { interval, ..Router::new(priority, &[&format!("{ADDRESS}/24")]) };
        let ears = [Ear::open(&hosts[0], ADDRESS)?, Ear::open(&hosts[1], ADDRESS)?];
        let one = P::start(&hosts[0], router(200), fault)?;
        let two = P::start(&hosts[1], router(100), fault)?;
        let (client, stranger) = (host("client", 50)?, host("stranger", 51)?);
        let witness = Front::start(&lan.host("witness", &[&format!("{WITNESS}/24")])?)?;
        let pair = Self { lan, fault, interval, one, hosts, ears, client, stranger, two, _witness: witness };
        pair.until_active(0)?;
        Ok(pair)
    }

    /// Lets the fault happen once, `phase` tenths of an interval after an advertisement.
    pub(super) fn run(&mut self, phase: u32) -> anyhow::Result<Cost> {
        self.run_once(phase).with_context(|| {
            let held = self.hosts.iter().filter(|host| host.holds(ADDRESS)).map(|host| host.name());
            let held: Vec<_> = held.collect();
            format!("{ADDRESS} is on {held:?}\nthe log of lb1:\n{}\nof lb2:\n{}", self.one.log(), self.two.log())
        })
    }

    fn run_once(&mut self, phase: u32) -> anyhow::Result<Cost> {
        let active = usize::from(self.fault == Fault::Failback);
        if active == 1 {
            self.one.begin_stop()?;
            self.one.end_stop()?;
        }
        self.until_active(active)?;
        std::thread::sleep(SETTLE.max(self.interval * 4));
        let warm = Client::start(&self.client, Probing::warm(TARGET))?;
        let fresh = self.fault.leaves_the_address().then(|| Client::start(&self.stranger, Probing::fresh(TARGET)));
        let fresh = fresh.transpose()?;
        let control = Client::start(&self.client, Probing::warm(SocketAddr::new(WITNESS, PORT)))?;
        warm.until_answered_by([ONE, TWO][active], 100, PATIENCE)?;

        if self.fault == Fault::HaproxyKilled {
            // A script looks once a second, from when the daemon was started: at another moment in each run.
            std::thread::sleep(CHECK * phase / PHASES);
        }
        let known = self.hosts[0].pids();
        let ear = &self.ears[1 - active];
        ear.drain();
        let heard = ear.next(PATIENCE, |heard| heard.priority > 0)?;
        let moment = heard.at + self.interval * phase / PHASES;
        std::thread::sleep(moment.saturating_duration_since(Instant::now()));
        let began = Instant::now();
        self.strike(&known)?;

        let last = usize::from(!self.fault.ends_at_the_first());
        self.hosts[last].until_holds(ADDRESS, true, PATIENCE)?;
        warm.until_answered_by([ONE, TWO][last], 50, PATIENCE)?;
        let fenced = self.fault.leaves_the_address().then(|| self.until_fenced(began)).flatten();
        std::thread::sleep(self.fault.aftermath());
        let (warm, control) = (warm.finish(), control.finish());
        let cost = Cost { warm, fresh: fresh.map(Client::finish), control, fenced };
        self.mend().context("make the hosts whole again")?;
        Ok(cost)
    }

    fn strike(&mut self, known: &[Pid]) -> anyhow::Result<()> {
        match self.fault {
            Fault::HostDeath => self.lan.kill(&self.hosts[0], known),
            Fault::Stop => self.one.begin_stop(),
            Fault::SigKill => self.one.kill(),
            Fault::SigStop => self.one.freeze(),
            Fault::Restart => self.one.restart(),
            Fault::HaproxyKilled => self.one.kill_haproxy(),
            Fault::LinkDown => self.lan.unplug(&self.hosts[0]),
            Fault::Failback => self.one.resume(),
        }
    }

    fn mend(&mut self) -> anyhow::Result<()> {
        if matches!(self.fault, Fault::HostDeath | Fault::LinkDown) {
            self.lan.plug(&self.hosts[0])?;
        }
        match self.fault {
            Fault::LinkDown | Fault::Restart | Fault::Failback => Ok(()),
            Fault::Stop => {
                self.one.end_stop()?;
                self.one.resume()
            }
            Fault::HostDeath | Fault::SigKill | Fault::SigStop | Fault::HaproxyKilled => self.one.renew(),
        }
    }

    /// Waits until this host holds the address and the other one does not.
    fn until_active(&self, which: usize) -> anyhow::Result<()> {
        let (active, backup) = (&self.hosts[which], &self.hosts[1 - which]);
        wait_for(&format!("{} alone holds {ADDRESS}", active.name()), PATIENCE, || {
            active.holds(ADDRESS) && !backup.holds(ADDRESS)
        })
    }

    /// Watches the dead daemon's host until it has lost the address, as long as that may take.
    fn until_fenced(&self, began: Instant) -> Option<Duration> {
        let patience = P::FENCE.saturating_sub(began.elapsed());
        let gone = self.hosts[0].until_holds(ADDRESS, false, patience).is_ok();
        let took = gone.then(|| began.elapsed());
        // Both clients are watched for as long, whenever it was gone.
        std::thread::sleep(P::FENCE.saturating_sub(began.elapsed()));
        took
    }
}

/// Into how many parts an interval is divided.
pub(super) const PHASES: u32 = 10;

const ONE: &str = "lb1";
const TWO: &str = "lb2";
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100));
const WITNESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 60));
const TARGET: SocketAddr = SocketAddr::new(ADDRESS, PORT);

/// From the moment the hosts agree to the next fault.
const SETTLE: Duration = Duration::from_millis(300);

/// For what should take seconds at most; coming back from a fault on purpose takes 5 s.
const PATIENCE: Duration = Duration::from_secs(15);
