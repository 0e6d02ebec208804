//! Bytes into advertisements and back, and the frames that announce an address.
//!
//! Called by `linux`, and by tests. Pure: no socket, no clock, no log; every refusal is a typed
//! value. Nothing here panics, whatever the bytes: a view checks its length once, when it is made.
//!
//! `checksum` ◀ `ipv4`, `advert`, `announce` ◀ `reject` ◀ `receive` ◀ `counters`.

pub mod advert;
pub mod announce;
mod checksum;
pub mod counters;
pub mod ipv4;
pub mod receive;
pub mod reject;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::types::Family;

/// IP protocol number and next header of VRRP (RFC 9568 §5.1.1.4, §5.1.2.4).
pub const PROTOCOL: u8 = 112;
/// The IPv4 group that advertisements go to (RFC 9568 §5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// The IPv6 group that advertisements go to (RFC 9568 §5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// TTL and hop limit of every advertisement (RFC 9568 §5.1.1.3, §5.1.2.3).
pub const HOP_LIMIT: u8 = 255;
/// TOS and traffic class of our advertisements: CS6, network control, as keepalived sends.
pub const TRAFFIC_CLASS: u8 = 0xc0;

/// Source and destination of the IP packet that carries an advertisement: always of one family,
/// which is also that of the addresses advertised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// An IPv4 packet.
    V4 {
        /// Who sends it.
        source: Ipv4Addr,
        /// To whom.
        destination: Ipv4Addr,
    },
    /// An IPv6 packet.
    V6 {
        /// Who sends it.
        source: Ipv6Addr,
        /// To whom.
        destination: Ipv6Addr,
    },
}

impl Carrier {
    /// The pair, or nothing where the two are not of one family.
    pub fn new(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::V4 { source, destination }),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::V6 { source, destination }),
            _ => None,
        }
    }

    /// From `source` to the group of its family.
    pub fn multicast(source: IpAddr) -> Self {
        match source {
            IpAddr::V4(source) => Self::V4 { source, destination: GROUP_V4 },
            IpAddr::V6(source) => Self::V6 { source, destination: GROUP_V6 },
        }
    }

    /// Who sends the packet.
    pub fn source(&self) -> IpAddr {
        match *self {
            Self::V4 { source, .. } => source.into(),
            Self::V6 { source, .. } => source.into(),
        }
    }

    /// To whom it goes.
    pub fn destination(&self) -> IpAddr {
        match *self {
            Self::V4 { destination, .. } => destination.into(),
            Self::V6 { destination, .. } => destination.into(),
        }
    }

    /// The family of both.
    pub fn family(&self) -> Family {
        match self {
            Self::V4 { .. } => Family::V4,
            Self::V6 { .. } => Family::V6,
        }
    }

    /// Whether it goes to VRRP's multicast group.
    pub fn is_multicast(&self) -> bool {
        match self {
            Self::V4 { destination, .. } => *destination == GROUP_V4,
            Self::V6 { destination, .. } => *destination == GROUP_V6,
        }
    }
}
