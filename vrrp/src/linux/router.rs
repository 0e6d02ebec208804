//! One router on Linux: carries out what its machine decides, and keeps what an operator asks for.
//!
//! Owned by `run`, one beside each machine. Does actions in the order given; never decides.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;

use super::engine::monotonic;
use super::host::Host;
use super::macvlan;
use super::remark::Remark;
use super::report::{PeerStatus, Refusals, RouterStatus, Saved};
use super::vips::Vips;
use crate::config::{Delivery, RouterConfig};
use crate::machine::Machine;
use crate::machine::io::{Count, Health, Link, Phase, Reason, Transition};
use crate::types::{Centiseconds, Family, Mac, Priority};
use crate::wire::Carrier;
use crate::wire::advert::Advert;
use crate::wire::counters::Counters;

/// How long a list that was heard once is told.
const DIFFERED: Duration = Duration::from_secs(60);
/// Address lists of other routers that are remembered.
const DIFFERING: usize = 16;

/// Both clocks, read once for each wake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    pub(super) now: Instant,
    pub(super) wall: SystemTime,
}

/// What is done to each address of a router.
#[derive(Debug, Clone, Copy)]
pub(super) enum Task {
    /// Have it for so long.
    Hold(Duration),
    /// Remove it.
    Drop,
    /// Announce it.
    Announce,
}

/// A router beside its machine.
#[derive(Debug)]
pub(super) struct Router {
    pub(super) config: RouterConfig,
    pub(super) vips: Vips,
    /// What the machine was told last of the interface, and the interface's number then.
    pub(super) link: Option<Link>,
    pub(super) index: Option<u32>,
    /// What the machine was told last.
    pub(super) health: Health,
    /// `Shutdown` or `Suspend` is done.
    pub(super) finished: bool,
    /// It was Active a moment ago, in another process or under another configuration.
    pub(super) resumes: bool,
    /// Rivals for its addresses are listened for.
    pub(super) watched: bool,
    macvlan: Option<u32>,
    /// The macvlan is up.
    raised: bool,
    last_advert: Option<(Instant, Centiseconds)>,
    suspended_from: Option<Phase>,
    pub(super) statistics: Statistics,
    link_remarks: BTreeSet<Remark>,
    address_remarks: BTreeSet<Remark>,
    /// Those of a task that is being worked off.
    new_remarks: BTreeSet<Remark>,
    /// Something about the status changed.
    pub(super) dirty: bool,
    /// It changed so that the owner should know at once.
    pub(super) urgent: bool,
}

/// What is counted and noted about a router.
#[derive(Debug)]
pub(super) struct Statistics {
    since: SystemTime,
    reason: Option<Reason>,
    sent: u64,
    send_errors: u64,
    announced: u64,
    became_active: u64,
    counts: BTreeMap<Count, u64>,
    pub(super) received: Counters,
    pub(super) refused: Refusals,
    /// The lists as last heard, and when.
    differing: BTreeMap<IpAddr, (Vec<IpAddr>, Instant)>,
}

impl Router {
    pub(super) fn new(config: RouterConfig, health: Health, wall: SystemTime) -> Self {
        let wanted = config.addresses.iter().chain(&config.excluded).copied().collect();
        let statistics = Statistics {
            since: wall,
            reason: None,
            sent: 0,
            send_errors: 0,
            announced: 0,
            became_active: 0,
            counts: BTreeMap::new(),
            received: Counters::default(),
            refused: Refusals::default(),
            differing: BTreeMap::new(),
        };
        Self {
            config,
            vips: Vips::new(wanted),
            link: None,
            index: None,
            health,
            finished: false,
            resumes: false,
            watched: false,
            macvlan: None,
            raised: false,
            last_advert: None,
            suspended_from: None,
            statistics,
            link_remarks: BTreeSet::new(),
            address_remarks: BTreeSet::new(),
            new_remarks: BTreeSet::new(),
            dirty: true,
            urgent: true,
        }
    }

    /// Whether a predecessor's addresses are on the interface.
    pub(super) fn has_leftover(&self, host: &Host) -> bool {
        self.address_index().is_some_and(|index| self.vips.has_leftover(index, &host.table))
    }

    /// Makes the macvlan, where there is to be one and is none. One that is there without addresses
    /// is not needed now.
    pub(super) fn prepare(&mut self, host: &mut Host) -> Vec<Remark> {
        let Some(base) = self.index.filter(|_| self.config.virtual_mac && self.macvlan.is_none() && !self.finished)
        else {
            return Vec::new();
        };
        match macvlan::create(&mut host.commands, base, self.config.family(), self.config.vrid) {
            Ok(index) => {
                self.macvlan = Some(index);
                self.raised = self.has_leftover(host);
                let idle = if self.raised { Ok(()) } else { macvlan::switch(&mut host.commands, index, false) };
                self.remark(idle.err().map(refused).into_iter().collect())
            }
            Err(error) => self.remark([refused(error)].into()),
        }
    }

    /// Removes the macvlan of a predecessor that was configured with a virtual MAC, if this is not.
    pub(super) fn clear(&self, host: &mut Host) {
        let base = self.index.filter(|_| !self.config.virtual_mac);
        if let Some(link) = base.and_then(|base| macvlan::find(base, self.config.family(), self.config.vrid)) {
            // The next start tries again.
            let _ = macvlan::remove(&mut host.commands, link);
        }
    }

    /// The router is no longer wanted: removes its macvlan.
    pub(super) fn dismantle(&mut self, host: &mut Host) {
        if let Some(index) = self.macvlan.take() {
            // The next engine finds it again.
            let _ = macvlan::remove(&mut host.commands, index);
        }
    }

    /// What the interface means to the machine now, and the remarks about it.
    pub(super) fn observe(&mut self, host: &Host) -> (Link, Vec<Remark>) {
        let family = self.config.family();
        let mut remarks = BTreeSet::new();
        let mut link = Link::default();
        self.index = None;
        match host.table.link(&self.config.interface) {
            None => {
                remarks.insert(Remark::NoInterface);
            }
            Some((index, entry)) => {
                let port = host.ports.get(&self.config.interface);
                self.index = Some(index);
                link.source = host.table.source(index, family, self.config.source, &host.floating);
                link.up = entry.up && port.is_some_and(|port| port.has_socket(family));
                remarks.extend(port.into_iter().flat_map(|port| port.problems(family)));
                if !entry.up {
                    remarks.insert(Remark::LinkDown);
                } else if link.source.is_none() {
                    remarks.insert(Remark::NoSource(family));
                }
                if self.config.virtual_mac && family == Family::V4 && macvlan::base_speaks_arp(&self.config.interface) {
                    remarks.insert(Remark::ArpSettings);
                }
            }
        }
        let fresh = remarks.difference(&self.link_remarks).copied().collect();
        self.dirty |= remarks != self.link_remarks;
        self.link_remarks = remarks;
        (link, fresh)
    }

    /// The interface is gone, and with it everything on it.
    pub(super) fn lose_interface(&mut self) {
        self.vips.forget();
        (self.macvlan, self.raised) = (None, false);
    }

    /// Where the addresses are: on the macvlan, if there is one.
    pub(super) fn address_index(&self) -> Option<u32> {
        if self.config.virtual_mac { self.macvlan } else { self.index }
    }

    /// The MAC that the addresses are announced at, if it is not the interface's own.
    fn mac(&self) -> Option<Mac> {
        self.config.virtual_mac.then(|| Mac::of_router(self.config.family(), self.config.vrid))
    }

    pub(super) fn advertise(&mut self, priority: Priority, interval: Centiseconds, host: &mut Host, time: Time) {
        self.last_advert = Some((time.now, interval));
        self.dirty = true;
        let port = host.ports.get(&self.config.interface);
        let (Some(port), Some(source)) = (port, self.link.as_ref().and_then(|link| link.source)) else {
            self.statistics.send_errors += 1;
            return;
        };
        let advert = Advert::new(&self.config, priority, interval);
        let multicast = [Carrier::multicast(source)];
        let unicast: Vec<Carrier>;
        let carriers = match &self.config.delivery {
            Delivery::Multicast => &multicast[..],
            Delivery::Unicast(peers) => {
                unicast = peers.iter().filter_map(|peer| Carrier::new(source, *peer)).collect();
                &unicast
            }
        };
        for carrier in carriers {
            match port.send(&advert.emit(carrier, self.config.checksum), carrier) {
                Ok(()) => self.statistics.sent += 1,
                Err(error) => {
                    self.statistics.send_errors += 1;
                    // Unless the queue is full: perhaps the source is gone, and we have not heard of it.
                    let full =
                        [Errno::EAGAIN, Errno::ENOBUFS].iter().any(|full| error.raw_os_error() == Some(*full as i32));
                    host.suspect |= !full;
                }
            }
        }
    }

    /// Does a part of what is done to each address: of `limit` addresses from number `from` on.
    /// Returns the number to go on from, if there are more, and the remarks that are new.
    pub(super) fn work(
        &mut self,
        task: Task,
        from: usize,
        limit: usize,
        host: &mut Host,
        time: Time,
    ) -> (Option<usize>, Vec<Remark>) {
        let end = self.vips.count().min(from + limit);
        let remarks = match task {
            Task::Hold(lease) => self.hold(from..end, lease, host, time),
            Task::Drop => self.remove(from..end, host),
            Task::Announce => {
                self.announce(from..end, host);
                return ((end < self.vips.count()).then_some(end), Vec::new());
            }
        };
        if from == 0 {
            self.new_remarks.clear();
        }
        self.new_remarks.extend(remarks);
        if end < self.vips.count() {
            return (Some(end), Vec::new());
        }
        let all = std::mem::take(&mut self.new_remarks);
        (None, self.remark(all))
    }

    fn hold(&mut self, part: Range<usize>, lease: Duration, host: &mut Host, time: Time) -> Vec<Remark> {
        let mut remarks = Vec::new();
        if let Some(index) = self.macvlan
            && !std::mem::replace(&mut self.raised, true)
        {
            remarks.extend(macvlan::switch(&mut host.commands, index, true).err().map(refused));
        }
        if self.config.virtual_mac && self.macvlan.is_none() {
            remarks.push(Remark::VirtualMac(Errno::ENODEV as i32));
        } else if let Some(mut place) = host.place(&self.config.interface, self.macvlan) {
            remarks.extend(self.vips.hold(&mut place, part, lease, time.now));
        }
        if remarks.iter().any(|remark| matches!(remark, Remark::NotAdded(_, code) if *code == Errno::ENODEV as i32)) {
            // Somebody removed the macvlan, or the interface, and we have not heard of it.
            (self.macvlan, self.raised) = (None, false);
            host.suspect = true;
        }
        remarks
    }

    fn remove(&mut self, part: Range<usize>, host: &mut Host) -> Vec<Remark> {
        let last = part.end == self.vips.count();
        let mut remarks = match host.place(&self.config.interface, self.macvlan) {
            Some(mut place) => self.vips.remove(&mut place, part),
            None => {
                self.vips.forget();
                Vec::new()
            }
        };
        if let Some(index) = self.macvlan.filter(|_| last)
            && std::mem::take(&mut self.raised)
        {
            remarks.extend(macvlan::switch(&mut host.commands, index, false).err().map(refused));
        }
        remarks
    }

    fn announce(&mut self, part: Range<usize>, host: &Host) {
        let Some(port) = host.ports.get(&self.config.interface) else { return };
        let mac = self.mac();
        self.statistics.announced += u64::from(part.start == 0);
        for address in self.vips.here_of(part) {
            if port.announce(mac, address).is_err() {
                self.statistics.send_errors += 1;
            }
        }
    }

    /// The machine counted something.
    pub(super) fn note_count(&mut self, count: Count) {
        *self.statistics.counts.entry(count).or_default() += 1;
        self.dirty = true;
    }

    /// The machine changed its state.
    pub(super) fn note_move(&mut self, transition: Transition, time: Time) {
        self.statistics.since = time.wall;
        self.statistics.reason = Some(transition.reason);
        if transition.to == Phase::Active {
            self.statistics.became_active += 1;
        }
        if transition.reason == Reason::Suspend {
            self.suspended_from = Some(transition.from);
        }
        (self.dirty, self.urgent) = (true, true);
    }

    /// Takes over what the last change of addresses has to say; returns what of it is new.
    fn remark(&mut self, remarks: BTreeSet<Remark>) -> Vec<Remark> {
        let fresh = remarks.difference(&self.address_remarks).copied().collect();
        self.dirty |= remarks != self.address_remarks;
        self.address_remarks = remarks;
        fresh
    }

    /// An advertisement for this router was accepted.
    pub(super) fn note_addresses(&mut self, source: IpAddr, differ: bool, addresses: &[IpAddr], now: Instant) {
        let differing = &mut self.statistics.differing;
        if !differ {
            differing.remove(&source);
        } else if differing.len() < DIFFERING || differing.contains_key(&source) {
            differing.insert(source, (addresses.to_vec(), now));
        }
    }

    /// What a successor needs: whether it may resume, and until when.
    pub(super) fn saved(&self, now: Instant) -> Saved {
        let active = self.suspended_from == Some(Phase::Active);
        let peers_wait = self.last_advert.map(|(at, interval)| at + 3 * Duration::from(interval));
        let deadline = match (active, self.vips.lease_end(), peers_wait) {
            (true, Some(lease), Some(peers)) => lease.min(peers),
            _ => now,
        };
        let left = u64::try_from(deadline.saturating_duration_since(now).as_nanos()).unwrap_or_default();
        Saved { router: self.config.name.clone(), active, deadline: monotonic() + left }
    }

    /// Takes the place of `old`, whose machine was replaced because the configuration changed. What
    /// is no longer wanted is removed; the rest is ours already.
    pub(super) fn inherit(&mut self, old: Self, host: &mut Host) {
        self.health = old.health.clone();
        (self.macvlan, self.raised) = (old.macvlan, old.raised);
        self.last_advert = old.last_advert;
        self.statistics = old.statistics;
        if let Some(mut place) = host.place(&self.config.interface, self.macvlan) {
            self.vips.inherit(old.vips, &mut place);
        }
    }

    pub(super) fn status(&self, machine: &Machine, time: Time) -> RouterStatus {
        let recent = |at: &Instant| time.now.saturating_duration_since(*at) < DIFFERED;
        let differing = self.statistics.differing.iter().filter(|(_, (_, at))| recent(at));
        let differing = differing.map(|(source, (list, _))| (*source, list.clone())).collect();
        let config = &self.config;
        let statistics = &self.statistics;
        let peer = machine.peer().map(|peer| PeerStatus {
            address: peer.source,
            priority: peer.priority,
            interval: peer.interval,
            heard: time.wall - time.now.saturating_duration_since(peer.heard),
        });
        RouterStatus {
            name: config.name.clone(),
            interface: config.interface.clone(),
            vrid: config.vrid,
            family: config.family(),
            version: config.version,
            phase: machine.phase(),
            since: statistics.since,
            reason: statistics.reason,
            base_priority: config.priority,
            priority: machine.priority(),
            active_interval: machine.learned_interval(),
            peer,
            held: self.vips.held().collect(),
            held_by_operator: machine.held_by_operator(),
            ready: machine.ready(),
            faults: machine.faults(),
            received: statistics.received.clone(),
            sent: statistics.sent,
            send_errors: statistics.send_errors,
            announced: statistics.announced,
            became_active: statistics.became_active,
            counts: statistics.counts.clone(),
            refused: statistics.refused.list(),
            differing,
            remarks: self.link_remarks.union(&self.address_remarks).copied().collect(),
        }
    }
}

fn refused(error: io::Error) -> Remark {
    Remark::VirtualMac(error.raw_os_error().unwrap_or_default())
}
