//! `baton` as a [`Player`].

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::fault::Fault;
use super::player::Player;
use crate::lab::host::Host;
use crate::lab::node::Node;
use crate::lab::router::Router;

impl Player for Node {
    const NAME: &'static str = "baton";
    // The lease is 3 s at these intervals, and the kernel takes up to half a second more.
    const FENCE: Duration = Duration::from_secs(4);

    fn start(host: &Arc<Host>, router: Router, _fault: Fault) -> anyhow::Result<Self> {
        Self::start(host, router, "")
    }

    fn begin_stop(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGTERM)
    }

    fn end_stop(&mut self) -> anyhow::Result<()> {
        self.end()
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        Self::kill(self);
        Ok(())
    }

    fn freeze(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGUSR2)
    }

    fn kill_haproxy(&mut self) -> anyhow::Result<()> {
        Self::kill_haproxy(self);
        Ok(())
    }

    fn resume(&mut self) -> anyhow::Result<()> {
        Self::resume(self)
    }

    fn renew(&mut self) -> anyhow::Result<()> {
        Self::kill(self);
        if !self.running().1 {
            self.start_haproxy()?;
        }
        Self::resume(self)
    }

    fn log(&self) -> String {
        Self::log(self)
    }
}
