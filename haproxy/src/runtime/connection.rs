//! One conversation with one worker: commands go in, as many answers come out.
//!
//! Opened by the client for each batch and closed after it, because a held connection keeps an old
//! worker alive. Over the worker's own socket the commands are pipelined in interactive mode, one a
//! line, where every answer ends with a prompt; over the master's, which does not tell answers
//! apart, each command has a connection of its own.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::RuntimeError;
use super::command::Command;
use crate::master::Master;

/// A conversation; ends when it is dropped.
pub(super) enum Connection {
    /// With the worker itself.
    Stats(Pipeline),
    /// Through the master.
    Master {
        /// The master.
        master: Master,
        /// `@!PID` or `@1`.
        target: String,
        /// How long one command may take.
        limit: Duration,
    },
}

impl Connection {
    /// Carries out commands in their order; the answers in the same order.
    pub(super) async fn ask(&mut self, commands: &[Command]) -> Result<Vec<String>, RuntimeError> {
        let texts: Vec<String> = commands.iter().map(Command::text).collect();
        if let Some(length) = texts.iter().map(String::len).max().filter(|length| *length > MAX_COMMAND) {
            return Err(RuntimeError::TooLong { length });
        }
        let mut replies = Vec::with_capacity(commands.len());
        match self {
            // HAProxy serves nobody else while it works through a batch: breathe now and then.
            Self::Stats(pipeline) => {
                for burst in texts.chunks(BURST) {
                    replies.append(&mut pipeline.exchange(&burst.concat(), burst.len()).await?);
                }
            }
            Self::Master { master, target, limit } => {
                for text in &texts {
                    let text = text.strip_suffix('\n').unwrap_or(text);
                    replies.push(master.ask(&format!("{target} {text}"), *limit).await?);
                }
            }
        }
        Ok(replies)
    }

    /// As [`Self::ask`]; an answer that is not on its command's list is an error.
    pub(super) async fn carry_out(&mut self, commands: &[Command]) -> Result<Vec<String>, RuntimeError> {
        let replies = self.ask(commands).await?;
        match commands.iter().zip(&replies).find(|(command, reply)| !command.accepts(reply)) {
            Some((command, reply)) => Err(RuntimeError::refused(command, reply)),
            None => Ok(replies),
        }
    }
}

/// The worker's socket in interactive mode.
pub(super) struct Pipeline {
    stream: UnixStream,
    received: Vec<u8>,
    total: usize,
}

impl Pipeline {
    /// Connects and waits for the first prompt.
    pub(super) async fn open(socket: &Path) -> Result<Self, RuntimeError> {
        let connecting = |source| RuntimeError::Unreachable { socket: socket.to_owned(), source };
        let stream = UnixStream::connect(socket).await.map_err(connecting)?;
        let mut pipeline = Self { stream, received: Vec::new(), total: 0 };
        pipeline.exchange("prompt\n", 1).await?;
        Ok(pipeline)
    }

    /// Sends and receives at once: HAProxy reads no further while nobody takes its answers.
    async fn exchange(&mut self, text: &str, count: usize) -> Result<Vec<String>, RuntimeError> {
        let Self { stream, received, total } = self;
        let (mut reader, mut writer) = stream.split();
        let cut = |source| RuntimeError::Cut { source };
        let send = async { writer.write_all(text.as_bytes()).await.map_err(cut) };
        let receive = async {
            let mut replies = Vec::with_capacity(count);
            let mut searched = 0;
            while replies.len() < count {
                let from = searched.min(received.len());
                if let Some(at) = find(&received[from..], PROMPT).map(|at| from + at) {
                    replies.push(String::from_utf8_lossy(&received[..at]).into_owned());
                    received.drain(..at + PROMPT.len());
                    searched = 0;
                    continue;
                }
                searched = received.len().saturating_sub(PROMPT.len() - 1);
                let read = reader.read_buf(received).await.map_err(cut)?;
                if read == 0 {
                    return Err(cut(std::io::ErrorKind::UnexpectedEof.into()));
                }
                *total += read;
                if *total > MAX_REPLIES {
                    return Err(RuntimeError::Flood);
                }
            }
            Ok(replies)
        };
        tokio::try_join!(send, receive).map(|((), replies)| replies)
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// What ends each answer in interactive mode.
const PROMPT: &[u8] = b"\n> ";

/// HAProxy reads a line with its payload into `tune.bufsize` (16,384) less `tune.maxrewrite` (1,024).
const MAX_COMMAND: usize = 15_000;

/// Commands in a row; measured, traffic does not notice so many.
const BURST: usize = 200;

/// In one conversation: some hundred thousand servers.
const MAX_REPLIES: usize = 64 * 1024 * 1024;
