//! Advertisements that nobody honest sends, from a host that takes no part: every field as a test wants it.
//!
//! Sent by a raw socket with a header of its own. Written by hand after RFC 9568, section 5, so that a mistake of the
//! `vrrp` crate is not repeated here.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::Context as _;
use socket2::{Domain, Protocol, Socket, Type};

use super::host::Host;

/// An advertisement over IPv4 for the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forged {
    /// The source address.
    pub from: Ipv4Addr,
    /// The TTL.
    pub ttl: u8,
    /// VRRP's version, 2 or 3.
    pub version: u8,
    /// The virtual router's id.
    pub vrid: u8,
    /// The priority.
    pub priority: u8,
    /// The interval: whole seconds for v2, centiseconds for v3.
    pub interval: Duration,
    /// The addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// What is added to the right checksum.
    pub spoil: u16,
}

impl Forged {
    /// A valid one of v3 with an interval of 100 ms.
    pub fn new(from: Ipv4Addr, priority: u8, address: Ipv4Addr) -> Self {
        let interval = Duration::from_millis(100);
        Self { from, ttl: 255, version: 3, vrid: 51, priority, interval, addresses: vec![address], spoil: 0 }
    }

    /// Sends it from `host`'s own address on the LAN, `local`.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn send(&self, host: &Host, local: Ipv4Addr) -> anyhow::Result<()> {
        let packet = self.packet();
        host.run(move || -> anyhow::Result<()> {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(VRRP))))?;
            socket.set_header_included_v4(true)?;
            socket.set_multicast_if_v4(&local)?;
            socket.send_to(&packet, &SocketAddrV4::new(GROUP, 0).into()).context("send a forged advertisement")?;
            Ok(())
        })
    }

    /// The whole packet; the kernel adds its length and the header's checksum.
    fn packet(&self) -> Vec<u8> {
        let message = self.message();
        let mut packet = vec![0x45, 0xc0, 0, 0, 0, 0, 0, 0, self.ttl, VRRP, 0, 0];
        packet.extend(self.from.octets());
        packet.extend(GROUP.octets());
        packet.extend(message);
        packet
    }

    fn message(&self) -> Vec<u8> {
        let count = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        let mut message = vec![self.version << 4 | 1, self.vrid, self.priority, count];
        let centiseconds = u16::try_from(self.interval.as_millis() / 10).unwrap_or(u16::MAX);
        match self.version {
            2 => message.extend([0, u8::try_from(self.interval.as_secs()).unwrap_or(u8::MAX)]),
            _ => message.extend((centiseconds & 0x0fff).to_be_bytes()),
        }
        message.extend([0, 0]);
        message.extend(self.addresses.iter().flat_map(|address| address.octets()));
        let mut summed = Vec::new();
        if self.version == 2 {
            // No authentication, and its eight bytes all the same.
            message.extend([0; 8]);
        } else {
            summed.extend(self.from.octets());
            summed.extend(GROUP.octets());
            summed.extend([0, VRRP]);
            summed.extend(u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
        summed.extend(&message);
        let checksum = checksum(&summed).wrapping_add(self.spoil);
        message[6..8].copy_from_slice(&checksum.to_be_bytes());
        message
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

const VRRP: u8 = 112;
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_sums_up_to_nothing_with_its_pseudo_header() {
        let forged = Forged::new(Ipv4Addr::new(10, 77, 0, 11), 200, Ipv4Addr::new(10, 77, 0, 100));
        let message = forged.message();
        assert_eq!(message[..6], [0x31, 51, 200, 1, 0, 10]);
        let mut all = vec![10, 77, 0, 11, 224, 0, 0, 18, 0, 112, 0, 12];
        all.extend(&message);
        assert_eq!(checksum(&all), 0);
        assert_eq!(checksum(&Forged { version: 2, ..forged }.message()), 0);
    }
}
