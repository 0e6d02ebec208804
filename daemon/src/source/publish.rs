//! From answers to published snapshots: addresses filled in, only when something differs.
//!
//! Runs beside the loop of each source and owns the [`Resolver`]. An answer is published at once
//! with the addresses known; what lookups add follows in one batch.
#![allow(clippy::disallowed_methods, reason = "gathers the answers of lookups for some milliseconds")]

use std::sync::Arc;
use std::time::Duration;

use haproxy::app::Snapshot;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::marathon::wire::Answer;
use super::resolve::Resolver;

/// Publishes until the sender of answers is gone.
pub async fn run(
    mut answers: mpsc::Receiver<Answer>,
    mut resolver: Resolver,
    snapshots: &watch::Sender<Arc<Snapshot>>,
) {
    let mut due: Option<Instant> = None;
    loop {
        tokio::select! {
            answer = answers.recv() => {
                let Some(answer) = answer else { return };
                resolver.want(&answer.apps);
                publish(answer, &resolver, snapshots);
            }
            () = resolver.changed() => due = due.or_else(|| Some(Instant::now() + GATHER)),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                due = None;
                let last = snapshots.borrow().clone();
                publish(Answer { apps: last.apps.clone(), issues: last.issues.clone() }, &resolver, snapshots);
            }
        }
    }
}

/// The answer as a snapshot, all addresses looked up: for commands that read once.
pub async fn once(mut answer: Answer, mut resolver: Resolver) -> Snapshot {
    resolver.want(&answer.apps);
    resolver.settled().await;
    resolver.fill(&mut answer.apps);
    Snapshot { apps: answer.apps, issues: answer.issues, revision: 1 }
}

fn publish(mut answer: Answer, resolver: &Resolver, snapshots: &watch::Sender<Arc<Snapshot>>) {
    resolver.fill(&mut answer.apps);
    let Answer { apps, issues } = answer;
    snapshots.send_if_modified(|current| {
        if current.revision > 0 && current.apps == apps && current.issues == issues {
            return false;
        }
        let revision = current.revision + 1;
        log::debug!(revision, apps = apps.len(), issues = issues.len(); "publishing a snapshot");
        *current = Arc::new(Snapshot { apps, issues, revision });
        true
    });
}

/// Lookups that answer one after the other are published together.
const GATHER: Duration = Duration::from_millis(20);
