//! From the configuration to what the `haproxy` crate asks for.
//!
//! Called by the reconcile loop and by `baton render` and `check`, so that all of them mean the
//! same. Pure: a function of the configuration and of what the HAProxy at hand can do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use haproxy::app::AppId;
use haproxy::certs::Source;
use haproxy::compile::{Groups, Policy};
use haproxy::disk::SERVER_STATE;
use haproxy::features::Features;
use haproxy::model;
use haproxy::preflight::has_ipv6;
use haproxy::render::reserved;
use haproxy::render::settings::{Line, Settings, Stats, Timeouts, Tls, Vhosts};
use haproxy::text::Word;

use super::scalar::Ipv6;
use super::vrrp::Vrrp;
use super::{Config, Dynamic, Manage};

/// What a configuration is rendered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An HAProxy that `baton` drives: with the socket of the runtime API.
    Drive,
    /// A directory that somebody starts by hand.
    Standalone,
}

/// What the HAProxy and the kernel at hand can do, found out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// HAProxy can answer /metrics.
    pub prometheus: bool,
    /// The kernel has IPv6.
    pub ipv6: bool,
    /// HAProxy can make backends.
    pub dynamic: bool,
    /// HAProxy wants other names for frontends than for backends.
    pub own_names: bool,
}

impl Abilities {
    /// Those of an HAProxy; where there is none to ask, the one that will run is taken to be a usual one.
    pub fn of(features: Option<&Features>) -> Self {
        Self {
            prometheus: features.is_none_or(|features| features.prometheus),
            ipv6: has_ipv6(),
            dynamic: features.is_some_and(Features::dynamic_backends),
            own_names: features.is_some_and(Features::tells_proxies_apart_by_name),
        }
    }
}

/// The part of haproxy.cfg that no app touches.
pub fn settings(config: &Config, purpose: Purpose, abilities: Abilities) -> Settings {
    let haproxy = &config.haproxy;
    let timeouts = &haproxy.timeouts;
    Settings {
        log: log(config),
        maxconn: haproxy.maxconn,
        fd_hard_limit: FD_HARD_LIMIT,
        proxy_maxconn: haproxy.proxy_maxconn,
        backlog: haproxy.backlog,
        hard_stop_after: haproxy.hard_stop_after.into(),
        max_old_workers: haproxy.max_old_workers,
        stats_socket: match purpose {
            Purpose::Drive => Word::parse(&haproxy.run_dir.join(STATS_SOCKET).to_string_lossy()).ok(),
            Purpose::Standalone => None,
        },
        server_state: match purpose {
            Purpose::Drive => Word::parse(&haproxy.state_dir.join(SERVER_STATE).to_string_lossy()).ok(),
            Purpose::Standalone => None,
        },
        timeouts: Timeouts {
            connect: timeouts.connect.into(),
            client: timeouts.client.into(),
            server: timeouts.server.into(),
            tunnel: timeouts.tunnel.into(),
            http_keep_alive: timeouts.http_keep_alive.into(),
            http_request: timeouts.http_request.into(),
            queue: timeouts.queue.into(),
            tarpit: timeouts.tarpit.into(),
        },
        options: haproxy.default_options.iter().map(|token| token.0.clone()).collect(),
        vhosts: haproxy.bind_http_https.then(|| Vhosts {
            http: haproxy.http.0,
            https: haproxy.https.0,
            certs: certs(config),
            alpn: haproxy.alpn.0.clone(),
        }),
        app_id: haproxy.app_id.0,
        stats: Stats {
            listen: haproxy.stats.listen.0,
            allow: haproxy.stats.allow.iter().map(|network| network.0).collect(),
            auth: haproxy.stats.auth.clone().map(|auth| (auth.user, auth.hash)),
            prometheus: abilities.prometheus,
        },
        tls: Tls {
            min_version: haproxy.tls_min_version.0.clone(),
            ciphers: haproxy.tls_ciphers.0.clone(),
            ciphersuites: haproxy.tls_ciphersuites.0.clone(),
        },
        ipv6: match haproxy.ipv6 {
            Ipv6::Auto => abilities.ipv6,
            Ipv6::Use(ipv6) => ipv6,
        },
        floating: config.vrrp.iter().flat_map(Vrrp::floating).collect(),
        certs: BTreeMap::new(),
        dynamic: match abilities.dynamic {
            true => dynamic(&haproxy.dynamic),
            false => model::Dynamic::default(),
        },
        own_names: abilities.own_names,
    }
}

/// What decides which apps and tasks are served.
pub fn policy(config: &Config, settings: &Settings) -> Policy {
    let marathon = &config.marathon;
    Policy {
        groups: if marathon.groups.iter().any(|group| group == "*") {
            Groups::All
        } else {
            Groups::Only(marathon.groups.iter().cloned().collect())
        },
        health_check: marathon.health_check,
        strict: marathon.strict_mode,
        vhosts: settings.vhosts.is_some(),
        ipv6: settings.ipv6,
        own_app: marathon.own_app.as_deref().and_then(|id| AppId::parse(id).ok()),
        invented_ports: (marathon.min_service_port_ip_per_task != 0)
            .then_some(marathon.min_service_port_ip_per_task..=marathon.max_service_port_ip_per_task),
        reserved: reserved(settings),
        dynamic: settings.dynamic.clone(),
    }
}

/// Whether the self-signed certificate is needed.
pub fn needs_default_cert(config: &Config) -> bool {
    config.haproxy.bind_http_https && config.haproxy.certs.0.is_empty()
}

fn dynamic(config: &Dynamic) -> model::Dynamic {
    let ports = config.ports.as_ref().map(|ports| ports.0.clone());
    model::Dynamic { backends: config.backends, ports, taken: BTreeSet::new() }
}

fn certs(config: &Config) -> Vec<Source> {
    match config.haproxy.certs.0.as_slice() {
        [] => vec![Source::File(Word::parse(DEFAULT_CERT).expect("a file name is a word"))],
        given => given.iter().map(|token| Source::File(token.0.clone())).collect(),
    }
}

fn log(config: &Config) -> Vec<Line> {
    match (&config.haproxy.log, config.haproxy.manage) {
        (Some(lines), _) => lines.iter().map(|line| line.0.clone()).collect(),
        (None, Manage::Child) => vec![Line::parse("stdout format raw local0").expect("four words")],
        (None, Manage::Systemd) => vec![Line::parse("/dev/log local0").expect("two words")],
    }
}

/// Certificate made when none is given, beside haproxy.cfg.
pub const DEFAULT_CERT: &str = "default.pem";

/// The runtime API's socket below the run directory.
pub const STATS_SOCKET: &str = "haproxy.sock";

/// The master CLI's socket below the run directory.
pub const MASTER_SOCKET: &str = "master.sock";

/// Two open files a connection: enough for 50,000.
pub const FD_HARD_LIMIT: u32 = 100_000;

/// Longer than any tunnel, so that a reload cuts nobody off.
pub fn hard_stop_covers_tunnels(config: &Config) -> bool {
    Duration::from(config.haproxy.hard_stop_after) >= Duration::from(config.haproxy.timeouts.tunnel)
}
