//! Who holds the virtual address: keepalived or `baton`, with the same handles.
//!
//! Driven by [`pair`](super::pair).

use std::sync::Arc;
use std::time::Duration;

use super::fault::Fault;
use crate::lab::host::Host;
use crate::lab::keepalived::Keepalived;
use crate::lab::router::Router;

/// A VRRP daemon and an HAProxy on one host.
pub(super) trait Player: Sized {
    /// As progress calls it.
    const NAME: &'static str;

    /// How long a host whose daemon died or froze is watched until it has lost the address.
    const FENCE: Duration;

    /// Starts both, set up for the fault.
    fn start(host: &Arc<Host>, router: Router, fault: Fault) -> anyhow::Result<Self>;

    /// Asks the daemon to stop and does not wait.
    fn begin_stop(&mut self) -> anyhow::Result<()>;

    /// Waits until the daemon has ended after `begin_stop`.
    fn end_stop(&mut self) -> anyhow::Result<()>;

    /// Kills the daemon.
    fn kill(&mut self) -> anyhow::Result<()>;

    /// Freezes the daemon.
    fn freeze(&mut self) -> anyhow::Result<()>;

    /// Exchanges the daemon for a new one, in the gentlest way it knows.
    fn restart(&mut self) -> anyhow::Result<()>;

    /// Kills HAProxy.
    fn kill_haproxy(&mut self) -> anyhow::Result<()>;

    /// Starts a stopped daemon.
    fn resume(&mut self) -> anyhow::Result<()>;

    /// Makes both run as new, whatever became of them.
    fn renew(&mut self) -> anyhow::Result<()>;

    /// What they logged.
    fn log(&self) -> String;
}

impl Player for Keepalived {
    const NAME: &'static str = "keepalived";
    // Nobody takes the address away; this is to see that the client stays where it is.
    const FENCE: Duration = Duration::from_secs(1);

    fn start(host: &Arc<Host>, router: Router, fault: Fault) -> anyhow::Result<Self> {
        let mut keepalived = Self::prepare(host, vec![router])?;
        if fault == Fault::HaproxyKilled {
            keepalived.check_every(CHECK);
        }
        Self::resume(&mut keepalived)?;
        Ok(keepalived)
    }

    fn begin_stop(&mut self) -> anyhow::Result<()> {
        Self::begin_stop(self)
    }

    fn end_stop(&mut self) -> anyhow::Result<()> {
        self.end()
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        Self::kill(self);
        Ok(())
    }

    fn freeze(&mut self) -> anyhow::Result<()> {
        Self::freeze(self);
        Ok(())
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        Self::resume(self)
    }

    fn kill_haproxy(&mut self) -> anyhow::Result<()> {
        self.front.kill();
        Ok(())
    }

    fn resume(&mut self) -> anyhow::Result<()> {
        Self::resume(self)
    }

    fn renew(&mut self) -> anyhow::Result<()> {
        Self::kill(self);
        if !self.front.is_running() {
            self.front.again()?;
        }
        Self::resume(self)
    }

    fn log(&self) -> String {
        Self::log(self)
    }
}

/// How often keepalived's script looks after HAProxy, as keepalived does by default.
pub(super) const CHECK: Duration = Duration::from_secs(1);
