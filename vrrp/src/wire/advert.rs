//! The advertisement, VRRP's only message (RFC 9568 §5.2, RFC 3768 §5.1).
//!
//! [`Packet`] is a view of complete bytes with a right checksum and shows every field as it stands
//! there; [`Advert`] is the valid subset that the program believes in. Used by `receive` and by
//! the sender. Does not know what is configured: that is `receive`'s business.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use super::{Carrier, checksum};
use crate::config::{ChecksumForm, RouterConfig};
use crate::types::{Centiseconds, Family, Priority, Version, Vrid};

/// What one advertisement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// Version of the protocol.
    pub version: Version,
    /// Which virtual router.
    pub vrid: Vrid,
    /// Of the sender; 0 = it resigns.
    pub priority: Priority,
    /// Advertisement Interval; whole seconds in version 2.
    pub interval: Centiseconds,
    /// The virtual addresses, 1–255, all of the carrier's family.
    pub addresses: Vec<IpAddr>,
    /// Version 2's authentication; version 3 has none.
    pub auth: Auth,
}

/// Version 2's authentication (RFC 2338 §5.3.6); RFC 3768 keeps the bytes and withdraws the use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Type 0.
    None,
    /// Type 1: a password in clear, padded with NUL.
    Simple([u8; 8]),
}

impl Auth {
    /// The number of the type in the packet.
    pub fn kind(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Simple(_) => 1,
        }
    }
}

/// What is wrong with an advertisement, whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Less than the fixed part.
    #[error("{have} bytes are no advertisement, which has at least 8")]
    Short {
        /// Bytes received.
        have: usize,
    },
    /// No version that exists for the carrier's family (version 2 is IPv4 only).
    #[error("version {found} does not exist here")]
    UnknownVersion {
        /// The version field.
        found: u8,
    },
    /// Not the version that the router is configured for.
    #[error("version {found} instead of {wanted}")]
    OtherVersion {
        /// The version field.
        found: u8,
        /// The version configured.
        wanted: u8,
    },
    /// Not type 1, the only one.
    #[error("type {found} instead of 1, advertisement")]
    Type {
        /// The type field.
        found: u8,
    },
    /// The length does not fit the number of addresses.
    #[error("{have} bytes instead of {need} for its {count} addresses{}", trailer(*have, *need))]
    Length {
        /// Bytes received.
        have: usize,
        /// Bytes that the count of addresses asks for.
        need: usize,
        /// The count of addresses.
        count: u8,
    },
    /// No form of checksum is right.
    #[error("checksum {found:04x} instead of {expected:04x}{}", if *old_unicast { OLD_UNICAST } else { "" })]
    Checksum {
        /// The checksum field.
        found: u16,
        /// What it should be; for version 3 over IPv4 with the pseudo-header.
        expected: u16,
        /// It is right for a pseudo-header with the multicast group: keepalived up to 1.3.6 sends
        /// this to unicast peers.
        old_unicast: bool,
    },
    /// VRID 0.
    #[error("virtual router identifier 0")]
    NoVrid,
    /// Version 2: neither "none" nor a simple password.
    #[error("authentication type {found}")]
    AuthType {
        /// The authentication type field.
        found: u8,
    },
    /// Count of addresses 0 (RFC 9568 §5.2.5).
    #[error("no address in it")]
    NoAddress,
    /// Advertisement Interval 0 (RFC 9568, erratum 8301).
    #[error("advertisement interval 0")]
    NoInterval,
}

/// Complete bytes of an advertisement with a right checksum; every getter shows what stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    version: Version,
    family: Family,
    checksum: ChecksumForm,
}

impl<'a> Packet<'a> {
    /// Checks version, type, length and checksum, in this order. `wanted` is the only version
    /// allowed; with none, any that exists for the carrier's family is.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn new(bytes: &'a [u8], carrier: &Carrier, wanted: Option<Version>) -> Result<Self, Malformed> {
        let have = bytes.len();
        if have < FIXED {
            return Err(Malformed::Short { have });
        }
        let family = carrier.family();
        let found = bytes[0] >> 4;
        if let Some(wanted) = wanted.map(Version::number)
            && wanted != found
        {
            return Err(Malformed::OtherVersion { found, wanted });
        }
        let version = match (found, family) {
            (2, Family::V4) => Version::V2,
            (3, _) => Version::V3,
            _ => return Err(Malformed::UnknownVersion { found }),
        };
        if bytes[0] & 0x0f != ADVERTISEMENT {
            return Err(Malformed::Type { found: bytes[0] & 0x0f });
        }
        let count = bytes[3];
        let need = FIXED + usize::from(count) * address_len(family) + trailer_len(version);
        if have != need {
            return Err(Malformed::Length { have, need, count });
        }
        let Some(checksum) = checksum::verify(version, carrier, bytes) else {
            return Err(Malformed::Checksum {
                found: u16::from_be_bytes([bytes[6], bytes[7]]),
                expected: checksum::vrrp(version, carrier, ChecksumForm::PseudoHeader, bytes),
                old_unicast: checksum::is_old_unicast(version, carrier, bytes),
            });
        };
        Ok(Self { bytes, version, family, checksum })
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Virtual Router Identifier; 0 is possible.
    pub fn vrid(&self) -> u8 {
        self.bytes[1]
    }

    /// The sender's priority.
    pub fn priority(&self) -> Priority {
        Priority(self.bytes[2])
    }

    /// How many addresses it has; 0 is possible.
    pub fn count(&self) -> u8 {
        self.bytes[3]
    }

    /// Which form of checksum it has. Only version 3 over IPv4 has a choice.
    pub fn checksum(&self) -> ChecksumForm {
        self.checksum
    }

    /// The Advertisement Interval, none if 0. Version 3's reserved bits are ignored.
    pub fn interval(&self) -> Option<Centiseconds> {
        match self.version {
            Version::V2 => Centiseconds::from_seconds(self.bytes[5]),
            Version::V3 => Centiseconds::new(u16::from_be_bytes([self.bytes[4], self.bytes[5]]) & 0x0fff),
        }
    }

    /// The authentication type; 0 in version 3.
    pub fn auth_type(&self) -> u8 {
        match self.version {
            Version::V2 => self.bytes[4],
            Version::V3 => 0,
        }
    }

    /// Version 2's authentication data, whatever the type; zeros in version 3.
    pub fn auth_data(&self) -> [u8; 8] {
        match self.version {
            Version::V2 => self.bytes.last_chunk().copied().unwrap_or_default(),
            Version::V3 => [0; 8],
        }
    }

    /// The addresses in the order of the packet.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let list = &self.bytes[FIXED..self.bytes.len() - trailer_len(self.version)];
        match self.family {
            Family::V4 => list.as_chunks::<4>().0.iter().map(|octets| Ipv4Addr::from(*octets).into()).collect(),
            Family::V6 => list.as_chunks::<16>().0.iter().map(|octets| Ipv6Addr::from(*octets).into()).collect(),
        }
    }

    /// The advertisement, where every field has a value that means something.
    ///
    /// # Errors
    /// VRID 0, an authentication that no longer exists, no address or interval 0, in this order.
    pub fn advert(&self) -> Result<Advert, Malformed> {
        let vrid = Vrid::new(self.vrid()).ok_or(Malformed::NoVrid)?;
        let auth = match self.auth_type() {
            0 => Auth::None,
            1 => Auth::Simple(self.auth_data()),
            found => return Err(Malformed::AuthType { found }),
        };
        if self.count() == 0 {
            return Err(Malformed::NoAddress);
        }
        let interval = self.interval().ok_or(Malformed::NoInterval)?;
        Ok(Advert {
            version: self.version,
            vrid,
            priority: self.priority(),
            interval,
            addresses: self.addresses(),
            auth,
        })
    }
}

impl Advert {
    /// What the router of `config` says with this priority and interval.
    pub fn new(config: &RouterConfig, priority: Priority, interval: Centiseconds) -> Self {
        let auth = match (config.version, config.auth_pass) {
            (Version::V2, Some(password)) => Auth::Simple(password),
            _ => Auth::None,
        };
        let addresses = config.addresses.iter().map(|net| net.addr()).collect();
        Self { version: config.version, vrid: config.vrid, priority, interval, addresses, auth }
    }

    /// Reads bytes of either version; also tells the form of the checksum.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(bytes: &[u8], carrier: &Carrier) -> Result<(Self, ChecksumForm), Malformed> {
        let packet = Packet::new(bytes, carrier, None)?;
        Ok((packet.advert()?, packet.checksum()))
    }

    /// The bytes to send in `carrier`; `form` is for version 3 over IPv4 and without effect elsewhere.
    ///
    /// Never fails. What the packet cannot express comes as near as it can: addresses of the other
    /// family and those after the 255th are left out, an interval is rounded up to whole seconds in
    /// version 2 and is at most 40.95 s in version 3. A valid [`RouterConfig`] needs none of it.
    pub fn emit(&self, carrier: &Carrier, form: ChecksumForm) -> Vec<u8> {
        let family = carrier.family();
        let addresses = || self.addresses.iter().filter(|address| Family::of(**address) == family).take(MAX_ADDRESSES);
        let count = u8::try_from(addresses().count()).unwrap_or(u8::MAX);
        let timing = match self.version {
            Version::V2 => [self.auth.kind(), u8::try_from(self.interval.get().div_ceil(100)).unwrap_or(u8::MAX)],
            Version::V3 => self.interval.get().min(0x0fff).to_be_bytes(),
        };
        let mut bytes = Vec::with_capacity(FIXED + usize::from(count) * address_len(family) + AUTH_DATA);
        bytes.extend([self.version.number() << 4 | ADVERTISEMENT, self.vrid.get(), self.priority.0, count]);
        bytes.extend(timing);
        bytes.extend([0, 0]);
        for address in addresses() {
            match address {
                IpAddr::V4(address) => bytes.extend(address.octets()),
                IpAddr::V6(address) => bytes.extend(address.octets()),
            }
        }
        match (self.version, self.auth) {
            (Version::V2, Auth::None) => bytes.extend([0; AUTH_DATA]),
            (Version::V2, Auth::Simple(password)) => bytes.extend(password),
            (Version::V3, _) => (),
        }
        let sum = checksum::vrrp(self.version, carrier, form, &bytes);
        bytes[checksum::FIELD..checksum::FIELD + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

fn address_len(family: Family) -> usize {
    match family {
        Family::V4 => 4,
        Family::V6 => 16,
    }
}

fn trailer_len(version: Version) -> usize {
    match version {
        Version::V2 => AUTH_DATA,
        Version::V3 => 0,
    }
}

fn trailer(have: usize, need: usize) -> &'static str {
    if have == need + HMAC_TRAILER { " (28 more: keepalived's auth_hmac, which is not supported)" } else { "" }
}

/// Length of the part before the addresses.
const FIXED: usize = 8;
/// Length of version 2's authentication data, present for every type.
const AUTH_DATA: usize = 8;
/// Length of the trailer that keepalived's `auth_hmac` adds.
const HMAC_TRAILER: usize = 28;
/// The only type (RFC 9568 §5.2.2).
const ADVERTISEMENT: u8 = 1;
/// As many as the count field can tell.
const MAX_ADDRESSES: usize = 255;
const OLD_UNICAST: &str = " (it is that of keepalived before 1.3.7 for unicast)";
