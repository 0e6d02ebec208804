//! What to do so that HAProxy runs what is wanted: nothing, runtime operations, or a reload.
//!
//! Called by the reconcile loop between `compile` and `runtime` or `reload`. Pure and total.
//! It compares two states as far as they follow from apps: if the operator's settings or a template
//! changed, the caller reloads without asking here. Certificates are compared by [`certificates`].
//!
//! Whatever does not fit an operation is a reload with its reason, never a guess: all that is
//! compared is what the file would say, so an option that is added to the model needs no word here.

mod certs;
mod op;
mod running;
#[cfg(test)]
mod tests;
mod within;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::features::Features;
use crate::model::{Admin, Backend, BackendId, HostTable, LbState, Server};
use crate::pairs::pairs;
use crate::render::maps::Map;
use crate::render::{server, view};
use crate::text::Host;

pub use certs::{CertChange, certificates, certificates_again, in_list};
pub use op::{MapChange, Op, Place};
pub use running::{Running, Seen};
pub use within::within;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// HAProxy runs what is wanted.
    Unchanged,
    /// These, in this order: servers are there before routes lead to them, routes are gone before
    /// servers go.
    Runtime(Vec<Op>),
    /// The runtime API cannot do it.
    Reload {
        /// Why.
        because: Reason,
    },
}

/// Why a change needs a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A backend that HAProxy does not have.
    NewBackend(BackendId),
    /// Options of a backend.
    BackendOptions(BackendId),
    /// A listener that HAProxy does not have.
    NewFrontend(BackendId),
    /// Options of a listener.
    FrontendOptions(BackendId),
    /// A listener goes whose backend stays.
    FrontendGone(BackendId),
    /// A host whose paths ignore case: rules, which no map can hold.
    CaseRules,
    /// The first wildcard host: no lookup for one was loaded.
    Wildcards,
    /// The balance algorithm takes no servers while HAProxy runs.
    StaticBalance(BackendId),
    /// This HAProxy takes no cookie with a server that is added.
    Cookie(BackendId),
    /// Id or check of a server that stays, or its id is that of one still on its way out.
    ServerOptions(Place),
    /// Other ports for apps to come.
    Dynamic,
    /// Certificates that no list takes, or what lies beside them, such as OCSP responses.
    Certificates,
}

impl Reason {
    /// A word for metrics: the same for all backends.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NewBackend(_) => "new_backend",
            Self::BackendOptions(_) => "backend_options",
            Self::NewFrontend(_) => "new_frontend",
            Self::FrontendOptions(_) => "frontend_options",
            Self::FrontendGone(_) => "frontend_gone",
            Self::CaseRules => "case_rules",
            Self::Wildcards => "wildcards",
            Self::StaticBalance(_) => "static_balance",
            Self::Cookie(_) => "cookie",
            Self::ServerOptions(_) => "server_options",
            Self::Dynamic => "dynamic",
            Self::Certificates => "certificates",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewBackend(id) => write!(f, "{id} is new"),
            Self::BackendOptions(id) => write!(f, "options of {id} changed"),
            Self::NewFrontend(id) => write!(f, "the listener of {id} is new"),
            Self::FrontendOptions(id) => write!(f, "the listener of {id} changed"),
            Self::FrontendGone(id) => write!(f, "the listener of {id} is gone"),
            Self::CaseRules => f.write_str("routes that ignore case changed"),
            Self::Wildcards => f.write_str("the first wildcard host"),
            Self::StaticBalance(id) => write!(f, "the balance algorithm of {id} is static"),
            Self::Cookie(id) => write!(f, "{id} is sticky, and this HAProxy takes no cookie at run time"),
            Self::ServerOptions(place) => write!(f, "id or check of server {place} changed"),
            Self::Dynamic => f.write_str("the listener for dynamic ports changed"),
            Self::Certificates => f.write_str("certificates that HAProxy takes only when it loads"),
        }
    }
}

/// What leads from `running` to `wanted`.
pub fn diff(running: &Running, wanted: &LbState, features: &Features) -> Plan {
    let mut steps = Steps::default();
    match steps.collect(running, wanted, features) {
        Err(because) => Plan::Reload { because },
        Ok(()) => {
            let ops: Vec<Op> = [steps.up, steps.maps, steps.down].into_iter().flatten().collect();
            if ops.is_empty() { Plan::Unchanged } else { Plan::Runtime(ops) }
        }
    }
}

/// The operations, in the order that is safe.
#[derive(Default)]
struct Steps {
    up: Vec<Op>,
    maps: Vec<Op>,
    down: Vec<Op>,
}

impl Steps {
    fn collect(&mut self, running: &Running, wanted: &LbState, features: &Features) -> Result<(), Reason> {
        if running.state.dynamic != wanted.dynamic {
            return Err(Reason::Dynamic);
        }
        routing(running, wanted)?;
        for (id, now, backend) in pairs(&running.state.backends, &wanted.backends) {
            let Some(backend) = backend else {
                let all = now.iter().flat_map(|backend| &backend.servers);
                self.down.extend(all.map(|server| Op::Drain { place: place(id, server) }));
                continue;
            };
            let Some(now) = now else {
                self.create(id, running, backend, features)?;
                continue;
            };
            let leaving = running.leaving.get(id);
            // One and the same is equal without a look.
            if now == backend && leaving.is_none() {
                continue;
            }
            if !view::same_options(now, backend) {
                return Err(Reason::BackendOptions(id.clone()));
            }
            self.servers(id, now, leaving, backend, features)?;
        }
        frontends(running, wanted)?;
        for map in Map::all(wanted) {
            if !running.published(map, wanted) {
                self.map(map, running, wanted, features);
            }
        }
        Ok(())
    }

    /// A backend that is not there.
    fn create(
        &mut self,
        id: &BackendId,
        running: &Running,
        wanted: &Arc<Backend>,
        features: &Features,
    ) -> Result<(), Reason> {
        let profile = running.profiles.find(wanted).ok_or_else(|| Reason::NewBackend(id.clone()))?;
        let bare = Arc::new(Backend { servers: Vec::new(), ..Backend::clone(wanted) });
        self.up.push(Op::Create { id: id.clone(), backend: Arc::clone(&bare), profile });
        self.servers(id, &bare, None, wanted, features)?;
        self.up.push(Op::Publish { backend: id.clone() });
        Ok(())
    }

    /// The servers of one backend.
    fn servers(
        &mut self,
        id: &BackendId,
        now: &Backend,
        leaving: Option<&BTreeMap<String, Server>>,
        wanted: &Backend,
        features: &Features,
    ) -> Result<(), Reason> {
        let have: BTreeMap<&str, &Server> = now.servers.iter().map(|server| (server.name.as_str(), server)).collect();
        let want: BTreeSet<&str> = wanted.servers.iter().map(|server| server.name.as_str()).collect();
        let gone = now.servers.iter().filter(|server| !want.contains(server.name.as_str()));
        self.down.extend(gone.clone().map(|server| Op::Drain { place: place(id, server) }));
        // Whoever is on the way out holds its id until it is gone.
        let held: BTreeSet<u16> = gone.chain(leaving.into_iter().flat_map(BTreeMap::values)).map(|s| s.id).collect();
        for server in &wanted.servers {
            let back = leaving.and_then(|leaving| leaving.get(&server.name));
            match have.get(server.name.as_str()).copied().or(back) {
                Some(old) => self.server(id, old, server, wanted, back.is_some())?,
                None if held.contains(&server.id) => return Err(Reason::ServerOptions(place(id, server))),
                None if !wanted.balance.dynamic => return Err(Reason::StaticBalance(id.clone())),
                None if wanted.sticky && !features.dynamic_cookies() => return Err(Reason::Cookie(id.clone())),
                None => self.up.push(Op::Add {
                    backend: id.clone(),
                    server: server.clone(),
                    words: server::words(wanted, server),
                    checked: server::is_checked(wanted),
                }),
            }
        }
        Ok(())
    }

    /// A server that HAProxy has; `back`: on its way out.
    fn server(
        &mut self,
        id: &BackendId,
        old: &Server,
        new: &Server,
        backend: &Backend,
        back: bool,
    ) -> Result<(), Reason> {
        let checked = server::is_checked(backend);
        if old.id != new.id || (checked && old.check_port != new.check_port) {
            return Err(Reason::ServerOptions(place(id, new)));
        }
        if old.addr != new.addr {
            self.up.push(Op::Move { place: place(id, new), addr: new.addr });
        }
        // Whoever was loaded in drain has no weight of its own yet.
        let woken = old.admin == Admin::Drain && new.admin != Admin::Drain && !back;
        if old.weight != new.weight || woken {
            if !backend.balance.dynamic {
                return Err(Reason::StaticBalance(id.clone()));
            }
            self.up.push(Op::Weigh { place: place(id, new), weight: new.weight });
        }
        if old.admin != new.admin || back {
            let op = Op::Let { place: place(id, new), admin: new.admin, checked };
            if new.admin == Admin::Ready { self.up.push(op) } else { self.down.push(op) }
        }
        Ok(())
    }

    /// One map.
    fn map(&mut self, map: Map, running: &Running, wanted: &LbState, features: &Features) {
        let empty = BTreeMap::new();
        let old = running.maps.get(&map.name()).unwrap_or(&empty);
        let new = map.entries(wanted);
        let mut changes = Vec::new();
        let mut searches = 0;
        for (key, value) in &new {
            let (key, value) = (key.clone(), value.clone());
            match old.get(&key) {
                None => changes.push(MapChange::Add { key, value }),
                Some(before) if *before != value => {
                    searches += 1;
                    changes.push(MapChange::Set { key, value });
                }
                Some(_) => (),
            }
        }
        for key in old.keys().filter(|key| !new.contains_key(*key)) {
            searches += 1;
            changes.push(MapChange::Del { key: key.clone() });
        }
        let most = if features.indexed_maps() { new.len().max(SEARCHES) } else { SEARCHES };
        if searches > most {
            changes = vec![MapChange::Swap { entries: new.into_iter().collect() }];
        }
        self.maps.extend(changes.into_iter().map(|change| Op::Map { map: map.name(), change }));
    }
}

/// What of the routing is no map.
fn routing(running: &Running, wanted: &LbState) -> Result<(), Reason> {
    let old = &running.state.routes;
    if *old == wanted.routes {
        return Ok(());
    }
    let rules = |routes: &BTreeMap<Host, HostTable>| -> Vec<_> {
        let tables = routes.iter().filter(|(_, table)| table.ignore_case);
        tables.map(|(host, table)| (host.clone(), table.clone())).collect()
    };
    if rules(old) != rules(&wanted.routes) {
        return Err(Reason::CaseRules);
    }
    let wildcards = wanted.routes.keys().any(Host::is_wildcard);
    if wildcards && !running.wildcards { Err(Reason::Wildcards) } else { Ok(()) }
}

fn frontends(running: &Running, wanted: &LbState) -> Result<(), Reason> {
    if Arc::ptr_eq(&running.state.frontends, &wanted.frontends) {
        return Ok(());
    }
    for (id, now, frontend) in pairs(&running.state.frontends, &wanted.frontends) {
        match (now, frontend) {
            (None, Some(frontend)) if running.takes(frontend) => (),
            (Some(now), None) if running.takes(now) => (),
            (None, _) => return Err(Reason::NewFrontend(id.clone())),
            (Some(now), Some(frontend)) if now != frontend => {
                return Err(Reason::FrontendOptions(id.clone()));
            }
            (Some(_), None) if wanted.backends.contains_key(id) => return Err(Reason::FrontendGone(id.clone())),
            (Some(_), _) => (),
        }
    }
    Ok(())
}

fn place(backend: &BackendId, server: &Server) -> Place {
    Place { backend: backend.clone(), server: server.name.clone() }
}

/// From this many on, replacing a map of any size is cheaper than walking it for each entry that
/// changes (measured on 2.6: 128 µs for each in 10,000, 21 ms for all).
const SEARCHES: usize = 160;
