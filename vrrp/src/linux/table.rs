//! The picture we have of the host's links and addresses, kept by events and corrected by dumps.
//!
//! The engine asks it for the facts about an interface (there, up, its MAC, the source of
//! advertisements), `vips` for the addresses on it. Filled by [`Table::apply`] from netlink
//! messages; makes no system call but in [`Table::reload`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NlasIterator, Parseable};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkMessage};

use super::netlink::Commands;
use crate::types::{Family, Mac};

/// `IFA_PROTO` of addresses that this crate adds (kernel 5.18 and later keep it): VRRP's number.
pub(super) const OURS: u8 = 112;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
/// Bytes of a link message before its attributes.
const LINK_HEADER: usize = 16;
/// Dumps are repeated so often when the kernel says that something changed meanwhile.
const DUMP_TRIES: usize = 3;
/// The family of a link message that is a bridge's about its port, not the link's own.
const AF_BRIDGE: u8 = 7;

/// Links by index, addresses by link and address.
#[derive(Debug, Default)]
pub(super) struct Table {
    links: BTreeMap<u32, LinkEntry>,
    /// IPv4 may have one address several times, with different prefix lengths.
    addresses: BTreeMap<(u32, IpAddr), Vec<AddressEntry>>,
    /// The kernel tells of primary addresses first: whoever came earlier counts.
    next_order: u64,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkEntry {
    /// Its name at the moment.
    pub name: String,
    /// Administratively up, with a carrier and not dormant.
    pub up: bool,
    /// Its Ethernet address.
    pub mac: Option<Mac>,
}

/// An address on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AddressEntry {
    /// The link.
    pub index: u32,
    /// The address and its prefix length.
    pub net: IpNet,
    /// `IFA_F_*`.
    pub flags: AddressFlags,
    /// `IFA_PROTO`, 0 where unknown.
    pub protocol: u8,
    /// It is for use on this host alone.
    pub host_scope: bool,
    /// Its place in the order in which the kernel told of them.
    pub order: u64,
}

impl AddressEntry {
    /// Whether somebody gave the host this address for good: without end and without our mark.
    pub(super) fn is_static(&self) -> bool {
        self.flags.contains(AddressFlags::Permanent) && self.protocol != OURS
    }

    fn is_usable(&self) -> bool {
        !self.host_scope && !self.flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed)
    }
}

impl Table {
    /// Replaces everything by what the kernel says now. The old picture stays on an error.
    pub(super) fn reload(&mut self, commands: &mut Commands) -> io::Result<()> {
        let mut links = LinkMessage::default();
        links.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        for _ in 0..DUMP_TRIES {
            let mut fresh = Self::default();
            let links = RouteNetlinkMessage::GetLink(links.clone());
            let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
            let mut take = |kind, body: &[u8]| {
                fresh.apply(kind, body);
            };
            if commands.dump(links, &mut take)? && commands.dump(addresses, &mut take)? {
                *self = fresh;
                return Ok(());
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// Takes in one message of the kernel; whether it changed anything. What cannot be read is as if
    /// it had not come.
    pub(super) fn apply(&mut self, kind: u16, body: &[u8]) -> bool {
        match kind {
            RTM_NEWLINK => parse_link(body).is_some_and(|(index, entry)| {
                let changed = self.links.get(&index) != Some(&entry);
                self.links.insert(index, entry);
                changed
            }),
            RTM_DELLINK => parse_link(body).is_some_and(|(index, _)| {
                self.addresses.retain(|(of, _), _| *of != index);
                self.links.remove(&index).is_some()
            }),
            RTM_NEWADDR => parse_address(body).is_some_and(|entry| self.insert(entry)),
            RTM_DELADDR => parse_address(body).is_some_and(|entry| self.remove(entry.index, entry.net)),
            _ => false,
        }
    }

    /// An address is there, as told; whether that is new.
    pub(super) fn insert(&mut self, mut entry: AddressEntry) -> bool {
        let same = self.addresses.entry((entry.index, entry.net.addr())).or_default();
        match same.iter_mut().find(|known| known.net == entry.net) {
            Some(known) => {
                entry.order = known.order;
                std::mem::replace(known, entry) != entry
            }
            None => {
                entry.order = self.next_order;
                self.next_order += 1;
                same.push(entry);
                true
            }
        }
    }

    /// An address is not there; whether that is new.
    pub(super) fn remove(&mut self, index: u32, net: IpNet) -> bool {
        let Some(same) = self.addresses.get_mut(&(index, net.addr())) else { return false };
        let before = same.len();
        same.retain(|known| known.net != net);
        let removed = same.len() < before;
        if same.is_empty() {
            self.addresses.remove(&(index, net.addr()));
        }
        removed
    }

    /// The link that has this name now.
    pub(super) fn link(&self, name: &str) -> Option<(u32, &LinkEntry)> {
        self.links.iter().find(|(_, link)| link.name == name).map(|(index, link)| (*index, link))
    }

    /// Whether a link of this host has this Ethernet address.
    pub(super) fn has_mac(&self, mac: Mac) -> bool {
        self.links.values().any(|link| link.mac == Some(mac))
    }

    /// Every entry of an address on a link.
    pub(super) fn entries(&self, index: u32, address: IpAddr) -> &[AddressEntry] {
        self.addresses.get(&(index, address)).map_or(&[], Vec::as_slice)
    }

    /// The subnets that a link has by other addresses than the `floating` ones.
    pub(super) fn subnets(&self, index: u32, floating: &BTreeSet<IpAddr>) -> Vec<IpNet> {
        self.on(index).map(|entry| entry.net).filter(|net| !floating.contains(&net.addr())).collect()
    }

    fn on(&self, index: u32) -> impl Iterator<Item = &AddressEntry> {
        let first = (index, IpAddr::from([0; 4]));
        let last = (index, IpAddr::from([0xff; 16]));
        self.addresses.range(first..=last).flat_map(|(_, entries)| entries)
    }

    /// The source of advertisements on a link: the `wanted` address if it is there and usable, else
    /// the primary IPv4 or the link-local IPv6 address. Never one of the `floating` ones.
    pub(super) fn source(
        &self,
        index: u32,
        family: Family,
        wanted: Option<IpAddr>,
        floating: &BTreeSet<IpAddr>,
    ) -> Option<IpAddr> {
        let usable = |entry: &&AddressEntry| entry.is_usable() && !floating.contains(&entry.net.addr());
        let found = match wanted {
            Some(wanted) => self.entries(index, wanted).iter().find(usable),
            None => {
                let fits = |entry: &&AddressEntry| match (family, entry.net.addr()) {
                    (Family::V4, IpAddr::V4(_)) => {
                        !entry.flags.intersects(AddressFlags::Secondary | AddressFlags::Deprecated)
                    }
                    (Family::V6, IpAddr::V6(address)) => address.is_unicast_link_local(),
                    _ => false,
                };
                self.on(index).filter(fits).filter(usable).min_by_key(|entry| entry.order)
            }
        };
        found.map(|entry| entry.net.addr())
    }
}

/// Index and facts of a link message. Only the two attributes that we need are looked at: a new
/// kernel's unknown ones must not cost us the link.
fn parse_link(body: &[u8]) -> Option<(u32, LinkEntry)> {
    let header = LinkHeader::parse(body).ok()?;
    if u8::from(header.interface_family) == AF_BRIDGE {
        return None;
    }
    let (mut name, mut mac) = (None, None);
    for attribute in NlasIterator::new(body.get(LINK_HEADER..)?).map_while(Result::ok) {
        match attribute.kind() {
            IFLA_IFNAME => {
                let bytes = attribute.value();
                let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                name = Some(String::from_utf8_lossy(text).into_owned());
            }
            IFLA_ADDRESS => mac = attribute.value().try_into().ok().map(Mac),
            _ => (),
        }
    }
    let up = header.flags.contains(LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp);
    Some((header.index, LinkEntry { name: name?, up, mac }))
}

fn parse_address(body: &[u8]) -> Option<AddressEntry> {
    let message = AddressMessage::parse(body).ok()?;
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    let (mut address, mut local, mut protocol) = (None, None, 0);
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Address(ip) => address = Some(ip),
            AddressAttribute::Local(ip) => local = Some(ip),
            AddressAttribute::Flags(all) => flags = all,
            AddressAttribute::Protocol(value) => protocol = AddressProtocol::into(value),
            _ => (),
        }
    }
    // On a point-to-point link IFA_ADDRESS is the peer's and IFA_LOCAL ours; IPv6 has only the first.
    let net = IpNet::new(local.or(address)?, message.header.prefix_len).ok()?;
    let host_scope = message.header.scope == AddressScope::Host;
    Some(AddressEntry { index: message.header.index, net, flags, protocol, host_scope, order: 0 })
}

#[cfg(test)]
mod tests;
