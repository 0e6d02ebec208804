//! What a running HAProxy has, as far as we know: the state it was loaded with and what was
//! changed since.
//!
//! Held by the reconcile loop, one for each worker that becomes current; compared by [`super::diff`].
//! It can hold more than is wanted: servers on their way out, and backends whose app is gone, empty
//! until the next reload takes them away.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::{MapChange, Op, Place};
use crate::bundle::MapName;
use crate::model::{Admin, Backend, BackendId, Frontend, LbState, Owner, Server, Weight};
use crate::render::maps::Map;
use crate::render::profile::Profiles;
use crate::render::server;
use crate::text::Host;

/// What HAProxy runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The frontends and backends it was loaded with, and the servers it has now.
    pub(super) state: LbState,
    /// The servers that are not wanted any more and not yet gone.
    pub(super) leaving: BTreeMap<BackendId, BTreeMap<String, Server>>,
    /// The maps, by what a lookup finds.
    pub(super) maps: BTreeMap<MapName, BTreeMap<String, String>>,
    /// The maps are those of `state`'s routes and app ids: equal ones need no further look.
    published: bool,
    /// It was loaded with a lookup for wildcard hosts.
    pub(super) wildcards: bool,
    /// What it can make backends from.
    pub(super) profiles: Profiles,
    /// The ports that the listener for dynamic ones holds.
    ports: BTreeSet<u16>,
}

impl Running {
    /// A worker that has just been loaded with the file for `state`.
    pub fn loaded(state: LbState) -> Self {
        let maps = Map::all(&state).map(|map| (map.name(), map.entries(&state))).collect();
        let wildcards = state.routes.keys().any(Host::is_wildcard);
        let profiles = Profiles::of(&state);
        let ports = state.shared_ports().into_iter().flatten().collect();
        Self { state, leaving: BTreeMap::new(), maps, published: true, wildcards, profiles, ports }
    }

    /// It makes no backends, whatever its version says.
    pub fn without_profiles(self) -> Self {
        Self { profiles: Profiles::default(), ..self }
    }

    /// Whether it listens where `frontend`, which its state has not, is to listen.
    pub(super) fn takes(&self, frontend: &Frontend) -> bool {
        self.state.shares(frontend) && self.ports.contains(&frontend.port)
    }

    /// What it has, servers on their way out not among it.
    pub fn state(&self) -> &LbState {
        &self.state
    }

    /// The operations that lead to `wanted` were all carried out.
    pub fn applied(&mut self, ops: &[Op], wanted: &LbState) {
        let mut touched = BTreeSet::new();
        for op in ops {
            self.apply(op);
            touched.extend(op.backend());
        }
        if self.state.routes != wanted.routes {
            // With a route can come and go what a backend knows of its hosts.
            touched.extend(wanted.backends.keys());
            self.state.routes.clone_from(&wanted.routes);
        }
        for id in touched {
            if let (Some(now), Some(wanted)) = (self.state.backends.get_mut(id), wanted.backends.get(id))
                && now != wanted
            {
                align(now, wanted);
            }
        }
        self.state.app_ids.clone_from(&wanted.app_ids);
        if self.state.dynamic.ports.is_some() && self.state.frontends != wanted.frontends {
            let mut frontends = BTreeMap::clone(&self.state.frontends);
            frontends.retain(|id, frontend| !self.state.shares(frontend) || wanted.frontends.contains_key(id));
            let new = wanted.frontends.iter().filter(|(_, frontend)| self.takes(frontend));
            frontends.extend(new.map(|(id, frontend)| (id.clone(), frontend.clone())));
            self.state.frontends = Arc::new(frontends);
        }
        if self.state.frontends == wanted.frontends {
            self.state.frontends = Arc::clone(&wanted.frontends);
        }
        self.published = true;
    }

    /// The server is gone from HAProxy.
    pub fn gone(&mut self, place: &Place) {
        if let Some(servers) = self.leaving.get_mut(&place.backend) {
            servers.remove(&place.server);
            if servers.is_empty() {
                self.leaving.remove(&place.backend);
            }
        }
    }

    /// The servers that are on their way out.
    pub fn leaving(&self) -> impl Iterator<Item = Place> {
        self.leaving.iter().flat_map(|(backend, servers)| {
            servers.keys().map(|server| Place { backend: backend.clone(), server: server.clone() })
        })
    }

    /// The servers that `next` has not: those on their way out among them.
    pub fn lacking<'a>(&'a self, next: &'a LbState) -> impl Iterator<Item = Place> + 'a {
        let gone = |(id, backend): (&BackendId, &'a Arc<Backend>)| {
            let id = id.clone();
            let kept: BTreeSet<&str> =
                next.backends.get(&id).into_iter().flat_map(|next| &next.servers).map(|s| s.name.as_str()).collect();
            let gone = backend.servers.iter().filter(move |server| !kept.contains(server.name.as_str()));
            gone.map(move |server| Place { backend: id.clone(), server: server.name.clone() })
        };
        self.state.backends.iter().flat_map(gone).chain(self.leaving())
    }

    /// The servers that `is_one` says so of, by whose they are and where.
    pub fn places(&self, is_one: impl Fn(&Owner, SocketAddr) -> bool) -> BTreeSet<Place> {
        let mut places = BTreeSet::new();
        for (id, backend) in &self.state.backends {
            let servers = backend.servers.iter().filter(|server| is_one(&backend.owner, server.addr));
            places.extend(servers.map(|server| Place { backend: id.clone(), server: server.name.clone() }));
        }
        places
    }

    /// How many backends are empty because nobody wants them: a reload would free them.
    pub fn retired(&self, wanted: &LbState) -> usize {
        self.state.backends.keys().filter(|id| !wanted.backends.contains_key(*id)).count()
    }

    /// The servers of a backend as they are now, those on their way out not among them.
    pub fn servers(&self, backend: &BackendId) -> &[Server] {
        self.state.backends.get(backend).map_or(&[], |backend| &backend.servers)
    }

    /// The maps that it has.
    pub fn maps(&self) -> impl Iterator<Item = &MapName> {
        self.maps.keys()
    }

    /// The entries of a map as they are now.
    pub fn map(&self, map: &MapName) -> Option<&BTreeMap<String, String>> {
        self.maps.get(map)
    }

    /// What was read back replaces what was assumed. `wanted` tells what a server is like that was
    /// added without an answer; one that nobody knows counts as unwanted.
    pub fn correct(&mut self, seen: &BTreeMap<String, BTreeMap<String, Seen>>, wanted: &LbState) {
        let nothing = BTreeMap::new();
        for (id, shared) in &mut self.state.backends {
            let backend = Arc::make_mut(shared);
            let seen = seen.get(id.as_str()).unwrap_or(&nothing);
            let checked = server::is_checked(backend);
            let leaving = self.leaving.remove(id).unwrap_or_default();
            let known: Vec<Server> = std::mem::take(&mut backend.servers);
            let planned = wanted.backends.get(id).map_or(&[][..], |backend| &backend.servers);
            let mut all: BTreeMap<&str, &Server> = planned.iter().map(|s| (s.name.as_str(), s)).collect();
            all.extend(leaving.values().chain(&known).map(|server| (server.name.as_str(), server)));
            let mut out = BTreeMap::new();
            for (name, seen) in seen {
                let wanted = planned.iter().any(|server| server.name == *name);
                let server = seen.server(name, all.get(name.as_str()).copied(), checked && wanted);
                if !wanted && server.admin != Admin::Ready {
                    out.insert(name.clone(), server);
                } else {
                    backend.servers.push(server);
                }
            }
            if !out.is_empty() {
                self.leaving.insert(id.clone(), out);
            }
            as_listed(&mut backend.servers, planned);
            // One and the same value, so that the next comparison is quick.
            if let Some(same) = wanted.backends.get(id).filter(|wanted| ***wanted == *backend) {
                *shared = Arc::clone(same);
            }
        }
    }

    /// As [`Self::correct`], for one map.
    pub fn correct_map(&mut self, map: MapName, entries: BTreeMap<String, String>) {
        self.maps.insert(map, entries);
        self.published = false;
    }

    /// Whether a map is already the one of `wanted`, as far as that can be told quickly.
    pub(super) fn published(&self, map: Map, wanted: &LbState) -> bool {
        self.published
            && match map {
                Map::Routes => self.state.routes == wanted.routes,
                Map::Apps => self.state.app_ids == wanted.app_ids,
                Map::Ports => Arc::ptr_eq(&self.state.frontends, &wanted.frontends),
            }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { id, backend, .. } => drop(self.state.backends.insert(id.clone(), Arc::clone(backend))),
            Op::Publish { .. } => (),
            Op::Add { backend, server, .. } => {
                if let Some(backend) = self.state.backends.get_mut(backend) {
                    Arc::make_mut(backend).servers.push(server.clone());
                }
            }
            Op::Move { place, addr } => self.change(place, |server| server.addr = *addr),
            Op::Weigh { place, weight } => self.change(place, |server| server.weight = *weight),
            Op::Let { place, admin, .. } => {
                self.stay(place);
                self.change(place, |server| server.admin = *admin);
            }
            Op::Drain { place } => self.leave(place),
            // The caller holds what was in the files.
            Op::Cert { .. } => (),
            Op::Map { map, change } => {
                let entries = self.maps.entry(map.clone()).or_default();
                match change {
                    MapChange::Add { key, value } | MapChange::Set { key, value } => {
                        entries.insert(key.clone(), value.clone());
                    }
                    MapChange::Del { key } => drop(entries.remove(key)),
                    MapChange::Swap { entries: new } => *entries = new.iter().cloned().collect(),
                }
            }
        }
    }

    /// Changes a server, on its way out or not.
    fn change(&mut self, place: &Place, change: impl FnOnce(&mut Server)) {
        let here = self.state.backends.get_mut(&place.backend).map(|backend| &mut Arc::make_mut(backend).servers);
        let here = here.and_then(|servers| servers.iter_mut().find(|server| server.name == place.server));
        let leaving = self.leaving.get_mut(&place.backend).and_then(|servers| servers.get_mut(&place.server));
        if let Some(server) = here.or(leaving) {
            change(server);
        }
    }

    /// A server starts on its way out.
    fn leave(&mut self, place: &Place) {
        let Some(backend) = self.state.backends.get_mut(&place.backend) else { return };
        if let Some(at) = backend.servers.iter().position(|server| server.name == place.server) {
            let server = Arc::make_mut(backend).servers.remove(at);
            self.leaving.entry(place.backend.clone()).or_default().insert(place.server.clone(), server);
        }
    }

    /// A server on its way out stays.
    fn stay(&mut self, place: &Place) {
        let Some(server) = self.leaving.get_mut(&place.backend).and_then(|servers| servers.remove(&place.server))
        else {
            return;
        };
        if let Some(backend) = self.state.backends.get_mut(&place.backend) {
            Arc::make_mut(backend).servers.push(server);
        }
        if self.leaving.get(&place.backend).is_some_and(BTreeMap::is_empty) {
            self.leaving.remove(&place.backend);
        }
    }
}

/// Makes equal what is no difference in HAProxy, so that the next comparison is quick: the order of
/// the servers, and what the file does not say.
fn align(now: &mut Arc<Backend>, wanted: &Arc<Backend>) {
    let mut servers = std::mem::take(&mut Arc::make_mut(now).servers);
    as_listed(&mut servers, &wanted.servers);
    *now = match servers == wanted.servers {
        true => Arc::clone(wanted),
        false => Arc::new(Backend { servers, ..Backend::clone(wanted) }),
    };
}

/// Puts servers into the order of a list.
fn as_listed(servers: &mut [Server], list: &[Server]) {
    let order: BTreeMap<&str, usize> = list.iter().map(|s| s.name.as_str()).zip(0..).collect();
    servers.sort_by_key(|server| order.get(server.name.as_str()).copied());
}

/// A server as HAProxy shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub id: u16,
    /// Where it is.
    pub addr: SocketAddr,
    /// Its share.
    pub weight: Weight,
    /// What it is let do.
    pub admin: Admin,
    /// HAProxy has checks of it switched on.
    pub checked: bool,
}

impl Seen {
    /// One whose checks ought to run and do not counts as in maintenance: enabling it mends both.
    fn server(&self, name: &str, known: Option<&Server>, checked: bool) -> Server {
        let Self { id, addr, mut weight, mut admin, .. } = *self;
        if checked && !self.checked {
            admin = Admin::Maint;
        }
        // The file says drain by a weight of nothing.
        if let Some(known) = known.filter(|known| known.admin == Admin::Drain && admin == Admin::Ready)
            && weight == Weight::NONE
        {
            (weight, admin) = (known.weight, Admin::Drain);
        }
        let check_port = known.and_then(|server| server.check_port);
        Server { name: name.to_owned(), id, addr, check_port, weight, admin }
    }
}
