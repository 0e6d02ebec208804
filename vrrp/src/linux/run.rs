//! The VRRP thread: waits, reads the clock once, takes in what arrived, lets the machines decide,
//! does what they say.
//!
//! Started by `engine`. Everything it waits for is a descriptor or a deadline; everything it does
//! for one wake is bounded. Holds no lock, writes no log, and waits for nobody who reads reports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::EventFd;
use nix::sys::signal::SigSet;
use nix::sys::time::TimeSpec;

use super::engine::{Channels, EngineError, Order, Setup, monotonic};
use super::host::Host;
use super::port::{Port, Seat};
use super::realtime;
use super::report::{InterfaceStatus, Report, Reporter};
use super::router::{Router, Time};
use crate::config::RouterConfig;
use crate::machine::Node;
use crate::machine::io::{Action, Command, Health, Heard, Input, Link, Start};
use crate::wire::receive::{Accepted, receive};
use crate::wire::reject::Reject;

/// Everything is asked for anew so often, whatever events said.
const RESYNC: Duration = Duration::from_secs(5);
/// A doubtful picture is renewed no more often than this.
const RESYNC_MIN: Duration = Duration::from_millis(100);
/// Statuses that changed are told so often.
const STATUS: Duration = Duration::from_millis(500);
/// Packets taken from one socket in one wake.
const PACKETS: usize = 64;

/// Routers that one node drives: a single one, or a sync group.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) node: Node,
    pub(super) routers: Vec<Router>,
    /// No longer configured: resigning.
    pub(super) ending: bool,
}

/// The state of the thread.
#[derive(Debug)]
pub(super) struct Runner {
    pub(super) cells: Vec<Cell>,
    pub(super) host: Host,
    pub(super) reporter: Reporter,
    /// What all routers were told last.
    pub(super) health: Health,
    orders: Receiver<Order>,
    wake: Arc<EventFd>,
    realtime: bool,
    next_resync: Instant,
    next_status: Instant,
    stop: Option<Result<(), String>>,
}

impl Runner {
    /// Opens what can be opened before the thread exists, so that a missing capability is an error
    /// of the start.
    pub(super) fn new(setup: Setup, channels: Channels) -> Result<Self, EngineError> {
        let time = clock();
        Node::new(&setup.routers)?;
        let mut runner = Self {
            cells: Vec::new(),
            host: Host::open()?,
            reporter: Reporter::new(channels.reports, channels.ready),
            health: setup.health,
            orders: channels.orders,
            wake: channels.wake,
            realtime: setup.realtime,
            next_resync: time.now + RESYNC,
            next_status: time.now,
            stop: None,
        };
        for configs in super::reconfigure::partition(setup.routers) {
            let mut cell = runner.cell(configs, time)?;
            for router in &mut cell.routers {
                let name = &router.config.name;
                router.resumes =
                    setup.resume.iter().any(|saved| saved.router == *name && saved.active && monotonic() < saved.deadline);
            }
            runner.cells.push(cell);
        }
        Ok(runner)
    }

    /// A cell that has not started.
    pub(super) fn cell(&self, configs: Vec<RouterConfig>, time: Time) -> Result<Cell, EngineError> {
        let node = Node::new(&configs)?;
        let routers = configs.into_iter().map(|config| Router::new(config, self.health.clone(), time.wall)).collect();
        Ok(Cell { node, routers, ending: false })
    }

    /// The thread's life.
    pub(super) fn run(mut self) {
        // Signals are for the threads that have handlers to run.
        let _ = SigSet::all().thread_block();
        if self.realtime
            && let Err(refused) = realtime::enter()
        {
            self.reporter.tell(Report::Warning(refused));
        }
        let time = clock();
        self.take_seats();
        self.look(time);
        for cell in 0..self.cells.len() {
            self.start(cell, time);
        }
        while self.stop.is_none() {
            self.publish(clock());
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(Errno::EINTR) => continue,
                Err(error) => {
                    self.stop = Some(Err(format!("ppoll: {}", error.desc())));
                    break;
                }
            };
            let time = clock();
            self.receive(&ready.sockets, time);
            if ready.orders {
                self.obey(time);
            }
            if ready.netlink && self.host.listen() {
                self.look(time);
            }
            for cell in 0..self.cells.len() {
                let actions = self.cells[cell].node.broadcast(Input::Wake, time.now);
                self.execute(cell, actions, time);
            }
            let doubtful = self.host.suspect && time.now + RESYNC >= self.next_resync + RESYNC_MIN;
            if doubtful || time.now >= self.next_resync {
                self.next_resync = time.now + RESYNC;
                self.host.reload();
                self.look(time);
            }
            self.sweep();
        }
        let outcome = self.stop.take().unwrap_or(Ok(()));
        self.reporter.tell(Report::Ended(outcome));
    }

    /// Starts the routers of a cell; `look` has told them of their interfaces.
    pub(super) fn start(&mut self, cell: usize, time: Time) {
        for index in 0..self.cells[cell].routers.len() {
            let router = &mut self.cells[cell].routers[index];
            let start = match (router.resumes, router.has_leftover(&self.host)) {
                (true, _) => Start::Resume,
                (false, true) => Start::Leftover,
                (false, false) => Start::Fresh,
            };
            let health = router.health.clone();
            self.feed((cell, index), Input::Health(health), time);
            self.feed((cell, index), Input::Start(start), time);
        }
    }

    fn wait(&self) -> Result<Ready, Errno> {
        let mut deadline = self.next_resync;
        for at in self.cells.iter().filter_map(|cell| cell.node.deadline()) {
            deadline = deadline.min(at);
        }
        if self.cells.iter().flat_map(|cell| &cell.routers).any(|router| router.dirty) {
            deadline = deadline.min(self.next_status);
        }
        let timeout = TimeSpec::from(deadline.saturating_duration_since(clock().now));
        let mut fds = vec![
            PollFd::new(self.wake.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.host.events.as_fd(), PollFlags::POLLIN),
        ];
        for port in self.host.ports.values() {
            fds.extend(port.sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)));
            fds.extend(port.watcher.iter().map(|watcher| PollFd::new(watcher.as_fd(), PollFlags::POLLIN)));
        }
        ppoll(&mut fds, Some(timeout), None)?;
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(true));
        Ok(Ready {
            orders: ready.next().unwrap_or_default(),
            netlink: ready.next().unwrap_or_default(),
            sockets: ready.collect(),
        })
    }

    /// Takes in packets, of each socket a bounded number. `ready` is in the order of `wait`.
    fn receive(&mut self, ready: &[bool], time: Time) {
        let mut ready = ready.iter().copied();
        let mut accepted: Vec<(Seat, Accepted)> = Vec::new();
        let mut rivals: BTreeSet<Seat> = BTreeSet::new();
        for port in self.host.ports.values_mut() {
            let Port { sockets, watcher, seats, own, strays, .. } = port;
            for socket in sockets {
                if !ready.next().unwrap_or_default() {
                    continue;
                }
                let family = socket.family();
                // An error is told once and says that the link went down: netlink says it, too.
                let _ = socket.drain(PACKETS, |incoming| {
                    let seat = incoming.as_ref().ok().and_then(|packet| packet.vrid());
                    let seat = seat.and_then(|vrid| seats.get(&(family, vrid)).copied());
                    let router = seat.map(|(cell, index)| &mut self.cells[cell].routers[index]);
                    let source = incoming.as_ref().ok().map(|packet| packet.carrier.source());
                    let verdict = incoming.map_err(Reject::from).and_then(|packet| {
                        receive(&packet, own, |_| router.as_ref().map(|router| &router.config))
                    });
                    let (received, refused) = match router {
                        Some(router) => {
                            router.dirty = true;
                            (&mut router.statistics.received, &mut router.statistics.refused)
                        }
                        None => {
                            let strays = strays.entry(family).or_default();
                            strays.dirty = true;
                            (&mut strays.received, &mut strays.refused)
                        }
                    };
                    received.count(&verdict);
                    match (verdict, seat, source) {
                        (Ok(heard), Some(seat), _) => accepted.push((seat, heard)),
                        (Err(reject), _, Some(source)) => refused.note(source, reject, time.wall),
                        _ => (),
                    }
                });
            }
            if let Some(watcher) = watcher
                && ready.next().unwrap_or_default()
            {
                let table = &self.host.table;
                let _ = watcher.drain(PACKETS, |claim| {
                    // Another interface of this host, on the same network, is no rival.
                    if !table.has_mac(claim.mac) {
                        let address = IpAddr::V4(claim.address);
                        rivals.extend(seats.values().filter(|(cell, index)| {
                            self.cells[*cell].routers[*index].vips.held().any(|held| held == address)
                        }));
                    }
                });
            }
        }
        for (seat, heard) in accepted {
            let router = &mut self.cells[seat.0].routers[seat.1];
            let advert = Heard {
                source: heard.source,
                priority: heard.advert.priority,
                interval: heard.advert.interval,
                version: heard.advert.version,
            };
            router.note_addresses(heard.source, heard.remarks.addresses_differ, &heard.advert.addresses);
            self.feed(seat, Input::Advert(advert), time);
        }
        for seat in rivals {
            self.feed(seat, Input::Rival, time);
        }
    }

    fn obey(&mut self, time: Time) {
        let _ = self.wake.read();
        while self.stop.is_none() {
            match self.orders.try_recv() {
                Ok(Order::Health(health)) => {
                    self.health = health.clone();
                    for seat in self.seats() {
                        self.cells[seat.0].routers[seat.1].health = health.clone();
                        self.feed(seat, Input::Health(health.clone()), time);
                    }
                }
                Ok(Order::HealthOf(name, health)) => {
                    if let Some(seat) = self.seat(&name) {
                        // A node tells all members of a group.
                        for router in &mut self.cells[seat.0].routers {
                            router.health = health.clone();
                        }
                        self.feed(seat, Input::Health(health), time);
                    }
                }
                Ok(Order::Command(command)) => self.command_all(command, time),
                Ok(Order::CommandTo(name, command)) => {
                    if let Some(seat) = self.seat(&name) {
                        self.feed(seat, Input::Command(command), time);
                    }
                }
                Ok(Order::Config(configs)) => self.reconfigure(configs, time),
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => self.stop = Some(Ok(())),
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    fn command_all(&mut self, command: Command, time: Time) {
        for cell in 0..self.cells.len() {
            let actions = self.cells[cell].node.broadcast(Input::Command(command), time.now);
            self.execute(cell, actions, time);
        }
    }

    /// Compares interfaces and addresses with what the machines were told, and tells them.
    pub(super) fn look(&mut self, time: Time) {
        self.host.refresh_ports();
        for seat in self.seats() {
            let router = &mut self.cells[seat.0].routers[seat.1];
            let before = router.index;
            let (link, mut fresh) = router.observe(&self.host);
            if before.is_some() && router.index != before {
                // Even if a new one is up already: our addresses are not on it.
                router.lose_interface();
                router.link = Some(Link::default());
                self.feed(seat, Input::Link(Link::default()), time);
            }
            let router = &mut self.cells[seat.0].routers[seat.1];
            fresh.extend(router.prepare(&mut self.host));
            for remark in fresh {
                self.reporter.tell(Report::Remark { router: router.config.name.clone(), remark });
            }
            let usable = link.up;
            if router.link.as_ref() != Some(&link) {
                router.link = Some(link.clone());
                self.feed(seat, Input::Link(link), time);
            }
            let router = &mut self.cells[seat.0].routers[seat.1];
            let Some(index) = router.address_index() else { continue };
            for address in router.vips.lost(index, &self.host.table, time.now) {
                if usable {
                    self.feed(seat, Input::AddressLost(address), time);
                }
            }
        }
        self.note_own_addresses();
    }

    pub(super) fn feed(&mut self, seat: Seat, input: Input, time: Time) {
        let actions = self.cells[seat.0].node.handle(seat.1, input, time.now);
        self.execute(seat.0, actions, time);
    }

    /// Does what the machines of a cell decided: each router's actions in order, but advertisements
    /// that a router begins with before anybody's addresses.
    pub(super) fn execute(&mut self, cell: usize, actions: Vec<(usize, Action)>, time: Time) {
        let mut begun = BTreeSet::new();
        let mut sent = vec![false; actions.len()];
        for (done, (index, action)) in sent.iter_mut().zip(&actions) {
            match action {
                Action::Advertise { priority, interval } if !begun.contains(index) => {
                    self.cells[cell].routers[*index].advertise(*priority, *interval, &mut self.host, time);
                    *done = true;
                }
                Action::Hold { .. } | Action::Drop | Action::Announce | Action::Finished => {
                    begun.insert(*index);
                }
                Action::Advertise { .. } | Action::Moved(_) | Action::Count(_) => (),
            }
        }
        for (done, (index, action)) in sent.into_iter().zip(&actions) {
            if done {
                continue;
            }
            let ending = self.cells[cell].ending;
            let router = &mut self.cells[cell].routers[*index];
            for remark in router.execute(action, &mut self.host, time) {
                self.reporter.tell(Report::Remark { router: router.config.name.clone(), remark });
            }
            match action {
                Action::Moved(transition) => {
                    let report = Report::Moved { router: router.config.name.clone(), transition: *transition };
                    self.reporter.tell(report);
                }
                Action::Finished => {
                    router.finished = true;
                    if !ending {
                        let saved = router.saved(time.now);
                        self.reporter.tell(Report::Finished(saved));
                    }
                }
                _ => (),
            }
        }
        if !begun.is_empty() {
            self.watch(cell);
        }
    }

    /// Listens for rivals for the addresses on the interfaces of a cell, where they changed.
    fn watch(&mut self, cell: usize) {
        let moved = self.cells[cell].routers.iter_mut().filter_map(|router| {
            let changed = std::mem::replace(&mut router.watched, router.vips.lease_end().is_some());
            (changed != router.watched).then(|| router.config.interface.clone())
        });
        for interface in moved.collect::<BTreeSet<_>>() {
            let routers = self.cells.iter().flat_map(|cell| &cell.routers);
            let here = routers.filter(|router| router.watched && router.config.interface == interface);
            let addresses = here.flat_map(|router| router.vips.addresses()).collect();
            if let Some(port) = self.host.ports.get_mut(&interface) {
                port.watch(addresses);
            }
        }
    }

    /// Rebuilds what is derived from the set of routers.
    pub(super) fn take_seats(&mut self) {
        let mut seats: BTreeMap<String, BTreeMap<_, Seat>> = BTreeMap::new();
        self.host.floating.clear();
        for (cell, entry) in self.cells.iter().enumerate() {
            for (index, router) in entry.routers.iter().enumerate() {
                let key = (router.config.family(), router.config.vrid);
                let here = seats.entry(router.config.interface.clone()).or_default();
                // One that is resigning gives way to its successor.
                if !(entry.ending && here.contains_key(&key)) {
                    here.insert(key, (cell, index));
                }
                self.host.floating.extend(router.vips.addresses());
            }
        }
        self.host.ports.retain(|name, _| seats.contains_key(name));
        for (name, seats) in seats {
            let port = self.host.ports.entry(name).or_insert_with_key(|name| Port::new(name));
            port.seats = seats;
        }
    }

    fn note_own_addresses(&mut self) {
        for (name, port) in &mut self.host.ports {
            let here = self.cells.iter().flat_map(|cell| &cell.routers).filter(|router| router.config.interface == *name);
            port.own = here.filter_map(|router| router.link.as_ref()?.source).collect();
        }
    }

    /// Removes what has resigned and is no longer configured.
    fn sweep(&mut self) {
        let gone = |cell: &Cell| cell.ending && cell.routers.iter().all(|router| router.finished);
        if !self.cells.iter().any(gone) {
            return;
        }
        for cell in self.cells.extract_if(.., |cell| gone(cell)) {
            for mut router in cell.routers {
                router.dismantle(&mut self.host);
                self.reporter.tell(Report::Removed { router: router.config.name });
            }
        }
        self.take_seats();
    }

    fn publish(&mut self, time: Time) {
        let regular = time.now >= self.next_status;
        if regular {
            self.next_status = time.now + STATUS;
        }
        for cell in &mut self.cells {
            for (router, machine) in cell.routers.iter_mut().zip(cell.node.machines()) {
                if router.urgent || (regular && router.dirty) {
                    (router.urgent, router.dirty) = (false, false);
                    self.reporter.tell(Report::Status(Box::new(router.status(machine, time))));
                }
            }
        }
        if !regular {
            return;
        }
        for (name, port) in &mut self.host.ports {
            for (family, strays) in &mut port.strays {
                if std::mem::take(&mut strays.dirty) {
                    self.reporter.tell(Report::Strays(Box::new(InterfaceStatus {
                        interface: name.clone(),
                        family: *family,
                        received: strays.received.clone(),
                        refused: strays.refused.list(),
                    })));
                }
            }
        }
    }

    /// Every router's place.
    pub(super) fn seats(&self) -> Vec<Seat> {
        let cells = self.cells.iter().enumerate();
        cells.flat_map(|(cell, entry)| (0..entry.routers.len()).map(move |index| (cell, index))).collect()
    }

    fn seat(&self, name: &str) -> Option<Seat> {
        let named = |seat: &Seat| self.cells[seat.0].routers[seat.1].config.name == name;
        self.seats().into_iter().find(|seat| !self.cells[seat.0].ending && named(seat))
    }
}

/// What woke us.
#[derive(Debug)]
struct Ready {
    orders: bool,
    netlink: bool,
    /// For each port its sockets, then its watcher.
    sockets: Vec<bool>,
}

/// The only place that reads the clocks.
#[allow(clippy::disallowed_methods, reason = "this is the shell that does I/O")]
pub(super) fn clock() -> Time {
    Time { now: Instant::now(), wall: SystemTime::now() }
}
