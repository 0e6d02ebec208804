//! One interface as the engine uses it: its sockets, and which of our routers are on it.
//!
//! Owned by `host`. Opens what is missing, closes what has become stale (an interface that was
//! removed and made again needs new sockets), and says why something could not be opened.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;

use nix::errno::Errno;

use super::announce::{Announcer, Watcher};
use super::remark::Remark;
use super::report::Refusals;
use super::socket::{AdvertSocket, OpenError};
use super::table::Table;
use crate::types::{Family, Mac, Vrid};
use crate::wire::Carrier;
use crate::wire::counters::Counters;

/// Where a router is: its cell, and its number there.
pub(super) type Seat = (usize, usize);

/// An interface.
#[derive(Debug)]
pub(super) struct Port {
    name: String,
    identity: Option<(u32, Option<Mac>)>,
    /// One socket for each family in use.
    pub(super) sockets: Vec<AdvertSocket>,
    announcer: Option<Announcer>,
    /// Hears who else claims our IPv4 addresses.
    pub(super) watcher: Option<Watcher>,
    /// The R flag of neighbour advertisements.
    forwards: bool,
    problems: Vec<(Option<Family>, Remark)>,
    /// Our routers here.
    pub(super) seats: BTreeMap<(Family, Vrid), Seat>,
    /// The addresses that we send from here.
    pub(super) own: Vec<IpAddr>,
    /// What came in for nobody, by family.
    pub(super) strays: BTreeMap<Family, Strays>,
}

/// What came in for no router of ours.
#[derive(Debug, Default)]
pub(super) struct Strays {
    pub(super) received: Counters,
    pub(super) refused: Refusals,
    pub(super) dirty: bool,
}

impl Port {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            identity: None,
            sockets: Vec::new(),
            announcer: None,
            watcher: None,
            forwards: false,
            problems: Vec::new(),
            seats: BTreeMap::new(),
            own: Vec::new(),
            strays: BTreeMap::new(),
        }
    }

    /// Makes the sockets fit the interface as it is now.
    pub(super) fn refresh(&mut self, table: &Table) {
        let identity = table.link(&self.name).map(|(index, link)| (index, link.mac));
        if identity != self.identity {
            self.identity = identity;
            self.sockets.clear();
            self.announcer = None;
            self.watcher = None;
        }
        self.problems.clear();
        if identity.is_none() {
            return;
        }
        let families: BTreeSet<Family> = self.seats.keys().map(|(family, _)| *family).collect();
        self.sockets.retain(|socket| families.contains(&socket.family()));
        for family in families {
            if self.sockets.iter().all(|socket| socket.family() != family) {
                match AdvertSocket::open(&self.name, family) {
                    Ok(socket) => self.sockets.push(socket),
                    Err(error) => self.problems.push((Some(family), Remark::Socket(family, code(&error)))),
                }
            }
        }
        if self.announcer.is_none() {
            match Announcer::open(&self.name) {
                Ok(announcer) => self.announcer = Some(announcer),
                Err(error) => self.problems.push((None, Remark::Announcer(code(&error)))),
            }
        }
        if self.watcher.is_none() {
            self.watcher = Watcher::open(&self.name).ok();
        }
        self.forwards = fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{}/forwarding", self.name))
            .is_ok_and(|text| text.trim() != "0");
    }

    /// Why a router of this family cannot work as it should.
    pub(super) fn problems(&self, family: Family) -> impl Iterator<Item = Remark> {
        let concerns = move |of: &Option<Family>| of.is_none_or(|of| of == family);
        self.problems.iter().filter(move |(of, _)| concerns(of)).map(|(_, remark)| *remark)
    }

    /// Whether there is a socket to send and receive advertisements of this family.
    pub(super) fn has_socket(&self, family: Family) -> bool {
        self.sockets.iter().any(|socket| socket.family() == family)
    }

    /// Sends an advertisement.
    pub(super) fn send(&self, message: &[u8], carrier: &Carrier) -> io::Result<()> {
        let socket = self.sockets.iter().find(|socket| socket.family() == carrier.family());
        socket.map_or_else(|| Err(Errno::ENETDOWN.into()), |socket| socket.send(message, carrier))
    }

    /// Announces an address once, at `mac` or at the interface's own.
    pub(super) fn announce(&self, mac: Option<Mac>, address: IpAddr) -> io::Result<()> {
        let Some(announcer) = &self.announcer else { return Err(Errno::ENETDOWN.into()) };
        announcer.announce(mac.unwrap_or_else(|| announcer.mac()), address, self.forwards)
    }

    /// Listens for others that claim these addresses.
    pub(super) fn watch(&mut self, addresses: BTreeSet<IpAddr>) {
        let addresses = addresses.into_iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        if let Some(watcher) = &mut self.watcher
            && watcher.watch(addresses).is_err()
        {
            // Opened anew at the next refresh.
            self.watcher = None;
        }
    }
}

fn code(error: &OpenError) -> i32 {
    error.source.raw_os_error().unwrap_or(Errno::EIO as i32)
}
