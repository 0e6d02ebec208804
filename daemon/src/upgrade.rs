//! The program that replaces this process in place: same path, same arguments, same pid.
//!
//! Used by the supervisor on SIGUSR2, once the virtual routers are told to sit the pause out. HAProxy
//! goes on meanwhile and is taken over by the new process.
#![allow(clippy::disallowed_methods, reason = "runs a program in real time")]

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::Stdio;
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

    /// Whether the installed program would start, with these arguments and the configuration as it is now: one that does
    /// not would end, and with a configuration that it refuses nobody would start it again.
    ///
    /// # Errors
    /// When it does not; with its own words.
    pub async fn check(&self) -> anyhow::Result<()> {
        let (command, args) = self.args.split_first().context("started without a command")?;
        let mut asked = tokio::process::Command::new(&self.path);
        asked.arg(command).arg("--trial").args(args).stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(PATIENCE, asked.output()).await;
        let output = ended.with_context(|| format!("{self} does not end"))?.with_context(|| format!("start {self}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{self} would not start ({}): {}", output.status, said.trim())
    }

    /// Becomes it. Comes back only with the reason why not.
    pub fn execute(&self) -> anyhow::Error {
        if let Err(capability) = self.ambient.restore() {
            log::warn!("{self} is executed without {capability}: the kernel does not give it back");
        }
        let Err(why) = self.become_it();
        why.context(format!("execute {self}"))
    }

    // Not by the standard library: it would let the signals through that are held back.
    fn become_it(&self) -> anyhow::Result<Infallible> {
        let path = CString::new(self.path.as_os_str().as_bytes())?;
        let own = std::iter::once(self.path.as_os_str()).chain(self.args.iter().map(OsString::as_os_str));
        let args = own.map(|arg| CString::new(arg.as_bytes())).collect::<Result<Vec<_>, _>>()?;
        Ok(nix::unistd::execv(&path, &args)?)
    }
}

/// For a trial; HAProxy is asked, too.
const PATIENCE: Duration = Duration::from_secs(5);
