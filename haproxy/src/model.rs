//! The wanted state of the load balancer, as plain values.
//!
//! Made by `compile`, turned into text by `render`. Everything is ordered, so equal states give
//! equal text. Holds no opinion and no input: what a label meant is already decided here.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::app::{AppId, same_first};
use crate::labels::options::{Auth, Balance, Mode};
use crate::text::{BindAddr, CheckUri, FilePath, Host, PathPrefix, Word};

/// All that HAProxy shall serve for apps. States share what they have in common, so that making and
/// comparing two that hardly differ is quick.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LbState {
    /// The listeners of service ports.
    pub frontends: Arc<BTreeMap<BackendId, Frontend>>,
    /// The apps' ports with their servers.
    pub backends: BTreeMap<BackendId, Arc<Backend>>,
    /// What 80 and 443 route by: a table for each host.
    pub routes: Arc<BTreeMap<Host, HostTable>>,
    /// What 9091 routes by: of each app the http port with the lowest number.
    pub app_ids: Arc<BTreeMap<AppId, BackendId>>,
    /// What may appear without a reload.
    pub dynamic: Dynamic,
}

impl LbState {
    /// Whether a listener is none of its own: the one for all dynamic ports serves it.
    pub(crate) fn shares(&self, frontend: &Frontend) -> bool {
        self.dynamic.has(frontend.port) && frontend.is_plain()
    }

    /// The ports of the listener for all dynamic ports: those that nobody has for himself.
    pub(crate) fn shared_ports(&self) -> Vec<RangeInclusive<u16>> {
        let own: BTreeSet<u16> = self.frontends.values().filter(|own| !own.is_plain()).map(|own| own.port).collect();
        let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
        for port in self.dynamic.ports.clone().into_iter().flatten() {
            if !self.dynamic.has(port) || own.contains(&port) {
                continue;
            }
            match ranges.pop() {
                Some(range) if range.end() + 1 == port => ranges.push(*range.start()..=port),
                last => ranges.extend(last.into_iter().chain([port..=port])),
            }
        }
        ranges
    }

    /// The state with nothing left of `apps`; for apps whose part HAProxy itself refuses.
    pub fn without(&self, apps: &BTreeSet<AppId>) -> Self {
        let mut rest = self.clone();
        rest.backends.retain(|_, backend| !apps.contains(&backend.owner.app));
        Arc::make_mut(&mut rest.frontends).retain(|_, frontend| !apps.contains(&frontend.owner.app));
        Arc::make_mut(&mut rest.app_ids).retain(|app, _| !apps.contains(app));
        let routes = Arc::make_mut(&mut rest.routes);
        for table in routes.values_mut() {
            table.routes.retain(|route| rest.backends.contains_key(&route.backend));
        }
        routes.retain(|_, table| !table.routes.is_empty());
        rest
    }
}

/// What the operator lets appear without a reload, where HAProxy can do it (3.4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// Backends with options that another one has: `add backend`.
    pub backends: bool,
    /// Service ports that one listener holds, whether somebody wants them or not.
    pub ports: Option<RangeInclusive<u16>>,
    /// Those of them that another program on this host has.
    pub taken: BTreeSet<u16>,
}

impl Dynamic {
    /// Whether the port is one of the dynamic ones.
    pub fn has(&self, port: u16) -> bool {
        self.ports.as_ref().is_some_and(|ports| ports.contains(&port)) && !self.taken.contains(&port)
    }
}

/// The name of a frontend and backend, e.g. `group_app_10000`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BackendId(Arc<str>);

impl Ord for BackendId {
    fn cmp(&self, other: &Self) -> Ordering {
        same_first(&self.0, &other.0)
    }
}

impl PartialOrd for BackendId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl BackendId {
    /// A name made by [`crate::names::backend`].
    pub(crate) fn new(app: &AppId, port: u16) -> Self {
        Self(crate::names::backend(app, port).into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which port of which app something belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The app.
    pub app: AppId,
    /// The index of its port, the `{n}` of its labels.
    pub index: usize,
}

/// A service port's own listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontend {
    /// Whose it is.
    pub owner: Owner,
    /// Where it listens.
    pub addr: BindAddr,
    /// The port it listens on.
    pub port: u16,
    /// `mode`, the same as its backend's.
    pub mode: Mode,
    /// Certificate: the listener speaks TLS.
    pub cert: Option<FilePath>,
    /// Further words of the `bind` line.
    pub options: Vec<Word>,
}

impl Frontend {
    /// Nothing about it but the port.
    fn is_plain(&self) -> bool {
        self.addr == BindAddr::Any && self.cert.is_none() && self.options.is_empty()
    }
}

/// One port of one app: options and servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Whose it is.
    pub owner: Owner,
    /// The service port.
    pub port: u16,
    /// `mode`.
    pub mode: Mode,
    /// `balance`.
    pub balance: Balance,
    /// The hosts that route here, as the label names them.
    pub hosts: Vec<Host>,
    /// Basic authentication for requests that come by host.
    pub auth: Option<Auth>,
    /// Requests that come by host over plain HTTP are sent to https.
    pub redirect_to_https: bool,
    /// Answers carry Strict-Transport-Security.
    pub hsts: bool,
    /// A cookie keeps a client on its server.
    pub sticky: bool,
    /// Who may use it; empty = everybody.
    pub network_allowed: Vec<IpNet>,
    /// Prefix taken off the path.
    pub proxypass_path: Option<PathPrefix>,
    /// Prefix put before the path of `Location` in answers.
    pub revproxy_path: Option<PathPrefix>,
    /// Where `/` is redirected.
    pub redirect_root: Option<PathPrefix>,
    /// How HAProxy itself checks the servers.
    pub check: Option<Check>,
    /// The servers, ordered by host and port.
    pub servers: Vec<Server>,
}

/// HAProxy's own health check of a backend's servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// An HTTP check requests this; none = TCP connect.
    pub http: Option<HttpCheck>,
    /// `inter`.
    pub interval: Duration,
    /// `fall`.
    pub fall: u32,
    /// The port on every server, where it is not the server's own.
    pub port: Option<u16>,
}

/// The HTTP part of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// Request target.
    pub uri: CheckUri,
    /// `timeout check`.
    pub timeout: Duration,
    /// Over TLS, whatever certificate the server shows.
    pub tls: bool,
}

/// One server line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its `id`.
    pub id: u16,
    /// Where it is.
    pub addr: SocketAddr,
    /// The port its checks go to, where that is another one than the backend's check says.
    pub check_port: Option<u16>,
    /// Its share of the traffic.
    pub weight: Weight,
    /// Which requests it gets at all.
    pub admin: Admin,
}

/// A server's share beside the others of its backend, 0…256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u16);

impl Weight {
    /// No share at all.
    pub const NONE: Self = Self(0);

    /// A share; none above 256.
    pub fn new(weight: u16) -> Option<Self> {
        (weight <= 256).then_some(Self(weight))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

/// What an operator, or a deployment, lets a server do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admin {
    /// It takes its share.
    #[default]
    Ready,
    /// Nothing new but requests whose cookie names it.
    Drain,
    /// Nothing at all; health checks pause.
    Maint,
}

/// The routes of one host, in order of precedence; the first whose path matches takes the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostTable {
    /// Only routes that can match are here.
    pub routes: Vec<Route>,
    /// Some path of this host ignores case: no map can hold that, the table is rendered as rules.
    /// Never so for a wildcard: all hosts below it would follow.
    pub ignore_case: bool,
}

/// One entry of a host's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Beginning of the path; none = every path.
    pub path: Option<PathPrefix>,
    /// Upper and lower case of the path are the same.
    pub ignore_case: bool,
    /// Where the request goes.
    pub backend: BackendId,
}
