//! The loop's certificates: what is asked for, read again whenever that or a file changes.
//!
//! Part of the reconcile loop, between the wanted state, which names files, and the builder, which
//! says what stands for them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use haproxy::model::{Frontend, LbState};
use tokio::sync::watch;

use crate::certs;
use crate::certs::keeper::{Deployed, Keeper, Named};
use crate::config::Config;

/// Files that are watched, and what they hold.
pub struct Certs {
    keeper: Keeper,
    paths: watch::Sender<Arc<BTreeSet<PathBuf>>>,
    /// Counts the changes that the watcher saw.
    pub(super) changes: watch::Receiver<u64>,
    named: Option<Named>,
}

impl Certs {
    /// Read by `keeper`; the watcher is told which `paths` to look at, and counts `changes`.
    pub fn new(keeper: Keeper, paths: watch::Sender<Arc<BTreeSet<PathBuf>>>, changes: watch::Receiver<u64>) -> Self {
        Self { keeper, paths, changes, named: None }
    }

    /// Reads what is asked for now, if that is not what was.
    pub(super) async fn ask(&mut self, config: &Config, state: &LbState) -> anyhow::Result<Option<Deployed>> {
        let named = named(config, state);
        if self.named.as_ref() == Some(&named) {
            return Ok(None);
        }
        self.paths.send_replace(Arc::new(named.paths()));
        self.named = Some(named);
        self.read(config).await
    }

    /// Reads all of it again; none before anything was asked for.
    pub(super) async fn read(&mut self, config: &Config) -> anyhow::Result<Option<Deployed>> {
        let Some(named) = &self.named else { return Ok(None) };
        self.keeper.refresh(named, || certs::self_made(config)).await.map(Some)
    }
}

fn named(config: &Config, state: &LbState) -> Named {
    let own = || config.haproxy.certs.0.iter().map(|token| token.0.to_string()).collect();
    let apps = state.frontends.values().flat_map(of_app).map(str::to_owned).collect();
    Named { own: config.haproxy.bind_http_https.then(own), apps }
}

/// The certificates that an app names for its listener.
fn of_app(frontend: &Frontend) -> impl Iterator<Item = &str> {
    let options = frontend.options.iter().map(|word| word.as_str());
    let after = frontend.options.iter().skip(1).map(|word| word.as_str());
    let named = options.zip(after).filter(|(word, _)| *word == "crt").map(|(_, path)| path);
    frontend.cert.iter().map(|cert| cert.as_str()).chain(named)
}
