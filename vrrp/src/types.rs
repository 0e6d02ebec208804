//! The scalars of VRRP: numbers with a range or a unit.
//!
//! Used by every later part of this crate. Pure values: nothing here reads a clock or a socket.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

/// Virtual Router Identifier, 1–255 (RFC 9568 §5.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vrid(NonZeroU8);

impl Vrid {
    /// The identifier, or nothing for 0, which RFC 9568 does not allow.
    pub fn new(value: u8) -> Option<Self> {
        NonZeroU8::new(value).map(Self)
    }

    /// The number as it stands in the packet.
    pub fn get(self) -> u8 {
        self.0.get()
    }
}

/// Priority of a router, 0–255 (RFC 9568 §5.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u8);

impl Priority {
    /// 0: the Active router stops taking part.
    pub const RESIGN: Self = Self(0);
    /// 255: the router owns the addresses.
    pub const OWNER: Self = Self(255);
}

/// Hundredths of a second, the unit of VRRPv3's Maximum Advertisement Interval, 1–4095
/// (RFC 9568 §5.2.7); from version 2's whole seconds, 100–25500 (RFC 3768 §5.3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Centiseconds(u16);

impl Centiseconds {
    /// One second.
    pub const SECOND: Self = Self(100);

    /// The interval, or nothing where it does not fit the packet's 12 bits or is 0.
    pub fn new(value: u16) -> Option<Self> {
        (1..=4095).contains(&value).then_some(Self(value))
    }

    /// The interval of version 2, or nothing for 0 seconds.
    pub fn from_seconds(value: u8) -> Option<Self> {
        (value > 0).then(|| Self(u16::from(value) * 100))
    }

    /// The number as it stands in the packet.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl From<Centiseconds> for Duration {
    fn from(value: Centiseconds) -> Self {
        Self::from_millis(u64::from(value.0) * 10)
    }
}

/// The version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// RFC 3768: IPv4 only, whole seconds.
    V2,
    /// RFC 9568.
    V3,
}

impl Version {
    /// The number as it stands in the packet.
    pub fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

/// The family of the carrying packet and of the addresses in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of `address`.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// The hardware address of an Ethernet interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The virtual router's own address, 00-00-5E-00-{01,02}-{VRID} (RFC 9568 §7.3).
    pub fn of_router(family: Family, vrid: Vrid) -> Self {
        let block = match family {
            Family::V4 => 1,
            Family::V6 => 2,
        };
        Self([0, 0, 0x5e, 0, block, vrid.get()])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_packet() {
        assert_eq!(Vrid::new(0), None);
        assert_eq!(Vrid::new(255).map(Vrid::get), Some(255));
        assert_eq!(Centiseconds::new(0), None);
        assert_eq!(Centiseconds::new(4096), None);
        assert_eq!(Centiseconds::from_seconds(0), None);
        assert_eq!(Centiseconds::from_seconds(255).map(Centiseconds::get), Some(25_500));
        assert_eq!(Centiseconds::new(100).map(Duration::from), Some(Duration::from_secs(1)));
        assert!(Priority::RESIGN < Priority::OWNER);
    }

    #[test]
    fn the_virtual_mac_differs_by_family() {
        let mac = |family| Vrid::new(51).map(|vrid| Mac::of_router(family, vrid).to_string());
        assert_eq!(mac(Family::V4).as_deref(), Some("00:00:5e:00:01:33"));
        assert_eq!(mac(Family::V6).as_deref(), Some("00:00:5e:00:02:33"));
    }
}
