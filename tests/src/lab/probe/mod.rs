//! A client that opens a TCP connection to an address again and again and notes who answers.
//!
//! A thread of the client host, on an absolute schedule: every probe has its own socket, none waits for another one, so
//! a dead server costs only the probes sent to it. What it noted is a [`Log`]. With [`Probing::fresh`] the client
//! forgets the server's link-layer address before each probe, as one that was never there.
#![allow(clippy::disallowed_methods, reason = "measures")]

mod flight;
pub mod log;

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::unistd::gettid;

use self::flight::{Flight, Progress};
use self::log::{Log, Outcome, Probe};
use super::host::Host;
use super::lan::wait_for;

/// What is asked how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probing {
    /// Who is asked, by HTTP.
    pub target: SocketAddr,
    /// From one probe to the next.
    pub spacing: Duration,
    /// How long a probe waits for its answer; later it is lost. Less than the second after which TCP asks again.
    pub patience: Duration,
    /// Whether the target's link-layer address is forgotten before each probe.
    pub fresh: bool,
}

impl Probing {
    /// A client that is there all the time: every 2 ms.
    pub fn warm(target: SocketAddr) -> Self {
        Self { target, spacing: Duration::from_millis(2), patience: Duration::from_millis(500), fresh: false }
    }

    /// A client that comes for the first time: every 100 ms, its neighbour table empty.
    pub fn fresh(target: SocketAddr) -> Self {
        Self { spacing: Duration::from_millis(100), fresh: true, ..Self::warm(target) }
    }
}

/// A running client; dropping it ends it.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Log>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Who answered last, and how often one did.
    last: Mutex<(Option<Arc<str>>, u64)>,
}

impl Client {
    /// Begins to probe from `host`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(host: &Host, probing: Probing) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        // A thread started in the host's network stays in it.
        let thread = host.run(move || {
            std::thread::Builder::new().name("probe".to_owned()).spawn(move || {
                hurry();
                Prober::new(probing, theirs).work()
            })
        });
        Ok(Self { shared, thread: Some(thread.context("start the client")?) })
    }

    /// Who answered last.
    pub fn last(&self) -> Option<Arc<str>> {
        self.seen().0
    }

    /// Waits until `server` answers: as the last one of at least `times` answers from now on.
    ///
    /// # Errors
    /// When that takes longer than `patience`.
    pub fn until_answered_by(&self, server: &str, times: u64, patience: Duration) -> anyhow::Result<()> {
        let before = self.seen().1;
        wait_for(&format!("{server} answers the client"), patience, || {
            let (last, count) = self.seen();
            count >= before + times && last.as_deref() == Some(server)
        })
    }

    fn seen(&self) -> (Option<Arc<str>>, u64) {
        self.shared.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it, once the probes under way are answered or lost; what it noted.
    ///
    /// # Panics
    /// When the client did.
    pub fn finish(mut self) -> Log {
        self.shared.stop.store(true, Ordering::Relaxed);
        match self.thread.take().expect("only taken here and in drop").join() {
            Ok(log) => log,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The client's thread.
struct Prober {
    probing: Probing,
    shared: Arc<Shared>,
    flights: Vec<Flight>,
    log: Log,
}

impl Prober {
    fn new(probing: Probing, shared: Arc<Shared>) -> Self {
        Self { probing, shared, flights: Vec::new(), log: Log::new(Instant::now(), probing.spacing) }
    }

    fn work(mut self) -> Log {
        let mut next = self.log.began;
        loop {
            let stopping = self.shared.stop.load(Ordering::Relaxed);
            let now = Instant::now();
            if stopping && self.flights.is_empty() {
                return self.log;
            }
            if !stopping && now >= next {
                self.log.late(now - next);
                self.send();
                next += self.probing.spacing;
                // What could not be sent in time is left out, not sent in a burst.
                while next + self.probing.spacing < now {
                    next += self.probing.spacing;
                    self.log.skipped += 1;
                }
                continue;
            }
            let lost = self.flights.first().map(|first| first.sent + self.probing.patience);
            let wake = [(!stopping).then_some(next), lost].into_iter().flatten().min().unwrap_or(now);
            self.wait(wake.saturating_duration_since(now).min(LOOK));
            self.collect();
        }
    }

    fn send(&mut self) {
        if self.probing.fresh {
            let target = self.probing.target.ip().to_string();
            // Without it the probe is no fresh one, but nothing worse.
            let _ = Command::new("ip").args(["neigh", "flush", "to", &target]).status();
        }
        let sent = Instant::now();
        match Flight::begin(self.probing.target, sent) {
            Ok(flight) => self.flights.push(flight),
            Err(why) => self.note(sent, Outcome::Failed(why.to_string().into())),
        }
    }

    fn wait(&self, time: Duration) {
        let wanted = |flight: &Flight| if flight.connected() { PollFlags::POLLIN } else { PollFlags::POLLOUT };
        let mut ready: Vec<_> = self.flights.iter().map(|f| PollFd::new(f.socket().as_fd(), wanted(f))).collect();
        // An interruption is as good as an answer: everything is looked at afterwards.
        let _ = ppoll(&mut ready, Some(TimeSpec::from_duration(time)), None);
    }

    /// Looks at every probe under way.
    fn collect(&mut self) {
        let now = Instant::now();
        let mut going = Vec::with_capacity(self.flights.len());
        for mut flight in std::mem::take(&mut self.flights) {
            match flight.advance() {
                Progress::Going if now >= flight.sent + self.probing.patience => self.note(flight.sent, Outcome::Lost),
                Progress::Going => going.push(flight),
                Progress::Ended(outcome) => self.note(flight.sent, outcome),
            }
        }
        self.flights = going;
    }

    fn note(&mut self, sent: Instant, outcome: Outcome) {
        if let Outcome::Answered(by) = &outcome {
            let mut last = self.shared.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = (Some(Arc::clone(by)), last.1 + 1);
        }
        self.log.probes.push(Probe { sent, ended: Instant::now(), outcome });
    }
}

/// Puts this thread before others, so that a busy machine does not look like a dead server. Where that is not permitted
/// the log still tells how late the client was.
fn hurry() {
    let thread = gettid().to_string();
    let _ = Command::new("chrt").args(["--fifo", "--pid", "10", &thread]).output();
}

/// How long it looks away at most, so that it ends soon.
const LOOK: Duration = Duration::from_millis(20);
