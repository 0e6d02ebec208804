//! The program that replaces this process in place: same path, same arguments, same pid.
//!
//! Used by the supervisor on SIGUSR2, once the virtual routers are told to sit the pause out. HAProxy
//! goes on meanwhile and is taken over by the new process.
#![allow(clippy::disallowed_methods, reason = "runs a program in real time")]

use std::ffi::OsString;
use std::fmt;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::privileges::Ambient;

/// What this process was started as.
#[derive(Debug, Clone)]
pub struct Installed {
    path: PathBuf,
    args: Vec<OsString>,
    ambient: Ambient,
}

impl fmt::Display for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl Installed {
    /// To be called at the start: after an upgrade the running file has no name any more.
    ///
    /// # Errors
    /// Where /proc is missing.
    pub fn find(ambient: Ambient) -> anyhow::Result<Self> {
        let path = std::env::current_exe().context("find out where this program is (is /proc mounted?)")?;
        Ok(Self { path, args: std::env::args_os().skip(1).collect(), ambient })
    }

    /// Whether the installed program runs at all.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check(&self) -> anyhow::Result<()> {
        let mut command = tokio::process::Command::new(&self.path);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(PATIENCE, command.status()).await;
        let status = ended.with_context(|| format!("{self} --version does not end"))?;
        match status.with_context(|| format!("start {self}"))? {
            status if status.success() => Ok(()),
            status => bail!("{self} --version: {status}"),
        }
    }

    /// Becomes it. Comes back only with the reason why not.
    pub fn execute(&self) -> anyhow::Error {
        if let Err(capability) = self.ambient.restore() {
            log::warn!("{self} is executed without {capability}: the kernel does not give it back");
        }
        let why = Command::new(&self.path).args(&self.args).exec();
        anyhow::Error::new(why).context(format!("execute {self}"))
    }
}

/// For `--version`.
const PATIENCE: Duration = Duration::from_secs(5);
