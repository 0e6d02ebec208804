//! The handle of the VRRP thread: start it, give it orders, read its reports.
//!
//! Used by the daemon, and by anyone who wants VRRP in a process of their own. What happens on the
//! thread is in `run`. Orders and reports go through bounded channels, each with an event
//! descriptor; neither side ever waits for the other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::time::{ClockId, clock_gettime};
use thiserror::Error;

use super::report::{Report, Saved};
use super::run::Runner;
use crate::config::RouterConfig;
use crate::machine::ConfigError;
use crate::machine::io::{Command, Health};

/// Orders that may wait.
const ORDERS: usize = 64;
/// Reports that may wait; a reader that is stalled for seconds misses none of the moves.
const REPORTS: usize = 4096;

/// What the thread is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// The routers.
    pub routers: Vec<RouterConfig>,
    /// What a predecessor saved when it replaced itself.
    pub resume: Vec<Saved>,
    /// The node's health from the start; a new process that resumes must not begin unfit.
    pub health: Health,
    /// Ask for real-time priority and locked memory.
    pub realtime: bool,
}

/// What to do from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// All routers are as fit as this.
    Health(Health),
    /// One router is as fit as this.
    HealthOf(String, Health),
    /// For all routers.
    Command(Command),
    /// For one router.
    CommandTo(String, Command),
    /// The configuration is this. Routers that are the same in it go on undisturbed, new ones
    /// start, missing ones resign.
    Config(Vec<RouterConfig>),
    /// End the thread now. Does not resign: that is [`Command::Shutdown`].
    Stop,
}

/// Why the thread was not started.
#[derive(Debug, Error)]
pub enum EngineError {
    /// A capability is missing.
    #[error("VRRP needs {capability} for {purpose}")]
    Capability {
        /// Its name.
        capability: &'static str,
        /// What it is for.
        purpose: &'static str,
    },
    /// The configuration contradicts itself.
    #[error("VRRP configuration")]
    Config(#[from] ConfigError),
    /// The system refused something else.
    #[error("{what}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// Why an order was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OrderError {
    /// Too many are waiting.
    #[error("the VRRP thread has too many orders waiting")]
    Full,
    /// The thread has ended.
    #[error("the VRRP thread has ended")]
    Ended,
}

/// The running thread. Dropping it ends the thread without resigning.
#[derive(Debug)]
pub struct Engine {
    orders: SyncSender<Order>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

/// The reader's end of the reports.
#[derive(Debug)]
pub struct Reports {
    reports: Receiver<Report>,
    ready: Arc<EventFd>,
}

/// The thread's end of both channels.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) orders: Receiver<Order>,
    pub(super) wake: Arc<EventFd>,
    pub(super) reports: SyncSender<Report>,
    pub(super) ready: Arc<EventFd>,
}

impl Engine {
    /// Starts the thread, named `vrrp`. An interface that does not exist is no error: its routers
    /// wait for it.
    ///
    /// # Errors
    /// A missing capability, a contradictory configuration, or what the system says.
    pub fn start(setup: Setup) -> Result<(Self, Reports), EngineError> {
        let event = || {
            EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
                .map(Arc::new)
                .map_err(|error| EngineError::System { what: "eventfd", source: error.into() })
        };
        let (wake, ready) = (event()?, event()?);
        let (orders, orders_in) = sync_channel(ORDERS);
        let (reports_out, reports) = sync_channel(REPORTS);
        let channels =
            Channels { orders: orders_in, wake: Arc::clone(&wake), reports: reports_out, ready: Arc::clone(&ready) };
        let runner = Runner::new(setup, channels)?;
        let thread = thread::Builder::new()
            .name("vrrp".to_owned())
            .spawn(move || runner.run())
            .map_err(|source| EngineError::System { what: "start the VRRP thread", source })?;
        Ok((Self { orders, wake, thread: Some(thread) }, Reports { reports, ready }))
    }

    /// Gives an order; returns at once.
    ///
    /// # Errors
    /// The thread has ended, or is so far behind that the order would have to wait.
    pub fn order(&self, order: Order) -> Result<(), OrderError> {
        self.orders.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => OrderError::Full,
            TrySendError::Disconnected(_) => OrderError::Ended,
        })?;
        // It can only fail where the counter is full, and then the thread is awake anyway.
        let _ = self.wake.write(1);
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Whether taken or not: with the sender gone, the thread ends.
        let (gone, _) = sync_channel(1);
        let _ = self.orders.try_send(Order::Stop);
        self.orders = gone;
        let _ = self.wake.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Reports {
    /// The next report that is there. When the descriptor has become readable, first call
    /// [`Reports::clear`].
    ///
    /// # Errors
    /// `Empty`, or `Disconnected` once the thread is gone and everything was read.
    pub fn try_recv(&self) -> Result<Report, TryRecvError> {
        self.reports.try_recv()
    }

    /// The next report, waited for. For callers without an event loop.
    ///
    /// # Errors
    /// `Timeout`, or `Disconnected` once the thread is gone and everything was read.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Report, RecvTimeoutError> {
        self.reports.recv_timeout(timeout)
    }

    /// The descriptor is not readable until the next report.
    pub fn clear(&self) {
        let _ = self.ready.read();
    }

    /// The descriptor as an owned one, for a reactor that wants to own what it watches.
    ///
    /// # Errors
    /// No more descriptors.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.ready.as_fd().try_clone_to_owned()
    }
}

impl AsFd for Reports {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

/// CLOCK_MONOTONIC in nanoseconds, the scale of [`Saved::deadline`].
pub(super) fn monotonic() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
        seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or_default()
    })
}
