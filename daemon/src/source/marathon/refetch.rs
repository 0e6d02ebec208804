//! Fetches the whole list whenever there is reason to, and hands it on to be published.
//!
//! The other loop of the Marathon source. One fetch at a time; whatever is wished for meanwhile
//! becomes exactly one more. A failure changes nothing but the status: what was read last stays.
#![allow(clippy::disallowed_methods, reason = "schedules the next fetch")]

use std::time::{Duration, SystemTime};

use haproxy::app::Snapshot;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::client::Fetched;
use super::error::{AllFailed, MemberError};
use super::wire::Answer;
use super::{Cluster, Why};
use crate::source::SourceCommand;
use crate::source::backoff::{Backoff, Start, jitter};
use crate::source::memory::HealthMemory;
use crate::source::status::{GoodFetch, SourceStatus, Trouble};

/// Fetches for ever. `served` is what is being served already: its verdicts are remembered, and an
/// empty list needs to be confirmed before it replaces any apps.
pub(super) async fn keep(
    cluster: &Cluster<'_>,
    mut wishes: mpsc::Receiver<Why>,
    mut commands: mpsc::Receiver<SourceCommand>,
    answers: mpsc::Sender<Answer>,
    served: &Snapshot,
) {
    let config = cluster.config;
    let mut had_apps = !served.apps.is_empty();
    let mut memory = HealthMemory::of(&served.apps);
    let mut backoff = Backoff::new(Start::After(config.timing.first_wait), config.max_backoff.min(LONGEST_WAIT));
    let first_wait = if config.events { config.timing.attach_first } else { Duration::ZERO };
    let mut next = (Instant::now() + first_wait, Why::Start);
    let mut not_before = Instant::now();
    loop {
        let why = tokio::select! {
            Some(why) = wishes.recv() => why,
            Some(SourceCommand::Refetch) = commands.recv() => Why::Command,
            () = sleep_until(next.0) => next.1,
        };
        sleep_until(not_before).await;
        // The fetch that starts now answers every wish up to now.
        while wishes.try_recv().is_ok() {}
        not_before = Instant::now() + config.timing.spacing;
        log::debug!(why:% = why; "fetching apps");
        match fetch(cluster, had_apps).await {
            Ok(fetched) => {
                backoff.reset();
                next = (Instant::now() + pause(cluster), Why::Resync);
                had_apps = !fetched.answer.apps.is_empty();
                succeeded(cluster, &fetched);
                let mut answer = fetched.answer;
                memory.recall(&mut answer.apps);
                if answers.send(answer).await.is_err() {
                    return;
                }
            }
            Err(failed) => {
                next = (Instant::now() + backoff.failed(jitter()), Why::Retry);
                all_failed(cluster, &failed);
            }
        }
    }
}

/// One fetch. A list that is suddenly empty is asked for twice.
async fn fetch(cluster: &Cluster<'_>, had_apps: bool) -> Result<Fetched, AllFailed> {
    let fetched = cluster.client.apps().await?;
    if !fetched.answer.apps.is_empty() || !had_apps {
        return Ok(fetched);
    }
    log::warn!(member = fetched.member; "Marathon lists no apps any more; asking again before that is believed");
    sleep(cluster.config.timing.confirm_empty).await;
    cluster.client.apps().await
}

fn succeeded(cluster: &Cluster<'_>, fetched: &Fetched) {
    let now = SystemTime::now();
    let mut was_down = None;
    cluster.status.send_modify(|status| {
        was_down = status.fetch.trouble.take();
        count(status, &fetched.failures);
        if status.origin.as_ref() != Some(&fetched.member) {
            let reasons = fetched.failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            log::info!(member = fetched.member, because = reasons; "reading apps from this member");
            status.origin = Some(fetched.member.clone());
        }
        status.leader.clone_from(&fetched.leader);
        status.fetch.ok += 1;
        let apps = fetched.answer.apps.len();
        status.fetch.last = Some(GoodFetch { at: now, took: fetched.took, bytes: fetched.bytes, apps });
    });
    cluster.leader.send_replace(Some((fetched.asked, fetched.leader.clone())));
    if let Some(trouble) = was_down {
        let down = now.duration_since(trouble.since).unwrap_or_default();
        log::info!(member = fetched.member, down:? = down; "Marathon answers again");
        cluster.recovered.notify_waiters();
    }
}

fn all_failed(cluster: &Cluster<'_>, failed: &AllFailed) {
    cluster.status.send_modify(|status| {
        count(status, failed.members());
        if Trouble::note(&mut status.fetch.trouble, &failed.to_string(), SystemTime::now()) {
            log::warn!(reason:% = failed; "cannot read apps from Marathon; what is served stays as it is");
        }
    });
}

fn count(status: &mut SourceStatus, failures: &[MemberError]) {
    for error in failures {
        *status.fetch.failed.entry(error.reason.kind()).or_default() += 1;
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
