//! The raw socket that advertisements come and go through: one for an interface and a family.
//!
//! Used by the engine, which polls it and judges what it yields. Sets every option that RFC 9568
//! §5.1 asks for; decides nothing, reads no clock and never waits.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, recv, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use thiserror::Error;

use crate::types::Family;
use crate::wire::receive::Incoming;
use crate::wire::{Carrier, GROUP_V4, GROUP_V6, HOP_LIMIT, PROTOCOL, TRAFFIC_CLASS, ipv4};

/// A step of opening a socket that the kernel refused. `PermissionDenied` means that CAP_NET_RAW
/// is missing.
#[derive(Debug, Error)]
#[error("cannot {step}")]
pub struct OpenError {
    /// What was attempted.
    pub step: &'static str,
    /// What the kernel said.
    pub source: io::Error,
}

impl OpenError {
    pub(super) fn at<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self { step, source: source.into() }
    }
}

/// A raw socket for VRRP, bound to one interface and joined to the group of its family. It never
/// blocks, and does not hear its own multicast.
#[derive(Debug)]
pub struct AdvertSocket {
    socket: Socket,
    family: Family,
    interface: u32,
    buffer: Vec<u8>,
    control: Vec<u8>,
}

impl AdvertSocket {
    /// A socket on the interface of this name, which may be down or without an address. It does not
    /// outlive the interface: one that was removed and made again needs a new socket.
    ///
    /// # Errors
    /// Where the interface does not exist, or CAP_NET_RAW is missing.
    pub fn open(interface: &str, family: Family) -> Result<Self, OpenError> {
        let index = if_nametoindex(interface).map_err(OpenError::at("find the interface"))?;
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL))))
            .map_err(OpenError::at("open a raw socket for VRRP"))?;
        socket.set_nonblocking(true).map_err(OpenError::at("make the socket non-blocking"))?;
        // Before anything else, so that nothing of other interfaces is queued.
        socket.bind_device(Some(interface.as_bytes())).map_err(OpenError::at("bind the socket to the interface"))?;
        match family {
            Family::V4 => set_up_v4(&socket),
            Family::V6 => set_up_v6(&socket, index),
        }
        .map_err(OpenError::at("set the options of the socket"))?;
        // After the traffic class, which sets a priority too. Where the queueing discipline has
        // bands, this is the one for control traffic.
        socket.set_priority(PRIORITY).map_err(OpenError::at("set the priority of the socket"))?;
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            // Without CAP_NET_ADMIN, as much as net.core.rmem_max allows.
            socket.set_recv_buffer_size(RECEIVE_BUFFER).map_err(OpenError::at("enlarge the receive buffer"))?;
        }
        match family {
            Family::V4 => socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index)),
            Family::V6 => socket.join_multicast_v6(&GROUP_V6, index),
        }
        .map_err(OpenError::at("join the multicast group"))?;
        let control = cmsg_space!(libc::in6_pktinfo, libc::c_int);
        Ok(Self { socket, family, interface: index, buffer: vec![0; LARGEST], control })
    }

    /// The family it was opened for.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Sends one advertisement. The source must be an address of this host.
    ///
    /// # Errors
    /// What the kernel says. Usual: `EINVAL` or `EADDRNOTAVAIL` where the source is gone, `ENETDOWN`
    /// and `ENETUNREACH` where the link is, `EAGAIN` and `ENOBUFS` where the queue is full. The next
    /// call is worth trying after any of them.
    pub fn send(&self, message: &[u8], carrier: &Carrier) -> io::Result<()> {
        let message = [IoSlice::new(message)];
        let fd = self.socket.as_raw_fd();
        let sent = match (*carrier, self.family) {
            (Carrier::V4 { source, destination }, Family::V4) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: i32::try_from(self.interface).map_err(|_| Errno::ENODEV)?,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let to = SockaddrIn::from(SocketAddrV4::new(destination, 0));
                sendmsg(fd, &message, &[ControlMessage::Ipv4PacketInfo(&info)], MsgFlags::empty(), Some(&to))
            }
            (Carrier::V6 { source, destination }, Family::V6) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
                    ipi6_ifindex: self.interface,
                };
                let scope = if needs_scope(&destination) { self.interface } else { 0 };
                let to = SockaddrIn6::from(SocketAddrV6::new(destination, 0, 0, scope));
                sendmsg(fd, &message, &[ControlMessage::Ipv6PacketInfo(&info)], MsgFlags::empty(), Some(&to))
            }
            _ => Err(Errno::EAFNOSUPPORT),
        };
        Ok(sent.map(drop)?)
    }

    /// Hands over what has arrived, at most `limit` packets; returns how many. As many as `limit`
    /// means there may be more. Over IPv4 the header may turn out wrong: then the packet is to be
    /// counted as refused.
    ///
    /// # Errors
    /// What the kernel says, other than that nothing is left; often `ENETDOWN` once, after which
    /// the socket goes on.
    pub fn drain(
        &mut self,
        limit: usize,
        mut each: impl FnMut(Result<Incoming<'_>, ipv4::Malformed>),
    ) -> io::Result<usize> {
        for count in 0..limit {
            let received = match self.family {
                Family::V4 => recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty())
                    .map(|length| each(Incoming::from_ipv4(&self.buffer[..length]))),
                Family::V6 => {
                    receive_v6(&self.socket, &mut self.buffer, &mut self.control).map(|incoming| each(Ok(incoming)))
                }
            };
            match received {
                Ok(()) => (),
                Err(Errno::EAGAIN) => return Ok(count),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(limit)
    }
}

impl AsFd for AdvertSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// IP_MULTICAST_IF is left alone: the interface goes along with every packet, see `send`.
fn set_up_v4(socket: &Socket) -> io::Result<()> {
    socket.set_multicast_all_v4(false)?;
    socket.set_multicast_loop_v4(false)?;
    socket.set_multicast_ttl_v4(HOP_LIMIT.into())?;
    socket.set_ttl_v4(HOP_LIMIT.into())?;
    socket.set_tos_v4(TRAFFIC_CLASS.into())?;
    Ok(())
}

fn set_up_v6(socket: &Socket, interface: u32) -> io::Result<()> {
    socket.set_multicast_if_v6(interface)?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_multicast_hops_v6(HOP_LIMIT.into())?;
    socket.set_unicast_hops_v6(HOP_LIMIT.into())?;
    socket.set_tclass_v6(TRAFFIC_CLASS.into())?;
    socket.set_recv_hoplimit_v6(true)?;
    Ok(setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?)
}

/// IPv6 keeps its header to itself: destination and hop limit come beside the payload. A packet
/// without them, which the kernel does not produce, is refused by the ladder for its hop limit 0.
fn receive_v6<'b>(socket: &Socket, buffer: &'b mut [u8], control: &mut [u8]) -> Result<Incoming<'b>, Errno> {
    let (mut destination, mut hop_limit) = (Ipv6Addr::UNSPECIFIED, 0);
    let (length, source) = {
        let mut parts = [IoSliceMut::new(buffer)];
        let message = recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(control), MsgFlags::empty())?;
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::Ipv6PacketInfo(info) => destination = Ipv6Addr::from(info.ipi6_addr.s6_addr),
                ControlMessageOwned::Ipv6HopLimit(limit) => hop_limit = u8::try_from(limit).unwrap_or(0),
                _ => (),
            }
        }
        (message.bytes, message.address.map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip()))
    };
    Ok(Incoming { carrier: Carrier::V6 { source, destination }, hop_limit, payload: &buffer[..length] })
}

/// Link-local destinations mean nothing without an interface; global ones need none.
fn needs_scope(destination: &Ipv6Addr) -> bool {
    destination.is_multicast() || destination.is_unicast_link_local()
}

/// Longer than any advertisement: 255 IPv6 addresses are 4088 bytes.
const LARGEST: usize = 8192;
/// Some thousand advertisements: a second of deafness costs nothing.
const RECEIVE_BUFFER: usize = 1 << 20;
/// TC_PRIO_INTERACTIVE, the highest that needs no CAP_NET_ADMIN.
const PRIORITY: u32 = 6;
