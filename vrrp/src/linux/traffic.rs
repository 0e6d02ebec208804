//! What passes the thread without changing what it is: packets in, statuses out.
//!
//! Called by `run` on every wake. Judges packets by the ladder of `wire`, counts them, and hands the
//! good ones to the machines; tells the owner how routers stand, no more often than is useful.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::port::{Port, Seat};
use super::report::{InterfaceStatus, Report};
use super::router::Time;
use super::run::Runner;
use crate::machine::io::{Heard, Input};
use crate::wire::receive::{Accepted, receive};
use crate::wire::reject::Reject;

/// Packets taken from one socket in one wake.
const PACKETS: usize = 64;
/// Statuses that changed are told so often.
const STATUS: Duration = Duration::from_millis(500);

impl Runner {
    /// Takes in packets, of each socket a bounded number. `ready` is in the order of `wait`.
    pub(super) fn receive(&mut self, ready: &[bool], time: Time) {
        let mut ready = ready.iter().copied();
        let mut accepted: Vec<(Seat, Accepted)> = Vec::new();
        let mut rivals: BTreeSet<Seat> = BTreeSet::new();
        for port in self.host.ports.values_mut() {
            let Port { sockets, watcher, seats, own, strays, .. } = port;
            for socket in sockets {
                if !ready.next().unwrap_or_default() {
                    continue;
                }
                let family = socket.family();
                // An error is told once and says that the link went down: netlink says it, too.
                let _ = socket.drain(PACKETS, |incoming| {
                    let seat = incoming.as_ref().ok().and_then(|packet| packet.vrid());
                    let seat = seat.and_then(|vrid| seats.get(&(family, vrid)).copied());
                    let router = seat.map(|(cell, index)| &mut self.cells[cell].routers[index]);
                    let source = incoming.as_ref().ok().map(|packet| packet.carrier.source());
                    let verdict = incoming
                        .map_err(Reject::from)
                        .and_then(|packet| receive(&packet, own, |_| router.as_ref().map(|router| &router.config)));
                    let (received, refused) = match router {
                        Some(router) => {
                            router.dirty = true;
                            (&mut router.statistics.received, &mut router.statistics.refused)
                        }
                        None => {
                            let strays = strays.entry(family).or_default();
                            strays.dirty = true;
                            (&mut strays.received, &mut strays.refused)
                        }
                    };
                    received.count(&verdict);
                    match (verdict, seat, source) {
                        (Ok(heard), Some(seat), _) => accepted.push((seat, heard)),
                        (Err(reject), _, Some(source)) => refused.note(source, reject, time.wall),
                        _ => (),
                    }
                });
            }
            if let Some(watcher) = watcher
                && ready.next().unwrap_or_default()
            {
                let table = &self.host.table;
                let _ = watcher.drain(PACKETS, |claim| {
                    // Another interface of this host, on the same network, is no rival.
                    if !table.has_mac(claim.mac) {
                        let address = IpAddr::V4(claim.address);
                        rivals.extend(seats.values().filter(|(cell, index)| {
                            self.cells[*cell].routers[*index].vips.held().any(|held| held == address)
                        }));
                    }
                });
            }
        }
        for (seat, heard) in accepted {
            let router = &mut self.cells[seat.0].routers[seat.1];
            let advert = Heard::from(&heard);
            router.note_addresses(heard.source, heard.remarks.addresses_differ, &heard.advert.addresses, time.now);
            self.feed(seat, Input::Advert(advert), time);
        }
        for seat in rivals {
            self.feed(seat, Input::Rival, time);
        }
    }

    /// Tells what changed: moves at once, mere figures now and then.
    pub(super) fn publish(&mut self, time: Time) {
        let regular = time.now >= self.next_status;
        if regular {
            self.next_status = time.now + STATUS;
        }
        for cell in &mut self.cells {
            for (router, machine) in cell.routers.iter_mut().zip(cell.node.machines()) {
                if router.urgent || (regular && router.dirty) {
                    (router.urgent, router.dirty) = (false, false);
                    self.reporter.tell(Report::Status(Box::new(router.status(machine, time))));
                }
            }
        }
        if !regular {
            return;
        }
        for (name, port) in &mut self.host.ports {
            for (family, strays) in &mut port.strays {
                if std::mem::take(&mut strays.dirty) {
                    self.reporter.tell(Report::Strays(Box::new(InterfaceStatus {
                        interface: name.clone(),
                        family: *family,
                        received: strays.received.clone(),
                        refused: strays.refused.list(),
                    })));
                }
            }
        }
    }
}
