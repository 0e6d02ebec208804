//! The link with the virtual MAC (RFC 9568 §7.3): a macvlan on the router's interface.
//!
//! Driven by `router`. The link is made beforehand, which takes long, and is up only while the
//! router holds its addresses: a Backup's multicast joins would draw the virtual MAC to the wrong
//! switch port. It is named after interface, family and VRID, so that a predecessor's is recognised.
//! Writes sysctls of its own link only; what the base interface lacks becomes a remark.

use std::fs;
use std::io;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage, MacVlanMode,
};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use super::netlink::Commands;
use crate::types::{Family, Mac, Vrid};

/// The link's name: unique on the host, recognisable, within the kernel's 15 bytes up to interface
/// number 99999.
pub(super) fn name(base: u32, family: Family, vrid: Vrid) -> String {
    let digit = match family {
        Family::V4 => 4,
        Family::V6 => 6,
    };
    format!("vrrp{digit}.{base}.{}", vrid.get())
}

/// Makes the link, down; its index. One that is there already is used as it is.
pub(super) fn create(commands: &mut Commands, base: u32, family: Family, vrid: Vrid) -> io::Result<u32> {
    let name = name(base, family, vrid);
    let mut link = named(&name);
    link.attributes.extend([
        LinkAttribute::Link(base),
        LinkAttribute::Address(Mac::of_router(family, vrid).0.to_vec()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::MacVlan),
            LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Private)])),
        ]),
    ]);
    let made = one(commands, RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL);
    if let Err(error) = made
        && error.raw_os_error() != Some(Errno::EEXIST as i32)
    {
        return Err(error);
    }
    // No link-local address of its own: it would be looked for by frames from the virtual MAC. A
    // host without IPv6 has no such setting.
    let mut quiet = named(&name);
    quiet.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(
        In6AddrGenMode::None,
    )])]));
    let _ = one(commands, RouteNetlinkMessage::SetLink(quiet), 0);
    // Clients are reached through the base interface: what comes in here is checked loosely.
    let _ = fs::write(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "2");
    let _ = fs::write(format!("/proc/sys/net/ipv4/conf/{name}/arp_ignore"), "1");
    Ok(if_nametoindex(name.as_str())?)
}

/// The link of a predecessor, if there is one.
pub(super) fn find(base: u32, family: Family, vrid: Vrid) -> Option<u32> {
    if_nametoindex(name(base, family, vrid).as_str()).ok()
}

/// Brings the link up, or down.
pub(super) fn switch(commands: &mut Commands, index: u32, up: bool) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    link.header.change_mask = LinkFlags::Up;
    one(commands, RouteNetlinkMessage::SetLink(link), 0)
}

/// Removes the link; none there is fine.
pub(super) fn remove(commands: &mut Commands, index: u32) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    match one(commands, RouteNetlinkMessage::DelLink(link), 0) {
        Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => Ok(()),
        other => other,
    }
}

/// Whether the base interface would answer ARP requests for addresses that are not its own, or put
/// such an address into its own requests.
pub(super) fn base_speaks_arp(interface: &str) -> bool {
    let least = |setting: &str| {
        let read = |name| fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}/{setting}")).ok();
        let values = ["all", interface].into_iter().filter_map(read);
        values.filter_map(|text| text.trim().parse::<u8>().ok()).max().unwrap_or_default()
    };
    least("arp_ignore") < 1 || least("arp_announce") < 2
}

fn named(name: &str) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    link
}

fn one(commands: &mut Commands, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    match commands.request(vec![(message, flags)])?.first() {
        Some(Err(error)) => Err((*error).into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_interface_family_and_router() {
        let vrid = Vrid::new(51).expect("not zero");
        assert_eq!(name(12, Family::V4, vrid), "vrrp4.12.51");
        assert!(name(99_999, Family::V6, Vrid::new(255).expect("not zero")).len() <= 15);
    }
}
