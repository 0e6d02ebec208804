//! Apps from a file: the JSON of `/v2/apps?embed=apps.tasks`, or only the array.
//!
//! For setups without Marathon, for tests and for `render`. Read again whenever it changes, in
//! place or by rename. A bad file changes nothing but the status: what was read last stays.
#![allow(clippy::disallowed_methods, reason = "looks at the file again and again")]

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use haproxy::app::Snapshot;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::marathon::wire::{self, Answer, Envelope, WireError};
use super::resolve::Resolver;
use super::status::{GoodFetch, Trouble};
use super::{SourceCommand, SourceStatus, publish};

/// Which file, and how often it is looked at.
#[derive(Debug, Clone)]
pub struct FileConfig {
    /// The file.
    pub path: PathBuf,
    /// Between two looks.
    pub poll: Duration,
}

impl FileConfig {
    /// This file, looked at five times a second.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), poll: Duration::from_millis(200) }
    }
}

/// Why a file gave no apps.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened or read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{path}: {source}", path = path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: WireError,
    },
    /// It is too long.
    #[error("{path} is longer than {cap} bytes", path = path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
        /// The most allowed.
        cap: usize,
    },
}

/// Follows the file until `shutdown`. Never fails; `status` says how it goes.
pub async fn run(
    config: FileConfig,
    snapshots: watch::Sender<Arc<Snapshot>>,
    status: watch::Sender<SourceStatus>,
    commands: mpsc::Receiver<SourceCommand>,
    shutdown: CancellationToken,
) {
    let (answer, answers) = mpsc::channel(1);
    let loops = async {
        tokio::join!(keep(&config, &status, commands, answer), publish::run(answers, Resolver::system(), &snapshots))
    };
    tokio::select! {
        () = shutdown.cancelled() => (),
        _ = loops => (),
    }
}

/// Reads the file once, all hosts resolved: for `baton render --apps`.
///
/// # Errors
/// When it cannot be read or holds no list of apps.
pub async fn once(path: &Path) -> Result<Snapshot, FileError> {
    let read = blocking(path, read).await?;
    Ok(publish::once(read.answer, Resolver::system()).await)
}

async fn keep(
    config: &FileConfig,
    status: &watch::Sender<SourceStatus>,
    mut commands: mpsc::Receiver<SourceCommand>,
    answers: mpsc::Sender<Answer>,
) {
    let mut seen = None;
    loop {
        let found = blocking(&config.path, move |path| look(path, seen)).await;
        seen = found.seen;
        match found.read {
            None => (),
            Some(Ok(read)) => {
                succeeded(config, status, &read);
                if answers.send(read.answer).await.is_err() {
                    return;
                }
            }
            Some(Err(error)) => failed(status, &error),
        }
        tokio::select! {
            Some(SourceCommand::Refetch) = commands.recv() => seen = None,
            () = sleep(config.poll) => (),
        }
    }
}

/// What one look gave.
struct Look {
    seen: Option<Signature>,
    read: Option<Result<Content, FileError>>,
}

/// The content of the file.
struct Content {
    answer: Answer,
    bytes: usize,
    took: Duration,
}

/// What tells two versions of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Signature {
    inode: u64,
    device: u64,
    size: u64,
    modified: (i64, i64),
}

impl Signature {
    fn of(meta: &Metadata) -> Self {
        let modified = (meta.mtime(), meta.mtime_nsec());
        Self { inode: meta.ino(), device: meta.dev(), size: meta.len(), modified }
    }
}

/// Reads the file if it is not as it was last seen.
fn look(path: &Path, seen: Option<Signature>) -> Look {
    let meta = fs::metadata(path);
    let signature = meta.as_ref().ok().map(Signature::of);
    if signature.is_some() && signature == seen {
        return Look { seen, read: None };
    }
    let read = read(path);
    // Written to a moment ago: the next write may leave size and time as they are, so look again.
    let age = meta.and_then(|meta| meta.modified()).ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    let settled = age.is_none_or(|age| age >= CLOCK_TICK);
    Look { seen: signature.filter(|_| settled), read: Some(read) }
}

fn read(path: &Path) -> Result<Content, FileError> {
    let start = Instant::now();
    let trouble = |source| FileError::Read { path: path.to_owned(), source };
    let mut body = Vec::new();
    let limit = u64::try_from(wire::MAX_BODY).unwrap_or(u64::MAX);
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut body)).map_err(trouble)?;
    if body.len() > wire::MAX_BODY {
        return Err(FileError::TooLong { path: path.to_owned(), cap: wire::MAX_BODY });
    }
    let answer = wire::read(&body, Envelope::ObjectOrArray);
    let answer = answer.map_err(|source| FileError::Content { path: path.to_owned(), source })?;
    Ok(Content { answer, bytes: body.len(), took: start.elapsed() })
}

/// Runs file work where blocking is allowed.
async fn blocking<T: Send + 'static>(path: &Path, work: impl FnOnce(&Path) -> T + Send + 'static) -> T {
    let path = path.to_owned();
    let done = tokio::task::spawn_blocking(move || work(&path)).await;
    match done {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down and drops us with it.
        Err(_) => std::future::pending().await,
    }
}

fn succeeded(config: &FileConfig, status: &watch::Sender<SourceStatus>, read: &Content) {
    status.send_modify(|status| {
        if status.fetch.trouble.take().is_some() {
            log::info!(file:% = config.path.display(); "the file of apps is good again");
        }
        status.origin = Some(config.path.display().to_string());
        status.fetch.ok += 1;
        let apps = read.answer.apps.len();
        status.fetch.last = Some(GoodFetch { at: SystemTime::now(), took: read.took, bytes: read.bytes, apps });
    });
}

fn failed(status: &watch::Sender<SourceStatus>, error: &FileError) {
    let kind = match error {
        FileError::Read { .. } => "read",
        FileError::Content { .. } => "content",
        FileError::TooLong { .. } => "too_long",
    };
    status.send_modify(|status| {
        *status.fetch.failed.entry(kind).or_default() += 1;
        if Trouble::note(&mut status.fetch.trouble, &error.to_string(), SystemTime::now()) {
            log::warn!(reason:% = error; "cannot read apps from the file; what is served stays as it is");
        }
    });
}

/// Time stamps of files move in steps of the kernel's tick (up to 10 ms), on some systems of 1 s.
const CLOCK_TICK: Duration = Duration::from_millis(100);
