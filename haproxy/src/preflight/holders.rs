//! Who holds a port: `/proc/net/tcp{,6}` gives the socket, `/proc/*/fd` the process.
//!
//! Only looked at when a bind failed with "address in use". What cannot be read (another user's
//! process) is left unknown; the socket's owner is a hint then.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::MetadataExt as _;

use crate::bundle::{Bind, BindAddr};

/// The process that has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id, if the process can be seen.
    pub pid: Option<u32>,
    /// Its name, likewise.
    pub name: Option<String>,
    /// The user the socket belongs to.
    pub uid: u32,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.pid) {
            (Some(name), Some(pid)) => write!(f, "{name} (pid {pid})"),
            (None, Some(pid)) => write!(f, "process {pid}"),
            _ => write!(f, "a process of user {}", self.uid),
        }
    }
}

/// What a search gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All sockets in the way are our own HAProxy's.
    Ours,
    /// Somebody else's.
    Other(Holder),
    /// There is no such socket any more, or its process cannot be seen.
    Unseen,
}

/// Looks for the sockets in the way of `bind`; `ours` are the running HAProxy's processes.
pub(super) fn find(bind: &Bind, ours: &BTreeSet<u32>) -> Found {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let mut sockets = parse(&read("/proc/self/net/tcp"));
    sockets.extend(parse(&read("/proc/self/net/tcp6")));
    // The table does not tell which sockets on :: leave IPv4 alone.
    sockets.retain(|socket| socket.port == bind.port && BindAddr::from(socket.ip).meets(&bind.addr));
    // Connections through the port are not what binding trips over if somebody listens.
    if sockets.iter().any(|socket| socket.listening) {
        sockets.retain(|socket| socket.listening);
    }
    if sockets.is_empty() {
        return Found::Unseen;
    }
    let inodes: BTreeSet<u64> = sockets.iter().map(|socket| socket.inode).collect();
    let holders = processes(&inodes);
    if let Some((pid, _)) = holders.iter().find(|(pid, _)| !ours.contains(pid)) {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned());
        return Found::Other(Holder { pid: Some(*pid), name, uid: sockets[0].uid });
    }
    let seen: BTreeSet<u64> = holders.into_iter().map(|(_, inode)| inode).collect();
    match sockets.iter().find(|socket| !seen.contains(&socket.inode)) {
        None => Found::Ours,
        // Another user's process: our own HAProxy's, if it belongs to the user that HAProxy runs as.
        Some(socket) if users(ours).contains(&socket.uid) => Found::Unseen,
        Some(socket) => Found::Other(Holder { pid: None, name: None, uid: socket.uid }),
    }
}

/// The processes that have one of these sockets open, each with the socket.
fn processes(inodes: &BTreeSet<u64>) -> Vec<(u32, u64)> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.flat_map(|pid| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let sockets = files.filter_map(|file| {
            let link = fs::read_link(file.path()).ok()?;
            link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
        });
        sockets.filter(|inode| inodes.contains(inode)).map(move |inode| (pid, inode)).collect::<Vec<_>>()
    })
    .collect()
}

fn users(pids: &BTreeSet<u32>) -> BTreeSet<u32> {
    pids.iter().filter_map(|pid| Some(fs::metadata(format!("/proc/{pid}")).ok()?.uid())).collect()
}

/// One row of `/proc/net/tcp` or `tcp6`.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    ip: IpAddr,
    port: u16,
    listening: bool,
    uid: u32,
    inode: u64,
}

fn parse(table: &str) -> Vec<Row> {
    table.lines().skip(1).filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (ip, port) = fields.get(1)?.split_once(':')?;
    // Each group of eight digits is a 32-bit word in the host's byte order.
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let bytes = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()
        }
        _ => return None,
    };
    Some(Row {
        ip,
        port: u16::from_str_radix(port, 16).ok()?,
        listening: *fields.get(3)? == "0A",
        uid: fields.get(7)?.parse().ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn rows_of_both_tables_are_read() {
        let v4 = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                  0: 0100007F:46A0 00000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 12345 1 0 100 0\n";
        let v6 = "  sl  local_address\n   \
                  0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0     0        0 7 1\n   \
                  1: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000100007F:ABCD 01 0:0 00:0 0     0        0 8 1\n";
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert_eq!(parse(v4), [Row { ip: loopback, port: 18080, listening: true, uid: 33, inode: 12345 }]);
        let any = IpAddr::from(Ipv6Addr::UNSPECIFIED);
        let expected = [
            Row { ip: any, port: 80, listening: true, uid: 0, inode: 7 },
            Row { ip: loopback, port: 80, listening: false, uid: 0, inode: 8 },
        ];
        assert_eq!(parse(v6), expected);
        assert_eq!(parse("head\ngarbage\n 0: 1:2 3\n"), []);
    }

    #[test]
    fn a_listener_of_this_process_is_found_and_can_be_ours() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let bind = Bind { addr: IpAddr::from(Ipv4Addr::UNSPECIFIED).into(), port, owner: None };
        let me = std::process::id();
        let Found::Other(holder) = find(&bind, &BTreeSet::new()) else { panic!("not found") };
        assert_eq!(holder.pid, Some(me));
        assert!(holder.to_string().contains(&format!("(pid {me})")));
        assert_eq!(find(&bind, &BTreeSet::from([me])), Found::Ours);
        let elsewhere = Bind { addr: IpAddr::from([127, 0, 0, 2]).into(), ..bind.clone() };
        assert_eq!(find(&elsewhere, &BTreeSet::new()), Found::Unseen);
        let mut six = Bind { addr: IpAddr::from(Ipv6Addr::UNSPECIFIED).into(), ..bind };
        assert_eq!(find(&six, &BTreeSet::from([me])), Found::Ours);
        six.addr.v6only = true;
        assert_eq!(find(&six, &BTreeSet::new()), Found::Unseen);
    }
}
