//! The floating addresses of one router on its interface: added, refreshed, removed, missed.
//!
//! Driven by the engine. Every address has a lifetime that the engine keeps extending, so that the
//! kernel removes it when the engine stops. What is there is read from `table`, which this module
//! keeps up to date with its own changes; addresses that are not ours are never touched.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::netlink::{Commands, Request};
use super::remark::Remark;
use super::table::{AddressEntry, OURS, Table};

/// The addresses of one router.
#[derive(Debug)]
pub(super) struct Vips {
    wanted: Vec<IpNet>,
    /// Those that we have put there since the last [`Vips::remove`].
    held: BTreeSet<IpAddr>,
    /// Those that the host has for good by somebody else's doing.
    standing: BTreeSet<IpAddr>,
    /// When the kernel removes them, unless they are refreshed.
    lease_end: Option<Instant>,
    /// What the host said about `promote_secondaries` when we asked.
    promotes: Option<bool>,
}

/// Where addresses go.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// The link that carries them.
    pub index: u32,
    /// The link whose subnets count; another one than `index` with a virtual MAC.
    pub base: u32,
    /// The name of `base`.
    pub name: &'a str,
    /// All floating addresses of the node.
    pub floating: &'a BTreeSet<IpAddr>,
    /// What is there.
    pub table: &'a mut Table,
    /// How to change it.
    pub commands: &'a mut Commands,
}

impl Vips {
    /// Of these addresses, each with the prefix length of its subnet.
    pub(super) fn new(wanted: Vec<IpNet>) -> Self {
        Self { wanted, held: BTreeSet::new(), standing: BTreeSet::new(), lease_end: None, promotes: None }
    }

    /// Every address, in the order of the configuration.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.wanted.iter().map(IpNet::addr)
    }

    /// Those we hold.
    pub(super) fn held(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses().filter(|address| self.held.contains(address))
    }

    /// Those of a part of the addresses that are here, whoever put them: neighbours are to know.
    pub(super) fn here_of(&self, part: Range<usize>) -> impl Iterator<Item = IpAddr> {
        let here = |address: &IpAddr| self.held.contains(address) || self.standing.contains(address);
        self.wanted[part].iter().map(IpNet::addr).filter(here)
    }

    /// When the kernel removes what we hold.
    pub(super) fn lease_end(&self) -> Option<Instant> {
        self.lease_end
    }

    /// Whether an address of ours is there although we did not put it: a predecessor's.
    pub(super) fn has_leftover(&self, index: u32, table: &Table) -> bool {
        self.addresses().any(|address| table.entries(index, address).iter().any(|entry| !entry.is_static()))
    }

    /// How many addresses there are to hold, drop or announce.
    pub(super) fn count(&self) -> usize {
        self.wanted.len()
    }

    /// Adds or refreshes these of the addresses for `lease`, rounded up to whole seconds.
    pub(super) fn hold(
        &mut self,
        place: &mut Place<'_>,
        part: Range<usize>,
        lease: Duration,
        now: Instant,
    ) -> Vec<Remark> {
        let seconds = lease_seconds(lease);
        let mut remarks = Vec::new();
        let mut planned = Vec::with_capacity(part.len());
        let subnets = place.table.subnets(place.base, place.floating);
        for wanted in &self.wanted[part.clone()] {
            let address = wanted.addr();
            let (mut ours, mut foreign) = (None, false);
            for entry in place.table.entries(place.index, address) {
                if self.held.contains(&address) || !entry.is_static() {
                    ours = Some(entry.net);
                } else {
                    foreign = true;
                }
            }
            let net = match ours {
                Some(net) => net,
                None if foreign => {
                    remarks.push(Remark::StaticAddress(address));
                    self.standing.insert(address);
                    continue;
                }
                None if subnets.iter().any(|net| net.contains(&address)) => IpNet::from(address),
                None => *wanted,
            };
            if net.prefix_len() != net.max_prefix_len() {
                remarks.push(Remark::OutsideSubnets(address));
                let promotes = self.promotes.get_or_insert_with(|| promotes_secondaries(place.name));
                if address.is_ipv4() && !*promotes {
                    remarks.push(Remark::SecondariesNotPromoted);
                }
            }
            planned.push(entry(place.index, net));
        }
        let requests = planned.iter().map(|entry| add(entry, seconds)).collect();
        for (entry, result) in planned.iter().zip(results(place.commands.request(requests), planned.len())) {
            match result {
                Ok(()) => {
                    self.standing.remove(&entry.net.addr());
                    // What is known already is known better, from the kernel.
                    if place.table.entries(entry.index, entry.net.addr()).iter().all(|known| known.net != entry.net) {
                        place.table.insert(*entry);
                    }
                    self.held.insert(entry.net.addr());
                }
                Err(error) => remarks.push(Remark::NotAdded(entry.net.addr(), error as i32)),
            }
        }
        if part.start == 0 {
            self.lease_end = Some(now + Duration::from_secs(u64::from(seconds)));
        }
        remarks
    }

    /// Removes these of the addresses; none of them there is fine.
    pub(super) fn remove(&mut self, place: &mut Place<'_>, part: Range<usize>) -> Vec<Remark> {
        let addresses = || self.wanted[part.clone()].iter().map(IpNet::addr);
        let ours: Vec<AddressEntry> = addresses()
            .flat_map(|address| place.table.entries(place.index, address))
            .filter(|entry| self.held.contains(&entry.net.addr()) || !entry.is_static())
            .copied()
            .collect();
        let mut remarks = Vec::new();
        let requests = ours.iter().map(remove).collect();
        for (entry, result) in ours.iter().zip(results(place.commands.request(requests), ours.len())) {
            match result {
                Ok(()) | Err(Errno::EADDRNOTAVAIL | Errno::ENODEV) => {
                    place.table.remove(entry.index, entry.net);
                }
                Err(error) => remarks.push(Remark::NotRemoved(entry.net.addr(), error as i32)),
            }
        }
        for address in addresses().collect::<Vec<_>>() {
            self.held.remove(&address);
            self.standing.remove(&address);
        }
        if part.end == self.wanted.len() {
            self.forget();
        }
        remarks
    }

    /// Takes over what `old` holds; what of it is not wanted here is removed.
    pub(super) fn inherit(&mut self, old: Self, place: &mut Place<'_>) {
        let kept: BTreeSet<IpAddr> = self.addresses().collect();
        let unwanted: Vec<IpNet> = old.wanted.iter().filter(|net| !kept.contains(&net.addr())).copied().collect();
        let part = 0..unwanted.len();
        // What cannot be removed now lapses with its lease.
        let _ = Self { held: old.held.clone(), ..Self::new(unwanted) }.remove(place, part);
        self.held = old.held.intersection(&kept).copied().collect();
        self.lease_end = old.lease_end;
    }

    /// We hold nothing any more: the link is gone, or everything was removed.
    pub(super) fn forget(&mut self) {
        self.held.clear();
        self.lease_end = None;
        self.promotes = None;
    }

    /// What we hold according to our books and the host does not have: somebody else removed it.
    /// Told once; nothing is told after the end of the lease, when the kernel removed it for us.
    pub(super) fn lost(&mut self, index: u32, table: &Table, now: Instant) -> Vec<IpAddr> {
        if self.lease_end.is_none_or(|end| now >= end) {
            return Vec::new();
        }
        let lost: Vec<IpAddr> =
            self.held.iter().copied().filter(|address| table.entries(index, *address).is_empty()).collect();
        for address in &lost {
            self.held.remove(address);
        }
        lost
    }
}

/// Lifetimes are whole seconds, at least one.
fn lease_seconds(lease: Duration) -> u32 {
    let seconds = lease.as_secs() + u64::from(lease.subsec_nanos() > 0);
    u32::try_from(seconds.max(1)).unwrap_or(u32::MAX - 1)
}

/// How an address of ours looks in the table.
fn entry(index: u32, net: IpNet) -> AddressEntry {
    let mut flags = AddressFlags::Deprecated;
    if net.addr().is_ipv6() {
        // It is ours by election: nobody has to be asked whether it is free.
        flags |= AddressFlags::Nodad;
    }
    if net.prefix_len() == net.max_prefix_len() {
        flags |= AddressFlags::Noprefixroute;
    }
    AddressEntry { index, net, flags, protocol: OURS, host_scope: false, order: 0 }
}

fn message(entry: &AddressEntry) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if entry.net.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = entry.net.prefix_len();
    message.header.index = entry.index;
    message.attributes = vec![AddressAttribute::Local(entry.net.addr()), AddressAttribute::Address(entry.net.addr())];
    message
}

fn add(entry: &AddressEntry, seconds: u32) -> Request {
    let mut message = message(entry);
    let flags = entry.flags - AddressFlags::Deprecated;
    let low = u8::try_from(flags.bits() & 0xff).unwrap_or_default();
    message.header.flags = AddressHeaderFlags::from_bits_retain(low);
    // Never preferred: the host must not use a floating address as its own source.
    let mut lifetime = CacheInfo::default();
    lifetime.ifa_valid = seconds;
    message.attributes.extend([
        AddressAttribute::Flags(flags),
        AddressAttribute::CacheInfo(lifetime),
        AddressAttribute::Protocol(AddressProtocol::Other(OURS)),
    ]);
    (RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
}

fn remove(entry: &AddressEntry) -> Request {
    (RouteNetlinkMessage::DelAddress(message(entry)), 0)
}

/// One result for each request, also where the whole exchange failed.
fn results(answer: io::Result<Vec<Result<(), Errno>>>, count: usize) -> Vec<Result<(), Errno>> {
    answer.unwrap_or_else(|error| vec![Err(Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32))); count])
}

/// Whether the kernel keeps the other addresses of a subnet when its first one goes.
fn promotes_secondaries(interface: &str) -> bool {
    ["all", interface].iter().any(|name| {
        std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}/promote_secondaries"))
            .is_ok_and(|text| text.trim() != "0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_whole_seconds_rounded_up() {
        for (lease, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (3000, 3), (5400, 6)] {
            assert_eq!(lease_seconds(Duration::from_millis(lease)), seconds, "{lease} ms");
        }
    }

    #[test]
    fn a_failed_exchange_is_a_failure_of_each_request() {
        let failed = results(Err(Errno::ENOBUFS.into()), 2);
        assert_eq!(failed, [Err(Errno::ENOBUFS), Err(Errno::ENOBUFS)]);
    }
}
