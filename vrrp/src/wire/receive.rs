//! The ladder that every received packet climbs (RFC 9568 §7.1, RFC 3768 §7.1, with errata).
//!
//! Called by the engine for each packet of a raw socket. Decides whether an advertisement counts as
//! received, for which router, and what about it deserves a remark. Keeps nothing, counts nothing.
//!
//! The rungs and their order are those of [`Rung`](super::reject::Rung): the first that fails wins.
//! Three decisions:
//!
//! - Several routers share an interface, and the version and the delivery to check against are
//!   those of the router that the VRID byte names, looked at before its turn. For a number that
//!   nobody has, any version passes, and rung Vrid refuses in the end.
//! - A router with unicast peers does not check the TTL, like keepalived: peers may be further away.
//!   The rungs Delivery and Peer bind it to its peers.
//! - Never a reason to refuse: other addresses than ours, another interval in version 3, a first
//!   IPv6 address that is not link-local (erratum 8300), priority 255 (erratum 8298).

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::advert::{Advert, Packet};
use super::reject::Reject;
use super::{Carrier, HOP_LIMIT, ipv4};
use crate::config::{ChecksumForm, Delivery, RouterConfig};
use crate::types::{Priority, Version, Vrid};

/// One packet of IP protocol 112, without its IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// Source and destination.
    pub carrier: Carrier,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// What follows the IP header.
    pub payload: &'a [u8],
}

impl<'a> Incoming<'a> {
    /// From a whole IPv4 packet, header included.
    ///
    /// # Errors
    /// Where the header contradicts itself; convert it to [`Reject`] to count it.
    pub fn from_ipv4(bytes: &'a [u8]) -> Result<Self, ipv4::Malformed> {
        let packet = ipv4::Packet::new(bytes)?;
        let carrier = Carrier::V4 { source: packet.source(), destination: packet.destination() };
        Ok(Self { carrier, hop_limit: packet.ttl(), payload: packet.payload() })
    }

    /// The router that the packet claims to be for, before any check: to attribute a refusal.
    pub fn vrid(&self) -> Option<Vrid> {
        self.payload.get(1).copied().and_then(Vrid::new)
    }
}

/// An advertisement that passed every rung.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Who sent it.
    pub source: IpAddr,
    /// What it says; its VRID is that of the router it is for.
    pub advert: Advert,
    /// The form of its checksum; a choice in version 3 over IPv4 only.
    pub checksum: ChecksumForm,
    /// What is unusual.
    pub remarks: Remarks,
}

/// Things worth a counter and a line in the log, but no reason to refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remarks {
    /// Another Advertisement Interval than configured here.
    pub interval_differs: bool,
    /// Another set of addresses than configured here.
    pub addresses_differ: bool,
    /// Over IPv6, the first address is not link-local.
    pub not_link_local: bool,
    /// The sender says it owns the addresses (priority 255).
    pub owner: bool,
}

/// Judges one packet. `own` are the addresses that this node sends from on this interface; `router`
/// gives the router of a number on this interface. One of the other family does not count.
///
/// # Errors
/// The first rung that refuses.
pub fn receive<'c>(
    incoming: &Incoming<'_>,
    own: &[IpAddr],
    router: impl FnOnce(Vrid) -> Option<&'c RouterConfig>,
) -> Result<Accepted, Reject> {
    let carrier = &incoming.carrier;
    let source = carrier.source();
    if own.contains(&source) {
        return Err(Reject::Own { source_address: source });
    }
    let config = incoming.vrid().and_then(router).filter(|config| config.family() == carrier.family());
    let expects_neighbour =
        config.map_or_else(|| carrier.is_multicast(), |config| config.delivery == Delivery::Multicast);
    if expects_neighbour && incoming.hop_limit != HOP_LIMIT {
        return Err(Reject::HopLimit { found: incoming.hop_limit });
    }
    let packet = Packet::new(incoming.payload, carrier, config.map(|config| config.version))?;
    let config = config.ok_or_else(|| Reject::Vrid { found: packet.vrid() })?;
    if packet.version() == Version::V2 {
        authenticate(&packet, config)?;
    }
    let advert = packet.advert()?;
    if advert.version == Version::V2 && advert.interval != config.interval {
        return Err(Reject::Interval { found: advert.interval.get() / 100, wanted: config.interval.get() / 100 });
    }
    deliver(carrier, &config.delivery)?;
    let remarks = Remarks::new(&advert, config);
    Ok(Accepted { source, advert, checksum: packet.checksum(), remarks })
}

/// The password is compared in constant time: how long a refusal takes tells nothing about it.
fn authenticate(packet: &Packet<'_>, config: &RouterConfig) -> Result<(), Reject> {
    let (found, wanted) = (packet.auth_type(), u8::from(config.auth_pass.is_some()));
    if found != wanted {
        return Err(Reject::AuthType { found, wanted });
    }
    let Some(password) = config.auth_pass else { return Ok(()) };
    let difference = password.iter().zip(packet.auth_data()).fold(0, |sum, (ours, theirs)| sum | (ours ^ theirs));
    if std::hint::black_box(difference) == 0 { Ok(()) } else { Err(Reject::Password) }
}

fn deliver(carrier: &Carrier, delivery: &Delivery) -> Result<(), Reject> {
    match (delivery, carrier.is_multicast()) {
        (Delivery::Multicast, true) => Ok(()),
        (Delivery::Multicast, false) => Err(Reject::Unicast { destination: carrier.destination() }),
        (Delivery::Unicast(_), true) => Err(Reject::Multicast),
        (Delivery::Unicast(peers), false) if peers.contains(&carrier.source()) => Ok(()),
        (Delivery::Unicast(_), false) => Err(Reject::Peer { source_address: carrier.source() }),
    }
}

impl Remarks {
    fn new(advert: &Advert, config: &RouterConfig) -> Self {
        let not_link_local = match advert.addresses.first() {
            Some(IpAddr::V6(first)) => !first.is_unicast_link_local(),
            Some(IpAddr::V4(_)) | None => false,
        };
        Self {
            interval_differs: advert.interval != config.interval,
            addresses_differ: !same_addresses(&advert.addresses, config),
            not_link_local,
            owner: advert.priority == Priority::OWNER,
        }
    }
}

/// The usual case, the same order, needs no set.
fn same_addresses(found: &[IpAddr], config: &RouterConfig) -> bool {
    let ours = || config.addresses.iter().map(|net| net.addr());
    ours().eq(found.iter().copied()) || ours().collect::<BTreeSet<_>>() == found.iter().copied().collect()
}
