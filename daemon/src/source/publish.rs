//! From answers to published snapshots: addresses filled in, only when something differs.
//!
//! Runs beside the loop of each source and owns the [`Resolver`]. An answer is published at once
//! with the addresses known; what lookups add follows in one batch.
#![allow(clippy::disallowed_methods, reason = "gathers the answers of lookups for some milliseconds")]

use std::sync::Arc;
use std::time::Duration;

use haproxy::app::Snapshot;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::marathon::wire::Answer;
use super::resolve::Resolver;

/// Publishes until the sender of answers is gone.
pub async fn run(
    mut answers: mpsc::Receiver<Answer>,
    mut resolver: Resolver,
    snapshots: &watch::Sender<Arc<Snapshot>>,
) {
    let mut latest: Option<Answer> = None;
    let mut due: Option<Instant> = None;
    loop {
        tokio::select! {
            answer = answers.recv() => {
                let Some(answer) = answer else { return };
                resolver.want(&answer.apps);
                latest = Some(answer);
                due = Some(Instant::now());
            }
            () = resolver.changed() => due = due.or_else(|| Some(Instant::now() + GATHER)),
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => (),
        }
        if due.is_some_and(|due| due <= Instant::now()) {
            due = None;
            if let Some(answer) = &mut latest {
                resolver.fill(&mut answer.apps);
                publish(answer, snapshots);
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

fn publish(answer: &Answer, snapshots: &watch::Sender<Arc<Snapshot>>) {
    snapshots.send_if_modified(|current| {
        let same = current.apps == answer.apps && current.issues == answer.issues;
        if same && current.revision > 0 {
            return false;
        }
        let revision = current.revision + 1;
        *current = Arc::new(Snapshot { apps: answer.apps.clone(), issues: answer.issues.clone(), revision });
        log::debug!(revision, apps = current.apps.len(), issues = current.issues.len(); "published a snapshot");
        true
    });
}

const GATHER: Duration = Duration::from_millis(20);
