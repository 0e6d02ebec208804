//! A load balancer with keepalived and an HAProxy of a fixed configuration: what `baton` is compared with, and its peer.
//!
//! The real keepalived, one pair of processes a host, with its own files. Its configuration is made of
//! [`Router`]s by `config`. Whether it is Active is seen by the addresses that the host holds.

mod config;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use self::config::{Check, render};
use super::front::Front;
use super::host::{Host, kill_at_once};
use super::process::Process;
use super::router::Router;

/// keepalived and HAProxy on a host.
#[derive(Debug)]
pub struct Keepalived {
    host: Arc<Host>,
    routers: Vec<Router>,
    check: Option<Duration>,
    realtime: bool,
    process: Option<Process>,
    /// Its HAProxy.
    pub front: Front,
}

impl Keepalived {
    /// Starts both.
    ///
    /// # Errors
    /// When one does not start.
    pub fn start(host: &Arc<Host>, router: Router) -> anyhow::Result<Self> {
        let mut keepalived = Self::prepare(host, vec![router])?;
        keepalived.resume()?;
        Ok(keepalived)
    }

    /// Starts HAProxy only; keepalived with `resume`, once it is set up.
    ///
    /// # Errors
    /// When it does not start.
    pub fn prepare(host: &Arc<Host>, routers: Vec<Router>) -> anyhow::Result<Self> {
        let (host, front) = (Arc::clone(host), Front::start(host)?);
        Ok(Self { host, routers, check: None, realtime: false, process: None, front })
    }

    /// Where it runs.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// What it is told, from its next start on.
    pub fn routers_mut(&mut self) -> &mut Vec<Router> {
        &mut self.routers
    }

    /// From its next start on, a script looks so often whether HAProxy lives; without one nobody does.
    pub fn check_every(&mut self, interval: Duration) {
        self.check = Some(interval);
    }

    /// From its next start on it comes before other processes, as its manual advises for short intervals.
    pub fn realtime(&mut self) {
        self.realtime = true;
    }

    /// Starts keepalived, after `prepare`, `stop` or `kill`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        let dir = self.host.dir();
        let script = dir.join("check");
        std::fs::write(&script, format!("#!/bin/sh\nkill -0 $(cat {})\n", Front::pid_file(&self.host).display()))?;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
        let check = self.check.map(|interval| Check { script: &script, interval });
        std::fs::write(
            dir.join("keepalived.conf"),
            render(&self.routers, self.host.name(), check.as_ref(), self.realtime),
        )?;
        let path = |name: &str| dir.join(name).to_str().map(str::to_owned).context("a path in UTF-8");
        let config = path("keepalived.conf")?;
        for name in PID_FILES {
            // A killed one leaves them behind, and a child that nobody has reaped yet counts as running.
            let _ = std::fs::remove_file(dir.join(name));
        }
        let pids = PID_FILES.map(path);
        let pids = pids.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        // Only VRRP, in the foreground, its log to the console and not to syslog.
        let args = ["-P", "-n", "-l", "-G", "-D", "-f", &config, "-p", &pids[1], "-r", &pids[0], "-c", &pids[2]];
        let args = [&args[..], &["-b", &pids[3]]].concat();
        self.process = Some(self.host.spawn("keepalived", "keepalived", &args)?);
        Ok(())
    }

    /// Stops keepalived in order and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if self.process.is_some() {
            self.begin_stop()?;
        }
        self.end()
    }

    /// Waits for the end of a keepalived that was asked to stop.
    ///
    /// # Errors
    /// When it does not end.
    pub fn end(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.wait(PATIENCE)?;
        }
        Ok(())
    }

    /// Asks keepalived to stop and does not wait.
    ///
    /// # Errors
    /// When it does not run.
    pub fn begin_stop(&self) -> anyhow::Result<()> {
        self.process.as_ref().context("keepalived does not run")?.signal(Signal::SIGTERM)
    }

    /// Kills all of its processes at once; what it put on the interface stays.
    pub fn kill(&mut self) {
        kill_at_once(&self.pids());
        // Dropping does the same for a child that is not in the files yet.
        self.process = None;
    }

    /// Stops all of its processes where they are.
    pub fn freeze(&self) {
        self.signal_all(Signal::SIGSTOP);
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        self.signal_all(Signal::SIGCONT);
    }

    fn signal_all(&self, signal: Signal) {
        for pid in self.pids() {
            // One that has just ended needs none.
            let _ = kill(pid, signal);
        }
    }

    /// The CPU time that its processes have used.
    pub fn cpu_time(&self) -> Duration {
        self.process.as_ref().map(Process::cpu_time).unwrap_or_default()
    }

    /// The child that speaks VRRP and its parent, from their files: looking through all processes takes longer than some
    /// advertisement intervals.
    fn pids(&self) -> Vec<Pid> {
        if self.process.is_none() {
            return Vec::new();
        }
        let of = |name: &&str| std::fs::read_to_string(self.host.dir().join(*name)).ok()?.trim().parse().ok();
        PID_FILES[..2].iter().filter_map(of).map(Pid::from_raw).collect()
    }

    /// Whether keepalived runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Lets it read its configuration again.
    ///
    /// # Errors
    /// When it does not run.
    pub fn reload(&self) -> anyhow::Result<()> {
        self.process.as_ref().context("keepalived does not run")?.signal(Signal::SIGHUP)
    }

    /// What it logged since the host was made.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.host.dir().join("keepalived.log")).unwrap_or_default()
    }
}

/// Of the child that speaks VRRP, its parent, and the children that we do not have.
const PID_FILES: [&str; 4] = ["vrrp.pid", "parent.pid", "checkers.pid", "bfd.pid"];

const PATIENCE: Duration = Duration::from_secs(20);
