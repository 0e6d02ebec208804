//! One [`Config`]: what the operator wrote, typed and complete.
//!
//! Read by `load` from baton.toml, conf.d, `BATON_*` variables and flags; turned into the
//! libraries' own inputs by `settings`. Nothing here opens a socket or talks to HAProxy.

pub mod load;
pub mod origin;
pub mod scalar;
pub mod settings;
pub mod time;
pub mod vrrp;

use std::path::PathBuf;

use serde::Deserialize;

use scalar::{Address, Certificates, Ipv6, LogLine, Network, Ports, StatsAuth, Token};
use time::Time;
use vrrp::Vrrp;

/// The whole configuration. Every key has a default except the source and the groups.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where apps come from, and which of them are served.
    pub marathon: Marathon,
    /// How careful to be with lists that take much away.
    pub guard: Guard,
    /// The HAProxy that serves them.
    pub haproxy: Haproxy,
    /// The floating addresses; a running daemon takes over every change of them.
    pub vrrp: Vec<Vrrp>,
    /// How `baton` itself is reached.
    pub admin: Admin,
    /// What `baton` writes to its log.
    pub log: Log,
}

impl Config {
    /// The keys that differ from `running` and that a running daemon cannot take over.
    pub fn needs_restart(&self, running: &Self) -> Vec<&'static str> {
        let mut keys = Vec::new();
        if self.marathon.origin() != running.marathon.origin() {
            keys.push("how [marathon] is reached");
        }
        if self.guard != running.guard {
            keys.push("[guard]");
        }
        let (new, old) = (&self.haproxy, &running.haproxy);
        let differs = [
            ("haproxy.manage", new.manage != old.manage),
            ("haproxy.binary", new.binary != old.binary),
            ("haproxy.state_dir", new.state_dir != old.state_dir),
            ("haproxy.run_dir", new.run_dir != old.run_dir),
            ("haproxy.drain_timeout", new.drain_timeout != old.drain_timeout),
            ("haproxy.settle", new.settle != old.settle),
            ("haproxy.min_reload_spacing", new.min_reload_spacing != old.min_reload_spacing),
            ("admin.socket", self.admin.socket != running.admin.socket),
        ];
        keys.extend(differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key));
        keys
    }

    /// This configuration, with what cannot change while running as it is in `running`.
    pub fn keeping_fixed(mut self, running: &Self) -> Self {
        let old = &running.haproxy;
        self.haproxy.manage = old.manage;
        self.haproxy.binary.clone_from(&old.binary);
        self.haproxy.state_dir.clone_from(&old.state_dir);
        self.haproxy.run_dir.clone_from(&old.run_dir);
        self.haproxy.drain_timeout = old.drain_timeout;
        self.haproxy.settle = old.settle;
        self.haproxy.min_reload_spacing = old.min_reload_spacing;
        self.admin = running.admin.clone();
        self.guard = running.guard;
        self
    }

    /// The directory that remembers the last good apps, beside that of HAProxy's configurations.
    pub fn last_good(&self) -> PathBuf {
        let state_dir = &self.haproxy.state_dir;
        state_dir.parent().unwrap_or(state_dir).join(LAST_GOOD)
    }
}

/// `[marathon]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Marathon {
    /// The members of one Marathon cluster.
    pub urls: Vec<String>,
    /// Instead of `urls`: a file with the answer of `GET /v2/apps?embed=apps.tasks`.
    pub file: Option<PathBuf>,
    /// The `HAPROXY_GROUP` values served here; `*` = all.
    pub groups: Vec<String>,
    /// Serve only tasks that Marathon calls healthy.
    pub health_check: bool,
    /// Ports are out of service unless `HAPROXY_{n}_ENABLED` is true.
    pub strict_mode: bool,
    /// Follow the event stream; without it the cluster is asked every `poll`.
    pub events: bool,
    /// How often to ask without the event stream.
    pub poll: Time,
    /// How often to fetch everything although no event said so.
    pub resync: Time,
    /// The longest pause between attempts to reconnect.
    pub max_backoff: Time,
    /// Certificates of the authorities to trust, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Hosts that an event stream may be redirected to, besides the members themselves.
    pub trusted_hosts: Vec<String>,
    /// `user:password`.
    pub credentials: Option<String>,
    /// A file whose first line is `user:password`.
    pub credentials_file: Option<PathBuf>,
    /// A fixed token, sent as `Authorization: token=…`.
    pub token: Option<String>,
    /// A DC/OS service account: the JSON itself.
    pub service_account: Option<String>,
    /// A DC/OS service account: a file that holds the JSON.
    pub service_account_file: Option<PathBuf>,
    /// First service port for container-network apps that have none; 0 = they get none.
    pub min_service_port_ip_per_task: u16,
    /// Last such port.
    pub max_service_port_ip_per_task: u16,
    /// An app that is not served: the one that `baton` runs as.
    pub own_app: Option<String>,
}

impl Default for Marathon {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            file: None,
            groups: Vec::new(),
            health_check: false,
            strict_mode: false,
            events: true,
            poll: Time::seconds(60),
            resync: Time::seconds(300),
            max_backoff: Time::seconds(300),
            ca_file: None,
            trusted_hosts: Vec::new(),
            credentials: None,
            credentials_file: None,
            token: None,
            service_account: None,
            service_account_file: None,
            min_service_port_ip_per_task: 10_050,
            max_service_port_ip_per_task: 10_100,
            own_app: None,
        }
    }
}

impl Marathon {
    /// The section without what only decides who is served.
    fn origin(&self) -> Self {
        let serving = Self::default();
        Self {
            groups: serving.groups,
            health_check: serving.health_check,
            strict_mode: serving.strict_mode,
            min_service_port_ip_per_task: serving.min_service_port_ip_per_task,
            max_service_port_ip_per_task: serving.max_service_port_ip_per_task,
            own_app: serving.own_app,
            ..self.clone()
        }
    }
}

/// `[guard]`: a list of apps that is empty, or that within a minute of a reconnect or a change of
/// leader takes away more than this, must be said twice.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guard {
    /// The part of the endpoints that may vanish at once, 0 to 1.
    pub max_removal: f64,
    /// How long after the first list the second is asked for.
    pub confirm: Time,
}

impl Default for Guard {
    fn default() -> Self {
        Self { max_removal: 0.5, confirm: Time::seconds(10) }
    }
}

/// `[haproxy]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Haproxy {
    /// Who starts HAProxy.
    pub manage: Manage,
    /// The program; none = /usr/libexec/baton/haproxy if it is there, else the first in PATH.
    pub binary: Option<PathBuf>,
    /// Where its configuration is kept.
    pub state_dir: PathBuf,
    /// Where its sockets are.
    pub run_dir: PathBuf,
    /// Whether 80 and 443 route by host.
    pub bind_http_https: bool,
    /// The plain http listener.
    pub http: Address,
    /// The TLS listener.
    pub https: Address,
    /// The listener that routes by `X-Marathon-App-Id`.
    pub app_id: Address,
    /// The listener of statistics, health check and metrics.
    pub stats: Stats,
    /// Whether `*` as a listener's address means IPv6 as well as IPv4.
    pub ipv6: Ipv6,
    /// Certificate files and directories; none = a self-signed one is made.
    pub certs: Certificates,
    /// `alpn` of the TLS listener.
    pub alpn: Token,
    /// Lowest TLS version.
    pub tls_min_version: Token,
    /// Ciphers of TLS ≤ 1.2.
    pub tls_ciphers: Token,
    /// Cipher suites of TLS 1.3.
    pub tls_ciphersuites: Token,
    /// `log` lines; none = standard output where `baton` starts HAProxy, else /dev/log.
    pub log: Option<Vec<LogLine>>,
    /// Connections of the process; none = as many as the open files allow, up to 50,000.
    pub maxconn: Option<u32>,
    /// Connections of each listener.
    pub proxy_maxconn: u32,
    /// Pending connections of each listener.
    pub backlog: u32,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// `option` lines of `defaults`.
    pub default_options: Vec<Token>,
    /// How long an old worker may live after a reload.
    pub hard_stop_after: Time,
    /// How many reloads an old worker may outlive.
    pub max_old_workers: u32,
    /// How long a server that goes may finish its connections.
    pub drain_timeout: Time,
    /// How long the port of a deleted app may stay open before a reload closes it; 0 = until the next one.
    pub cleanup_after: Time,
    /// How long to wait for more changes before applying one by reload.
    pub settle: Time,
    /// The least time between two reloads.
    pub min_reload_spacing: Time,
    /// What may appear without a reload.
    pub dynamic: Dynamic,
}

impl Default for Haproxy {
    fn default() -> Self {
        Self {
            manage: Manage::Child,
            binary: None,
            state_dir: PathBuf::from("/var/lib/baton/haproxy"),
            run_dir: PathBuf::from("/run/baton"),
            bind_http_https: true,
            http: Address::port(80),
            https: Address::port(443),
            app_id: Address::port(9091),
            stats: Stats::default(),
            ipv6: Ipv6::Auto,
            certs: Certificates::default(),
            alpn: Token::known("h2,http/1.1"),
            tls_min_version: Token::known("TLSv1.2"),
            tls_ciphers: Token::known(CIPHERS),
            tls_ciphersuites: Token::known(CIPHERSUITES),
            log: None,
            maxconn: None,
            proxy_maxconn: 10_000,
            backlog: 10_000,
            timeouts: Timeouts::default(),
            default_options: ["dontlognull", "http-server-close", "redispatch"].map(Token::known).to_vec(),
            hard_stop_after: Time::seconds(3_660),
            max_old_workers: 50,
            drain_timeout: Time::seconds(30),
            cleanup_after: Time::seconds(60),
            settle: Time::millis(10),
            min_reload_spacing: Time::millis(250),
            dynamic: Dynamic::default(),
        }
    }
}

/// `[haproxy.dynamic]`: new apps without a reload, with HAProxy 3.4 or newer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dynamic {
    /// A new app whose options another one has gets its backend while HAProxy runs.
    pub backends: bool,
    /// Service ports that one listener holds, whether an app has them or not.
    pub ports: Option<Ports>,
}

/// `haproxy.manage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manage {
    /// `baton` starts and supervises HAProxy.
    Child,
    /// A unit of its own does; `baton` reaches it by the master socket.
    Systemd,
}

impl std::fmt::Display for Manage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Child => "child",
            Self::Systemd => "systemd",
        })
    }
}

/// `[haproxy.stats]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stats {
    /// Where it listens.
    pub listen: Address,
    /// Networks that may use it; none = everybody.
    pub allow: Vec<Network>,
    /// `user:hash`.
    pub auth: Option<StatsAuth>,
}

impl Default for Stats {
    fn default() -> Self {
        Self { listen: Address::port(9090), allow: Vec::new(), auth: None }
    }
}

/// `[haproxy.timeouts]`: HAProxy's `timeout` lines.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// `timeout connect`.
    pub connect: Time,
    /// `timeout client`.
    pub client: Time,
    /// `timeout server`.
    pub server: Time,
    /// `timeout tunnel`.
    pub tunnel: Time,
    /// `timeout http-keep-alive`.
    pub http_keep_alive: Time,
    /// `timeout http-request`.
    pub http_request: Time,
    /// `timeout queue`.
    pub queue: Time,
    /// `timeout tarpit`.
    pub tarpit: Time,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Time::seconds(3),
            client: Time::seconds(30),
            server: Time::seconds(30),
            tunnel: Time::seconds(3_600),
            http_keep_alive: Time::seconds(1),
            http_request: Time::seconds(15),
            queue: Time::seconds(30),
            tarpit: Time::seconds(60),
        }
    }
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The control socket that `baton status` and `baton reload` talk to.
    pub socket: PathBuf,
}

impl Default for Admin {
    fn default() -> Self {
        Self { socket: PathBuf::from("/run/baton/baton.sock") }
    }
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: Level,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info }
    }
}

/// `log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something is broken.
    Error,
    /// Something is not as it should be.
    Warn,
    /// Decisions.
    Info,
    /// How they came about.
    Debug,
    /// Everything.
    Trace,
}

/// The last good apps, below the parent of `haproxy.state_dir`.
const LAST_GOOD: &str = "last-good";

/// Mozilla's intermediate list.
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
                       ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:\
                       DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384";

const CIPHERSUITES: &str = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
