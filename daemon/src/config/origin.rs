//! From `[marathon]` to the source that reads it: files and secrets are read here.
//!
//! Used by the supervisor, which runs the source, and by `render` and `check`, which read once.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use haproxy::app::Snapshot;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::source::file::{self, FileConfig};
use crate::source::marathon::auth::Credentials;
use crate::source::marathon::config::{MarathonConfig, MemberUrl};
use crate::source::marathon::guard::GuardConfig;
use crate::source::store::{self, Store};
use crate::source::{SourceCommand, SourceStatus, marathon};

use super::load::ConfigError;
use super::{Config, Marathon};

/// Where apps come from.
pub enum Origin {
    /// A cluster, and where its last good apps are remembered.
    Marathon(Box<MarathonConfig>, Store),
    /// A file.
    File(FileConfig),
}

impl Origin {
    /// The source that the configuration names.
    ///
    /// # Errors
    /// When a URL, a file or credentials in it cannot be used.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let keys = &config.marathon;
        if let Some(path) = &keys.file {
            return Ok(Self::File(FileConfig::new(path)));
        }
        let urls: Result<Vec<_>, _> = keys
            .urls
            .iter()
            .map(|url| MemberUrl::parse(url).map_err(|why| ConfigError::Meaning(format!("marathon.urls: {why}"))))
            .collect();
        let mut marathon = MarathonConfig::new(urls?);
        marathon.auth = credentials(keys)?;
        if let Some(path) = &keys.ca_file {
            read("marathon.ca_file", path)?;
            marathon.ca_file = Some(path.clone());
        }
        marathon.trusted_hosts.clone_from(&keys.trusted_hosts);
        marathon.events = keys.events;
        marathon.poll = keys.poll.into();
        marathon.resync = keys.resync.into();
        marathon.max_backoff = keys.max_backoff.into();
        marathon.guard = GuardConfig { max_removal: config.guard.max_removal, confirm: config.guard.confirm.into() };
        let members = marathon.urls.iter().map(ToString::to_string).collect();
        Ok(Self::Marathon(Box::new(marathon), Store::new(&config.last_good(), members)))
    }

    /// Follows the apps until `stop`.
    pub async fn run(
        self,
        snapshots: watch::Sender<Arc<Snapshot>>,
        status: watch::Sender<SourceStatus>,
        commands: mpsc::Receiver<SourceCommand>,
        stop: CancellationToken,
    ) {
        match self {
            Self::Marathon(config, store) => {
                let restored = store::load(&store, &status).await;
                let (reader, teller) = (snapshots.subscribe(), status.clone());
                tokio::join!(
                    marathon::run(*config, restored, snapshots, status, commands, stop.clone()),
                    store::keep(&store, reader, &teller, stop),
                );
            }
            Self::File(config) => file::run(config, snapshots, status, commands, stop).await,
        }
    }

    /// Reads the apps once.
    ///
    /// # Errors
    /// When they cannot be had.
    pub async fn once(&self) -> anyhow::Result<Snapshot> {
        Ok(match self {
            Self::Marathon(config, _) => marathon::once(config).await?,
            Self::File(config) => file::once(&config.path).await?,
        })
    }
}

/// A file of credentials before credentials before a token before a service account.
fn credentials(keys: &Marathon) -> Result<Option<Credentials>, ConfigError> {
    let bad = |key: &str, why: &dyn std::fmt::Display| ConfigError::Meaning(format!("{key}: {why}"));
    if let Some(path) = &keys.credentials_file {
        let text = read("marathon.credentials_file", path)?;
        let first = text.lines().next().unwrap_or_default();
        return Credentials::user_pass(first).map(Some).map_err(|why| bad("marathon.credentials_file", &why));
    }
    if let Some(pair) = &keys.credentials {
        return Credentials::user_pass(pair).map(Some).map_err(|why| bad("marathon.credentials", &why));
    }
    if let Some(token) = &keys.token {
        return Ok(Some(Credentials::token(token)));
    }
    let account = match (&keys.service_account, &keys.service_account_file) {
        (Some(json), _) => Some(json.clone()),
        (None, Some(path)) => Some(read("marathon.service_account_file", path)?),
        (None, None) => None,
    };
    account
        .map(|json| Credentials::service_account(&json).map_err(|why| bad("marathon.service_account", &why)))
        .transpose()
}

fn read(key: &str, path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|why| ConfigError::Meaning(format!("{key}: read {}: {why}", path.display())))
}
