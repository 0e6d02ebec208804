//! The signals that mean something to the daemon, also while it executes another program in place.
//!
//! The supervisor waits for them. An upgrade holds them back: until the new program listens, a signal would end it, and
//! what this one heard and did not do yet would be lost with it.

use anyhow::Context as _;
use futures_util::FutureExt as _;
use nix::sys::pthread::{pthread_kill, pthread_self};
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
    /// Listens, and takes what came since [`hold`](Self::hold). To be called in the main thread: the only one that takes them.
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

    /// Has this thread take none of them for now; what is executed from it inherits that, and those that wait: the ones
    /// that came before and were not told by [`next`](Self::next), too.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn hold(&mut self) -> nix::Result<()> {
        held().thread_block()?;
        let received = [
            (&mut self.terminate, Signal::SIGTERM),
            (&mut self.interrupt, Signal::SIGINT),
            (&mut self.hangup, Signal::SIGHUP),
            (&mut self.user1, Signal::SIGUSR1),
            (&mut self.user2, Signal::SIGUSR2),
        ];
        for (one, signal) in received {
            if one.recv().now_or_never().is_some() {
                pthread_kill(pthread_self(), signal)?;
            }
        }
        Ok(())
    }
}

fn held() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2].into_iter().collect()
}
