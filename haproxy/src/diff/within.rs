//! What of a wanted state needs no reload: brought to run while one is waited for, or fails.
//!
//! Called by the reconcile loop where [`super::diff`] says reload. Without it a change that cannot be made (the disk is
//! full, a template is refused) would keep every later one from traffic. Pure and total, as is its result: comparing
//! it with `running` never asks for a reload.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::features::Features;
use crate::model::{Backend, BackendId, HostTable, LbState};
use crate::render::view;
use crate::text::Host;

use super::{Running, Steps};

/// `wanted` as far as HAProxy can be brought there without a reload; the rest as it runs.
pub fn within(running: &Running, wanted: &LbState, features: &Features) -> LbState {
    let now = &running.state;
    let mut backends = BTreeMap::new();
    for (id, has) in &now.backends {
        // Whose app is gone loses its servers, and with its listener it waits for the reload.
        let backend = match wanted.backends.get(id) {
            Some(backend) if Arc::ptr_eq(has, backend) => Arc::clone(backend),
            Some(backend) => Arc::new(reachable(running, id, has, backend, features)),
            None => Arc::new(Backend { servers: Vec::new(), ..Backend::clone(has) }),
        };
        backends.insert(id.clone(), backend);
    }
    // Nothing new leads to a backend that still lacks an option, which may be who is allowed there.
    let is_ready = |id: &BackendId| match (now.backends.get(id), wanted.backends.get(id)) {
        (Some(has), Some(wanted)) => as_optioned(has, wanted),
        _ => false,
    };
    let mut routes = BTreeMap::new();
    for host in now.routes.keys().chain(wanted.routes.keys()) {
        let table = table(running, host, wanted.routes.get(host), is_ready);
        routes.extend(table.map(|table| (host.clone(), table.clone())));
    }
    let mut app_ids = BTreeMap::new();
    for app in now.app_ids.keys().chain(wanted.app_ids.keys()) {
        let new = wanted.app_ids.get(app);
        let backend = if new.is_none_or(is_ready) { new } else { now.app_ids.get(app) };
        app_ids.extend(backend.map(|backend| (app.clone(), backend.clone())));
    }
    LbState {
        frontends: Arc::clone(&now.frontends),
        backends,
        routes: Arc::new(routes),
        app_ids: Arc::new(app_ids),
        dynamic: now.dynamic.clone(),
    }
}

/// The options that the backend runs with, and of the servers those that it can have with them.
fn reachable(running: &Running, id: &BackendId, has: &Backend, wanted: &Backend, features: &Features) -> Backend {
    if as_optioned(has, wanted) && is_free(running, id, has, wanted, features) {
        return wanted.clone();
    }
    let all = Backend { servers: wanted.servers.clone(), ..has.clone() };
    if is_free(running, id, has, &all, features) {
        return all;
    }
    // None is added; those that are not wanted any more can go all the same.
    let stays = |name: &str| wanted.servers.iter().any(|server| server.name == name);
    let servers = has.servers.iter().filter(|server| stays(&server.name)).cloned().collect();
    Backend { servers, ..has.clone() }
}

fn as_optioned(has: &Backend, wanted: &Backend) -> bool {
    has == wanted || view::same_options(has, wanted)
}

fn is_free(running: &Running, id: &BackendId, has: &Backend, wanted: &Backend, features: &Features) -> bool {
    Steps::default().servers(id, has, running.leaving.get(id), wanted, features).is_ok()
}

/// The routes of a host, where all of them lead somewhere and no rule is needed; else those that it has.
fn table<'a>(
    running: &'a Running,
    host: &Host,
    wanted: Option<&'a HostTable>,
    is_ready: impl Fn(&BackendId) -> bool,
) -> Option<&'a HostTable> {
    let now = running.state.routes.get(host);
    let rules = |table: Option<&HostTable>| table.is_some_and(|table| table.ignore_case);
    let lookup = !host.is_wildcard() || running.wildcards;
    let ready = wanted.is_none_or(|table| table.routes.iter().all(|route| is_ready(&route.backend)));
    if rules(now) || rules(wanted) || !lookup || !ready { now } else { wanted }
}
