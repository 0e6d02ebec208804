//! Fetches all apps or single ones whenever there is reason to, and merges the answers.
//!
//! The other loop of the Marathon source. One fetch of everything at a time, and whatever is wished
//! for meanwhile becomes exactly one more; beside it a few single apps. A failure changes nothing
//! but the status: what was read last stays. When to fetch an app is `agenda`'s business, what an
//! answer changes is `book`'s, whether it is believed is `guard`'s.
#![allow(clippy::disallowed_methods, reason = "schedules the next fetch")]

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use haproxy::app::AppId;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::agenda::Agenda;
use super::book::{Book, Moment};
use super::client::Fetched;
use super::error::AllFailed;
use super::event::Hint;
use super::guard::{Evidence, Guard, Verdict};
use super::wire::Answer;
use super::{Cluster, Why, report};
use crate::source::backoff::{Backoff, Start, jitter};
use crate::source::{Restored, SourceCommand};

/// What the loop is told.
pub(super) struct Inbox {
    /// Wishes for a fetch of everything.
    pub(super) wishes: mpsc::Receiver<Why>,
    /// What events hint at.
    pub(super) hints: mpsc::Receiver<Vec<Hint>>,
    /// What operators want.
    pub(super) commands: mpsc::Receiver<SourceCommand>,
}

/// Fetches for ever.
pub(super) async fn keep(
    cluster: &Cluster<'_>,
    mut inbox: Inbox,
    answers: mpsc::Sender<Answer>,
    restored: Option<Restored>,
) {
    let mut task = Task::new(cluster, restored, Instant::now());
    loop {
        let deadline = task.deadline();
        tokio::select! {
            Some(why) = inbox.wishes.recv() => task.want(why),
            Some(hints) = inbox.hints.recv() => task.hinted(hints),
            Some(SourceCommand::Refetch) = inbox.commands.recv() => task.want(Why::Command),
            Some(done) = task.doing.next(), if !task.doing.is_empty() => task.done(done),
            () = sleep_until(deadline) => (),
        }
        // Whatever else is there is one change, and one round of fetches.
        while let Ok(hints) = inbox.hints.try_recv() {
            task.hinted(hints);
        }
        while let Some(Some(done)) = task.doing.next().now_or_never() {
            task.done(done);
        }
        task.start(Instant::now());
        if !task.live {
            continue;
        }
        report::unconfirmed(cluster, &task.book);
        if task.book.take_changed() && answers.send(task.book.answer()).await.is_err() {
            return;
        }
    }
}

/// The loop's state.
struct Task<'a> {
    cluster: &'a Cluster<'a>,
    book: Book,
    agenda: Agenda,
    guard: Guard,
    backoff: Backoff,
    doing: FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send + 'a>>>,
    /// What is in the book is published: a list is in it, or what the store remembers has to do.
    live: bool,
    restored: Option<Restored>,
    /// When what the store remembers has to do.
    restore_at: Instant,
    /// When everything is fetched without a wish, and why.
    next: (Instant, Why),
    /// A wish for a fetch of everything that waits.
    wish: Option<Why>,
    /// The least time between two of them.
    not_before: Instant,
    /// One is under way.
    fetching_all: bool,
    leader: Option<String>,
    /// When memories of ended tasks are looked through again.
    forget_at: Instant,
}

/// A fetch that has ended.
enum Done {
    All(Moment, Result<Fetched, AllFailed>),
    One(AppId, Moment, Result<Fetched, AllFailed>),
}

impl<'a> Task<'a> {
    fn new(cluster: &'a Cluster<'a>, mut restored: Option<Restored>, now: Instant) -> Self {
        let config = cluster.config;
        let timing = &config.timing;
        let mut guard = Guard::new(config.guard);
        guard.shaken(now.into_std());
        let first_wait = if config.events { timing.attach_first } else { Duration::ZERO };
        let apps = restored.as_mut().map(|restored| std::mem::take(&mut restored.apps));
        Self {
            cluster,
            book: Book::restored(apps.unwrap_or_default()),
            agenda: Agenda::new(timing.apps),
            guard,
            backoff: Backoff::new(Start::After(timing.first_wait), config.max_backoff.min(LONGEST_WAIT)),
            doing: FuturesUnordered::new(),
            live: false,
            restored,
            restore_at: now + timing.restore,
            next: (now + first_wait, Why::Start),
            wish: None,
            not_before: now,
            fetching_all: false,
            leader: None,
            forget_at: now + FORGET,
        }
    }

    fn want(&mut self, why: Why) {
        if why.reconnected() {
            self.guard.shaken(Instant::now().into_std());
        }
        self.wish.get_or_insert(why);
    }

    fn hinted(&mut self, hints: Vec<Hint>) {
        let now = Instant::now().into_std();
        for hint in hints {
            match hint {
                Hint::All(kind) => self.want(Why::Event(kind)),
                Hint::App(hint) => {
                    if let Some((task, fate)) = &hint.task {
                        self.book.told(&hint.app, task, *fate, now);
                    }
                    self.agenda.hint(&hint.app, hint.kind, hint.now, now);
                }
            }
        }
    }

    /// When there is something to do although nothing comes in.
    fn deadline(&self) -> Instant {
        let all = (!self.fetching_all).then(|| match self.wish {
            Some(_) => self.not_before.min(self.next.0),
            None => self.next.0,
        });
        let restore = self.restored.is_some().then_some(self.restore_at);
        let single = self.agenda.deadline().map(Instant::from_std);
        [all, restore, single].into_iter().flatten().fold(self.forget_at, Instant::min)
    }

    /// Starts what is due.
    fn start(&mut self, now: Instant) {
        if self.restored.is_some() && now >= self.restore_at {
            self.serve_restored();
        }
        if now >= self.forget_at {
            self.forget_at = now + FORGET;
            for app in self.book.forget(now.into_std()) {
                self.agenda.hint(&app, "contradiction", true, now.into_std());
            }
        }
        // Events and answers about single apps took away what is being held: no need to wait.
        if self.guard.held().is_some_and(|held| !self.book.has_any(held)) {
            self.guard.release();
            self.want(Why::Confirm);
        }
        let wished = self.wish.is_some() && now >= self.not_before;
        if !self.fetching_all && (wished || now >= self.next.0) {
            // What starts now answers every wish up to now.
            let why = self.wish.take().unwrap_or(self.next.1);
            report::started(self.cluster, why);
            self.not_before = now + self.cluster.config.timing.spacing;
            self.fetching_all = true;
            let (client, asked) = (self.cluster.client, self.book.ask(now.into_std()));
            self.doing.push(Box::pin(async move { Done::All(asked, client.apps().await) }));
        }
        while let Some((id, why)) = self.agenda.start(now.into_std()) {
            report::started_one(self.cluster, why);
            let (client, asked) = (self.cluster.client, self.book.ask(now.into_std()));
            self.doing.push(Box::pin(async move {
                let fetched = client.app(&id).await;
                Done::One(id, asked, fetched)
            }));
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::All(asked, fetched) => {
                self.fetching_all = false;
                match fetched {
                    Ok(fetched) => self.list(asked, fetched),
                    Err(failed) => {
                        self.next = (Instant::now() + self.backoff.failed(jitter()), Why::Retry);
                        report::failed(self.cluster, &failed);
                        self.serve_restored();
                    }
                }
            }
            Done::One(id, asked, Ok(mut fetched)) => {
                self.agenda.done(&id);
                self.led_by(&fetched);
                let app = fetched.answer.apps.remove(&id);
                let issues = std::mem::take(&mut fetched.answer.issues);
                let gone = app.is_none() && issues.is_empty();
                let taken = self.book.take_app(asked, &id, app.map(Arc::unwrap_or_clone), issues);
                report::succeeded_one(self.cluster, &fetched, gone, taken);
            }
            Done::One(id, _, Err(failed)) => {
                self.agenda.done(&id);
                report::failed_one(self.cluster, &failed);
                self.want(Why::AppFailed);
            }
        }
    }

    /// A list came.
    fn list(&mut self, asked: Moment, fetched: Fetched) {
        let now = Instant::now();
        self.backoff.reset();
        self.led_by(&fetched);
        if report::succeeded(self.cluster, &fetched) {
            self.guard.shaken(now.into_std());
        }
        let evidence = Evidence {
            asked: fetched.asked.into_std(),
            empty: fetched.answer.apps.is_empty(),
            serving: !self.book.apps().is_empty(),
            loss: self.book.loss(asked, &fetched.answer),
        };
        match self.guard.judge(evidence, now.into_std()) {
            Verdict::Hold { until, why } => {
                self.book.hold(asked, &fetched.answer);
                report::held(self.cluster, &why);
                self.next = (Instant::from_std(until), Why::Confirm);
                self.serve_restored();
            }
            verdict => {
                let vanished = self.book.take_all(asked, fetched.answer);
                let confirmed = verdict == Verdict::Confirmed;
                report::believed(self.cluster, confirmed);
                self.next = (now + pause(self.cluster), Why::Resync);
                if !confirmed {
                    self.look_for(&vanished, now);
                }
                self.restored = None;
                if !std::mem::replace(&mut self.live, true) {
                    self.book.touch();
                }
            }
        }
    }

    /// A list may lack apps that exist (a proxy cut it, a leader is new), and nothing else would
    /// bring them back for minutes: Marathon is asked for each of a few, and for all where many are
    /// missing.
    fn look_for(&mut self, vanished: &[AppId], now: Instant) {
        if vanished.len() > FEW {
            self.next = (now + self.cluster.config.guard.confirm, Why::Confirm);
            return;
        }
        for id in vanished {
            self.agenda.hint(id, "vanished", true, now.into_std());
        }
    }

    /// Publishes what the store remembers, if there is nothing better.
    fn serve_restored(&mut self) {
        if let Some(restored) = self.restored.take() {
            self.live = true;
            self.book.touch();
            report::restored(self.cluster, restored.written);
        }
    }

    fn led_by(&mut self, fetched: &Fetched) {
        self.cluster.leader.send_replace(Some((fetched.asked, fetched.leader.clone())));
        if let Some(leader) = &fetched.leader
            && self.leader.replace(leader.clone()).is_some_and(|before| before != *leader)
        {
            self.guard.shaken(Instant::now().into_std());
        }
    }
}

/// Until the next fetch without a wish: short while no stream would tell what happens. Drawn, so
/// that the two load balancers of a pair drift apart.
fn pause(cluster: &Cluster<'_>) -> Duration {
    let told = cluster.status.borrow().stream.attached_at.is_some();
    let length = if told { cluster.config.resync } else { cluster.config.poll };
    length.mul_f64(0.9 + jitter() / 5.0)
}

/// A Marathon that is back should not have to wait for minutes; one request does not hurt it.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Apps that are asked for one by one after a list that lacks them.
const FEW: usize = 20;

/// Between two looks at what is remembered of ended tasks.
const FORGET: Duration = Duration::from_secs(1);
