//! Who listens to events, and the record of what was sent when.
//!
//! Streams get frames through bounded queues: what a slow one cannot take is dropped (1.4) or costs it the stream (1.8).

#![allow(clippy::disallowed_methods, reason = "notes the moment at which each event was emitted, for benchmarks")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::config::Personality;
use super::event::Event;

/// Events remembered for [`Hub::since`].
const REMEMBERED: usize = 100_000;

/// An event that was sent.
#[derive(Debug, Clone)]
pub struct Record {
    /// 0, 1, 2, …
    pub sequence: u64,
    /// `eventType`.
    pub kind: &'static str,
    /// When it was handed to the streams.
    pub at: Instant,
    /// The event itself, without the roots of a heavy plan.
    pub body: Arc<Value>,
}

/// What a stream writes.
#[derive(Debug, Clone)]
pub enum Frame {
    /// A whole event.
    Whole(Arc<str>),
    /// Half an event, then the end.
    Half(Arc<str>),
}

/// A stream's side of its registration.
#[derive(Debug)]
pub struct Subscription {
    /// Names it in [`Hub::leave`].
    pub id: u64,
    /// What to write.
    pub frames: mpsc::Receiver<Frame>,
    /// Cancelled when the stream is to end.
    pub end: CancellationToken,
}

/// The bus.
#[derive(Debug)]
pub struct Hub {
    personality: Personality,
    outstanding: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    streams: BTreeMap<u64, Stream>,
    next: u64,
    sequence: u64,
    log: VecDeque<Record>,
    silent: BTreeSet<usize>,
}

#[derive(Debug)]
struct Stream {
    member: usize,
    filter: BTreeSet<String>,
    frames: mpsc::Sender<Frame>,
    end: CancellationToken,
    halve_next: bool,
}

impl Hub {
    /// A bus without listeners.
    #[must_use]
    pub fn new(personality: Personality, outstanding: usize) -> Self {
        Self { personality, outstanding: outstanding.max(1), inner: Mutex::default() }
    }

    /// Adds a stream on `member`; an empty filter lets everything through.
    pub fn join(&self, member: usize, filter: BTreeSet<String>) -> Subscription {
        let (sender, frames) = mpsc::channel(self.outstanding);
        let end = CancellationToken::new();
        let mut inner = self.lock();
        inner.next += 1;
        let id = inner.next;
        inner.streams.insert(id, Stream { member, filter, frames: sender, end: end.clone(), halve_next: false });
        Subscription { id, frames, end }
    }

    /// Removes a stream.
    pub fn leave(&self, id: u64) {
        self.lock().streams.remove(&id);
    }

    /// Records the event and hands it to every stream that wants it.
    pub fn send(&self, mut event: Event) {
        let mut inner = self.lock();
        let wanted = inner.streams.values().any(|stream| wants(stream, event.kind));
        let frame: Option<Arc<str>> =
            wanted.then(|| format!("event: {}\r\ndata: {}\r\n\r\n", event.kind, event.body).into());
        // The roots that 1.4 embeds would fill the memory with copies of the whole cluster.
        if let Some(plan) = event.body.get_mut("plan").and_then(Value::as_object_mut) {
            plan.retain(|key, _| key != "original" && key != "target");
        }
        let record =
            Record { sequence: inner.sequence, kind: event.kind, at: Instant::now(), body: Arc::new(event.body) };
        inner.sequence += 1;
        inner.log.push_back(record);
        if inner.log.len() > REMEMBERED {
            inner.log.pop_front();
        }
        let Some(frame) = frame else { return };
        for stream in inner.streams.values_mut().filter(|stream| wants(stream, event.kind)) {
            let halve = std::mem::take(&mut stream.halve_next);
            let sent = stream.frames.try_send(match halve {
                true => Frame::Half(frame.clone()),
                false => Frame::Whole(frame.clone()),
            });
            if sent.is_err() && self.personality >= Personality::V1_8 {
                stream.end.cancel();
            }
        }
    }

    /// Ends the streams of `member` (all members: `None`): at once, or in the middle of their next event.
    pub fn cut(&self, member: Option<usize>, mid_event: bool) -> usize {
        let mut inner = self.lock();
        let chosen = inner.streams.values_mut().filter(|stream| member.is_none_or(|m| m == stream.member));
        chosen
            .map(|stream| match mid_event {
                true => stream.halve_next = true,
                false => stream.end.cancel(),
            })
            .count()
    }

    /// Makes streams of these members keep silent: no event, no heartbeat.
    pub fn silence(&self, members: BTreeSet<usize>) {
        self.lock().silent = members;
    }

    /// Whether streams of `member` keep silent.
    #[must_use]
    pub fn is_silent(&self, member: usize) -> bool {
        self.lock().silent.contains(&member)
    }

    /// Open streams per member.
    #[must_use]
    pub fn open(&self) -> BTreeMap<usize, usize> {
        let mut open = BTreeMap::new();
        for stream in self.lock().streams.values() {
            *open.entry(stream.member).or_default() += 1;
        }
        open
    }

    /// The sequence number that the next event will have.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.lock().sequence
    }

    /// The events from `sequence` on.
    #[must_use]
    pub fn since(&self, sequence: u64) -> Vec<Record> {
        let inner = self.lock();
        let first = inner.log.front().map_or(inner.sequence, |record| record.sequence);
        let skip = usize::try_from(sequence.saturating_sub(first)).unwrap_or(usize::MAX);
        inner.log.iter().skip(skip).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wants(stream: &Stream, kind: &str) -> bool {
    stream.filter.is_empty() || stream.filter.contains(kind)
}
