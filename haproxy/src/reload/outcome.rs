//! How the application of one bundle ended, with everything an operator needs to know.

use std::fmt;
use std::time::Duration;

use super::servers::Untold;
use crate::bundle::Digest;
use crate::check::{CheckError, Rejected, Said};
use crate::disk::DiskError;
use crate::master::MasterError;
use crate::preflight::Unbindable;

/// How it ended. HAProxy serves in every case but [`Outcome::Failed`] with a dead master.
#[derive(Debug)]
pub enum Outcome {
    /// The new worker runs the bundle.
    Applied {
        /// The bundle.
        digest: Digest,
        /// How it came to run.
        how: How,
        /// The whole cycle, check included.
        took: Duration,
        /// What HAProxy complained about nevertheless.
        warnings: Vec<Said>,
        /// Workers of earlier bundles that still have connections.
        workers_old: usize,
        /// Why the new worker was not told which servers are down, and had to find out.
        untold: Option<Untold>,
        /// Why the disk does not know of it: a start would take an earlier bundle.
        unsaved: Option<DiskError>,
    },
    /// The current worker had been started with this very bundle; there was no reload. What was
    /// changed in it at run time since is not looked at.
    Unchanged {
        /// The bundle.
        digest: Digest,
    },
    /// `haproxy -c` refuses the bundle; nothing was touched.
    Rejected(Rejected),
    /// Some listeners cannot be opened; nothing was touched.
    Unbindable(Vec<Unbindable>),
    /// HAProxy did not come up with the bundle and serves what it served before.
    Reverted {
        /// What is current again; none if that is no bundle of ours.
        to: Option<Digest>,
        /// How it failed.
        because: ReloadError,
        /// What HAProxy said. Before 2.7 it says so only in its own log.
        said: Vec<Said>,
        /// The listeners that cannot be opened now, likely the cause.
        unbindable: Vec<Unbindable>,
    },
    /// It could not be tried, or not be undone.
    Failed {
        /// What went wrong first.
        error: ReloadError,
        /// What went wrong when undoing it; then HAProxy's state is unknown.
        undo: Option<ReloadError>,
    },
}

/// How a bundle came to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// HAProxy was started with it.
    Start,
    /// A running HAProxy was reloaded.
    Reload,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Reload => "reload",
        })
    }
}

impl Outcome {
    /// The worker that serves was started with the bundle.
    pub fn is_applied(&self) -> bool {
        matches!(self, Self::Applied { .. } | Self::Unchanged { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied { digest, took, .. } => write!(f, "applied {digest} in {} ms", took.as_millis()),
            Self::Unchanged { digest } => write!(f, "{digest} runs already"),
            Self::Rejected(Rejected { said, .. }) => write!(f, "rejected by haproxy -c: {}", list(said)),
            Self::Unbindable(binds) => f.write_str(&list(binds)),
            Self::Reverted { because, said, unbindable, .. } => {
                write!(f, "reverted: {}", whole(because))?;
                for details in [list(said), list(unbindable)].iter().filter(|details| !details.is_empty()) {
                    write!(f, "; {details}")?;
                }
                Ok(())
            }
            Self::Failed { error, undo: None } => write!(f, "failed: {}", whole(error)),
            Self::Failed { error, undo: Some(undo) } => {
                write!(f, "failed: {}; then undoing it failed: {}", whole(error), whole(undo))
            }
        }
    }
}

/// An error with what caused it.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Why a bundle could not be brought to run.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// `haproxy -c` could not be run.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The state directory refused; nothing has changed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// HAProxy's master cannot be asked.
    #[error(transparent)]
    Master(#[from] MasterError),
    /// The new worker did not come up; the old one serves on.
    #[error("HAProxy could not load the configuration; its log says why")]
    LoadFailed,
    /// The master process ended during the reload.
    #[error("HAProxy's master process ended")]
    MasterGone,
    /// No new worker answered in time.
    #[error("no HAProxy worker with the new configuration answered within {} s", limit.as_secs_f32())]
    Slow {
        /// How long it had.
        limit: Duration,
    },
    /// A new worker came up with another configuration, again and again.
    #[error("HAProxy came up with another configuration ({})", runs.map_or("not one of ours".into(), |d| d.to_string()))]
    Other {
        /// What it runs, if that is one of ours.
        runs: Option<Digest>,
    },
}

fn list(items: &[impl fmt::Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
