//! The typed form of the labels: what `compile` works with.
//!
//! Filled by `labels::parse` from the label table; every field's default is the label's default.

use std::collections::BTreeSet;
use std::fmt;

use ipnet::IpNet;

use crate::text::{BindAddr, CryptHash, FilePath, Host, PathPrefix, Realm, Word};

/// All that the labels of one app say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppOptions {
    /// `HAPROXY_DEPLOYMENT_*`: blue/green.
    pub deployment: Deployment,
    /// One entry for each of the app's ports, in order. `HAPROXY_GROUP` is already in them.
    pub ports: Vec<PortOptions>,
}

/// `HAPROXY_DEPLOYMENT_*` and `HAPROXY_APP_ID`, read by blue/green deployments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deployment {
    /// `HAPROXY_DEPLOYMENT_GROUP`: apps that share it are one service.
    pub group: Option<Word>,
    /// `HAPROXY_DEPLOYMENT_STARTED_AT`, as written.
    pub started_at: Option<Word>,
    /// `HAPROXY_DEPLOYMENT_TARGET_INSTANCES`.
    pub target_instances: Option<u32>,
    /// `HAPROXY_DEPLOYMENT_NEW_INSTANCES`.
    pub new_instances: Option<u32>,
    /// `HAPROXY_DEPLOYMENT_ALT_PORT`.
    pub alt_port: Option<u16>,
    /// `HAPROXY_DEPLOYMENT_COLOUR`.
    pub colour: Option<Word>,
    /// `HAPROXY_APP_ID`: the id before the colour was appended.
    pub app_id: Option<Word>,
}

/// What the `HAPROXY_{n}_*` labels say about one port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortOptions {
    /// `ENABLED`; none = the default, which strict mode decides.
    pub enabled: Option<bool>,
    /// `GROUP`, else `HAPROXY_GROUP`. Empty = no group: served only where groups hold `*`.
    pub groups: BTreeSet<String>,
    /// `VHOST`, in the order written, without repeats.
    pub hosts: Vec<Host>,
    /// `PATH`; empty = every path.
    pub paths: Paths,
    /// `BACKEND_WEIGHT`; none = 0, or 1 where there is a path.
    pub weight: Option<i32>,
    /// `MODE`; none = decided by check and vhost.
    pub mode: Option<Mode>,
    /// `PORT`: replaces the service port.
    pub port: Option<u16>,
    /// `BIND_ADDR`.
    pub bind_addr: BindAddr,
    /// `BIND_OPTIONS`: allowed words only, in the order written, TLS versions last as `ssl-min-ver`
    /// and `ssl-max-ver`.
    pub bind_options: Vec<Word>,
    /// `SSL_CERT`: certificate of the service port's own listener.
    pub ssl_cert: Option<FilePath>,
    /// `AUTH`.
    pub auth: Option<Auth>,
    /// `REDIRECT_TO_HTTPS`.
    pub redirect_to_https: bool,
    /// `USE_HSTS`.
    pub use_hsts: bool,
    /// `STICKY`.
    pub sticky: bool,
    /// `BALANCE`.
    pub balance: Balance,
    /// `BACKEND_NETWORK_ALLOWED_ACL`; empty = everybody.
    pub network_allowed: Vec<IpNet>,
    /// `HTTP_BACKEND_PROXYPASS_PATH`.
    pub proxypass_path: Option<PathPrefix>,
    /// `HTTP_BACKEND_REVPROXY_PATH`.
    pub revproxy_path: Option<PathPrefix>,
    /// `HTTP_BACKEND_REDIR`.
    pub redirect_root: Option<PathPrefix>,
    /// `BACKEND_HEALTHCHECK_PORT_INDEX`.
    pub check_port_index: Option<usize>,
    /// The label that failed closed: the port is out of service until it is mended.
    pub refused: Option<String>,
}

/// `PATH`: prefixes, any of which matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paths {
    /// Led by `-i`: upper and lower case are the same.
    pub ignore_case: bool,
    /// The prefixes, in the order written, without repeats.
    pub prefixes: Vec<PathPrefix>,
}

/// `MODE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Bytes.
    Tcp,
    /// Requests.
    Http,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
        })
    }
}

/// `AUTH`: realm, user and password hash for HTTP basic authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Shown by browsers.
    pub realm: Realm,
    /// The only user.
    pub user: Word,
    /// The hash of the password.
    pub hash: CryptHash,
}

/// `BALANCE`: an algorithm of HAProxy with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// The words after `balance`, e.g. `["uri", "depth", "2"]`.
    words: Vec<Word>,
    /// Whether servers can be added while HAProxy runs (not static-rr, not map-based hashes).
    pub dynamic: bool,
    /// Whether it needs HTTP.
    pub http_only: bool,
}

impl Balance {
    /// The algorithm with checked arguments; for `labels`.
    pub(crate) fn new(words: Vec<Word>, dynamic: bool, http_only: bool) -> Self {
        Self { words, dynamic, http_only }
    }
}

impl Default for Balance {
    fn default() -> Self {
        Self { words: Vec::new(), dynamic: true, http_only: false }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.words.is_empty() {
            return f.write_str("roundrobin");
        }
        for (i, word) in self.words.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(word.as_str())?;
        }
        Ok(())
    }
}
