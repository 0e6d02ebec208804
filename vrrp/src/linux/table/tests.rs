//! The table by itself, fed with messages as the kernel sends them.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use netlink_packet_core::Emitable;

use super::*;

fn link(index: u32, name: &str, flags: LinkFlags) -> Vec<u8> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = flags;
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, u8::try_from(index).unwrap()]),
    ];
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

fn address(index: u32, net: &str, flags: AddressFlags, protocol: u8) -> Vec<u8> {
    let net: IpNet = net.parse().unwrap();
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = net.prefix_len();
    message.attributes = vec![
        AddressAttribute::Address(net.addr()),
        AddressAttribute::Flags(flags),
        AddressAttribute::Protocol(AddressProtocol::Other(protocol)),
    ];
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

fn table() -> Table {
    let mut table = Table::default();
    table.apply(RTM_NEWLINK, &link(2, "eth0", LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp));
    for (net, flags) in [
        ("192.0.2.1/24", AddressFlags::Permanent),
        ("192.0.2.2/24", AddressFlags::Permanent | AddressFlags::Secondary),
        ("2001:db8::1/64", AddressFlags::Permanent),
        ("fe80::1/64", AddressFlags::Permanent | AddressFlags::Tentative),
    ] {
        table.apply(RTM_NEWADDR, &address(2, net, flags, 0));
    }
    table
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_link_is_known_by_its_name_of_the_moment() {
    let mut table = table();
    let (index, entry) = table.link("eth0").unwrap();
    assert_eq!((index, entry.up, entry.mac), (2, true, Some(Mac([2, 0, 0, 0, 0, 2]))));
    table.apply(RTM_NEWLINK, &link(2, "wan", LinkFlags::Up));
    assert_eq!(table.link("eth0"), None);
    assert!(!table.link("wan").unwrap().1.up, "no carrier");
    table.apply(RTM_DELLINK, &link(2, "wan", LinkFlags::Up));
    assert_eq!(table.link("wan"), None);
    assert_eq!(table.entries(2, ip("192.0.2.1")), [], "addresses go with their link");
}

#[test]
fn the_source_is_the_primary_or_the_usable_link_local_address() {
    let mut table = table();
    let none = BTreeSet::new();
    assert_eq!(table.source(2, Family::V4, None, &none), Some(ip("192.0.2.1")));
    assert_eq!(table.source(2, Family::V4, None, &BTreeSet::from([ip("192.0.2.1")])), None, "a floating address");
    assert_eq!(table.source(2, Family::V4, Some(ip("192.0.2.2")), &none), Some(ip("192.0.2.2")));
    assert_eq!(table.source(2, Family::V4, Some(ip("192.0.2.9")), &none), None, "configured, not there");
    assert_eq!(table.source(2, Family::V6, None, &none), None, "tentative");
    table.apply(RTM_NEWADDR, &address(2, "fe80::1/64", AddressFlags::Permanent | AddressFlags::Dadfailed, 0));
    assert_eq!(table.source(2, Family::V6, None, &none), None, "a duplicate");
    table.apply(RTM_NEWADDR, &address(2, "fe80::1/64", AddressFlags::Permanent, 0));
    assert_eq!(table.source(2, Family::V6, None, &none), Some(ip("fe80::1")));
    table.apply(RTM_DELADDR, &address(2, "192.0.2.1/24", AddressFlags::Permanent, 0));
    table.apply(RTM_NEWADDR, &address(2, "192.0.2.2/24", AddressFlags::Permanent, 0));
    assert_eq!(table.source(2, Family::V4, None, &none), Some(ip("192.0.2.2")), "promoted");
}

#[test]
fn subnets_are_those_of_the_host_not_of_floating_addresses() {
    let mut table = table();
    let floating = BTreeSet::from([ip("198.51.100.1"), ip("198.51.100.2")]);
    table.apply(RTM_NEWADDR, &address(2, "198.51.100.1/24", AddressFlags::empty(), OURS));
    let has = |index, address| table.subnets(index, &floating).iter().any(|net| net.contains(&ip(address)));
    assert!(has(2, "192.0.2.77") && has(2, "2001:db8::77"));
    assert!(!has(3, "192.0.2.77"), "another link");
    assert!(!has(2, "198.51.100.2"));
}

#[test]
fn a_static_address_is_permanent_and_not_marked() {
    for (flags, protocol, expected) in [
        (AddressFlags::Permanent, 0, true),
        (AddressFlags::Permanent, OURS, false),
        (AddressFlags::Deprecated, 0, false),
        (AddressFlags::Deprecated, OURS, false),
    ] {
        let entry = parse_address(&address(2, "192.0.2.10/32", flags, protocol)).unwrap();
        assert_eq!(entry.is_static(), expected, "{entry:?}");
    }
}

#[test]
fn what_cannot_be_read_changes_nothing() {
    let mut table = table();
    let whole = link(2, "eth0", LinkFlags::empty());
    for length in 0..whole.len() {
        for kind in 0..32 {
            table.apply(kind, &whole[..length.min(20)]);
        }
    }
    assert!(table.link("eth0").is_some_and(|(_, entry)| entry.up));
    let bridge = {
        let mut bytes = link(2, "eth0", LinkFlags::empty());
        bytes[0] = AF_BRIDGE;
        bytes
    };
    table.apply(RTM_DELLINK, &bridge);
    assert!(table.link("eth0").is_some(), "it only left a bridge");
}
