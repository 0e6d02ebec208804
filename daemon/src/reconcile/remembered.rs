//! The definitions that are served in place of refused ones, on disk: a restart keeps them.
//!
//! Read when the reconcile loop begins and written when they change, which is seldom. A disk that
//! refuses costs the memory and nothing else.
#![allow(clippy::disallowed_methods, reason = "the file tells the time of day")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use haproxy::app::{App, AppId, Snapshot};

use crate::source::store::Store;

/// The file.
pub(super) struct Remembered {
    store: Store,
    /// What it holds.
    written: BTreeMap<AppId, Arc<App>>,
    /// It could not be written last time.
    failed: bool,
}

impl Remembered {
    /// The file below `dir`, and what it holds.
    pub(super) async fn open(dir: &Path) -> (Self, BTreeMap<AppId, Arc<App>>) {
        let store = Store::new(&dir.join("definitions"), vec![MEMBER.to_owned()]);
        let from = store.clone();
        let apps = match tokio::task::spawn_blocking(move || from.load()).await {
            Ok(Ok(restored)) => restored.map(|restored| restored.apps).unwrap_or_default(),
            Ok(Err(why)) => {
                log::warn!(reason:% = why; "what was served in place of refused apps is not remembered");
                BTreeMap::new()
            }
            Err(_) => BTreeMap::new(),
        };
        (Self { store, written: apps.clone(), failed: false }, apps)
    }

    /// Has the file hold `apps`.
    pub(super) async fn keep(&mut self, apps: BTreeMap<AppId, Arc<App>>) {
        if apps == self.written {
            return;
        }
        let (store, snapshot) = (self.store.clone(), Snapshot { apps: apps.clone(), ..Snapshot::default() });
        match tokio::task::spawn_blocking(move || store.save(&snapshot, SystemTime::now())).await {
            Ok(Ok(())) => (self.written, self.failed) = (apps, false),
            Ok(Err(why)) if !std::mem::replace(&mut self.failed, true) => {
                log::warn!(reason:% = why; "a restart will not know what is served in place of refused apps");
            }
            _ => (),
        }
    }
}

/// There is no cluster to tell apart: the directory is ours.
const MEMBER: &str = "definitions";
