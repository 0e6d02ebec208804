//! A real `baton` process with its HAProxy, started by a test and gone with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::leftover;

/// A running daemon.
pub struct Baton {
    child: Child,
    dir: TempDir,
    flags: Vec<String>,
}

impl Baton {
    /// Starts `baton run` with `toml` (the `[haproxy]` directories and the socket are added) and
    /// `flags`, and waits until it answers on its socket.
    ///
    /// # Errors
    /// When it ends at once, or does not answer within ten seconds; its log is in the error.
    pub async fn start(toml: &str, flags: &[&str]) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("baton-").tempdir()?;
        Self::start_in(dir, toml, flags).await
    }

    /// As `start`, in a directory that an earlier one left behind.
    ///
    /// # Errors
    /// As `start`.
    pub async fn start_in(dir: TempDir, toml: &str, flags: &[&str]) -> anyhow::Result<Self> {
        write_config(dir.path(), toml)?;
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self::launch(dir, flags).await
    }

    async fn launch(dir: TempDir, flags: Vec<String>) -> anyhow::Result<Self> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.path().join("log"))?;
        let child = Command::new(binary("baton")?)
            .arg("run")
            .arg("--config")
            .arg(dir.path().join("baton.toml"))
            .args(&flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start baton")?;
        let mut baton = Self { child, dir, flags };
        for _ in 0..1_000 {
            if baton.status().await.is_ok() {
                return Ok(baton);
            }
            if let Some(status) = baton.child.try_wait()? {
                bail!("baton ended with {status}:\n{}", baton.log());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("baton does not answer on its socket:\n{}", baton.log());
    }

    /// The directory that holds everything of this daemon.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces the configuration file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_config(&self, toml: &str) -> anyhow::Result<()> {
        write_config(self.dir.path(), toml)
    }

    /// What it wrote to its log, HAProxy's lines among it.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The configuration that HAProxy runs.
    pub fn haproxy_cfg(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("state/current/haproxy.cfg")).unwrap_or_default()
    }

    /// Its status, as `baton status --json` prints it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self) -> anyhow::Result<Value> {
        let mut stream = UnixStream::connect(self.dir.path().join("baton.sock")).await?;
        stream.write_all(b"GET /status HTTP/1.1\r\nHost: baton\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
        Ok(serde_json::from_str(body)?)
    }

    /// Waits until `done` says so about its status.
    ///
    /// # Errors
    /// When that takes more than 20 seconds; the last status and the log are in the error.
    pub async fn until(&self, what: &str, mut done: impl FnMut(&Value) -> bool) -> anyhow::Result<Value> {
        let mut last = Value::Null;
        for _ in 0..2_000 {
            if let Ok(status) = self.status().await {
                if done(&status) {
                    return Ok(status);
                }
                last = status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("never {what}; the last status:\n{last:#}\nthe log:\n{}", self.log());
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.child.id().context("baton has ended")?;
        Ok(kill(Pid::from_raw(i32::try_from(pid)?), signal)?)
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The CPU time that it has used, without its HAProxy.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu_time(&self) -> anyhow::Result<Duration> {
        Ok(leftover::cpu_time(i32::try_from(self.child.id().context("baton has ended")?)?))
    }

    /// The most memory that it ever held, in bytes.
    ///
    /// # Errors
    /// When it is gone.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        let pid = self.child.id().context("baton has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// How many masters of HAProxy run for it.
    pub fn masters(&self) -> usize {
        // By their names: a master that executes itself has no command line for a moment.
        let is_haproxy =
            |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "haproxy");
        let master = |pid: i32| leftover::parent(pid).filter(is_haproxy).unwrap_or(pid);
        haproxy_of(self.dir.path()).into_iter().map(master).collect::<BTreeSet<_>>().len()
    }

    /// Kills its HAProxy, master and workers at once.
    pub fn kill_haproxy(&self) {
        kill_haproxy_of(self.dir.path());
    }

    /// Kills it without warning and starts another one in its place.
    ///
    /// # Errors
    /// As `start`.
    pub async fn kill_and_restart(mut self) -> anyhow::Result<Self> {
        self.child.start_kill()?;
        self.child.wait().await?;
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir()?);
        Self::launch(dir, std::mem::take(&mut self.flags)).await
    }

    /// Ends it in order and gives back its directory.
    ///
    /// # Errors
    /// When it does not end within ten seconds.
    pub async fn stop(mut self) -> anyhow::Result<TempDir> {
        self.signal(Signal::SIGTERM)?;
        let ended = tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await;
        if ended.is_err() {
            bail!("baton does not end on SIGTERM:\n{}", self.log());
        }
        // Dropping kills what still runs; the directory is handed on.
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir()?);
        Ok(dir)
    }
}

impl Drop for Baton {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            // In order first: it takes its HAProxy with it, unless connections are still open.
            let _ = self.signal(Signal::SIGTERM);
            for _ in 0..200 {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = self.child.start_kill();
        }
        kill_haproxy_of(self.dir.path());
    }
}

/// Kills every process whose command line names the master socket in `dir`, which is ours alone.
fn kill_haproxy_of(dir: &Path) {
    for pid in haproxy_of(dir) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Masters and workers that were started with the master socket in `dir`.
fn haproxy_of(dir: &Path) -> Vec<i32> {
    let socket = dir.join("run/master.sock");
    let named = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&*socket.to_string_lossy())
    };
    leftover::processes().filter(named).collect()
}

/// A binary of this workspace, built beside this one.
///
/// # Errors
/// When it has not been built.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let mut dir = std::env::current_exe()?;
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    let path = dir.join(name);
    if !path.exists() {
        bail!("{} is not built: `make e2e` builds it, or `cargo build --workspace --bins`", path.display());
    }
    Ok(path)
}

/// Writes `baton.toml` into `dir`, its directories and socket added.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write_config(dir: &Path, toml: &str) -> anyhow::Result<()> {
    let dir_text = dir.display();
    let text = format!("admin.socket = \"{dir_text}/baton.sock\"\n{toml}");
    let haproxy = format!("state_dir = \"{dir_text}/state\"\nrun_dir = \"{dir_text}/run\"\n");
    let text = match text.split_once("[haproxy]\n") {
        Some((before, after)) => format!("{before}[haproxy]\n{haproxy}{after}"),
        None => format!("{text}\n[haproxy]\n{haproxy}"),
    };
    std::fs::write(dir.join("baton.toml"), text)?;
    Ok(())
}
