//! Turns a snapshot of apps into the load-balancer state we want.
//!
//! Called by the reconcile loop; feeds `render`. Pure: no clock, no files, never fails. Anything
//! odd about an app becomes an [`Issue`] and costs that app the part that is wrong; the other apps
//! are still served. Each app is compiled by itself into a part (`ports`, `checks`, `servers`), and
//! the parts into what apps share (`listeners`, `routes`); `cache` keeps both.

mod cache;
mod checks;
mod listeners;
mod ports;
mod routes;
mod servers;

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::app::{AppId, Snapshot};
use crate::issue::Issue;
use crate::labels::options::{Balance, Mode};
use crate::model::{Backend, BackendId, Dynamic, LbState, Owner};
use crate::text::BindAddr;

pub use cache::Cache;
use cache::Served;
use ports::ServicePort;

/// What the operator decided: the same on every node, so that every node compiles the same state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The groups served here.
    pub groups: Groups,
    /// Only tasks that Marathon's health checks call alive get traffic.
    pub health_check: bool,
    /// Ports are out of service unless `HAPROXY_{n}_ENABLED` says otherwise.
    pub strict: bool,
    /// 80 and 443 route by host.
    pub vhosts: bool,
    /// `*` as a listener's address means both families, not IPv4 alone.
    pub ipv6: bool,
    /// An app that is not served: the one Baton itself runs as (`FRAMEWORK_NAME`).
    pub own_app: Option<AppId>,
    /// Service ports for container-network apps that have none.
    pub invented_ports: Option<RangeInclusive<u16>>,
    /// Listeners that are not apps': an app that wants one of them goes without its own.
    pub reserved: Vec<Reserved>,
    /// What may appear without a reload.
    pub dynamic: Dynamic,
}

/// Which `HAPROXY_GROUP` values are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Groups {
    /// `*`: everything, also apps without a group.
    All,
    /// These.
    Only(BTreeSet<String>),
}

impl Default for Groups {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl Groups {
    fn serve(&self, groups: &BTreeSet<String>) -> bool {
        match self {
            Self::All => true,
            Self::Only(ours) => !ours.is_disjoint(groups),
        }
    }
}

/// A listener of the load balancer itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// Where it listens.
    pub addr: BindAddr,
    /// Its port.
    pub port: u16,
    /// What it is, for the issue: `HTTP virtual hosts`.
    pub what: &'static str,
}

/// The wanted state, and what is wrong with whom (sorted).
pub fn compile(snapshot: &Snapshot, policy: &Policy) -> (LbState, Vec<Issue>) {
    Cache::default().compile(snapshot, policy)
}

/// What becomes of the ports of all apps, in order, where apps share something: names, listeners, hosts.
fn share(ports: &[&Served], policy: &Policy, issues: &mut Vec<Issue>) -> LbState {
    let mut backends: BTreeMap<BackendId, Arc<Backend>> = BTreeMap::new();
    let mut owners = Vec::with_capacity(ports.len());
    for served in ports {
        match backends.entry(served.port.backend.clone()) {
            Entry::Occupied(other) => issues.push(same_name(&served.port, &other.get().owner)),
            Entry::Vacant(free) => {
                free.insert(Arc::clone(&served.backend));
                owners.push(*served);
            }
        }
    }
    let frontends = Arc::new(listeners::frontends(&owners, policy, issues));
    let routes = if policy.vhosts { routes::tables(&owners, issues) } else { BTreeMap::new() };
    let app_ids = Arc::new(first_http_ports(&backends));
    LbState { frontends, backends, routes: Arc::new(routes), app_ids, dynamic: policy.dynamic.clone() }
}

fn backend(port: &ServicePort, policy: &Policy, issues: &mut Vec<Issue>) -> Backend {
    let options = &port.options;
    let (mode, check) = checks::of(port, issues);
    let http = mode == Mode::Http;
    let mut http_only = |wanted: bool, label: &str| {
        if wanted && !http {
            issues.push(port.issue(label, "needs mode http and is ignored in mode tcp"));
        }
        wanted && http
    };
    let sticky = http_only(options.sticky, "STICKY");
    let hsts = http_only(options.use_hsts, "USE_HSTS");
    let proxypass = http_only(options.proxypass_path.is_some(), "HTTP_BACKEND_PROXYPASS_PATH");
    let revproxy = http_only(options.revproxy_path.is_some(), "HTTP_BACKEND_REVPROXY_PATH");
    let redirect_root = http_only(options.redirect_root.is_some(), "HTTP_BACKEND_REDIR");
    let fitting_balance = !options.balance.http_only || http_only(true, "BALANCE");
    if !http || options.hosts.is_empty() {
        if options.auth.is_some() {
            issues.push(
                port.issue("AUTH", "only requests by host are asked for it: without VHOST and mode http nobody is"),
            );
        }
        if options.redirect_to_https {
            issues.push(port.issue("REDIRECT_TO_HTTPS", "needs VHOST and mode http; ignored"));
        }
    }
    Backend {
        owner: Owner { app: port.app.id.clone(), index: port.index },
        port: port.port,
        mode,
        balance: if fitting_balance { options.balance.clone() } else { Balance::default() },
        hosts: if http { options.hosts.clone() } else { Vec::new() },
        auth: options.auth.clone(),
        redirect_to_https: options.redirect_to_https,
        hsts,
        sticky,
        network_allowed: options.network_allowed.clone(),
        proxypass_path: options.proxypass_path.clone().filter(|_| proxypass),
        revproxy_path: options.revproxy_path.clone().filter(|_| revproxy),
        redirect_root: options.redirect_root.clone().filter(|_| redirect_root),
        check,
        servers: servers::of(port, policy, issues),
    }
}

/// The http port of each app with the lowest number, as in marathon-lb: what 9091 means by the app.
fn first_http_ports(backends: &BTreeMap<BackendId, Arc<Backend>>) -> BTreeMap<AppId, BackendId> {
    let mut http: Vec<_> = backends.iter().filter(|(_, backend)| backend.mode == Mode::Http).collect();
    // The last of an app that is collected stays.
    http.sort_by_key(|(_, backend)| Reverse(backend.port));
    http.into_iter().map(|(id, backend)| (backend.owner.app.clone(), id.clone())).collect()
}

fn same_name(port: &ServicePort, winner: &Owner) -> Issue {
    Issue::app(
        &port.app.id,
        format!(
            "port {} would have the same name, {}, as port {} of {}; it is out of service: give it another \
             HAPROXY_{}_PORT",
            port.index, port.backend, winner.index, winner.app, port.index
        ),
    )
}

/// Whether `port` is the one that got the backend of its name.
fn owns(port: &ServicePort, backend: Option<&Arc<Backend>>) -> bool {
    backend.is_some_and(|b| b.owner.app == port.app.id && b.owner.index == port.index)
}

/// A backend's name for a port of an app.
fn backend_id(app: &AppId, port: u16) -> BackendId {
    BackendId::new(app, port)
}

#[cfg(test)]
mod tests;
