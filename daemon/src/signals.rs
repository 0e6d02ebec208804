//! The signals that mean something to the daemon, and how none is lost while it executes another program in place.
//!
//! The supervisor waits for them; an upgrade holds them back, for until the new program listens a signal would end it.

use anyhow::Context as _;
use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{self, SignalKind};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM, SIGINT.
    Stop,
    /// SIGHUP: read configuration and apps again.
    Reload,
    /// SIGUSR1: check and reload HAProxy.
    Force,
    /// SIGUSR2: execute the installed program in place.
    Upgrade,
}

/// The signals that mean something.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
    user1: unix::Signal,
    user2: unix::Signal,
}

impl Signals {
    /// Listens, and takes what came since [`hold`]. To be called in the main thread: the only one that takes them.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new() -> anyhow::Result<Self> {
        let on = |kind| unix::signal(kind).context("listen for signals");
        let all = Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
            user1: on(SignalKind::user_defined1())?,
            user2: on(SignalKind::user_defined2())?,
        };
        held().thread_unblock().context("listen for signals")?;
        Ok(all)
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
                _ = self.terminate.recv() => {
                    log::info!("SIGTERM: stopping");
                    Asked::Stop
                }
                _ = self.interrupt.recv() => {
                    log::info!("SIGINT: stopping");
                    Asked::Stop
                }
                _ = self.hangup.recv() => Asked::Reload,
                _ = self.user1.recv() => Asked::Force,
                _ = self.user2.recv() => Asked::Upgrade,
        }
    }
}

/// Has this thread take none of them for now; what is executed from it inherits that.
///
/// # Errors
/// When the kernel refuses.
pub fn hold() -> nix::Result<()> {
    held().thread_block()
}

fn held() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2].into_iter().collect()
}
