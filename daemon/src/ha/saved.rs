//! What outlives the process: an operator's hold, and the state handed over by an upgrade in place.
//!
//! Used by the `vip` task. The only file that knows these two formats. The hold is in the state
//! directory and survives everything but `baton vip release`; the hand-over is in the run directory,
//! written for the moment of the exec only, and removed as soon as it was read.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use vrrp::linux::report::Saved;

/// Who holds which routers out, by the router's name.
pub type Holds = BTreeMap<String, Held>;

/// An operator's hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// Who said so.
    pub by: String,
    /// When, in seconds since 1970.
    pub since: f64,
    /// Also where nobody takes over.
    pub force: bool,
}

/// Where both are.
#[derive(Debug, Clone)]
pub(super) struct Files {
    holds: PathBuf,
    handover: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Router {
    router: String,
    active: bool,
    deadline: u64,
}

impl Files {
    pub(super) fn new(state_dir: &Path, run_dir: &Path) -> Self {
        Self { holds: state_dir.join("vip-hold.json"), handover: run_dir.join("upgrade.json") }
    }

    /// The holds; a file that cannot be read holds nothing back, and the log says so.
    pub(super) fn holds(&self) -> Holds {
        match read(&self.holds) {
            Ok(holds) => holds.unwrap_or_default(),
            Err(why) => {
                log::error!("{why:#}: `baton vip hold` does not hold any more; say it again if it should");
                Holds::new()
            }
        }
    }

    /// Writes the holds, or removes their file where there is none.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn keep_holds(&self, holds: &Holds) -> anyhow::Result<()> {
        if holds.is_empty() {
            return remove(&self.holds).with_context(|| format!("remove {}", self.holds.display()));
        }
        write(&self.holds, holds)
    }

    /// What the process before this one handed over. It can be taken once.
    pub(super) fn take_handover(&self) -> Vec<Saved> {
        let routers: anyhow::Result<Option<Vec<Router>>> = read(&self.handover);
        if let Err(why) = remove(&self.handover) {
            log::warn!("remove {}: {why}", self.handover.display());
        }
        match routers {
            Ok(routers) => {
                let saved = |r: Router| Saved { router: r.router, active: r.active, deadline: r.deadline };
                routers.unwrap_or_default().into_iter().map(saved).collect()
            }
            Err(why) => {
                log::error!("{why:#}: the addresses are taken over as after a crash");
                Vec::new()
            }
        }
    }

    /// For the process after this one.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn hand_over(&self, saved: &[Saved]) -> anyhow::Result<()> {
        let router = |s: &Saved| Router { router: s.router.clone(), active: s.active, deadline: s.deadline };
        write(&self.handover, &saved.iter().map(router).collect::<Vec<_>>())
    }
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> anyhow::Result<Option<T>> {
    let text = match fs::read(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("read {}", path.display()))?,
    };
    serde_json::from_slice(&text).map(Some).with_context(|| format!("understand {}", path.display()))
}

/// All or nothing, also if the host fails meanwhile.
fn write<T: Serialize>(path: &Path, value: &T) -> anyhow::Result<()> {
    let written = || -> io::Result<()> {
        let dir = path.parent().ok_or(io::ErrorKind::NotFound)?;
        let mut file = tempfile::Builder::new().prefix(".baton-").tempfile_in(dir)?;
        file.write_all(&serde_json::to_vec_pretty(value)?)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        fs::File::open(dir)?.sync_all()
    };
    written().with_context(|| format!("write {}", path.display()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_are_kept_and_the_handover_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path(), dir.path());
        assert!(files.holds().is_empty() && files.take_handover().is_empty());
        let held = Held { by: "ann".to_owned(), since: 5.0, force: false };
        let holds = Holds::from([("public".to_owned(), held)]);
        files.keep_holds(&holds).unwrap();
        assert_eq!(files.holds(), holds);
        files.keep_holds(&Holds::new()).unwrap();
        assert!(!dir.path().join("vip-hold.json").exists());
        let saved = vec![Saved { router: "public".to_owned(), active: true, deadline: 7 }];
        files.hand_over(&saved).unwrap();
        assert_eq!(files.take_handover(), saved);
        assert!(files.take_handover().is_empty());
    }

    #[test]
    fn torn_files_hold_nothing_back() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["vip-hold.json", "upgrade.json"] {
            fs::write(dir.path().join(name), "{").unwrap();
        }
        let files = Files::new(dir.path(), dir.path());
        assert!(files.holds().is_empty() && files.take_handover().is_empty());
    }
}
