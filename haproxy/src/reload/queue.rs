//! When to start the next reload: one running, at most one waiting, the newest wins.
//!
//! Driven by `reconcile`, which owns the clock: every call gets `now`, and [`Queue::deadline`] says
//! when to call [`Queue::start`] next (further calls are harmless). Knows nothing of HAProxy.

use std::time::{Duration, Instant};

/// The pauses between starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses {
    /// A burst of requests is waited out until it is quiet for this long.
    pub settle: Duration,
    /// But the first request of a burst waits no longer than this.
    pub settle_max: Duration,
    /// The least time between two starts.
    pub spacing: Duration,
    /// The pause after a failure, doubled with each further one in a row.
    pub backoff: Duration,
    /// The longest such pause.
    pub backoff_max: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            settle: Duration::from_millis(20),
            settle_max: Duration::from_millis(100),
            spacing: Duration::from_millis(250),
            backoff: Duration::from_secs(2),
            backoff_max: Duration::from_secs(60),
        }
    }
}

/// How a start ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It did, or it did no harm: the next one may follow.
    Well,
    /// There was nothing to do after all: the next one need not keep its distance.
    Idle,
    /// Trying again at once would hurt: back off.
    Badly,
}

/// The requests for reloads.
#[derive(Debug)]
pub struct Queue<T> {
    pauses: Pauses,
    waiting: Option<Waiting<T>>,
    running: bool,
    /// No start before this.
    not_before: Option<Instant>,
    /// Failures in a row.
    failures: u32,
}

#[derive(Debug)]
struct Waiting<T> {
    request: T,
    first: Instant,
    last: Instant,
}

impl<T> Queue<T> {
    /// An idle queue.
    pub fn new(pauses: Pauses) -> Self {
        Self { pauses, waiting: None, running: false, not_before: None, failures: 0 }
    }

    /// Asks for a start with this request; the one it displaces is returned.
    pub fn push(&mut self, request: T, now: Instant) -> Option<T> {
        let displaced = self.waiting.take();
        let first = displaced.as_ref().map_or(now, |waiting| waiting.first);
        self.waiting = Some(Waiting { request, first, last: now });
        displaced.map(|waiting| waiting.request)
    }

    /// The request to start now. The caller starts it and reports with [`Self::ended`].
    pub fn start(&mut self, now: Instant) -> Option<T> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        self.running = true;
        self.not_before = Some(now + self.pauses.spacing);
        self.waiting.take().map(|waiting| waiting.request)
    }

    /// Reports the end of what was started last.
    pub fn ended(&mut self, how: Ended, now: Instant) {
        self.running = false;
        match how {
            Ended::Well => self.failures = 0,
            Ended::Idle => {
                self.failures = 0;
                self.not_before = None;
            }
            Ended::Badly => {
                let pause = self.pauses.backoff.saturating_mul(1 << self.failures.min(16));
                let until = now + pause.min(self.pauses.backoff_max);
                self.failures = self.failures.saturating_add(1);
                self.not_before = Some(self.not_before.map_or(until, |spacing| spacing.max(until)));
            }
        }
    }

    /// Asks for another try of what has just ended, unless something newer waits already.
    pub fn again(&mut self, request: T, now: Instant) {
        if self.waiting.is_none() {
            self.push(request, now);
        }
    }

    /// Something new makes a try worth its while: a back-off ends at the first pause, or where
    /// `afresh` at once, and the failures before it do not count any more.
    pub fn hurry(&mut self, afresh: bool, now: Instant) {
        if self.failures == 0 {
            return;
        }
        let latest = if afresh { now } else { now + self.pauses.backoff };
        self.not_before = self.not_before.map(|not_before| not_before.min(latest));
        if afresh {
            self.failures = 0;
        }
    }

    /// When [`Self::start`] will give a request; none while one runs or none waits.
    pub fn deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.as_ref().filter(|_| !self.running)?;
        let quiet = (waiting.last + self.pauses.settle).min(waiting.first + self.pauses.settle_max);
        Some(self.not_before.map_or(quiet, |not_before| quiet.max(not_before)))
    }

    /// Something was started and has not ended.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Something waits.
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }
}

#[cfg(test)]
mod tests;
