//! Why a packet is refused, and at which rung of the ladder.
//!
//! Made by `receive`, counted by `counters`, logged by the engine. Values only.

use std::net::IpAddr;

use thiserror::Error;

use super::{advert, ipv4};

/// Why a packet is refused; the text is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Reject {
    /// The IPv4 header contradicts itself.
    #[error(transparent)]
    Header(#[from] ipv4::Malformed),
    /// One of our own packets came back, or somebody uses our address.
    #[error("sent from our own address {source_address}")]
    Own {
        /// The source.
        source_address: IpAddr,
    },
    /// It may have passed a router (RFC 9568 §7.1).
    #[error("hop limit {found} instead of 255")]
    HopLimit {
        /// The TTL or hop limit.
        found: u8,
    },
    /// The message itself is wrong.
    #[error(transparent)]
    Malformed(#[from] advert::Malformed),
    /// No router of this number on this interface in this family.
    #[error("virtual router {found} is not configured here")]
    Vrid {
        /// The VRID field.
        found: u8,
    },
    /// Version 2: the sender authenticates in another way than we do.
    #[error("authentication type {found} instead of {wanted}")]
    AuthType {
        /// The authentication type field.
        found: u8,
        /// The type configured.
        wanted: u8,
    },
    /// Version 2: another password.
    #[error("wrong password")]
    Password,
    /// Version 2: another interval than ours (RFC 3768 §7.1).
    #[error("advertisement interval of {found} s instead of {wanted} s")]
    Interval {
        /// Seconds in the packet.
        found: u16,
        /// Seconds configured.
        wanted: u16,
    },
    /// A router that talks to single hosts got a packet for the group.
    #[error("multicast, but this router is configured for unicast")]
    Multicast,
    /// A router that talks to the group got a packet for one host.
    #[error("unicast to {destination}, but this router is configured for multicast")]
    Unicast {
        /// The destination.
        destination: IpAddr,
    },
    /// Unicast from a host that is no configured peer.
    #[error("{source_address} is not a configured peer")]
    Peer {
        /// The source.
        source_address: IpAddr,
    },
}

impl Reject {
    /// The rung that refuses for this reason.
    pub fn rung(&self) -> Rung {
        use advert::Malformed;
        match self {
            Self::Header(_) => Rung::Header,
            Self::Own { .. } => Rung::Own,
            Self::HopLimit { .. } => Rung::HopLimit,
            Self::Malformed(Malformed::UnknownVersion { .. } | Malformed::OtherVersion { .. }) => Rung::Version,
            Self::Malformed(Malformed::Type { .. }) => Rung::Type,
            Self::Malformed(Malformed::Short { .. } | Malformed::Length { .. }) => Rung::Length,
            Self::Malformed(Malformed::Checksum { .. }) => Rung::Checksum,
            Self::Malformed(Malformed::NoVrid) | Self::Vrid { .. } => Rung::Vrid,
            Self::Malformed(Malformed::AuthType { .. }) | Self::AuthType { .. } => Rung::AuthType,
            Self::Password => Rung::Password,
            Self::Malformed(Malformed::NoAddress) => Rung::NoAddress,
            Self::Malformed(Malformed::NoInterval) | Self::Interval { .. } => Rung::Interval,
            Self::Multicast | Self::Unicast { .. } => Rung::Delivery,
            Self::Peer { .. } => Rung::Peer,
        }
    }
}

/// The rungs of the ladder, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// IPv4 header sane.
    Header,
    /// Not from our own address.
    Own,
    /// TTL or hop limit 255.
    HopLimit,
    /// The version is the one configured.
    Version,
    /// The type is 1.
    Type,
    /// At least 8 bytes, and as many as the count of addresses asks for. (Fewer than 8 are found
    /// before the version is looked at, and counted here.)
    Length,
    /// A checksum of a form that is allowed.
    Checksum,
    /// A router of this number exists.
    Vrid,
    /// Version 2: authentication of the configured type.
    AuthType,
    /// Version 2: the configured password.
    Password,
    /// At least one address.
    NoAddress,
    /// Interval not 0; in version 2 the configured one.
    Interval,
    /// Multicast or unicast as configured.
    Delivery,
    /// Unicast: from a configured peer.
    Peer,
}

impl Rung {
    /// All of them, in order.
    pub const ALL: [Self; 14] = [
        Self::Header,
        Self::Own,
        Self::HopLimit,
        Self::Version,
        Self::Type,
        Self::Length,
        Self::Checksum,
        Self::Vrid,
        Self::AuthType,
        Self::Password,
        Self::NoAddress,
        Self::Interval,
        Self::Delivery,
        Self::Peer,
    ];

    /// A short name for metrics and status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Own => "own",
            Self::HopLimit => "ttl",
            Self::Version => "version",
            Self::Type => "type",
            Self::Length => "length",
            Self::Checksum => "checksum",
            Self::Vrid => "vrid",
            Self::AuthType => "auth_type",
            Self::Password => "auth_failure",
            Self::NoAddress => "no_address",
            Self::Interval => "interval",
            Self::Delivery => "delivery",
            Self::Peer => "peer",
        }
    }
}
