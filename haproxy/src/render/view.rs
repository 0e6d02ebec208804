//! What the templates see: the model as flat, printable values.
//!
//! Made by `render` section by section and thrown away. All text here comes from types that cannot
//! hold a blank or a newline, so the templates escape nothing.

use std::ops::RangeInclusive;

use serde::Serialize;

use crate::model::{Backend, BackendId, Frontend, HostTable};
use crate::render::server;
use crate::render::settings::{Listen, Settings, Timeouts};
use crate::text::{BindAddr, Host, PathPrefix, Word};

/// `global` and `defaults`.
#[derive(Serialize)]
pub(super) struct HeadView {
    log: Vec<String>,
    maxconn: Option<u32>,
    fd_hard_limit: u32,
    proxy_maxconn: u32,
    backlog: u32,
    hard_stop_after: String,
    max_old_workers: u32,
    stats_socket: Option<String>,
    server_state: Option<String>,
    tls_ciphers: String,
    tls_ciphersuites: String,
    tls_min_version: String,
    timeouts: TimeoutsView,
    options: Vec<String>,
}

#[derive(Serialize)]
struct TimeoutsView {
    connect: String,
    client: String,
    server: String,
    tunnel: String,
    http_keep_alive: String,
    http_request: String,
    queue: String,
    tarpit: String,
}

impl HeadView {
    pub(super) fn new(settings: &Settings) -> Self {
        let Timeouts { connect, client, server, tunnel, http_keep_alive, http_request, queue, tarpit } =
            settings.timeouts.clone();
        Self {
            log: settings.log.iter().map(ToString::to_string).collect(),
            maxconn: settings.maxconn,
            fd_hard_limit: settings.fd_hard_limit,
            proxy_maxconn: settings.proxy_maxconn,
            backlog: settings.backlog,
            hard_stop_after: time(settings.hard_stop_after),
            max_old_workers: settings.max_old_workers,
            stats_socket: settings.stats_socket.as_ref().map(ToString::to_string),
            server_state: settings.server_state.as_ref().map(ToString::to_string),
            tls_ciphers: settings.tls.ciphers.to_string(),
            tls_ciphersuites: settings.tls.ciphersuites.to_string(),
            tls_min_version: settings.tls.min_version.to_string(),
            timeouts: TimeoutsView {
                connect: time(connect),
                client: time(client),
                server: time(server),
                tunnel: time(tunnel),
                http_keep_alive: time(http_keep_alive),
                http_request: time(http_request),
                queue: time(queue),
                tarpit: time(tarpit),
            },
            options: settings.options.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The statistics listener.
#[derive(Serialize)]
pub(super) struct StatsView {
    bind: String,
    allow: Vec<String>,
    auth: Option<StatsAuthView>,
    prometheus: bool,
}

#[derive(Serialize)]
struct StatsAuthView {
    user: String,
    hash: String,
}

impl StatsView {
    pub(super) fn new(settings: &Settings) -> Self {
        let stats = &settings.stats;
        Self {
            bind: settings.bind(stats.listen, &[]),
            allow: stats.allow.iter().map(ToString::to_string).collect(),
            auth: stats
                .auth
                .as_ref()
                .map(|(user, hash)| StatsAuthView { user: user.to_string(), hash: hash.to_string() }),
            prometheus: stats.prometheus,
        }
    }
}

/// A listener and how it routes.
#[derive(Serialize)]
pub(super) struct VhostView {
    bind: String,
    certs: Vec<String>,
    alpn: String,
    rules: Vec<RuleView>,
    /// Label counts by which a host is shortened to find the wildcard above it; empty = none used.
    wildcard_depths: Vec<usize>,
}

/// One route that no map can hold.
#[derive(Serialize, Clone)]
pub(super) struct RuleView {
    backend: String,
    host: String,
    path: Option<String>,
    ignore_case: bool,
}

impl VhostView {
    pub(super) fn new(bind: String, certs: &[String], alpn: &str, rules: &[RuleView], wildcards: bool) -> Self {
        Self {
            bind,
            certs: certs.to_vec(),
            alpn: alpn.to_owned(),
            rules: rules.to_vec(),
            wildcard_depths: if wildcards { (2..2 + WILDCARD_LABELS).collect() } else { Vec::new() },
        }
    }
}

/// The rules of a host's table.
pub(super) fn rules<'a>(host: &'a Host, table: &'a HostTable) -> impl Iterator<Item = RuleView> + 'a {
    table.routes.iter().map(move |route| RuleView {
        backend: route.backend.to_string(),
        host: host.to_string(),
        path: route.path.as_ref().map(ToString::to_string),
        ignore_case: route.ignore_case,
    })
}

/// A service port's listener.
#[derive(PartialEq, Serialize)]
pub(super) struct FrontendView {
    name: String,
    bind: String,
    mode: String,
    backend: String,
}

impl FrontendView {
    pub(super) fn new(id: &BackendId, frontend: &Frontend, settings: &Settings) -> Self {
        let listen = Listen { addr: frontend.addr, port: frontend.port };
        let mut bind = settings.bind(listen, &frontend.options);
        if let Some(cert) = &frontend.cert {
            bind.push_str(" ssl ");
            bind.push_str(&settings.cert(cert.as_str()));
        }
        let mut options = frontend.options.iter().map(Word::as_str);
        while let Some(word) = options.next() {
            bind.push(' ');
            match (word == "crt").then(|| options.next()).flatten() {
                Some(path) => bind.push_str(&settings.cert(path)),
                None => bind.push_str(word),
            }
        }
        Self { name: settings.frontend(id), bind, mode: frontend.mode.to_string(), backend: id.to_string() }
    }

    /// The words of its `bind` line.
    pub(super) fn bind(&self) -> &str {
        &self.bind
    }
}

/// A backend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct BackendView {
    name: String,
    mode: String,
    balance: String,
    network_allowed: Vec<String>,
    redirect_to_https: Option<String>,
    auth_realm: Option<String>,
    hsts: bool,
    redirect_root: Option<RedirectRootView>,
    proxypass: Option<ProxypassView>,
    revproxy: Option<RevproxyView>,
    sticky: bool,
    http_check: Option<HttpCheckView>,
    /// Each the words of a `server` line.
    servers: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct RedirectRootView {
    location: String,
    hosts: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct ProxypassView {
    host: Option<String>,
    regex: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct RevproxyView {
    origin: String,
    prefix: String,
    rest: &'static str,
    path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct HttpCheckView {
    uri: String,
    timeout: u64,
}

impl BackendView {
    /// `https` is the TLS listener that redirects go to.
    pub(super) fn new(name: &str, backend: &Backend, https: Option<Listen>) -> Self {
        Self {
            name: name.to_owned(),
            mode: backend.mode.to_string(),
            balance: backend.balance.to_string(),
            network_allowed: backend.network_allowed.iter().map(ToString::to_string).collect(),
            redirect_to_https: https.filter(|_| backend.redirect_to_https).map(|listen| match listen.port {
                443 => "prefix https://%[var(txn.vhost)]".to_owned(),
                port => format!("prefix https://%[var(txn.vhost)]:{port}"),
            }),
            auth_realm: backend.auth.as_ref().map(|auth| auth.realm.to_string()),
            hsts: backend.hsts,
            redirect_root: backend.redirect_root.as_ref().map(|path| redirect_root(path, &backend.hosts)),
            proxypass: backend.proxypass_path.as_ref().map(|path| ProxypassView {
                host: backend.hosts.iter().find(|host| !host.is_wildcard()).map(ToString::to_string),
                regex: regex(path.as_str().trim_end_matches('/')),
            }),
            revproxy: backend.revproxy_path.as_ref().map(|path| revproxy(path, &backend.hosts)),
            sticky: backend.sticky,
            http_check: backend
                .check
                .as_ref()
                .and_then(|check| check.http.as_ref())
                .map(|http| HttpCheckView { uri: http.uri.to_string(), timeout: http.timeout.as_secs() }),
            servers: backend.servers.iter().map(|server| server::line(backend, server)).collect(),
        }
    }

    /// Without name and servers: what two backends can have in common.
    pub(super) fn options(backend: &Backend) -> Self {
        // Any listener will do: it shows whether there is a redirect.
        let https = Some(Listen { addr: BindAddr::Any, port: 443 });
        Self::new("", &Backend { servers: Vec::new(), ..backend.clone() }, https)
    }
}

/// The listener for all dynamic ports.
#[derive(Serialize)]
pub(super) struct PortsView {
    bind: String,
}

impl PortsView {
    /// None where there is no port left.
    pub(super) fn new(ports: &[RangeInclusive<u16>], settings: &Settings) -> Option<Self> {
        let list = |address: &str| {
            let ranges = ports.iter().map(|range| match (range.start(), range.end()) {
                (first, last) if first == last => format!("{address}:{first}"),
                (first, last) => format!("{address}:{first}-{last}"),
            });
            ranges.collect::<Vec<_>>().join(",")
        };
        let bind = match settings.ipv6 {
            true => format!("{},{} v6only", list("*"), list("[::]")),
            false => list("*"),
        };
        (!ports.is_empty()).then_some(Self { bind })
    }

    /// The words of its `bind` line.
    pub(super) fn bind(&self) -> &str {
        &self.bind
    }
}

/// The options of a backend once more, for backends that are made at run time.
#[derive(Serialize)]
pub(super) struct ProfileView<'a> {
    #[serde(flatten)]
    head: &'a HeadView,
    #[serde(flatten)]
    backend: BackendView,
}

impl<'a> ProfileView<'a> {
    pub(super) fn new(head: &'a HeadView, backend: BackendView) -> Self {
        Self { head, backend }
    }
}

/// Whether two backends of one name differ, as text, in nothing but their servers.
pub(crate) fn same_options(a: &Backend, b: &Backend) -> bool {
    a.auth == b.auth && server::shared(a) == server::shared(b) && BackendView::options(a) == BackendView::options(b)
}

fn redirect_root(path: &PathPrefix, hosts: &[Host]) -> RedirectRootView {
    let condition = |host: &Host| match host.is_wildcard() {
        true => format!("end .{}", host.name()),
        false => format!("str {}", host.name()),
    };
    RedirectRootView { location: log_format(path.as_str()), hosts: hosts.iter().map(condition).collect() }
}

fn revproxy(path: &PathPrefix, hosts: &[Host]) -> RevproxyView {
    let name = |host: &Host| match host.is_wildcard() {
        true => format!("[^/:]+[.]{}", regex(host.name())),
        false => regex(host.name()),
    };
    let names: Vec<_> = hosts.iter().map(name).collect();
    let prefix = path.as_str().trim_end_matches('/');
    RevproxyView {
        origin: if names.is_empty() { String::new() } else { format!("(https?://({})(:[0-9]+)?)?", names.join("|")) },
        prefix: log_format(prefix),
        rest: if names.is_empty() { r"\1" } else { r"\4" },
        path: regex(prefix),
    }
}

/// `text` as a regular expression that matches it; no backslash, which HAProxy would eat.
fn regex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if ".*+()".contains(c) {
            out.extend(['[', c, ']']);
        } else {
            out.push(c);
        }
    }
    out
}

/// `text` where HAProxy expects a log-format string.
fn log_format(text: &str) -> String {
    text.replace('%', "%%")
}

/// A time in HAProxy's notation, never rounded to zero.
fn time(time: std::time::Duration) -> String {
    if time.subsec_millis() == 0 && time.as_secs() > 0 {
        format!("{}s", time.as_secs())
    } else {
        format!("{}ms", time.as_millis().max(1))
    }
}

/// How many labels of a host a wildcard may stand for.
const WILDCARD_LABELS: usize = 8;
