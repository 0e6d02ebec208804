//! The state directory: every bundle in a directory named by its digest.
//!
//! Called by `reload` and at start by the daemon. `current` (what HAProxy reads) and `confirmed`
//! (what last came up) are symlinks, each swapped by one rename, so configuration and maps change
//! together and a crash at any moment leaves either the old or the new state. Blocking calls;
//! starts no process and knows nothing of the running one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::bundle::{Bundle, CERTS, Digest, certs_link};
use crate::certs::{Certificates, DIRECTORY};

/// The configuration's file name inside a bundle's directory.
pub const CONFIG: &str = "haproxy.cfg";

/// Which servers were down before a reload, for the worker that comes: below the state directory.
pub const SERVER_STATE: &str = "server-state";

/// A state directory such as `/var/lib/baton/haproxy`.
#[derive(Debug, Clone)]
pub struct Disk {
    dir: PathBuf,
    /// One change at a time, whichever clone makes it: the child's supervisor recovers on its own.
    turn: Arc<Mutex<()>>,
}

/// What a start found in the state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing that could be started: the first start, or everything is torn.
    Nothing,
    /// No bundle was ever confirmed, but an intact one is current (staged for the first start).
    Staged(Digest),
    /// `current` is the last confirmed bundle.
    Confirmed(Digest),
    /// `current` was another bundle, or torn, and was put back to the last confirmed one.
    FellBack {
        /// The confirmed bundle, now current.
        to: Digest,
        /// What was current and never confirmed; none if it was torn or no bundle of ours.
        from: Option<Digest>,
    },
}

impl Found {
    /// The bundle that `current` now leads to.
    pub fn digest(self) -> Option<Digest> {
        match self {
            Self::Nothing => None,
            Self::Staged(digest) | Self::Confirmed(digest) | Self::FellBack { to: digest, .. } => Some(digest),
        }
    }
}

/// What `current` led to before a [`Disk::select`], whatever that was.
#[derive(Debug)]
pub struct Previous {
    target: Option<PathBuf>,
}

impl Disk {
    /// Opens the directory, making it (0750) if there is none, and clears what a crash left half-written.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, DiskError> {
        let dir = dir.into();
        let making = |e| DiskError::new("make", &dir, e);
        DirBuilder::new().recursive(true).mode(0o750).create(&dir).map_err(making)?;
        let disk = Self { dir, turn: Arc::default() };
        for name in disk.names()?.iter().filter(|name| name.starts_with(TEMPORARY)) {
            remove(&disk.dir.join(name))?;
        }
        // A disk that is full now may not be later; the worst that comes of it is a warning of HAProxy.
        let _ = disk.forget_servers();
        Ok(disk)
    }

    /// Writes what the next worker is to know of the servers; whole or not at all.
    ///
    /// # Errors
    /// When the disk is full or read-only.
    pub(crate) fn remember_servers(&self, state: &str) -> Result<(), DiskError> {
        let (path, temporary) = (self.dir.join(SERVER_STATE), self.dir.join(format!("{TEMPORARY}{SERVER_STATE}")));
        remove(&temporary)?;
        write_new(&temporary, state.as_bytes())?;
        fs::rename(&temporary, &path).map_err(|e| DiskError::new("rename to", &path, e))
    }

    /// As at a start: a worker takes every server to be up. The file stays, because HAProxy warns of
    /// one that is missing.
    pub(crate) fn forget_servers(&self) -> Result<(), DiskError> {
        self.remember_servers(NO_SERVERS)
    }

    /// What HAProxy is started with: `<dir>/current/haproxy.cfg`.
    pub fn config(&self) -> PathBuf {
        self.dir.join(CURRENT).join(CONFIG)
    }

    /// Writes the bundle's directory completely, synced, without making it current.
    ///
    /// # Errors
    /// When the disk is full or read-only; the old state is untouched then.
    pub fn write(&self, bundle: &Bundle) -> Result<(), DiskError> {
        let _turn = self.turn();
        let digest = bundle.digest();
        let target = self.bundle(digest);
        if self.verify(digest).is_ok() {
            // Its age decides how long it is kept.
            let now = File::open(&target).and_then(|dir| dir.set_modified(clock()));
            return now.map_err(|e| DiskError::new("touch", &target, e));
        }
        if let Some(certs) = bundle.certs() {
            self.write_certs(certs)?;
        }
        self.place(&target, |dir| {
            if let Some(certs) = bundle.certs() {
                let link = dir.join(DIRECTORY);
                symlink(certs_link(certs.digest()), &link).map_err(|e| DiskError::new("make", &link, e))?;
            }
            let mut files = bundle.side_files().chain([(CONFIG, bundle.config())]);
            files.try_for_each(|(name, text)| write_new(&dir.join(name), text.as_bytes()))
        })
    }

    /// Certificates rarely change and may be many: bundles share them.
    fn write_certs(&self, certs: &Certificates) -> Result<(), DiskError> {
        let target = self.certs(certs.digest());
        if target.is_dir() {
            return Ok(());
        }
        self.place(&target, |dir| {
            certs.contents().iter().try_for_each(|(name, content)| write_new(&dir.join(name), content))
        })
    }

    /// Makes the directory `target`, filled by `fill`, in one step.
    fn place(&self, target: &Path, fill: impl FnOnce(&Path) -> Result<(), DiskError>) -> Result<(), DiskError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = self.dir.join(format!("{TEMPORARY}{name}"));
        remove(&temporary)?;
        let made = || {
            DirBuilder::new().mode(0o750).create(&temporary).map_err(|e| DiskError::new("make", &temporary, e))?;
            fill(&temporary)?;
            sync(&temporary)?;
            remove(target)?;
            fs::rename(&temporary, target).map_err(|e| DiskError::new("rename to", target, e))?;
            sync(&self.dir)
        };
        let made = made();
        if made.is_err() {
            // Best effort: the first error is the one to report, and `open` clears leftovers.
            drop(remove(&temporary));
        }
        made
    }

    /// Makes an intact bundle the one that HAProxy reads at its next start or reload. What was
    /// current is returned for [`Self::put_back`].
    ///
    /// # Errors
    /// When it is torn, or the symlink cannot be swapped; `current` is unchanged then.
    pub fn select(&self, digest: Digest) -> Result<Previous, DiskError> {
        let _turn = self.turn();
        self.verify(digest)?;
        let previous = Previous { target: fs::read_link(self.dir.join(CURRENT)).ok() };
        self.point(CURRENT, digest.to_string())?;
        Ok(previous)
    }

    /// Undoes a [`Self::select`]: back to the last confirmed bundle, or where there is none to
    /// what was current before. Returns the bundle that is current now, if it is one of ours.
    ///
    /// # Errors
    /// When the symlink cannot be swapped.
    pub fn put_back(&self, previous: &Previous) -> Result<Option<Digest>, DiskError> {
        let _turn = self.turn();
        let confirmed = self.confirmed().filter(|digest| self.verify(*digest).is_ok());
        match (confirmed, &previous.target) {
            (Some(digest), _) => self.point(CURRENT, digest.to_string())?,
            (None, Some(target)) => self.point(CURRENT, target)?,
            (None, None) => remove(&self.dir.join(CURRENT))?,
        }
        Ok(self.current())
    }

    /// Remembers that HAProxy runs with this bundle.
    ///
    /// # Errors
    /// When it is torn, or the symlink cannot be swapped.
    pub fn confirm(&self, digest: Digest) -> Result<(), DiskError> {
        let _turn = self.turn();
        self.verify(digest)?;
        self.point(CONFIRMED, digest.to_string())
    }

    /// The bundle that `current` leads to; none if there is none. Says nothing about its contents.
    pub fn current(&self) -> Option<Digest> {
        self.pointed(CURRENT)
    }

    /// The bundle that came up last; none if none ever did.
    pub fn confirmed(&self) -> Option<Digest> {
        self.pointed(CONFIRMED)
    }

    /// Reads a bundle back and compares all of it with its digest.
    ///
    /// # Errors
    /// When it is missing, incomplete or changed.
    pub fn verify(&self, digest: Digest) -> Result<(), DiskError> {
        let Some(certs) = self.read_back(digest)? else { return Ok(()) };
        let dir = self.certs(certs);
        // They are many, and written in one step: `recover` reads them.
        if dir.is_dir() { Ok(()) } else { Err(DiskError::Torn { path: dir }) }
    }

    /// Reads a bundle back, compares it with its digest, and says which certificates it uses.
    fn read_back(&self, digest: Digest) -> Result<Option<Digest>, DiskError> {
        let mut certs = None;
        let dir = self.bundle(digest);
        let torn = || DiskError::Torn { path: dir.clone() };
        let reading = |e| DiskError::new("read", &dir, e);
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&dir).map_err(reading)? {
            let entry = entry.map_err(reading)?;
            if entry.file_name() == DIRECTORY {
                let link = fs::read_link(entry.path()).map_err(reading)?;
                let name = link.to_str().and_then(|link| link.strip_prefix("../")?.strip_prefix(CERTS));
                certs = Some(name.and_then(Digest::parse).ok_or_else(torn)?);
                files.insert(DIRECTORY.to_owned(), link.to_string_lossy().into_owned().into_bytes());
                continue;
            }
            if !entry.file_type().map_err(reading)?.is_file() {
                return Err(torn());
            }
            let name = entry.file_name().into_string().map_err(|_| torn())?;
            files.insert(name, fs::read(entry.path()).map_err(|e| DiskError::new("read", &entry.path(), e))?);
        }
        let config = files.remove(CONFIG).and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(torn)?;
        if digest.recompute(&config, &files) == Some(digest) { Ok(certs) } else { Err(torn()) }
    }

    /// Reads certificates back and compares them with their digest.
    fn verify_certs(&self, digest: Digest) -> Result<(), DiskError> {
        let dir = self.certs(digest);
        let reading = |e| DiskError::new("read", &dir, e);
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&dir).map_err(reading)? {
            let entry = entry.map_err(reading)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            files.insert(name, fs::read(entry.path()).map_err(reading)?);
        }
        let same = Digest::of_files(files.iter()) == digest;
        if same { Ok(()) } else { Err(DiskError::Torn { path: dir }) }
    }

    /// Where the certificates of the bundle are that HAProxy is started with.
    pub fn current_certs(&self) -> PathBuf {
        self.dir.join(CURRENT).join(DIRECTORY)
    }

    /// The configuration of a bundle; none if it cannot be read.
    pub fn read_config(&self, digest: Digest) -> Option<String> {
        fs::read_to_string(self.bundle(digest).join(CONFIG)).ok()
    }

    /// Makes `current` safe to start from: the last confirmed bundle if that is intact, else what
    /// is current if that is.
    ///
    /// # Errors
    /// When `current` cannot be swapped.
    pub fn recover(&self) -> Result<Found, DiskError> {
        let _turn = self.turn();
        // A start finds out for itself who is down.
        let _ = self.forget_servers();
        let whole = |digest: Digest| self.read_back(digest)?.map_or(Ok(()), |certs| self.verify_certs(certs));
        let intact = |digest: Option<Digest>| digest.filter(|d| whole(*d).is_ok());
        match (intact(self.confirmed()), self.current()) {
            (Some(confirmed), Some(current)) if confirmed == current => Ok(Found::Confirmed(confirmed)),
            (Some(to), current) => {
                self.point(CURRENT, to.to_string())?;
                Ok(Found::FellBack { to, from: intact(current) })
            }
            (None, current) => Ok(intact(current).map_or(Found::Nothing, Found::Staged)),
        }
    }

    /// Removes all bundles but the current, the confirmed and the `previous` youngest others.
    ///
    /// # Errors
    /// When one cannot be removed; the rest stays too.
    pub fn collect(&self, previous: usize) -> Result<Vec<Digest>, DiskError> {
        let _turn = self.turn();
        let kept: BTreeSet<_> = [self.current(), self.confirmed()].into_iter().flatten().collect();
        let digests = self.names()?.into_iter().filter_map(|name| Digest::parse(&name));
        let age = |d: Digest| fs::metadata(self.bundle(d)).and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut others: Vec<_> = digests.filter(|d| !kept.contains(d)).map(|d| (age(d), d)).collect();
        others.sort();
        others.truncate(others.len().saturating_sub(previous));
        for (_, digest) in &others {
            remove(&self.bundle(*digest))?;
        }
        let names = self.names()?;
        let link = |name: &String| fs::read_link(self.dir.join(name).join(DIRECTORY)).ok();
        let used: BTreeSet<PathBuf> = names.iter().filter_map(link).collect();
        let unused = |name: &&String| name.starts_with(CERTS) && !used.contains(&Path::new("..").join(name));
        names.iter().filter(unused).try_for_each(|name| remove(&self.dir.join(name)))?;
        Ok(others.into_iter().map(|(_, digest)| digest).collect())
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bundle(&self, digest: Digest) -> PathBuf {
        self.dir.join(digest.to_string())
    }

    fn certs(&self, digest: Digest) -> PathBuf {
        self.dir.join(format!("{CERTS}{digest}"))
    }

    fn names(&self) -> Result<Vec<String>, DiskError> {
        let reading = |e| DiskError::new("read", &self.dir, e);
        let entries: Result<Vec<_>, _> = fs::read_dir(&self.dir).map_err(reading)?.collect();
        Ok(entries.map_err(reading)?.into_iter().filter_map(|e| e.file_name().into_string().ok()).collect())
    }

    fn pointed(&self, name: &str) -> Option<Digest> {
        Digest::parse(fs::read_link(self.dir.join(name)).ok()?.to_str()?)
    }

    fn point(&self, name: &str, target: impl AsRef<Path>) -> Result<(), DiskError> {
        let (link, temporary) = (self.dir.join(name), self.dir.join(format!("{TEMPORARY}{name}")));
        remove(&temporary)?;
        symlink(target, &temporary).map_err(|e| DiskError::new("make", &temporary, e))?;
        fs::rename(&temporary, &link).map_err(|e| DiskError::new("swap", &link, e))?;
        sync(&self.dir)
    }
}

/// The state directory refused.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A file operation failed: disk full, read-only, no permission.
    #[error("{action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The directory does not hold what its name says.
    #[error("{} is torn or was changed: it does not match its digest", path.display())]
    Torn {
        /// Which bundle.
        path: PathBuf,
    },
}

impl DiskError {
    fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

/// Removes a file, link or whole directory; nothing there is fine.
fn remove(path: &Path) -> Result<(), DiskError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(DiskError::new("remove", path, e)),
        _ => Ok(()),
    }
}

fn write_new(path: &Path, content: &[u8]) -> Result<(), DiskError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|e| DiskError::new("write", path, e))
}

fn sync(dir: &Path) -> Result<(), DiskError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| DiskError::new("sync", dir, e))
}

fn clock() -> SystemTime {
    #![allow(clippy::disallowed_methods, reason = "a directory's age is wall-clock time")]
    SystemTime::now()
}

/// The first lines of every such file.
pub(crate) const NO_SERVERS: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight \
    srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state \
    srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port \
    srv_check_addr srv_agent_addr srv_agent_port\n";

const CURRENT: &str = "current";
const CONFIRMED: &str = "confirmed";
const TEMPORARY: &str = ".new-";

#[cfg(test)]
mod tests;
