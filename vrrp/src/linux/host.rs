//! The host as the engine sees it: netlink, the table of links and addresses, and the interfaces.
//!
//! Owned by `run`, lent to `router`. Knows nothing of states.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::engine::EngineError;
use super::netlink::{Commands, Events};
use super::port::Port;
use super::table::Table;
use super::vips::Place;

/// Datagrams of events taken in at a time.
const EVENTS: usize = 256;

/// What all routers share.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) commands: Commands,
    pub(super) events: Events,
    pub(super) table: Table,
    pub(super) ports: BTreeMap<String, Port>,
    /// All floating addresses of the node.
    pub(super) floating: BTreeSet<IpAddr>,
    /// The table may be wrong: ask for everything.
    pub(super) suspect: bool,
}

impl Host {
    /// Opens netlink and looks around.
    pub(super) fn open() -> Result<Self, EngineError> {
        let system = |what| move |source| EngineError::System { what, source };
        may_send_raw()?;
        let mut commands = Commands::open().map_err(system("open a netlink socket"))?;
        may_change_addresses(&mut commands)?;
        let events = Events::open().map_err(system("open a netlink socket for events"))?;
        let mut table = Table::default();
        table.reload(&mut commands).map_err(system("read interfaces and addresses"))?;
        Ok(Self { commands, events, table, ports: BTreeMap::new(), floating: BTreeSet::new(), suspect: false })
    }

    /// Takes in what netlink tells; whether anything is different now.
    pub(super) fn listen(&mut self) -> bool {
        let (table, mut changed) = (&mut self.table, false);
        let complete = self.events.drain(EVENTS, |kind, body| changed |= table.apply(kind, body));
        self.suspect |= !matches!(complete, Ok(true));
        changed
    }

    /// Asks for everything. What had come as events before then is older, and is followed by what
    /// makes it right again.
    pub(super) fn reload(&mut self) {
        self.suspect = self.table.reload(&mut self.commands).is_err();
        self.listen();
    }

    /// Makes sockets fit interfaces.
    pub(super) fn refresh_ports(&mut self) {
        for port in self.ports.values_mut() {
            port.refresh(&self.table);
        }
    }

    /// Where addresses of a router on `interface` go: onto `index`, or onto the interface itself.
    pub(super) fn place<'a>(&'a mut self, interface: &'a str, index: Option<u32>) -> Option<Place<'a>> {
        let (base, _) = self.table.link(interface)?;
        Some(Place {
            index: index.unwrap_or(base),
            base,
            name: interface,
            floating: &self.floating,
            table: &mut self.table,
            commands: &mut self.commands,
        })
    }
}

fn may_send_raw() -> Result<(), EngineError> {
    match socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None) {
        Err(Errno::EPERM | Errno::EACCES) => Err(EngineError::Capability {
            capability: "CAP_NET_RAW",
            purpose: "sending advertisements and announcing addresses",
        }),
        _ => Ok(()),
    }
}

/// Asks for something that fails for everybody: without the capability it fails earlier.
fn may_change_addresses(commands: &mut Commands) -> Result<(), EngineError> {
    let mut nothing = AddressMessage::default();
    nothing.header.family = netlink_packet_route::AddressFamily::Inet;
    nothing.header.prefix_len = 32;
    nothing.attributes.push(AddressAttribute::Local(IpNet::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).addr()));
    let answer = commands.request(vec![(RouteNetlinkMessage::DelAddress(nothing), 0)]);
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match answer {
        Err(error) if !refused(&error) => Err(EngineError::System { what: "talk to netlink", source: error }),
        Ok(results) if !results.iter().any(|result| matches!(result, Err(Errno::EPERM | Errno::EACCES))) => Ok(()),
        _ => Err(EngineError::Capability {
            capability: "CAP_NET_ADMIN",
            purpose: "adding and removing the floating addresses",
        }),
    }
}
