//! Asks HAProxy itself whether it accepts a bundle, and whose fault it is when it does not.
//!
//! Called by `reload` and by `baton check`. Runs `haproxy -c` in a scratch directory with an empty
//! environment; never touches the running HAProxy or the state directory. `-c` loads certificates
//! and executes `lua-load`, but does not bind: that is `preflight`'s part.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::app::AppId;
use crate::bundle::Bundle;
use crate::certs::DIRECTORY;
use crate::disk::CONFIG;

pub mod blame;
mod certificates;
pub(crate) mod run;
pub(crate) mod said;

pub use certificates::refused;
use certificates::write;
pub use run::RunError;
pub use said::{Level, Said};

/// HAProxy's opinion of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It would start.
    Accepted {
        /// What it complained about nevertheless.
        warnings: Vec<Said>,
    },
    /// It would not start.
    Rejected(Rejected),
}

/// Why HAProxy would not start with a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its errors, in its order, followed by nothing: warnings are left out.
    pub said: Vec<Said>,
    /// The apps the errors are about. Empty when none could be blamed. HAProxy stops at the first
    /// hard errors, so a next check without these apps may find more.
    pub culprits: BTreeSet<AppId>,
}

/// HAProxy could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The binary did not run to its end.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The bundle could not be written to the scratch directory.
    #[error("write the configuration to a scratch directory for haproxy -c")]
    Scratch(#[source] io::Error),
    /// It failed without naming an error: killed, out of memory, a missing library.
    #[error("haproxy -c failed without naming an error ({status}): {said}")]
    Silent {
        /// How it ended.
        status: std::process::ExitStatus,
        /// The beginning of what it printed.
        said: String,
    },
}

impl CheckError {
    /// Whether what was checked may be the cause: it hung or killed HAProxy.
    pub fn may_be_the_bundles(&self) -> bool {
        matches!(self, Self::Run(RunError::Slow { .. }) | Self::Silent { .. })
    }

    /// Whether HAProxy did not answer in time.
    pub fn is_slow(&self) -> bool {
        matches!(self, Self::Run(RunError::Slow { .. }))
    }
}

/// Runs `haproxy -c` over the bundle.
///
/// # Errors
/// When HAProxy could not be asked; a rejected bundle is a [`Verdict`].
pub async fn check(binary: &Path, bundle: &Bundle, limit: Duration) -> Result<Verdict, CheckError> {
    let scratch = tempfile::Builder::new().prefix("baton-check-").tempdir().map_err(CheckError::Scratch)?;
    let config = scratch.path().join(CONFIG);
    let files = bundle.side_files().chain([(CONFIG, bundle.config())]);
    for (name, text) in files {
        tokio::fs::write(scratch.path().join(name), text).await.map_err(CheckError::Scratch)?;
    }
    if let Some(certs) = bundle.certs() {
        write(&scratch.path().join(DIRECTORY), certs).map_err(CheckError::Scratch)?;
    }
    let ran = run::run(binary, ["-c".as_ref(), "-f".as_ref(), config.as_os_str()], limit).await?;
    let said = said::parse(&ran.stderr, &config, bundle.owners());
    if ran.status.success() {
        return Ok(Verdict::Accepted { warnings: said });
    }
    let said: Vec<_> = said.into_iter().filter(|s| s.level == Level::Alert).collect();
    if said.is_empty() {
        let said = ran.stderr.lines().chain(ran.stdout.lines()).take(5).collect::<Vec<_>>().join("; ");
        return Err(CheckError::Silent { status: ran.status, said });
    }
    let culprits = said.iter().filter_map(|s| Some(s.owner.as_ref()?.app.clone())).collect();
    Ok(Verdict::Rejected(Rejected { said, culprits }))
}

#[cfg(test)]
mod tests;
