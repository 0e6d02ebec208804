//! The runtime API: changes a running HAProxy without a reload.
//!
//! Called by the reconcile loop. Carries out what [`crate::diff`] planned and reads back what runs;
//! decides nothing, and logs nothing. Every batch is a conversation of its own, bounded in time and
//! size, with the worker that it is meant for: `show info` proves it first.
//!
//! # How the loop uses it
//!
//! For the worker that is current the loop holds its [`Worker`], a [`Running`] and the [`Drains`].
//!
//! 1. A worker is new (HAProxy started, or a reload was confirmed): [`Running::loaded`] with the
//!    state whose file it loaded, [`Drains::forget`], and the [`Worker`] from [`Client::worker`],
//!    whose digest must be that file's. If it loaded a file whose state is not known, reload.
//! 2. The wanted state changed: `diff`. For `Plan::Runtime(ops)` call [`Client::apply`]; when it
//!    answers, [`Running::applied`] and [`Drains::note`], and within 500 ms write the files. For
//!    `Plan::Reload` do as ever, but with `Reloader::force`: a worker's digest names what it loaded,
//!    not what it runs since. Hold what changes meanwhile and compare it with the new worker: what
//!    is set in the old one is lost.
//! 3. An error: some of it may have happened. [`Client::read_back`], [`ReadBack::correct`],
//!    [`Drains::adopt`] with [`Running::leaving`], and `diff` again: `Unchanged` means that it did
//!    happen, anything else is a reload whose reason is the error. Certificates cannot be read
//!    back: where the batch had some, and where reading back fails, it is a reload at once.
//! 4. [`Drains::deadline`] is due: [`Client::sessions`] of [`Drains::backends`], [`Drains::tick`],
//!    [`Client::remove`] of what it says, and with each result [`Drains::ended`] and, for what is
//!    gone, [`Running::gone`]. An error here needs no reload: what drains gets nothing new.
//! 5. What goes on in old workers with servers that are gone has its time too: [`Lingering`],
//!    [`Client::end_sessions`].
//! 6. Backends of vanished apps stay, empty ([`Running::retired`]), until the next reload.
//!
//! [`Drains`]: drains::Drains
//! [`Lingering`]: lingering::Lingering
//! [`Drains::adopt`]: drains::Drains::adopt
//! [`Drains::backends`]: drains::Drains::backends
//! [`Drains::deadline`]: drains::Drains::deadline
//! [`Drains::ended`]: drains::Drains::ended
//! [`Drains::forget`]: drains::Drains::forget
//! [`Drains::note`]: drains::Drains::note
//! [`Drains::tick`]: drains::Drains::tick

mod command;
mod connection;
mod doubt;
pub mod drains;
mod error;
pub mod lingering;
mod old;
mod reply;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::bundle::{Digest, MapName};
use crate::diff::{MapChange, Op, Place, Running};
use crate::master::{Info, Master};
use crate::model::{BackendId, LbState};

use command::Command;
use connection::{Connection, Pipeline};
use drains::{Removal, Removed};
pub use error::RuntimeError;

/// A client of the workers of one HAProxy. Cheap: it holds no connection.
#[derive(Debug, Clone)]
pub struct Client {
    stats: PathBuf,
    master: Master,
    limit: Duration,
}

/// Which process is meant, or answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker {
    /// Its process id.
    pub pid: u32,
    /// The bundle that it loaded; none if it is not one of ours.
    pub digest: Option<Digest>,
}

impl Client {
    /// A client of the workers' socket and, where that does not lead to the right one, of the
    /// master's. A short batch may take `limit`, a long one more.
    pub fn new(stats: impl Into<PathBuf>, master: impl Into<PathBuf>, limit: Duration) -> Self {
        Self { stats: stats.into(), master: Master::new(master, limit), limit }
    }

    /// The current worker.
    ///
    /// # Errors
    /// See [`RuntimeError`].
    pub async fn worker(&self) -> Result<Worker, RuntimeError> {
        let open = async { self.open(None).await.map(|(_, worker)| worker) };
        self.bounded(0, open).await
    }

    /// Carries out operations in their order (certificates first), all of them or an error at the first
    /// that failed; those before it and some after it happened.
    ///
    /// # Errors
    /// See [`RuntimeError`].
    pub async fn apply(&self, worker: &Worker, ops: &[Op]) -> Result<(), RuntimeError> {
        let entries = |op: &Op| match op {
            Op::Map { change: MapChange::Swap { entries }, .. } => entries.len(),
            _ => 1,
        };
        let apply = async {
            let (mut connection, _) = self.open(Some(worker)).await?;
            let (certs, ops): (Vec<&Op>, Vec<&Op>) = ops.iter().partition(|op| matches!(op, Op::Cert { .. }));
            for op in certs {
                let filled = connection.carry_out(&command::of(op)).await;
                if filled.is_err() {
                    // The first error is the one to tell.
                    let _ = connection.ask(&command::give_up(op)).await;
                }
                filled?;
            }
            let mut batch = Vec::new();
            for op in ops {
                if let Op::Map { map, change: MapChange::Swap { entries } } = op {
                    connection.carry_out(&std::mem::take(&mut batch)).await?;
                    swap(&mut connection, map, entries).await?;
                } else {
                    batch.extend(command::of(op));
                }
            }
            connection.carry_out(&batch).await.map(drop)
        };
        self.bounded(ops.iter().map(entries).sum(), apply).await
    }

    /// How many sessions the servers of these backends have.
    ///
    /// # Errors
    /// See [`RuntimeError`].
    pub async fn sessions(
        &self,
        worker: &Worker,
        backends: &BTreeSet<BackendId>,
    ) -> Result<BTreeMap<Place, u32>, RuntimeError> {
        let ask = async {
            let (mut connection, _) = self.open(Some(worker)).await?;
            let commands: Vec<_> = backends.iter().map(Command::show_number).collect();
            let replies = connection.carry_out(&commands).await?;
            let mut numbered = Vec::new();
            for ((backend, command), reply) in backends.iter().zip(&commands).zip(&replies) {
                let number = reply::number(reply).ok_or_else(|| RuntimeError::refused(command, reply))?;
                numbered.extend(number.map(|number| (backend, Command::show_sessions(number))));
            }
            let (backends, commands): (Vec<_>, Vec<_>) = numbered.into_iter().unzip();
            let replies = connection.carry_out(&commands).await?;
            let mut sessions = BTreeMap::new();
            for ((backend, command), reply) in backends.into_iter().zip(&commands).zip(&replies) {
                let table = reply::sessions(reply).ok_or_else(|| RuntimeError::refused(command, reply))?;
                let place = |server| Place { backend: backend.clone(), server };
                sessions.extend(table.into_iter().map(|(server, count)| (place(server), count)));
            }
            Ok(sessions)
        };
        self.bounded(backends.len() * 2, ask).await
    }

    /// Closes servers that had their time, or deletes them.
    ///
    /// # Errors
    /// See [`RuntimeError`]. A server that is still busy is none.
    pub async fn remove(&self, worker: &Worker, removals: &[Removal]) -> Result<Vec<(Place, Removed)>, RuntimeError> {
        let batches: Vec<_> = removals.iter().map(Command::remove).collect();
        let remove = async {
            let (mut connection, _) = self.open(Some(worker)).await?;
            let mut replies = connection.ask(&batches.concat()).await?.into_iter();
            let mut results = Vec::with_capacity(removals.len());
            for (removal, commands) in removals.iter().zip(&batches) {
                let replies: Vec<_> = replies.by_ref().take(commands.len()).collect();
                results.push((removal.place.clone(), removed(removal, commands, &replies)?));
            }
            Ok(results)
        };
        self.bounded(batches.len() * 4, remove).await
    }

    /// Whether the worker can make backends (HAProxy 3.4).
    ///
    /// # Errors
    /// See [`RuntimeError`].
    pub async fn makes_backends(&self, worker: &Worker) -> Result<bool, RuntimeError> {
        let ask = async {
            let (mut connection, _) = self.open(Some(worker)).await?;
            let command = Command::make_backend();
            let replies = connection.ask(std::slice::from_ref(&command)).await?;
            Ok(replies.iter().all(|reply| command.accepts(reply)))
        };
        self.bounded(1, ask).await
    }

    /// All servers and all entries of `maps`, as they are.
    ///
    /// # Errors
    /// See [`RuntimeError`].
    pub async fn read_back(
        &self,
        worker: &Worker,
        maps: impl Iterator<Item = &MapName>,
    ) -> Result<ReadBack, RuntimeError> {
        let maps: Vec<MapName> = maps.cloned().collect();
        let read = async {
            let (mut connection, _) = self.open(Some(worker)).await?;
            let mut commands = vec![Command::show_servers()];
            commands.extend(maps.iter().map(Command::show_map));
            let replies = connection.carry_out(&commands).await?;
            let mut read = commands.iter().zip(&replies);
            let unreadable = |(command, reply): (&Command, &String)| RuntimeError::refused(command, reply);
            let first = read.next().ok_or(RuntimeError::Flood)?;
            let servers = reply::servers(first.1).ok_or_else(|| unreadable(first))?;
            let mut found = BTreeMap::new();
            for (map, (command, reply)) in maps.into_iter().zip(read) {
                found.insert(map, reply::map(reply).ok_or_else(|| unreadable((command, reply)))?);
            }
            Ok(ReadBack { servers, maps: found })
        };
        self.bounded(READ_BACK, read).await
    }

    /// A conversation with `worker`, or with the current one.
    async fn open(&self, worker: Option<&Worker>) -> Result<(Connection, Worker), RuntimeError> {
        let direct = async {
            let pipeline = Pipeline::open(&self.stats).await?;
            met(Connection::Stats(pipeline), worker).await
        };
        let because = match direct.await {
            Ok(met) => return Ok(met),
            Err(error) => error,
        };
        // The socket's file may be gone, or lead to a worker that failed to start or is on its way out.
        let target = worker.map_or_else(|| "@1".to_owned(), |worker| format!("@!{}", worker.pid));
        let around = Connection::Master { master: self.master.clone(), target, limit: self.limit };
        let (connection, found) = match met(around, worker).await {
            Ok(met) => met,
            // Without a master the first error says more.
            Err(RuntimeError::Master(_)) => return Err(because),
            Err(error) => return Err(error),
        };
        // Whoever is the first worker now may not be it for the next command.
        let connection = match connection {
            Connection::Master { master, limit, .. } => {
                Connection::Master { master, limit, target: format!("@!{}", found.pid) }
            }
            stats @ Connection::Stats(_) => stats,
        };
        Ok((connection, found))
    }

    async fn bounded<T>(
        &self,
        commands: usize,
        work: impl Future<Output = Result<T, RuntimeError>>,
    ) -> Result<T, RuntimeError> {
        let limit = self.limit + EACH * u32::try_from(commands).unwrap_or(u32::MAX);
        tokio::time::timeout(limit, work).await.map_err(|_| RuntimeError::Slow { limit })?
    }
}

/// What HAProxy runs, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBack {
    servers: reply::Servers,
    maps: BTreeMap<MapName, BTreeMap<String, String>>,
}

impl ReadBack {
    /// Puts what was read in the place of what was assumed; `diff` against `wanted` then tells what
    /// differs.
    pub fn correct(self, running: &mut Running, wanted: &LbState) {
        running.correct(&self.servers, wanted);
        for (map, entries) in self.maps {
            running.correct_map(map, entries);
        }
    }
}

/// Asks who is there, and refuses anybody but `worker`.
async fn met(mut connection: Connection, worker: Option<&Worker>) -> Result<(Connection, Worker), RuntimeError> {
    let command = Command::show_info();
    let replies = connection.ask(std::slice::from_ref(&command)).await?;
    let reply = replies.into_iter().next().unwrap_or_default();
    let info = Info::parse(&reply).ok_or_else(|| RuntimeError::refused(&command, &reply))?;
    let found = Worker { pid: info.pid, digest: info.digest() };
    if info.stopping || worker.is_some_and(|worker| *worker != found) {
        return Err(RuntimeError::OtherWorker { found: found.pid, stopping: info.stopping });
    }
    Ok((connection, found))
}

/// Replaces all entries of a map in one step.
async fn swap(connection: &mut Connection, map: &MapName, entries: &[(String, String)]) -> Result<(), RuntimeError> {
    let prepare = Command::prepare_map(map);
    let reply = connection.carry_out(std::slice::from_ref(&prepare)).await?.into_iter().next().unwrap_or_default();
    let version = command::version(&reply).ok_or_else(|| RuntimeError::refused(&prepare, &reply))?;
    let stage: Vec<_> = entries.iter().map(|(key, value)| Command::stage(map, version, key, value)).collect();
    let committed = match connection.carry_out(&stage).await {
        Ok(_) => connection.carry_out(&[Command::commit_map(map, version)]).await.map(drop),
        Err(error) => Err(error),
    };
    if committed.is_err() {
        // Half a version would take memory for ever. The first error is the one to tell.
        let _ = connection.ask(&[Command::clear_map(map, version)]).await;
    }
    committed
}

/// What became of one removal.
fn removed(removal: &Removal, commands: &[Command], replies: &[String]) -> Result<Removed, RuntimeError> {
    let Some((command, reply)) = commands.last().zip(replies.last()) else { return Ok(Removed::Busy) };
    if command::is_unknown(reply) {
        return Ok(Removed::Gone);
    }
    if command.accepts(reply) {
        return Ok(if removal.delete { Removed::Gone } else { Removed::Closed });
    }
    if command::is_busy(reply) {
        return Ok(Removed::Busy);
    }
    Err(RuntimeError::refused(command, reply))
}

/// What a command may take, in a long batch.
const EACH: Duration = Duration::from_millis(1);

/// Reading everything back may take as long as so many commands.
const READ_BACK: usize = 1_000;
