//! HAProxy as a child of the daemon (`manage = "child"`): started, watched, restarted, stopped.
//!
//! The daemon's supervisor drives [`Supervisor::next`]; nothing is spawned as a task. The child has
//! its own process group and an empty environment and outlives a crash of the daemon: the next
//! daemon adopts it through its master socket. Only [`Supervisor::stop`] ends it. Knows nothing of
//! bundles but where the current one is.
#![allow(clippy::disallowed_methods, reason = "supervises a real process in real time")]

use std::ffi::OsStr;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::disk::{Disk, DiskError, Found};
use crate::master::Master;

mod grant;
mod nofile;
pub(crate) mod process;

pub use nofile::{NofileShort, raise_nofile};
use process::{Process, Signal};

/// How HAProxy is started.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The binary, as an absolute path: the master executes itself anew at every reload.
    pub binary: PathBuf,
    /// Where its configuration is.
    pub disk: Disk,
    /// Where its master socket shall be.
    pub socket: PathBuf,
    /// The mode of that socket, such as `0o600`: it is as good as root over the traffic.
    pub socket_mode: u32,
    /// The times.
    pub times: Times,
}

/// The times of supervision.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// How long a start may take until a worker is up.
    pub ready: Duration,
    /// How often a start, or an adopted process, is looked at.
    pub poll: Duration,
    /// How long connections may take to finish after a stop.
    pub grace: Duration,
    /// How long HAProxy may take to end once told to end at once.
    pub kill: Duration,
    /// The pause before the second restart in a row, doubled with each; the first is at once.
    pub backoff: Duration,
    /// The longest such pause.
    pub backoff_max: Duration,
    /// After running this long, a death counts as the first again.
    pub stable: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            ready: Duration::from_secs(30),
            poll: Duration::from_millis(10),
            grace: Duration::from_secs(20),
            kill: Duration::from_secs(2),
            backoff: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
            stable: Duration::from_secs(10),
        }
    }
}

/// Keeps one HAProxy running.
#[derive(Debug)]
pub struct Supervisor {
    setup: Setup,
    master: Master,
    state: State,
    /// Deaths and failed starts in a row.
    failures: u32,
    /// How long one that is there and does not answer is waited for.
    between: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Idle {
        until: Instant,
    },
    /// `look`: when to ask next whether a worker is up.
    Starting {
        process: Process,
        from: Found,
        deadline: Instant,
        look: Instant,
    },
    Running {
        process: Process,
        since: Instant,
    },
    Stopped,
}

/// What happened to HAProxy.
#[derive(Debug)]
pub enum Event {
    /// It was started and a worker is up.
    Started {
        /// The master's process id.
        pid: u32,
        /// What it was started from.
        from: Found,
    },
    /// One that an earlier daemon had started was found running.
    Adopted {
        /// The master's process id.
        pid: u32,
    },
    /// It ended by itself, and is started again after the pause.
    Ended {
        /// The master's process id.
        pid: u32,
        /// How; unknown for an adopted one.
        status: Option<ExitStatus>,
        /// How long it had run.
        ran: Duration,
        /// The pause.
        restart_in: Duration,
    },
    /// It did not come up, and is started again after the pause.
    NotStarted {
        /// Why.
        error: StartError,
        /// The pause.
        restart_in: Duration,
    },
}

/// Why HAProxy did not come up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The binary cannot be executed.
    #[error("start {}", binary.display())]
    Spawn {
        /// Which.
        binary: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It ended before a worker was up; its messages went to the daemon's standard error.
    #[error("HAProxy ended while starting ({status})")]
    Exited {
        /// How.
        status: ExitStatus,
    },
    /// No worker came up in time; it was killed.
    #[error("HAProxy had no worker up within {} s and was killed", limit.as_secs_f32())]
    Slow {
        /// How long it had.
        limit: Duration,
    },
}

/// How an orderly stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// There was nothing to stop.
    NotRunning,
    /// All connections finished within the grace time.
    Gracefully,
    /// Connections that were still open were cut.
    Cut,
    /// It did not even end at once when told to, and was killed.
    Killed,
}

impl Supervisor {
    /// Starts nothing yet: that is [`Self::next`].
    pub fn new(setup: Setup) -> Self {
        let master = Master::new(&setup.socket, Duration::from_secs(1));
        Self { setup, master, state: State::Idle { until: Instant::now() }, failures: 0, between: None }
    }

    /// The master's process id while there is one.
    pub fn pid(&self) -> Option<u32> {
        match &self.state {
            State::Starting { process, .. } | State::Running { process, .. } => Some(process.pid()),
            State::Idle { .. } | State::Stopped => None,
        }
    }

    /// Does what is next and returns when something has happened. May be dropped and called again
    /// at any time. Waits while there is no configuration to start from, and for ever after a stop.
    pub async fn next(&mut self) -> Event {
        loop {
            match &mut self.state {
                State::Stopped => pending().await,
                State::Idle { until } => {
                    sleep_until(*until).await;
                    if let Some(event) = self.begin().await {
                        return event;
                    }
                }
                State::Starting { process, from, deadline, look } => {
                    let (pid, from, limit) = (process.pid(), *from, self.setup.times.ready);
                    let error = tokio::select! {
                        status = process.ended() => match status {
                            Some(status) => StartError::Exited { status },
                            None => StartError::Slow { limit },
                        },
                        up = is_up(&self.master, pid, *look) => {
                            if up {
                                self.run_from_now();
                                return Event::Started { pid, from };
                            }
                            *look = Instant::now() + self.setup.times.poll;
                            continue;
                        }
                        () = sleep_until(*deadline) => StartError::Slow { limit },
                    };
                    process.kill_group();
                    return Event::NotStarted { error, restart_in: self.pause() };
                }
                State::Running { process, since } => {
                    let (pid, since) = (process.pid(), *since);
                    let status = process.ended().await;
                    // A worker left behind would share the ports with the next one's.
                    process.kill_group();
                    let ran = since.elapsed();
                    if ran >= self.setup.times.stable {
                        self.failures = 0;
                    }
                    return Event::Ended { pid, status, ran, restart_in: self.pause() };
                }
            }
        }
    }

    /// Ends HAProxy: softly, after `grace` at once, and if that does not help by force. To be run
    /// to its end: dropped halfway it leaves HAProxy running, for the next daemon to adopt.
    pub async fn stop(&mut self) -> Stopped {
        let (State::Starting { mut process, .. } | State::Running { mut process, .. }) =
            std::mem::replace(&mut self.state, State::Stopped)
        else {
            return Stopped::NotRunning;
        };
        let times = self.setup.times;
        let mut stopped = Stopped::Killed;
        for (signal, limit, outcome) in
            [(Signal::SIGUSR1, times.grace, Stopped::Gracefully), (Signal::SIGTERM, times.kill, Stopped::Cut)]
        {
            process.signal(signal);
            if timeout(limit, process.ended()).await.is_ok() {
                stopped = outcome;
                break;
            }
        }
        process.kill_group();
        process.ended().await;
        stopped
    }

    /// Adopts what runs, or starts the current configuration if there is one.
    async fn begin(&mut self) -> Option<Event> {
        let mut socket = self.setup.socket.clone().into_os_string();
        socket.push(",");
        let running = self.master.processes().await.ok();
        if running.is_none() && self.is_between(&socket) {
            self.state = State::Idle { until: Instant::now() + self.setup.times.poll };
            return None;
        }
        self.between = None;
        if let Some(process) = running.and_then(|found| Process::adopt(found.master.pid, self.setup.times.poll)) {
            let pid = process.pid();
            self.state = State::Running { process, since: Instant::now() };
            return Some(Event::Adopted { pid });
        }
        let from = match self.setup.disk.recover() {
            Ok(Found::Nothing) => {
                self.state = State::Idle { until: Instant::now() + self.setup.times.poll };
                return None;
            }
            Ok(found) => found,
            Err(error) => return Some(Event::NotStarted { error: error.into(), restart_in: self.pause() }),
        };
        socket.push(format!("mode,{:o},level,admin", self.setup.socket_mode));
        let config = self.setup.disk.config();
        let args = ["-W".as_ref(), "-S".as_ref(), socket.as_os_str(), "-f".as_ref(), config.as_os_str()];
        match Process::start(&self.setup.binary, args) {
            Ok(process) => {
                let deadline = Instant::now() + self.setup.times.ready;
                self.state = State::Starting { process, from, deadline, look: Instant::now() };
                None
            }
            Err(source) => {
                let error = StartError::Spawn { binary: self.setup.binary.clone(), source };
                Some(Event::NotStarted { error, restart_in: self.pause() })
            }
        }
    }

    /// Whether an HAProxy of an earlier daemon lives whose socket does not answer for the moment: it executes itself
    /// anew, for a reload that was asked for. A second one would share its ports and never be ended.
    fn is_between(&mut self, socket: &OsStr) -> bool {
        let Some(pid) = process::with_argument(socket) else { return false };
        let now = Instant::now();
        if now < *self.between.get_or_insert(now + self.setup.times.ready) {
            return true;
        }
        // It had its time.
        if let Some(process) = Process::adopt(pid, self.setup.times.poll) {
            process.kill_group();
        }
        false
    }

    fn run_from_now(&mut self) {
        let now = Instant::now();
        let state = std::mem::replace(&mut self.state, State::Idle { until: now });
        if let State::Starting { process, .. } = state {
            self.state = State::Running { process, since: now };
        }
    }

    /// Goes idle for the pause that the failures in a row ask for.
    fn pause(&mut self) -> Duration {
        let times = self.setup.times;
        let pause = match self.failures {
            0 => Duration::ZERO,
            n => times.backoff.saturating_mul(1 << (n - 1).min(16)).min(times.backoff_max),
        };
        self.failures = self.failures.saturating_add(1);
        self.state = State::Idle { until: Instant::now() + pause };
        pause
    }
}

/// Asks, at that time, whether this master has a worker, and whether that answers: from 3.1 on a worker
/// is listed before it listens.
async fn is_up(master: &Master, pid: u32, at: Instant) -> bool {
    sleep_until(at).await;
    let there = master.processes().await.is_ok_and(|found| found.master.pid == pid && !found.workers.is_empty());
    there && master.info().await.is_ok()
}
