//! The last good apps on disk, for a start while Marathon is away or has forgotten who is healthy.
//!
//! [`Store::load`] is called once at start; [`keep`] runs beside the source and writes what is
//! served down: some time after a change, not on every one. A disk that is full or read-only costs
//! the memory and nothing else: it is said once and tried again.
#![allow(clippy::disallowed_methods, reason = "paces the writing and tells the time of day")]

pub mod format;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use haproxy::app::Snapshot;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::format::Refused;
use super::status::{SourceStatus, Trouble};
use super::{Restored, marathon::wire};

/// Where and for which cluster.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
    members: Vec<String>,
    pace: Pace,
}

/// How often is written.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// After a change.
    pub after: Duration,
    /// The least time between two writings.
    pub spacing: Duration,
    /// After a failure.
    pub retry: Duration,
    /// Also without a change: how old the word of Marathon in the file may get.
    pub renew: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            after: Duration::from_secs(1),
            spacing: Duration::from_secs(10),
            retry: Duration::from_secs(30),
            renew: Duration::from_secs(600),
        }
    }
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not used.
    #[error("{path} is not used: {source}", path = path.display())]
    Refused {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Refused,
    },
}

impl Store {
    /// The file `apps` in `dir`, about the cluster of these members.
    pub fn new(dir: &Path, members: Vec<String>) -> Self {
        Self { path: dir.join(NAME), members, pace: Pace::default() }
    }

    /// With another pace.
    #[must_use]
    pub fn paced(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// What was written down last; none if nothing ever was.
    ///
    /// # Errors
    /// When there is a file and it cannot be used.
    pub fn load(&self) -> Result<Option<Restored>, LoadError> {
        let limit = u64::try_from(wire::MAX_BODY).unwrap_or(u64::MAX);
        let mut text = Vec::new();
        match File::open(&self.path).and_then(|file| file.take(limit).read_to_end(&mut text)) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LoadError::Read { path: self.path.clone(), source }),
            Ok(_) => (),
        }
        let refused = |source| LoadError::Refused { path: self.path.clone(), source };
        format::read(&text, &self.members).map(Some).map_err(refused)
    }

    /// Writes the apps down: all of it or, whatever happens, what was there before.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, snapshot: &Snapshot, as_of: SystemTime) -> io::Result<()> {
        let dir = self.path.parent().unwrap_or_else(|| Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
        // Always the same name, so that no crash leaves more than one behind.
        let temporary = self.path.with_extension("new");
        let written = || {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o640).open(&temporary)?;
            file.write_all(&format::write(snapshot, &self.members, as_of))?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            File::open(dir)?.sync_all()
        };
        written().inspect_err(|_| drop(fs::remove_file(&temporary)))
    }
}

/// Loads what is remembered and says what it is, in the log and in the status.
pub async fn load(store: &Store, status: &watch::Sender<SourceStatus>) -> Option<Restored> {
    let from = store.clone();
    match tokio::task::spawn_blocking(move || from.load()).await.ok()? {
        Ok(restored) => restored,
        Err(why) => {
            status.send_modify(|status| {
                Trouble::note(&mut status.store.trouble, &why.to_string(), SystemTime::now());
            });
            log::warn!(reason:% = why; "the apps that were served last are not remembered");
            None
        }
    }
}

/// Writes down what is served until `stop`, and then once more what is not written yet.
pub async fn keep(
    store: &Store,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    status: &watch::Sender<SourceStatus>,
    stop: CancellationToken,
) {
    let pace = store.pace;
    let mut keeper = Keeper { store, status, written: None };
    let mut due: Option<Instant> = None;
    let mut not_before = Instant::now();
    loop {
        let renew = not_before + pace.renew;
        tokio::select! {
            () = stop.cancelled() => break,
            Ok(()) = snapshots.changed() => {
                due = due.or_else(|| Some(not_before.max(Instant::now() + pace.after)));
                continue;
            }
            () = sleep_until(due.unwrap_or(renew)) => (),
        }
        let snapshot = snapshots.borrow_and_update().clone();
        let renewing = due.take().is_none();
        let well = keeper.write(snapshot, renewing).await;
        not_before = Instant::now() + if well { pace.spacing } else { pace.retry };
        if !well {
            due = Some(not_before);
        }
    }
    let last = snapshots.borrow_and_update().clone();
    keeper.write(last, false).await;
}

struct Keeper<'a> {
    store: &'a Store,
    status: &'a watch::Sender<SourceStatus>,
    /// What the file holds.
    written: Option<Arc<Snapshot>>,
}

impl Keeper<'_> {
    /// Writes the snapshot if the file does not hold it, or if its word is to be renewed. False if
    /// that failed.
    async fn write(&mut self, snapshot: Arc<Snapshot>, renewing: bool) -> bool {
        let Some(as_of) = vouched(&self.status.borrow()) else { return true };
        let same = self.written.as_ref().is_some_and(|written| written.apps == snapshot.apps);
        if snapshot.revision == 0 || (same && !renewing) {
            return true;
        }
        let (store, apps) = (self.store.clone(), snapshot.clone());
        let done = tokio::task::spawn_blocking(move || store.save(&apps, as_of)).await;
        let done = done.unwrap_or_else(|why| Err(io::Error::other(why)));
        let path = self.store.path.display();
        self.status.send_modify(|status| match &done {
            Ok(()) => {
                status.store.writes += 1;
                status.store.written = Some(SystemTime::now());
                if status.store.trouble.take().is_some() {
                    log::info!(file:% = path; "the apps that are served are remembered again");
                }
            }
            Err(why) => {
                status.store.failures += 1;
                let text = format!("cannot write {path}: {why}");
                if Trouble::note(&mut status.store.trouble, &text, SystemTime::now()) {
                    log::warn!(file:% = path, reason:% = why; "the apps that are served are not written down");
                }
            }
        });
        if done.is_ok() {
            self.written = Some(snapshot);
        }
        done.is_ok()
    }
}

/// Since when nobody has said otherwise: now, while Marathon tells us what happens. None while what
/// is served came from the store itself.
fn vouched(status: &SourceStatus) -> Option<SystemTime> {
    let last = status.fetch.last.as_ref().filter(|_| status.restored.is_none())?;
    let told = status.stream.attached_at.is_some() && !status.is_stale();
    Some(if told { SystemTime::now() } else { last.at })
}

const NAME: &str = "apps";

#[cfg(test)]
mod tests;
