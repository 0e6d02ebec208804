//! Listens to advertisements as a host hears them, while they happen: for faults that hit at a chosen moment between two.
//!
//! A raw socket on the host, which gets VRRP and nothing else. What stands in a packet is [`dissect`](super::dissect)'s.
#![allow(clippy::disallowed_methods, reason = "measures")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

use super::host::Host;
use super::lan::INTERFACE;

/// An open ear; a host never hears itself.
#[derive(Debug)]
pub struct Ear {
    socket: UdpSocket,
    four: bool,
}

/// An advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// When it was read.
    pub at: Instant,
    /// Who sent it.
    pub from: IpAddr,
    /// The virtual router's id.
    pub vrid: u8,
    /// The sender's priority; 0 resigns.
    pub priority: u8,
}

impl Ear {
    /// Listens on `host` for advertisements over the family of `address`, multicast or to itself.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn open(host: &Host, address: IpAddr) -> anyhow::Result<Self> {
        let four = address.is_ipv4();
        let socket = host.run(move || -> anyhow::Result<Socket> {
            let index = if_nametoindex(INTERFACE)?;
            let domain = if four { Domain::IPV4 } else { Domain::IPV6 };
            let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(VRRP))).context("open a raw socket")?;
            if four {
                socket.join_multicast_v4_n(&GROUP4, &socket2::InterfaceIndexOrAddress::Index(index))?;
            } else {
                socket.join_multicast_v6(&GROUP6, index)?;
            }
            Ok(socket)
        })?;
        // A raw socket reads as one for datagrams does.
        Ok(Self { socket: UdpSocket::from(OwnedFd::from(socket)), four })
    }

    /// The next advertisement that `wanted` picks.
    ///
    /// # Errors
    /// When none comes within `patience`.
    pub fn next(&self, patience: Duration, wanted: impl Fn(&Heard) -> bool) -> anyhow::Result<Heard> {
        let began = Instant::now();
        let mut buffer = [0; 512];
        loop {
            let left = patience.saturating_sub(began.elapsed());
            ensure!(!left.is_zero(), "no advertisement is heard within {} ms", patience.as_millis());
            self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let Ok((size, from)) = self.socket.recv_from(&mut buffer) else { continue };
            let at = Instant::now();
            let packet = &buffer[..size];
            // Over IPv4 a raw socket gives the IP header, too.
            let header =
                if self.four { usize::from(packet.first().copied().unwrap_or_default() & 0x0f) * 4 } else { 0 };
            if let Some([_, vrid, priority, ..]) = packet.get(header..) {
                let heard = Heard { at, from: from.ip(), vrid: *vrid, priority: *priority };
                if wanted(&heard) {
                    return Ok(heard);
                }
            }
        }
    }

    /// Forgets what was heard before now.
    pub fn drain(&self) {
        let mut buffer = [0; 512];
        // Without the option it could only wait for longer.
        let _ = self.socket.set_nonblocking(true);
        while self.socket.recv_from(&mut buffer).is_ok() {}
        let _ = self.socket.set_nonblocking(false);
    }
}

/// VRRP's protocol number.
const VRRP: i32 = 112;
const GROUP4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
