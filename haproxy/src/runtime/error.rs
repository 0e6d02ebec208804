//! Why a batch failed. Whoever gets one of these knows nothing of what HAProxy did: read it back.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::command::Command;
use crate::master::MasterError;

/// A batch that was not carried out, or not wholly, or without proof.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Nobody accepts connections.
    #[error("connect to HAProxy's runtime socket {}", socket.display())]
    Unreachable {
        /// Which socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The conversation ended in the middle.
    #[error("HAProxy ended the connection to its runtime socket in the middle of a batch")]
    Cut {
        /// How.
        source: io::Error,
    },
    /// Not all answers came in time.
    #[error("HAProxy's runtime socket did not answer within {} s", limit.as_secs_f32())]
    Slow {
        /// How long it had.
        limit: Duration,
    },
    /// More than any real answer.
    #[error("HAProxy's runtime socket answered without end")]
    Flood,
    /// Another process answered than the one meant.
    #[error("another worker answered, process {found}{}", if *stopping { ", which is about to end" } else { "" })]
    OtherWorker {
        /// Its process id.
        found: u32,
        /// It was told to end.
        stopping: bool,
    },
    /// HAProxy did not do it, or said something that is not known to mean that it did.
    #[error("HAProxy answered \"{command}\" with: {said}")]
    Refused {
        /// The command.
        command: String,
        /// The beginning of what it said.
        said: String,
    },
    /// A command that HAProxy would cut off.
    #[error("a command of {length} bytes is longer than HAProxy's runtime socket takes")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Through the master.
    #[error(transparent)]
    Master(#[from] MasterError),
}

impl RuntimeError {
    pub(super) fn refused(command: &Command, reply: &str) -> Self {
        let line = reply.trim().lines().next().unwrap_or("nothing");
        let shown = |text: &str| text.chars().map(|c| if c.is_control() { '?' } else { c }).take(200).collect();
        Self::Refused { command: shown(command.line()), said: shown(line) }
    }
}
