//! Frames onto an interface, and the ear for others that claim our IPv4 addresses there.
//!
//! Used by the engine. What the frames are is `wire::announce`'s business, what a claim means the
//! machine's. Reads no clock and never waits. Rivals for IPv6 addresses are not listened for: the
//! advertisements of another Active router tell of them.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, bind, recv, send, socket};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::socket::OpenError;
use crate::types::Mac;
use crate::wire::announce::{Claim, frames};

/// Sends whole Ethernet frames through one interface. Receives nothing.
#[derive(Debug)]
pub struct Announcer {
    socket: OwnedFd,
    mac: Mac,
}

impl Announcer {
    /// For the interface of this name, as it is now: one that was removed and made again, or whose
    /// hardware address changed, needs a new announcer.
    ///
    /// # Errors
    /// Where the interface does not exist or is no Ethernet, or CAP_NET_RAW is missing.
    pub fn open(interface: &str) -> Result<Self, OpenError> {
        let (link, mac) = link_address(interface)?;
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)
            .map_err(OpenError::at("open a packet socket to announce addresses"))?;
        bind(socket.as_raw_fd(), &link).map_err(OpenError::at("bind the packet socket to the interface"))?;
        Ok(Self { socket, mac })
    }

    /// The hardware address of the interface.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Announces once that `address` is at `mac`: the interface's own, or the virtual router's.
    /// `router` is the R flag for IPv6: whether this host forwards.
    ///
    /// # Errors
    /// What the kernel says, usually `ENETDOWN` or `ENOBUFS`. The next call is worth trying.
    pub fn announce(&self, mac: Mac, address: IpAddr, router: bool) -> io::Result<()> {
        frames(mac, address, router).iter().try_for_each(|frame| self.send(frame))
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        Ok(send(self.socket.as_raw_fd(), frame, MsgFlags::empty()).map(drop)?)
    }
}

/// Hears ARP on one interface and reports who claims one of the addresses watched. The kernel
/// filters: other ARP traffic does not even wake us. What this host sends itself is not heard.
#[derive(Debug)]
pub struct Watcher {
    socket: Socket,
    own: Mac,
    watched: BTreeSet<Ipv4Addr>,
}

impl Watcher {
    /// For the interface of this name; watches no address yet.
    ///
    /// # Errors
    /// Where the interface does not exist or is no Ethernet, or CAP_NET_RAW is missing.
    pub fn open(interface: &str) -> Result<Self, OpenError> {
        let (link, own) = link_address(interface)?;
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(ETH_P_ARP.to_be()))))
            .map_err(OpenError::at("open a packet socket for ARP"))?;
        socket.set_nonblocking(true).map_err(OpenError::at("make the packet socket non-blocking"))?;
        socket.attach_filter(&filter(&BTreeSet::new())).map_err(OpenError::at("filter ARP"))?;
        bind(socket.as_raw_fd(), &link).map_err(OpenError::at("bind the packet socket to the interface"))?;
        let mut watcher = Self { socket, own, watched: BTreeSet::new() };
        // What other interfaces put there before the filter was in place. Nothing is watched yet, so
        // nothing of it is reported; an error will come again.
        let _ = watcher.drain(LEFTOVER, |_| ());
        Ok(watcher)
    }

    /// Watches these addresses from now on, and no others; of more than a thousand, the lowest.
    ///
    /// # Errors
    /// What the kernel says; then what was watched before still is.
    pub fn watch(&mut self, addresses: impl IntoIterator<Item = Ipv4Addr>) -> io::Result<()> {
        let addresses = addresses.into_iter().collect::<BTreeSet<_>>().into_iter().take(MAX_WATCHED).collect();
        if addresses != self.watched {
            self.socket.attach_filter(&filter(&addresses))?;
            self.watched = addresses;
        }
        Ok(())
    }

    /// Hands over the claims that have arrived, reading at most `limit` packets; returns how many it
    /// read. Those made with the interface's own hardware address are left out.
    ///
    /// # Errors
    /// What the kernel says, other than that nothing is left; often `ENETDOWN` once.
    pub fn drain(&mut self, limit: usize, mut each: impl FnMut(Claim)) -> io::Result<usize> {
        let mut buffer = [0; 64];
        for count in 0..limit {
            let length = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => length,
                Err(Errno::EAGAIN) => return Ok(count),
                Err(error) => return Err(error.into()),
            };
            match Claim::parse(&buffer[..length]) {
                Some(claim) if claim.mac != self.own && self.watched.contains(&claim.address) => each(claim),
                Some(_) | None => (),
            }
        }
        Ok(limit)
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The packet address of an interface, which a socket can be bound to, and its hardware address.
fn link_address(interface: &str) -> Result<(LinkAddr, Mac), OpenError> {
    const STEP: &str = "find the interface";
    let entries = getifaddrs().map_err(OpenError::at(STEP))?;
    let link = entries
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| entry.address.and_then(|address| address.as_link_addr().copied()))
        .ok_or(Errno::ENODEV)
        .map_err(OpenError::at(STEP))?;
    match link.addr() {
        Some(mac) if link.halen() == mac.len() => Ok((link, Mac(mac))),
        Some(_) | None => Err(OpenError::at("use an interface that is no Ethernet")(Errno::EAFNOSUPPORT)),
    }
}

/// A classic BPF program that passes ARP frames whose sender address is one of these: load it, then
/// two instructions for each address, so that no jump is long.
fn filter(addresses: &BTreeSet<Ipv4Addr>) -> Vec<SockFilter> {
    // BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K.
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let mut program = vec![SockFilter::new(LOAD_WORD, 0, 0, SENDER_ADDRESS)];
    for address in addresses {
        program.push(SockFilter::new(JUMP_IF_EQUAL, 0, 1, u32::from(*address)));
        program.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
    }
    program.push(SockFilter::new(RETURN, 0, 0, 0));
    program
}

const ETH_P_ARP: u16 = 0x0806;
/// Where the sender's protocol address stands in an ARP frame.
const SENDER_ADDRESS: u32 = 28;
/// The filter for so many fits the kernel's limit (net.core.optmem_max, 20 KiB on old kernels).
const MAX_WATCHED: usize = 1000;
/// More than can be queued between two system calls, and bounded.
const LEFTOVER: usize = 1024;
