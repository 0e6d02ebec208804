//! Tries every new listening address before HAProxy does.
//!
//! `haproxy -c` does not bind, and one address that cannot be bound makes a reload refuse every
//! port for two seconds. Called by `reload` with the running listeners left out; the sockets are
//! never listened on and closed at once. Blocking calls; does not talk to HAProxy.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::bundle::Bind;

mod holders;

pub use holders::Holder;

/// What is known about the HAProxy that will bind for real.
#[derive(Debug, Clone, Default)]
pub struct Running {
    /// The listeners it has; they are not tried, and an overlap with one is no conflict.
    pub binds: Vec<Bind>,
    /// Its master and workers: what they hold, they share among themselves.
    pub pids: BTreeSet<u32>,
}

/// A listener that HAProxy could not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbindable {
    /// Which.
    pub bind: Bind,
    /// The error that binding gave.
    pub errno: Errno,
    /// Who has the port; none if nobody does or it cannot be seen.
    pub holder: Option<Holder>,
}

impl fmt::Display for Unbindable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bind, errno, holder } = self;
        match bind.addr.family() {
            Some(family) => write!(f, "cannot listen on {bind} ({family}): ")?,
            None => write!(f, "cannot listen on {bind}: ")?,
        }
        match (errno, holder) {
            (Errno::EADDRINUSE, Some(holder)) => write!(f, "{holder} has the port; stop it or choose another port"),
            (Errno::EADDRINUSE, None) => f.write_str("the port is in use; see ss -ltnp, or choose another port"),
            (Errno::EADDRNOTAVAIL, _) => write!(
                f,
                "this host does not own {}; add the address, or bind it transparent (sysctl net.ipv4.ip_nonlocal_bind=1)",
                bind.addr.ip
            ),
            (Errno::EACCES, _) => write!(
                f,
                "no permission; ports below the sysctl net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE"
            ),
            (Errno::EPERM, _) => f.write_str("no permission; transparent addresses need CAP_NET_ADMIN or CAP_NET_RAW"),
            (Errno::ENODEV, _) => {
                write!(f, "there is no interface {}", bind.addr.device.as_deref().unwrap_or_default())
            }
            (Errno::EAFNOSUPPORT, _) => {
                f.write_str("this kernel has no IPv6; use an IPv4 address, or set haproxy.ipv6 = false")
            }
            (other, _) => f.write_str(other.desc()),
        }
    }
}

/// The listeners among `wanted` that HAProxy would fail to open.
pub fn preflight(wanted: &[Bind], running: &Running) -> Vec<Unbindable> {
    let address = |bind: &Bind| (bind.addr.clone(), bind.port);
    let known: BTreeSet<_> = running.binds.iter().map(address).collect();
    let mut tried = BTreeSet::new();
    let new = wanted.iter().filter(|bind| !known.contains(&address(bind)) && tried.insert(address(bind)));
    new.filter_map(|bind| {
        let errno = attempt(bind).err().map(|e| e.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw))?;
        if errno != Errno::EADDRINUSE {
            return Some(Unbindable { bind: bind.clone(), errno, holder: None });
        }
        let holder = match holders::find(bind, &running.pids) {
            holders::Found::Ours => return None,
            holders::Found::Unseen if running.binds.iter().any(|other| overlap(other, bind)) => return None,
            holders::Found::Unseen => None,
            holders::Found::Other(holder) => Some(holder),
        };
        Some(Unbindable { bind: bind.clone(), errno, holder })
    })
    .collect()
}

/// Whether this kernel has IPv6: every address of it can be bound.
pub fn has_ipv6() -> bool {
    let every = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP)).and_then(|socket| socket.bind(&every.into())).is_ok()
}

/// Binds as HAProxy would, but without `SO_REUSEPORT`: sharing a port with a stranger would split
/// its traffic.
fn attempt(bind: &Bind) -> io::Result<()> {
    let v6 = bind.addr.ip.is_ipv6();
    let socket = Socket::new(if v6 { Domain::IPV6 } else { Domain::IPV4 }, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if bind.addr.transparent {
        let transparent = if v6 { socket.set_ip_transparent_v6(true) } else { socket.set_ip_transparent_v4(true) };
        transparent.or_else(|_| if v6 { socket.set_freebind_v6(true) } else { socket.set_freebind_v4(true) })?;
    }
    if let Some(device) = &bind.addr.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    if v6 && bind.addr.v6only {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SocketAddr::new(bind.addr.ip, bind.port).into())
}

/// True if two listeners can compete for a connection.
fn overlap(a: &Bind, b: &Bind) -> bool {
    a.port == b.port && a.addr.meets(&b.addr)
}

#[cfg(test)]
mod tests;
