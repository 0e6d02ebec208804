//! What an operator says about one virtual router, and the arithmetic of its timers.
//!
//! Read by `wire`, `machine` and `linux`. Values only: where they come from is the caller's affair.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::types::{Centiseconds, Family, Priority, Version, Vrid};

/// One virtual router on one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterConfig {
    /// How people and logs call it; unique on the node.
    pub name: String,
    /// The interface that carries the advertisements.
    pub interface: String,
    /// Virtual Router Identifier; unique for an interface and address family.
    pub vrid: Vrid,
    /// The version sent; the other one is refused.
    pub version: Version,
    /// Base priority, 1–254: 255 (the owner) is not for an address that floats.
    pub priority: Priority,
    /// Advertisement Interval; whole seconds in version 2.
    pub interval: Centiseconds,
    /// The floating addresses that stand in the advertisement, in its order; never empty, all of
    /// one family. The prefix length is the subnet that the operator wrote.
    pub addresses: Vec<IpNet>,
    /// Addresses of either family that move along but are not advertised (keepalived's
    /// `virtual_ipaddress_excluded`).
    pub excluded: Vec<IpNet>,
    /// Whether to take over from a living router of lower priority.
    pub preempt: Preempt,
    /// To whom advertisements go.
    pub delivery: Delivery,
    /// The source of advertisements; none = the interface's primary (IPv6: link-local) address.
    pub source: Option<IpAddr>,
    /// The checksum that version 3 over IPv4 sends; both forms are accepted.
    pub checksum: ChecksumForm,
    /// Version 2: RFC 2338 simple text password, at most 8 bytes, NUL padded.
    pub auth_pass: Option<[u8; 8]>,
    /// Addresses live on a macvlan with the virtual router's MAC (RFC 9568 §7.3).
    pub virtual_mac: bool,
    /// Routers of one group are Active together or not at all.
    pub group: Option<String>,
}

impl RouterConfig {
    /// With the defaults: version 3, 1 s, multicast, no preemption.
    pub fn new(name: &str, interface: &str, vrid: Vrid, priority: Priority, addresses: Vec<IpNet>) -> Self {
        Self {
            name: name.to_owned(),
            interface: interface.to_owned(),
            vrid,
            version: Version::V3,
            priority,
            interval: Centiseconds::SECOND,
            addresses,
            excluded: Vec::new(),
            preempt: Preempt::Never,
            delivery: Delivery::Multicast,
            source: None,
            checksum: ChecksumForm::PseudoHeader,
            auth_pass: None,
            virtual_mac: false,
            group: None,
        }
    }

    /// The address family of the advertisements.
    pub fn family(&self) -> Family {
        self.addresses.first().map_or(Family::V4, |net| Family::of(net.addr()))
    }
}

/// RFC 9568's Preempt_Mode, with keepalived's delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preempt {
    /// Never from a living router.
    Never,
    /// After having heard a lower priority for so long; zero = at once.
    After(Duration),
}

/// To whom advertisements go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// 224.0.0.18 or ff02::12.
    Multicast,
    /// These hosts, each by itself; others are not listened to.
    Unicast(Vec<IpAddr>),
}

/// What the checksum of version 3 over IPv4 covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChecksumForm {
    /// The IPv4 pseudo-header and the message (RFC 5798 as keepalived reads it).
    PseudoHeader,
    /// The message alone (RFC 9568 §5.2.8).
    Message,
}

/// Skew_Time (RFC 9568 §6.1, RFC 3768 §6.1): (256 − priority) / 256 of `interval`, of one second in
/// version 2. Exact to the microsecond.
pub fn skew_time(version: Version, priority: Priority, interval: Centiseconds) -> Duration {
    let unit = match version {
        Version::V2 => 1_000_000,
        Version::V3 => u64::from(interval.get()) * 10_000,
    };
    Duration::from_micros((256 - u64::from(priority.0)) * unit / 256)
}

/// Active_Down_Interval (RFC 9568 §6.1): three intervals and the skew time.
pub fn down_interval(version: Version, priority: Priority, interval: Centiseconds) -> Duration {
    3 * Duration::from(interval) + skew_time(version, priority, interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of exact values for the usual priorities and intervals, in microseconds.
    #[test]
    fn timers_are_exact() {
        let cases = [
            (Version::V2, 254, 100, 7_812, 3_007_812),
            (Version::V2, 100, 100, 609_375, 3_609_375),
            (Version::V3, 100, 100, 609_375, 3_609_375),
            (Version::V3, 100, 10, 60_937, 360_937),
            (Version::V3, 254, 1, 78, 30_078),
            (Version::V3, 1, 1, 9_960, 39_960),
        ];
        for (version, priority, interval, skew, down) in cases {
            let (priority, interval) = (Priority(priority), Centiseconds::new(interval).expect("in range"));
            assert_eq!(skew_time(version, priority, interval).as_micros(), skew, "{version:?} {priority:?}");
            assert_eq!(down_interval(version, priority, interval).as_micros(), down, "{version:?} {priority:?}");
        }
    }
}
