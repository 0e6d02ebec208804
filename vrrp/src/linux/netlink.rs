//! rtnetlink over two plain sockets: one for commands, one for events.
//!
//! Used by `table`, `vips` and `macvlan`. Synchronous: the kernel works a request off inside the
//! call that sends it, so its answer is there when the call returns, and the engine's own loop
//! waits for events. Knows messages, not what they mean for a router.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkMessage,
};
use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvmsg, sendmsg, setsockopt, socket,
    sockopt,
};

/// Messages sent in one datagram. Their answers must fit the receive buffer.
const BATCH: usize = 64;
/// Receive buffer of the kernel, where permitted: a burst of a thousand events fits.
const RECEIVE_BUFFER: usize = 1 << 20;
/// One datagram from the kernel: dumps come in at most 32 KiB.
const DATAGRAM: usize = 1 << 15;

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV6_IFADDR`.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// One request and its flags besides `NLM_F_REQUEST` and `NLM_F_ACK`.
pub(super) type Request = (RouteNetlinkMessage, u16);

/// The socket for commands.
#[derive(Debug)]
pub(super) struct Commands {
    socket: OwnedFd,
    sequence: u32,
    out: Vec<u8>,
    buffer: Vec<u8>,
}

impl Commands {
    /// Opens the socket; needs no capability, its requests do.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { socket: open(0)?, sequence: 0, out: Vec::with_capacity(4096), buffer: vec![0; DATAGRAM] })
    }

    /// Has the kernel do all requests in order, as few datagrams as possible; one result for each.
    pub(super) fn request(&mut self, requests: Vec<Request>) -> io::Result<Vec<Result<(), Errno>>> {
        let mut results = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            self.out.clear();
            let first = self.sequence.wrapping_add(1);
            let mut count = 0;
            for (message, flags) in requests.by_ref().take(BATCH) {
                self.append(message, NLM_F_REQUEST | NLM_F_ACK | flags);
                count += 1;
            }
            self.send()?;
            self.answers(first, count, &mut results)?;
        }
        Ok(results)
    }

    /// Asks for everything of a kind and hands each message (its type and body) to `each`; false =
    /// the kernel says that something changed meanwhile.
    pub(super) fn dump(&mut self, message: RouteNetlinkMessage, mut each: impl FnMut(u16, &[u8])) -> io::Result<bool> {
        self.out.clear();
        self.append(message, NLM_F_REQUEST | NLM_F_DUMP);
        let sequence = self.sequence;
        self.send()?;
        self.collect(sequence, &mut each)
    }

    fn collect(&mut self, sequence: u32, each: &mut impl FnMut(u16, &[u8])) -> io::Result<bool> {
        let mut consistent = true;
        loop {
            let length = receive(&self.socket, &mut self.buffer)?;
            for message in messages(&self.buffer[..length]) {
                if message.sequence_number() != sequence {
                    continue;
                }
                consistent &= message.flags() & NLM_F_DUMP_INTR == 0;
                match message.message_type() {
                    NLMSG_DONE => return Ok(consistent),
                    NLMSG_ERROR => return Err(code(message.payload()).unwrap_or(Errno::EPROTO).into()),
                    kind => each(kind, message.payload()),
                }
            }
        }
    }

    fn append(&mut self, message: RouteNetlinkMessage, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let start = self.out.len();
        // Messages in a datagram begin at multiples of four, and so do their ends here.
        self.out.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut self.out[start..]);
    }

    fn send(&self) -> io::Result<()> {
        let kernel = NetlinkAddr::new(0, 0);
        let sent = sendmsg(self.socket.as_raw_fd(), &[IoSlice::new(&self.out)], &[], MsgFlags::empty(), Some(&kernel))?;
        if sent == self.out.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Reads the acknowledgements of the `count` requests from sequence number `first` on.
    fn answers(&mut self, first: u32, count: usize, results: &mut Vec<Result<(), Errno>>) -> io::Result<()> {
        let start = results.len();
        results.resize(start + count, Err(Errno::ENOMSG));
        let mut missing = count;
        while missing > 0 {
            let length = receive(&self.socket, &mut self.buffer)?;
            for message in messages(&self.buffer[..length]) {
                let at = usize::try_from(message.sequence_number().wrapping_sub(first)).unwrap_or(usize::MAX);
                if at >= count || message.message_type() != NLMSG_ERROR {
                    continue;
                }
                results[start + at] = code(message.payload()).map_or(Ok(()), Err);
                missing -= 1;
            }
        }
        Ok(())
    }
}

/// The socket for events: links and addresses of both families.
#[derive(Debug)]
pub(super) struct Events {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Events {
    /// Opens the socket and joins the groups.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { socket: open(GROUPS)?, buffer: vec![0; DATAGRAM] })
    }

    /// Hands what has arrived (type and body) to `each`, at most `limit` datagrams. False = the
    /// kernel had to drop some: ask for everything.
    pub(super) fn drain(&mut self, limit: usize, mut each: impl FnMut(u16, &[u8])) -> io::Result<bool> {
        let mut complete = true;
        for _ in 0..limit {
            match receive(&self.socket, &mut self.buffer) {
                Ok(length) => {
                    for message in messages(&self.buffer[..length]) {
                        each(message.message_type(), message.payload());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => complete = false,
                Err(error) => return Err(error),
            }
        }
        Ok(complete)
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn open(groups: u32) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    // Forced with CAP_NET_ADMIN; without it a smaller buffer means an earlier resync, no more.
    if setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    }
    Ok(fd)
}

/// One datagram; a longer one than the buffer is an error, and other processes are not listened to.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let mut slices = [IoSliceMut::new(buffer)];
        let got = recvmsg::<NetlinkAddr>(socket.as_raw_fd(), &mut slices, None, MsgFlags::empty());
        match got {
            Ok(got) if got.address.is_some_and(|from| from.pid() != 0) => (),
            Ok(got) if got.flags.contains(MsgFlags::MSG_TRUNC) => return Err(Errno::ENOBUFS.into()),
            Ok(got) => return Ok(got.bytes),
            Err(Errno::EINTR) => (),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The messages of a datagram, as far as their lengths make sense.
fn messages(datagram: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(rest).ok()?;
        let length = usize::try_from(message.length()).ok()?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The error of an `NLMSG_ERROR`, or nothing where it is an acknowledgement.
fn code(payload: &[u8]) -> Option<Errno> {
    let raw = payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    (raw != 0).then(|| Errno::from_raw(raw.wrapping_neg()))
}
