//! The VRRP thread: waits, reads the clock once, takes in what arrived, lets the machines decide,
//! does what they say.
//!
//! Started by `engine`. Everything it waits for is a descriptor or a deadline; everything it does
//! for one wake is bounded. Holds no lock, writes no log, and waits for nobody who reads reports.

use std::collections::{BTreeMap, VecDeque};
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
use super::report::{Report, Reporter};
use super::router::{Router, Task, Time};
use crate::config::RouterConfig;
use crate::machine::Node;
use crate::machine::io::{Action, Command, Health, Input, Link, Start};

/// Everything is asked for anew so often, whatever events said.
const RESYNC: Duration = Duration::from_secs(5);
/// A doubtful picture is renewed no more often than this.
const RESYNC_MIN: Duration = Duration::from_millis(100);
/// Addresses added, removed or announced in one wake: about a millisecond.
const ADDRESSES: usize = 64;

/// Routers that one node drives: a single one, or a sync group.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) node: Node,
    pub(super) routers: Vec<Router>,
    /// No longer configured: resigning.
    pub(super) ending: bool,
}

/// Something that concerns addresses, and takes its time; no task = tell that all before is done.
#[derive(Debug)]
struct Job {
    seat: Seat,
    task: Option<Task>,
    from: usize,
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
    backlog: VecDeque<Job>,
    /// Addresses that may still be worked on in this wake.
    budget: usize,
    next_resync: Instant,
    pub(super) next_status: Instant,
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
            backlog: VecDeque::new(),
            budget: ADDRESSES,
            next_resync: time.now + RESYNC,
            next_status: time.now,
            stop: None,
        };
        for configs in super::reconfigure::partition(setup.routers) {
            let mut cell = runner.cell(configs, time)?;
            for router in &mut cell.routers {
                let name = &router.config.name;
                router.resumes = setup
                    .resume
                    .iter()
                    .any(|saved| saved.router == *name && saved.active && monotonic() < saved.deadline);
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
        for router in self.cells.iter().flat_map(|cell| &cell.routers) {
            router.clear(&mut self.host);
        }
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
            self.budget = ADDRESSES;
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
            let doubtful = self.host.suspect && time.now >= self.may_resync_at();
            if doubtful || time.now >= self.next_resync {
                self.next_resync = time.now + RESYNC;
                self.host.reload();
                self.look(time);
            }
            self.work(time);
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

    /// When a doubtful picture may be renewed: some time after it was the last time.
    fn may_resync_at(&self) -> Instant {
        self.next_resync.checked_sub(RESYNC - RESYNC_MIN).unwrap_or(self.next_resync)
    }

    fn wait(&self) -> Result<Ready, Errno> {
        let mut deadline = self.next_resync;
        for at in self.cells.iter().filter_map(|cell| cell.node.deadline()) {
            deadline = deadline.min(at);
        }
        if self.cells.iter().flat_map(|cell| &cell.routers).any(|router| router.dirty) {
            deadline = deadline.min(self.next_status);
        }
        if self.host.suspect {
            deadline = deadline.min(self.may_resync_at());
        }
        let left = deadline.saturating_duration_since(clock().now);
        let timeout = TimeSpec::from(if self.backlog.is_empty() { left } else { Duration::ZERO });
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

    /// Does what the machines of a cell decided: advertisements at once, then what concerns
    /// addresses, each router's in order and as far as the budget of this wake goes.
    pub(super) fn execute(&mut self, cell: usize, actions: Vec<(usize, Action)>, time: Time) {
        for (index, action) in actions {
            let router = &mut self.cells[cell].routers[index];
            let task = match action {
                Action::Advertise { priority, interval } => {
                    router.advertise(priority, interval, &mut self.host, time);
                    continue;
                }
                Action::Moved(transition) => {
                    router.note_move(transition, time);
                    let report = Report::Moved { router: router.config.name.clone(), transition };
                    self.reporter.tell(report);
                    continue;
                }
                Action::Count(count) => {
                    router.note_count(count);
                    continue;
                }
                Action::Hold { lease } => Some(Task::Hold(lease)),
                Action::Drop => Some(Task::Drop),
                Action::Announce => Some(Task::Announce),
                Action::Finished => None,
            };
            self.backlog.push_back(Job { seat: (cell, index), task, from: 0 });
        }
        self.work(time);
    }

    /// Works off the backlog, as far as the budget goes.
    fn work(&mut self, time: Time) {
        while self.budget > 0
            && let Some(Job { seat, task, from }) = self.backlog.pop_front()
        {
            let cell = &mut self.cells[seat.0];
            let router = &mut cell.routers[seat.1];
            let Some(task) = task else {
                router.finished = true;
                if router.vips.lease_end().is_none() {
                    router.dismantle(&mut self.host);
                }
                if !cell.ending {
                    self.reporter.tell(Report::Finished(router.saved(time.now)));
                }
                continue;
            };
            let (rest, fresh) = router.work(task, from, self.budget, &mut self.host, time);
            for remark in fresh {
                self.reporter.tell(Report::Remark { router: router.config.name.clone(), remark });
            }
            self.budget -= rest.unwrap_or_else(|| router.vips.count()).saturating_sub(from).min(self.budget);
            match rest {
                Some(from) => self.backlog.push_front(Job { seat, task: Some(task), from }),
                None => self.watch(seat),
            }
        }
    }

    /// Works off the whole backlog, before seats change.
    pub(super) fn settle(&mut self, time: Time) {
        while !self.backlog.is_empty() {
            self.budget = ADDRESSES;
            self.work(time);
        }
    }

    /// Listens for rivals on a router's interface, if it began or ceased to hold addresses.
    fn watch(&mut self, seat: Seat) {
        let router = &mut self.cells[seat.0].routers[seat.1];
        let holds = router.vips.lease_end().is_some();
        if std::mem::replace(&mut router.watched, holds) == holds {
            return;
        }
        let interface = router.config.interface.clone();
        let routers = self.cells.iter().flat_map(|cell| &cell.routers);
        let here = routers.filter(|router| router.watched && router.config.interface == interface);
        let addresses = here.flat_map(|router| router.vips.addresses()).collect();
        if let Some(port) = self.host.ports.get_mut(&interface) {
            port.watch(addresses);
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
            let here =
                self.cells.iter().flat_map(|cell| &cell.routers).filter(|router| router.config.interface == *name);
            port.own = here.filter_map(|router| router.link.as_ref()?.source).collect();
        }
    }

    /// Removes what has resigned and is no longer configured.
    fn sweep(&mut self) {
        let gone = |cell: &Cell| cell.ending && cell.routers.iter().all(|router| router.finished);
        if !self.backlog.is_empty() || !self.cells.iter().any(gone) {
            return;
        }
        for cell in self.cells.extract_if(.., |cell| gone(cell)) {
            for router in cell.routers {
                self.reporter.tell(Report::Removed { router: router.config.name });
            }
        }
        self.take_seats();
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
