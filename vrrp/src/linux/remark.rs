//! What the Linux side has to say about a router besides its state.
//!
//! Made by `vips`, `macvlan` and the engine; shown in the router's status and reported once when it
//! appears. Values, so that telling the same again costs nothing.

use std::fmt;
use std::net::IpAddr;

use nix::errno::Errno;

use crate::types::Family;

/// One thing an operator should know. Its text is the `Display` form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remark {
    /// The interface does not exist; the router waits for it.
    NoInterface,
    /// The interface is down or has no carrier; the router waits for it.
    LinkDown,
    /// The interface has no address to send from; the router waits for one.
    NoSource(Family),
    /// A VRRP socket could not be opened on the interface; tried again.
    Socket(Family, i32),
    /// The sockets for announcements could not be opened on the interface; tried again.
    Announcer(i32),
    /// The host has this address for good, by somebody else's doing: neither added nor removed.
    StaticAddress(IpAddr),
    /// The kernel refused to add or refresh an address.
    NotAdded(IpAddr, i32),
    /// The kernel refused to remove an address.
    NotRemoved(IpAddr, i32),
    /// The address lies in no subnet of the interface, so it brings its own.
    OutsideSubnets(IpAddr),
    /// Removing the address takes other addresses of its subnet along (`promote_secondaries`).
    SecondariesNotPromoted,
    /// The macvlan with the virtual MAC could not be made.
    VirtualMac(i32),
    /// The interface speaks ARP for the addresses with its own MAC, beside the virtual one.
    ArpSettings,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoInterface => f.write_str("the interface does not exist: waiting for it"),
            Self::LinkDown => f.write_str("the interface is down or has no carrier: waiting for it"),
            Self::NoSource(Family::V4) => {
                f.write_str("the interface has no IPv4 address to send from: waiting for one")
            }
            Self::NoSource(Family::V6) => {
                f.write_str("the interface has no usable link-local IPv6 address: waiting for one")
            }
            Self::Socket(family, code) => {
                write!(f, "cannot open the {} socket: {}", name(family), Errno::from_raw(code).desc())
            }
            Self::Announcer(code) => {
                write!(f, "cannot open the sockets for announcements: {}", Errno::from_raw(code).desc())
            }
            Self::StaticAddress(address) => write!(
                f,
                "{address} is a permanent address of this host: left as it is; remove it from the host's configuration"
            ),
            Self::NotAdded(address, code) => write!(f, "cannot add {address}: {}", Errno::from_raw(code).desc()),
            Self::NotRemoved(address, code) => write!(f, "cannot remove {address}: {}", Errno::from_raw(code).desc()),
            Self::OutsideSubnets(address) => write!(f, "{address} lies in no subnet of the interface"),
            Self::SecondariesNotPromoted => f.write_str(
                "net.ipv4.conf.*.promote_secondaries is 0: an expiring address may take others of its subnet along",
            ),
            Self::VirtualMac(code) => {
                write!(f, "cannot make the interface with the virtual MAC: {}", Errno::from_raw(code).desc())
            }
            Self::ArpSettings => f.write_str(
                "the interface speaks ARP for the addresses with its own MAC, too: \
                 set its net.ipv4.conf.*.arp_ignore to 1 and arp_announce to 2",
            ),
        }
    }
}

fn name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4 VRRP",
        Family::V6 => "IPv6 VRRP",
    }
}
