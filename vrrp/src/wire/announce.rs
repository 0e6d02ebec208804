//! Ethernet frames that say who holds an address: gratuitous ARP and unsolicited neighbour
//! advertisements; and the reading of what others say by ARP.
//!
//! Used by the announcer of `linux`. Builds and reads bytes; which addresses, when and how often is
//! the machine's business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Carrier, checksum};
use crate::types::Mac;

/// The frames that announce `address` at `mac` once: for IPv4 a gratuitous ARP as a request and one
/// as a reply, for IPv6 an unsolicited neighbour advertisement. `router` is the R flag of the
/// latter: whether this host forwards packets.
pub fn frames(mac: Mac, address: IpAddr, router: bool) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(address) => vec![
            gratuitous_arp(mac, address, Operation::Request).to_vec(),
            gratuitous_arp(mac, address, Operation::Reply).to_vec(),
        ],
        IpAddr::V6(address) => vec![unsolicited_advertisement(mac, address, router).to_vec()],
    }
}

/// ARP's opcode (RFC 826).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// 1. As a gratuitous ARP it overrides an existing entry at once on Linux.
    Request,
    /// 2. For hosts that learn from replies only.
    Reply,
}

/// A gratuitous ARP for `address`, broadcast from `mac`.
///
/// Sender and target protocol address are both `address`. The target hardware address of a request
/// is all ones, as keepalived and FRR send it (receivers ignore it); of a reply it is `mac`, without
/// which Linux does not take the reply for gratuitous.
pub fn gratuitous_arp(mac: Mac, address: Ipv4Addr, operation: Operation) -> [u8; ARP_FRAME] {
    let (opcode, target) = match operation {
        Operation::Request => (1, BROADCAST),
        Operation::Reply => (2, mac),
    };
    let mut frame = [0; ARP_FRAME];
    frame[0..14].copy_from_slice(&ethernet(BROADCAST, mac, ETHERTYPE_ARP));
    frame[14..22].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, opcode]);
    frame[22..28].copy_from_slice(&mac.0);
    frame[28..32].copy_from_slice(&address.octets());
    frame[32..38].copy_from_slice(&target.0);
    frame[38..42].copy_from_slice(&address.octets());
    frame
}

/// An unsolicited neighbour advertisement for `address` (RFC 4861 §4.4, §7.2.6): from the address
/// itself to all nodes, hop limit 255, flags O and, if `router`, R, with the target link-layer
/// address option.
pub fn unsolicited_advertisement(mac: Mac, address: Ipv6Addr, router: bool) -> [u8; NA_FRAME] {
    let carrier = Carrier::V6 { source: address, destination: ALL_NODES };
    let mut message = [0; NA_MESSAGE];
    message[0] = NEIGHBOUR_ADVERTISEMENT;
    message[4] = FLAG_OVERRIDE | if router { FLAG_ROUTER } else { 0 };
    message[8..24].copy_from_slice(&address.octets());
    message[24..26].copy_from_slice(&[TARGET_LINK_LAYER_ADDRESS, 1]);
    message[26..32].copy_from_slice(&mac.0);
    let sum = checksum::upper_layer(&carrier, ICMPV6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut frame = [0; NA_FRAME];
    frame[0..14].copy_from_slice(&ethernet(ALL_NODES_MAC, mac, ETHERTYPE_IPV6));
    frame[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, 32, ICMPV6, 255]);
    frame[22..38].copy_from_slice(&address.octets());
    frame[38..54].copy_from_slice(&ALL_NODES.octets());
    frame[54..86].copy_from_slice(&message);
    frame
}

/// A host's statement that an IPv4 address is its own: the sender's part of any ARP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Who says so.
    pub mac: Mac,
    /// Which address it claims.
    pub address: Ipv4Addr,
}

impl Claim {
    /// Reads a whole Ethernet frame; nothing if it is no ARP for IPv4 over Ethernet, or one that
    /// claims nothing (a probe, whose sender address is 0.0.0.0; RFC 5227 §2.1.1).
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (header, arp) = frame.split_at_checked(14)?;
        if header[12..14] != ETHERTYPE_ARP.to_be_bytes() || arp.len() < ARP_FRAME - 14 || arp[0..6] != ARP_IPV4 {
            return None;
        }
        let mac = Mac([arp[8], arp[9], arp[10], arp[11], arp[12], arp[13]]);
        let address = Ipv4Addr::new(arp[14], arp[15], arp[16], arp[17]);
        (!address.is_unspecified()).then_some(Self { mac, address })
    }
}

fn ethernet(destination: Mac, source: Mac, ethertype: u16) -> [u8; 14] {
    let mut header = [0; 14];
    header[0..6].copy_from_slice(&destination.0);
    header[6..12].copy_from_slice(&source.0);
    header[12..14].copy_from_slice(&ethertype.to_be_bytes());
    header
}

/// Length of an ARP packet for IPv4 with its Ethernet header; the driver pads it.
pub const ARP_FRAME: usize = 42;
/// Length of our neighbour advertisement with its Ethernet header.
pub const NA_FRAME: usize = 86;

const BROADCAST: Mac = Mac([0xff; 6]);
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
const ARP_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
const ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const NA_MESSAGE: usize = 32;
const FLAG_ROUTER: u8 = 0x80;
const FLAG_OVERRIDE: u8 = 0x20;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0xaa, 0xbb, 0xcc]);
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

    #[test]
    fn arp_is_the_gratuitous_form_of_its_kind() {
        let request = gratuitous_arp(MAC, VIP, Operation::Request);
        let expected = "ffffffffffff020000aabbcc08060001080006040001020000aabbccc000020affffffffffffc000020a";
        assert_eq!(hex(&request), expected);
        let reply = gratuitous_arp(MAC, VIP, Operation::Reply);
        let expected = "ffffffffffff020000aabbcc08060001080006040002020000aabbccc000020a020000aabbccc000020a";
        assert_eq!(hex(&reply), expected);
        assert_eq!(frames(MAC, VIP.into(), true), [request.to_vec(), reply.to_vec()]);
    }

    /// tshark calls these checksums correct.
    #[test]
    fn neighbour_advertisement_tells_all_nodes() {
        let vip = "2001:db8::10".parse().expect("an address");
        for (router, flags, sum) in [(false, "20", "3c97"), (true, "a0", "bc96")] {
            let frame = unsolicited_advertisement(MAC, vip, router);
            let target = "20010db8000000000000000000000010";
            let expected = format!(
                "333300000001020000aabbcc86dd6000000000203aff{target}ff020000000000000000000000000001\
                 8800{sum}{flags}000000{target}0201020000aabbcc"
            );
            assert_eq!(hex(&frame), expected);
            assert_eq!(frames(MAC, vip.into(), router), [frame.to_vec()]);
        }
    }

    #[test]
    fn an_arp_packet_is_a_claim_of_its_sender() {
        let claim = Some(Claim { mac: MAC, address: VIP });
        for operation in [Operation::Request, Operation::Reply] {
            let frame = gratuitous_arp(MAC, VIP, operation);
            assert_eq!(Claim::parse(&frame), claim);
            assert_eq!(Claim::parse(&[&frame[..], &[0; 18]].concat()), claim, "padded to 60 bytes");
            for length in 0..frame.len() {
                assert_eq!(Claim::parse(&frame[..length]), None, "{length} bytes");
            }
        }
        let probe = gratuitous_arp(MAC, Ipv4Addr::UNSPECIFIED, Operation::Request);
        assert_eq!(Claim::parse(&probe), None);
        let vip = "fe80::10".parse().expect("an address");
        assert_eq!(Claim::parse(&unsolicited_advertisement(MAC, vip, false)), None);
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
