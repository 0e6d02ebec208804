//! One bounded run of the HAProxy binary: no environment, no input, limited time and output.
//!
//! Used by `features` (`-vv`) and `check` (`-c`). Does not interpret what the binary says.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    /// The beginning of standard output, at most [`MAX_OUTPUT`] bytes.
    pub(crate) stdout: String,
    /// The beginning of standard error, likewise.
    pub(crate) stderr: String,
}

/// The binary could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no such file.
    #[error("there is no HAProxy at {}: install HAProxy or set haproxy.binary to where it is", path.display())]
    Missing {
        /// What was to be run.
        path: PathBuf,
    },
    /// It exists and cannot be started.
    #[error("cannot run {}", path.display())]
    Start {
        /// What was to be run.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It did not end in time and was killed.
    #[error("{} did not end within {} s and was killed", path.display(), limit.as_secs_f32())]
    Slow {
        /// What was run.
        path: PathBuf,
        /// How long it had.
        limit: Duration,
    },
}

/// Runs `binary` to its end. Dropping the future kills it.
pub(crate) async fn run<S: AsRef<OsStr>>(
    binary: &Path,
    args: impl IntoIterator<Item = S>,
    limit: Duration,
) -> Result<Ran, RunError> {
    let start = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => RunError::Missing { path: binary.to_owned() },
        _ => RunError::Start { path: binary.to_owned(), source },
    };
    let mut process = Command::new(binary)
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(start)?;
    let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
    let ended = async { tokio::try_join!(process.wait(), read(stdout), read(stderr)) };
    match tokio::time::timeout(limit, ended).await {
        Ok(Ok((status, stdout, stderr))) => Ok(Ran { status, stdout, stderr }),
        Ok(Err(source)) => Err(RunError::Start { path: binary.to_owned(), source }),
        Err(_) => Err(RunError::Slow { path: binary.to_owned(), limit }),
    }
}

/// Reads to the end, keeping the beginning: a writer must never block on a full pipe.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let Some(mut pipe) = pipe else { return Ok(String::new()) };
    let mut kept = Vec::new();
    (&mut pipe).take(MAX_OUTPUT).read_to_end(&mut kept).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

/// More than HAProxy ever says: it stops after the first few hundred errors.
const MAX_OUTPUT: u64 = 256 * 1024;
