//! The flags of `run`, `render` and `check`, marathon-lb's own among them.
//!
//! Applied over the configuration file and the environment. What no longer means anything is
//! accepted, with a line that says what replaced it, so that today's command lines go on working.

use std::path::PathBuf;

use clap::Args;

use crate::config::scalar::Token;
use crate::config::time::Time;
use crate::config::{Config, Level};
use haproxy::text::Word;

/// Where apps come from and which are served.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// Configuration file [default: /etc/baton/baton.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Members of one Marathon cluster; repeat it or give several
    #[arg(short, long, value_name = "URL", num_args = 1.., help_heading = "Source")]
    pub marathon: Vec<String>,

    /// Take the apps from this file instead of a Marathon
    #[arg(long, value_name = "FILE", conflicts_with = "marathon", help_heading = "Source")]
    pub apps: Option<PathBuf>,

    /// Serve apps of this HAPROXY_GROUP; repeat it for several, * serves every app
    #[arg(long, value_name = "NAME", help_heading = "Source")]
    pub group: Vec<String>,

    /// Serve only tasks that Marathon's health checks call alive
    #[arg(short = 'H', long, help_heading = "Source")]
    pub health_check: bool,

    /// Ports are out of service unless HAPROXY_n_ENABLED is true
    #[arg(long, help_heading = "Source")]
    pub strict_mode: bool,

    /// No listeners for virtual hosts on 80 and 443
    #[arg(long, help_heading = "HAProxy")]
    pub dont_bind_http_https: bool,

    /// Certificate files or directories for 443, separated by commas
    #[arg(long, value_name = "FILES", help_heading = "HAProxy")]
    pub ssl_certs: Option<String>,

    /// File whose first line is user:password
    #[arg(long, value_name = "FILE", help_heading = "Marathon access")]
    pub marathon_auth_credential_file: Option<PathBuf>,

    /// user:password for Marathon
    #[arg(long, value_name = "USER:PASSWORD", help_heading = "Marathon access")]
    pub auth_credentials: Option<String>,

    /// DC/OS service account, as JSON
    #[arg(
        long,
        value_name = "JSON",
        env = "DCOS_SERVICE_ACCOUNT_CREDENTIAL",
        hide_env_values = true,
        help_heading = "Marathon access"
    )]
    pub dcos_auth_credentials: Option<String>,

    /// Certificates of the authorities that Marathon's certificate may come from
    #[arg(long, value_name = "FILE", help_heading = "Marathon access")]
    pub marathon_ca_cert: Option<PathBuf>,

    /// Longest pause between attempts to reconnect, in seconds
    #[arg(long, value_name = "SECONDS", help_heading = "Marathon access")]
    pub max_backoff: Option<u64>,

    /// First service port for container-network apps that have none
    #[arg(long, value_name = "PORT", help_heading = "Source")]
    pub min_serv_port_ip_per_task: Option<u16>,

    /// Last such port
    #[arg(long, value_name = "PORT", help_heading = "Source")]
    pub max_serv_port_ip_per_task: Option<u16>,

    /// critical, error, warning, info, debug or notset
    #[arg(long, value_name = "LEVEL", ignore_case = true, help_heading = "Log")]
    pub log_level: Option<LogLevel>,

    /// Whether to follow events, from the mode of `run`.
    #[arg(skip)]
    pub(super) events: Option<bool>,

    #[command(flatten)]
    pub(super) replaced: Replaced,
}

/// Python's level names, and ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum LogLevel {
    Critical,
    Error,
    #[value(alias = "warn")]
    Warning,
    Info,
    Debug,
    #[value(alias = "trace")]
    NotSet,
}

/// marathon-lb's flags that no longer change anything.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Replaced {
    #[arg(short, long, hide = true)]
    sse: bool,
    #[arg(long, hide = true)]
    haproxy_map: bool,
    #[arg(long, hide = true)]
    group_https_by_vhost: bool,
    #[arg(long, hide = true, value_name = "FILE")]
    haproxy_config: Option<PathBuf>,
    #[arg(short, long, hide = true, value_name = "COMMAND")]
    command: Option<String>,
    #[arg(long, hide = true, value_name = "SECONDS")]
    reload_interval: Option<i64>,
    #[arg(long, hide = true, value_name = "N", allow_negative_numbers = true)]
    max_reload_retries: Option<i64>,
    #[arg(long, hide = true, value_name = "N")]
    archive_versions: Option<i64>,
    #[arg(long, hide = true, value_name = "N")]
    lru_cache_capacity: Option<i64>,
    #[arg(long, hide = true)]
    skip_validation: bool,
    #[arg(long, hide = true)]
    skip_config_cleanup: bool,
    #[arg(short, long, hide = true)]
    dry: bool,
    #[arg(long, hide = true, value_name = "PATH")]
    syslog_socket: Option<PathBuf>,
    #[arg(long, hide = true, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl Flags {
    /// Puts the flags over `config`. Returns a line for each flag that no longer means anything.
    ///
    /// # Errors
    /// When a certificate name could not stand in haproxy.cfg.
    pub fn apply(&self, config: &mut Config) -> Result<Vec<&'static str>, String> {
        let marathon = &mut config.marathon;
        if !self.marathon.is_empty() {
            marathon.urls.clone_from(&self.marathon);
            marathon.file = None;
        }
        if let Some(file) = &self.apps {
            marathon.urls.clear();
            marathon.file = Some(file.clone());
        }
        if !self.group.is_empty() {
            marathon.groups.clone_from(&self.group);
        }
        if let Some(events) = self.events {
            marathon.events = events;
        }
        marathon.health_check |= self.health_check;
        marathon.strict_mode |= self.strict_mode;
        self.apply_access(config);
        let marathon = &mut config.marathon;
        set(&mut marathon.ca_file, self.marathon_ca_cert.as_ref());
        if let Some(seconds) = self.max_backoff {
            marathon.max_backoff = Time::seconds(seconds);
        }
        if let Some(port) = self.min_serv_port_ip_per_task {
            marathon.min_service_port_ip_per_task = port;
        }
        if let Some(port) = self.max_serv_port_ip_per_task {
            marathon.max_service_port_ip_per_task = port;
        }
        config.haproxy.bind_http_https &= !self.dont_bind_http_https;
        if let Some(list) = &self.ssl_certs {
            let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
            let certs: Result<Vec<_>, _> = names
                .map(|name| Word::parse(name).map(Token).map_err(|why| format!("--ssl-certs {name:?}: {why}")))
                .collect();
            config.haproxy.certs.0 = certs?;
        }
        if let Some(level) = self.log_level {
            config.log.level = match level {
                LogLevel::Critical | LogLevel::Error => Level::Error,
                LogLevel::Warning => Level::Warn,
                LogLevel::Info => Level::Info,
                LogLevel::Debug => Level::Debug,
                LogLevel::NotSet => Level::Trace,
            };
        }
        Ok(self.replaced.remarks())
    }

    /// One way in: a file before credentials before a service account, and any of them instead of
    /// what the configuration has.
    fn apply_access(&self, config: &mut Config) {
        let given = (&self.marathon_auth_credential_file, &self.auth_credentials, &self.dcos_auth_credentials);
        if matches!(given, (None, None, None)) {
            return;
        }
        let marathon = &mut config.marathon;
        marathon.credentials = None;
        marathon.credentials_file = None;
        marathon.token = None;
        marathon.service_account = None;
        marathon.service_account_file = None;
        match given {
            (Some(file), ..) => marathon.credentials_file = Some(file.clone()),
            (None, Some(pair), _) => marathon.credentials = Some(pair.clone()),
            (None, None, account) => marathon.service_account.clone_from(account),
        }
    }
}

impl Replaced {
    /// What replaced the flags that were given.
    fn remarks(&self) -> Vec<&'static str> {
        let all = [
            (
                self.sse,
                "--sse: following events is the default; marathon.events = false asks every marathon.poll instead",
            ),
            (self.haproxy_map, "--haproxy-map: routing always uses maps"),
            (
                self.group_https_by_vhost,
                "--group-https-by-vhost: 443 routes by Host and picks the certificate by SNI, without a frontend per host",
            ),
            (self.haproxy_config.is_some(), "--haproxy-config: the configuration is kept below haproxy.state_dir"),
            (self.command.is_some(), "--command: HAProxy is reloaded through its master socket"),
            (self.reload_interval.is_some(), "--reload-interval: a reload is confirmed by HAProxy itself"),
            (self.max_reload_retries.is_some(), "--max-reload-retries: a failed reload is retried with growing pauses"),
            (
                self.archive_versions.is_some(),
                "--archive-versions: the last configurations are kept below haproxy.state_dir",
            ),
            (
                self.lru_cache_capacity.is_some(),
                "--lru-cache-capacity: what is known of a task is kept as long as the task",
            ),
            (self.skip_validation, "--skip-validation: every configuration is checked before it is used"),
            (self.skip_config_cleanup, "--skip-config-cleanup: only the app that HAProxy blames is left out"),
            (self.dry, "--dry: use `baton render`"),
            (self.syslog_socket.is_some(), "--syslog-socket: the log goes to the journal, or to standard error"),
            (self.log_format.is_some(), "--log-format: the log has one format, with fields in the journal"),
        ];
        all.into_iter().filter(|(given, _)| *given).map(|(_, remark)| remark).collect()
    }
}

fn set<T: Clone>(key: &mut Option<T>, flag: Option<&T>) {
    if let Some(value) = flag {
        *key = Some(value.clone());
    }
}
