//! The master CLI: which HAProxy processes there are, what they run, and `reload`.
//!
//! Called by `reload` and `child`. One command per connection, because a held connection keeps an
//! old worker alive; every call is bounded in time and size. Decides nothing: an answer it does
//! not know is an error, not a guess.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::bundle::Digest;

mod reply;

pub use reply::{Info, Process, Processes};

/// A client of one master socket. Cheap: it holds no connection.
#[derive(Debug, Clone)]
pub struct Master {
    socket: PathBuf,
    limit: Duration,
}

/// The answer to `reload`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// HAProxy before 2.7 closes the connection without a word: watch [`Master::processes`].
    Silent,
    /// The new worker is up, or not, and this is what it said meanwhile.
    Answered {
        /// It is up.
        success: bool,
        /// Its start-up messages.
        log: String,
    },
}

impl Master {
    /// A client of the socket at this path; an ordinary command may take `limit`.
    pub fn new(socket: impl Into<PathBuf>, limit: Duration) -> Self {
        Self { socket: socket.into(), limit }
    }

    /// Where the socket is.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// All processes (`show proc`).
    ///
    /// # Errors
    /// See [`MasterError`].
    pub async fn processes(&self) -> Result<Processes, MasterError> {
        let reply = self.ask("show proc", self.limit).await?;
        Processes::parse(&reply).ok_or_else(|| unknown("show proc", &reply))
    }

    /// What the current worker runs (`@1 show info`).
    ///
    /// # Errors
    /// See [`MasterError`].
    pub async fn info(&self) -> Result<Info, MasterError> {
        self.info_by("@1 show info").await
    }

    /// The current worker's table of servers (`@1 show servers state`).
    ///
    /// # Errors
    /// See [`MasterError`].
    pub(crate) async fn servers(&self) -> Result<String, MasterError> {
        self.table("@1 show servers state").await
    }

    /// One command whose answer may be long.
    pub(crate) async fn table(&self, command: &str) -> Result<String, MasterError> {
        let slow = |_| MasterError::Slow { command: command.to_owned(), limit: self.limit };
        tokio::time::timeout(self.limit, self.exchange(command, MAX_TABLE)).await.map_err(slow)?
    }

    /// What the worker runs that listens on this very socket, where it is no master's.
    ///
    /// # Errors
    /// See [`MasterError`].
    pub(crate) async fn own_info(&self) -> Result<Info, MasterError> {
        self.info_by("show info").await
    }

    /// What the worker with this process id runs, old ones included.
    ///
    /// # Errors
    /// See [`MasterError`].
    pub async fn info_of(&self, pid: u32) -> Result<Info, MasterError> {
        self.info_by(&format!("@!{pid} show info")).await
    }

    /// The bundle that the current worker runs; none if its configuration is not one of ours.
    ///
    /// # Errors
    /// See [`MasterError`].
    pub async fn running(&self) -> Result<Option<Digest>, MasterError> {
        Ok(self.info().await?.digest())
    }

    /// Starts a reload; where HAProxy answers, that may take until the new worker is up.
    ///
    /// # Errors
    /// See [`MasterError`].
    pub async fn reload(&self, limit: Duration) -> Result<Reload, MasterError> {
        let reply = match self.ask("reload", limit).await {
            // The master of before 2.7 executes itself anew while the connection is open.
            Err(MasterError::Cut { .. }) => return Ok(Reload::Silent),
            reply => reply?,
        };
        reply::reload(&reply).ok_or_else(|| unknown("reload", &reply))
    }

    async fn info_by(&self, command: &str) -> Result<Info, MasterError> {
        let reply = self.ask(command, self.limit).await?;
        Info::parse(&reply).ok_or_else(|| unknown(command, &reply))
    }

    /// One command, for the master or with a prefix for a worker, and all that is answered.
    pub(crate) async fn ask(&self, command: &str, limit: Duration) -> Result<String, MasterError> {
        let slow = |_| MasterError::Slow { command: command.to_owned(), limit };
        tokio::time::timeout(limit, self.exchange(command, MAX_REPLY)).await.map_err(slow)?
    }

    async fn exchange(&self, command: &str, most: u64) -> Result<String, MasterError> {
        let connecting = |source| MasterError::Unreachable { socket: self.socket.clone(), source };
        let mut stream = UnixStream::connect(&self.socket).await.map_err(connecting)?;
        let cut = |source| MasterError::Cut { command: command.to_owned(), source };
        stream.write_all(format!("{command}\n").as_bytes()).await.map_err(cut)?;
        stream.shutdown().await.map_err(cut)?;
        let mut reply = Vec::new();
        stream.take(most + 1).read_to_end(&mut reply).await.map_err(cut)?;
        if u64::try_from(reply.len()).is_ok_and(|length| length > most) {
            return Err(MasterError::Flood { command: command.to_owned() });
        }
        Ok(String::from_utf8_lossy(&reply).into_owned())
    }
}

/// The master could not be asked, or gave no known answer.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// Nobody accepts connections: no HAProxy, a stale socket, no permission.
    #[error("connect to HAProxy's master socket {}", socket.display())]
    Unreachable {
        /// Which socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection ended before the answer: the master executes itself anew, or died.
    #[error("HAProxy's master ended the connection during \"{command}\"")]
    Cut {
        /// The command.
        command: String,
        /// How.
        source: io::Error,
    },
    /// No complete answer in time.
    #[error("HAProxy's master did not answer \"{command}\" within {} s", limit.as_secs_f32())]
    Slow {
        /// The command.
        command: String,
        /// How long it had.
        limit: Duration,
    },
    /// More than any real answer.
    #[error("HAProxy's master answered \"{command}\" with more than is possible")]
    Flood {
        /// The command.
        command: String,
    },
    /// An answer that is none of those known.
    #[error("HAProxy's master answered \"{command}\" with: {said}")]
    Unknown {
        /// The command.
        command: String,
        /// The beginning of the answer.
        said: String,
    },
}

impl MasterError {
    /// A master in the middle of a reload fails like this; asking again may help.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Cut { .. } | Self::Slow { .. } => true,
            Self::Unreachable { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            Self::Unknown { said, .. } => said.is_empty() || said.starts_with("Can't find the target"),
            Self::Flood { .. } => false,
        }
    }
}

fn unknown(command: &str, reply: &str) -> MasterError {
    let said = reply.trim().lines().next().unwrap_or_default();
    let said = said.chars().map(|c| if c.is_control() { '?' } else { c }).take(200).collect();
    MasterError::Unknown { command: command.to_owned(), said }
}

/// `show proc` with thousands of old workers fits; nothing else comes near.
const MAX_REPLY: u64 = 1024 * 1024;

/// Some hundred thousand servers.
const MAX_TABLE: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests;
