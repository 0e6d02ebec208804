//! What the operator decides about HAProxy itself: the part of the file that no app touches.
//!
//! Filled by the daemon from its configuration, read by `render`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::certs::Source;
use crate::model::{BackendId, Dynamic};
use crate::text::{BindAddr, CryptHash, Word};

/// Everything in haproxy.cfg that does not follow from apps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `log` lines, e.g. `/dev/log local0`; each one line of words.
    pub log: Vec<Line>,
    /// `maxconn` of the process; none = as many as the open files allow, up to `fd_hard_limit`.
    pub maxconn: Option<u32>,
    /// `fd-hard-limit`, where `maxconn` is not given.
    pub fd_hard_limit: u32,
    /// `maxconn` of each proxy.
    pub proxy_maxconn: u32,
    /// `backlog` of each listener.
    pub backlog: u32,
    /// How long an old worker may live after a reload.
    pub hard_stop_after: Duration,
    /// How many reloads an old worker may outlive: each is a whole process.
    pub max_old_workers: u32,
    /// The runtime API's socket; none in a configuration that is to be started by hand.
    pub stats_socket: Option<Word>,
    /// Where a new worker reads which servers were down; none in a configuration that is to be
    /// started by hand.
    pub server_state: Option<Word>,
    /// The timeouts of `defaults`.
    pub timeouts: Timeouts,
    /// `option` lines of `defaults`, besides those that a hitless reload needs.
    pub options: Vec<Word>,
    /// 80 and 443; none = no routing by host.
    pub vhosts: Option<Vhosts>,
    /// 9091: routing by `X-Marathon-App-Id`.
    pub app_id: Listen,
    /// 9090: statistics, health check, metrics.
    pub stats: Stats,
    /// TLS on every listener that speaks it.
    pub tls: Tls,
    /// IPv6 is in use: `*` means both families.
    pub ipv6: bool,
    /// Addresses that move between hosts: listeners on them are bound whether this host has them or not.
    pub floating: BTreeSet<IpAddr>,
    /// What stands for the certificates that apps name, by the path that they name.
    pub certs: BTreeMap<String, Source>,
    /// What may appear without a reload.
    pub dynamic: Dynamic,
    /// A frontend may not have the name of its backend (HAProxy 3.3): it ends in `_in`.
    pub own_names: bool,
}

impl Settings {
    /// The name of the frontend that leads to this backend.
    pub(super) fn frontend(&self, backend: &BackendId) -> String {
        format!("{backend}{}", if self.own_names { "_in" } else { "" })
    }

    /// The words for a certificate that an app names.
    pub(super) fn cert(&self, path: &str) -> String {
        self.certs.get(path).map_or_else(|| format!("crt {path}"), Source::to_string)
    }

    /// The address of a `bind` line and the words that it needs; `options` are the words that follow.
    ///
    /// Both families are one line with two sockets: IPv4 clients keep plain IPv4 addresses, and
    /// certificates are loaded once.
    pub(super) fn bind(&self, listen: Listen, options: &[Word]) -> String {
        let more = |word: &str| match options.iter().any(|option| option.as_str() == word) {
            true => String::new(),
            false => format!(" {word}"),
        };
        match listen.addr {
            BindAddr::Any if self.ipv6 => format!("*:{port},[::]:{port}{}", more("v6only"), port = listen.port),
            BindAddr::Ip(ip) if self.floating.contains(&ip) => format!("{listen}{}", more("transparent")),
            _ => listen.to_string(),
        }
    }
}

/// An address and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub addr: BindAddr,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.addr, self.port)
    }
}

/// The listeners that route by host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vhosts {
    /// Plain HTTP.
    pub http: Listen,
    /// TLS.
    pub https: Listen,
    /// Certificates; relative ones lie beside haproxy.cfg.
    pub certs: Vec<Source>,
    /// `alpn` of the TLS listener.
    pub alpn: Word,
}

/// TLS versions and ciphers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `ssl-min-ver`, e.g. `TLSv1.2`.
    pub min_version: Word,
    /// TLS ≤ 1.2.
    pub ciphers: Word,
    /// TLS 1.3.
    pub ciphersuites: Word,
}

/// The statistics listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Where it listens.
    pub listen: Listen,
    /// Who may use it (the health check is for everybody); empty = everybody.
    pub allow: Vec<IpNet>,
    /// User and password hash.
    pub auth: Option<(Word, CryptHash)>,
    /// Whether this HAProxy can answer /metrics.
    pub prometheus: bool,
}

/// The timeouts of `defaults`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// `timeout connect`.
    pub connect: Duration,
    /// `timeout client`.
    pub client: Duration,
    /// `timeout server`.
    pub server: Duration,
    /// `timeout tunnel`.
    pub tunnel: Duration,
    /// `timeout http-keep-alive`.
    pub http_keep_alive: Duration,
    /// `timeout http-request`.
    pub http_request: Duration,
    /// `timeout queue`.
    pub queue: Duration,
    /// `timeout tarpit`.
    pub tarpit: Duration,
}

/// Words of one configuration line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line(Vec<Word>);

impl Line {
    /// Splits at blanks.
    ///
    /// # Errors
    /// When there is no word, or one that could be more than a word.
    pub fn parse(text: &str) -> Result<Self, crate::text::BadText> {
        let words: Result<Vec<_>, _> = text.split_ascii_whitespace().map(Word::parse).collect();
        match words {
            Ok(words) if words.is_empty() => Err(crate::text::BadText::Length { have: 0, max: 1024 }),
            Ok(words) => Ok(Self(words)),
            Err(why) => Err(why),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, word) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            word.fmt(f)?;
        }
        Ok(())
    }
}
