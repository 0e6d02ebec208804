//! Whether HAProxy serves, noticed within milliseconds of a crash and without a process of its own.
//!
//! Driven by the daemon, for whoever decides about floating addresses. A connection to the master
//! is held without a command on it: it ends with the master, which ends with its worker. Besides,
//! the worker is asked for `show info` twice a second, on its own socket, which answers also while
//! the master executes itself anew for a reload. Decides nothing about what to do.
#![allow(clippy::disallowed_methods, reason = "watches a real process in real time")]

use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::bundle::Digest;
use crate::child::process::{parent, start_time};
use crate::master::{Info, Master};

/// How HAProxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// There is none, or its master has ended.
    Down,
    /// The process lives and did not answer [`MISSES`] times in a row.
    Silent,
    /// The worker answers; it runs this bundle, if it is one of ours.
    Serves(Option<Digest>),
}

/// Watches one HAProxy.
#[derive(Debug)]
pub struct Watch {
    master: Master,
    worker: Master,
    held: Option<UnixStream>,
    /// The master's process id and start time; no time where /proc hides other users' processes.
    known: Option<(u32, Option<u64>)>,
    misses: u32,
    next: Instant,
    life: Life,
}

impl Watch {
    /// Watches the HAProxy with these two sockets, the master's and the worker's.
    pub fn new(master: impl Into<PathBuf>, worker: impl Into<PathBuf>) -> Self {
        Self {
            master: Master::new(master, PATIENCE),
            worker: Master::new(worker, PATIENCE),
            held: None,
            known: None,
            misses: 0,
            next: Instant::now(),
            life: Life::Down,
        }
    }

    /// How it was last seen.
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// Looks for the first time, for at most a second. A master that refuses may be executing itself anew: its worker,
    /// which goes on, names it.
    pub async fn look(&mut self) -> &Life {
        let _ = timeout(PATIENCE, self.step()).await;
        if self.known.is_none()
            && let Ok(Ok(info)) = timeout(PATIENCE, self.worker.own_info()).await
            && let Some(master) = parent(info.pid).filter(|pid| *pid > 1 && !info.stopping)
        {
            self.known = Some((master, start_time(master)));
            self.life = Life::Serves(info.digest());
        }
        &self.life
    }

    /// Waits until it is otherwise than when last seen. Cancel safe.
    pub async fn changed(&mut self) -> &Life {
        let before = self.life.clone();
        while self.life == before {
            self.step().await;
        }
        &self.life
    }

    async fn step(&mut self) {
        if self.held.is_none() && !self.hold().await {
            sleep(RETRY).await;
        }
        if Instant::now() >= self.next {
            self.next = Instant::now() + PERIOD;
            self.ask().await;
            return;
        }
        let Some(held) = &mut self.held else { return };
        let mut byte = [0];
        tokio::select! {
            // An idle master says nothing, so this is its end, or its connection's.
            _ = held.read(&mut byte) => {
                self.held = None;
                self.next = Instant::now();
            }
            () = sleep_until(self.next) => (),
        }
    }

    /// Opens the connection to hold; whether there is one. A master that refuses is down unless it
    /// is the one known, which refuses while it executes itself anew.
    async fn hold(&mut self) -> bool {
        if let Ok(stream) = UnixStream::connect(self.master.socket()).await {
            let Ok(processes) = self.master.processes().await else { return false };
            let pid = processes.master.pid;
            self.known = Some((pid, start_time(pid)));
            self.held = Some(stream);
            self.next = Instant::now();
            return true;
        }
        if !self.known.is_some_and(|(pid, started)| lives(pid, started)) {
            self.known = None;
            self.misses = 0;
            self.life = Life::Down;
            // The next one is asked as soon as it is there.
            self.next = Instant::now() + PERIOD;
        }
        false
    }

    async fn ask(&mut self) {
        if self.known.is_none() {
            return;
        }
        // Two sockets may be asked, within the time of one.
        if let Ok(Some(info)) = timeout(PATIENCE, self.info()).await {
            self.misses = 0;
            self.life = Life::Serves(info.digest());
            return;
        }
        self.misses += 1;
        if self.misses >= MISSES && !matches!(self.life, Life::Down) {
            self.life = Life::Silent;
        }
    }

    /// What the worker says. A configuration that is not ours may have no socket for it.
    async fn info(&self) -> Option<Info> {
        match self.worker.own_info().await {
            Ok(info) => Some(info),
            Err(_) => self.master.info().await.ok(),
        }
    }
}

/// Whether it is still the same process.
fn lives(pid: u32, started: Option<u64>) -> bool {
    match (started, i32::try_from(pid)) {
        (Some(_), _) => start_time(pid) == started,
        (None, Ok(pid)) if pid > 1 => kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH),
        (None, _) => false,
    }
}

/// Misses in a row until a live process counts as silent: more than a second.
pub const MISSES: u32 = 3;

/// From one question to the next.
const PERIOD: Duration = Duration::from_millis(500);

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// From one attempt to connect to the next.
const RETRY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_lives_also_where_its_start_cannot_be_read() {
        let me = std::process::id();
        assert!(lives(me, start_time(me)));
        assert!(!lives(me, Some(0)), "another process with the same number");
        assert!(lives(me, None));
        assert!(lives(std::os::unix::process::parent_id(), None));
        assert!(!lives(u32::MAX, None));
        assert!(!lives(0x7fff_fff0, None), "more than any kernel gives");
    }
}
