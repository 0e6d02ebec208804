//! tcpdump on a port of the lab's switch.
//!
//! Started by [`Lan::capture`](super::lan::Lan::capture); what it wrote is read by [`dissect`](super::dissect).

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;

use super::host::Host;
use super::lan::until;
use super::process::Process;

/// A running capture; dropping it ends it.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    pub(super) fn start(switch: &Host, port: &str, filter: &str) -> anyhow::Result<Self> {
        let file = tempfile::Builder::new().prefix(port).suffix(".pcap").tempfile_in(switch.dir())?;
        let file = file.into_temp_path().keep()?;
        let path = file.to_str().context("a path in UTF-8")?;
        // Each packet at once, and as root: the directory is root's alone.
        let args = ["-i", port, "-w", path, "-U", "--immediate-mode", "-s", "0", "-Z", "root", filter];
        let name = file.file_stem().and_then(|stem| stem.to_str()).context("a name in UTF-8")?;
        let process = switch.spawn(name, "tcpdump", &args)?;
        if !until(PATIENCE, || process.log().contains("listening on")) {
            bail!("tcpdump (Debian package tcpdump) does not listen: {}", process.log());
        }
        Ok(Self { process, file })
    }

    /// Ends it; the file, which lasts as long as the LAN.
    ///
    /// # Errors
    /// When tcpdump does not end.
    pub fn finish(mut self) -> anyhow::Result<PathBuf> {
        self.process.signal(Signal::SIGINT)?;
        self.process.wait(PATIENCE)?;
        Ok(self.file.clone())
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
