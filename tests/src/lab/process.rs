//! A process on a lab host, with its descendants: signals, its end, its log.
//!
//! Started by [`Host::spawn`](super::host::Host::spawn). Knows nothing of what the process is.
#![allow(clippy::disallowed_methods, reason = "waits for a real process")]

use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::bail;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::host::kill_at_once;
use super::leftover;

/// A running process; dropping it kills it and its descendants.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    ended: bool,
}

impl Process {
    pub(super) fn new(child: Child, log: PathBuf) -> Self {
        Self { child, log, ended: false }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    /// It and its descendants, children first.
    pub fn family(&self) -> Vec<Pid> {
        let parents: Vec<(i32, Option<i32>)> = leftover::processes().map(|pid| (pid, leftover::parent(pid))).collect();
        let mut family = vec![self.pid().as_raw()];
        let mut known = 0;
        while known < family.len() {
            let of = family[known];
            family.extend(parents.iter().filter(|(_, parent)| *parent == Some(of)).map(|(pid, _)| *pid));
            known += 1;
        }
        family.into_iter().rev().map(Pid::from_raw).collect()
    }

    /// Sends it a signal, not its descendants.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        if self.ended {
            bail!("process {} has ended", self.pid());
        }
        Ok(kill(self.pid(), signal)?)
    }

    /// Sends it and its descendants a signal.
    pub fn signal_family(&self, signal: Signal) {
        for pid in self.family() {
            // One that has just ended needs none.
            let _ = kill(pid, signal);
        }
    }

    /// Kills it and its descendants at once, so that none can say farewell to its peers.
    pub fn kill_family(&mut self) {
        if !self.ended {
            kill_at_once(&self.family());
            let _ = self.child.wait();
            self.ended = true;
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When that takes longer than `patience`; its log is in the error.
    pub fn wait(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.ended = true;
                return Ok(status);
            }
            if began.elapsed() > patience {
                bail!("process {} does not end:\n{}", self.pid(), self.log());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        if !self.ended {
            self.ended = !matches!(self.child.try_wait(), Ok(None));
        }
        !self.ended
    }

    /// The CPU time that it and its living descendants have used.
    pub fn cpu_time(&self) -> Duration {
        self.family().into_iter().map(|pid| leftover::cpu_time(pid.as_raw())).sum()
    }

    /// Where it logs to.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// What it and earlier ones of the same name logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_family();
    }
}
