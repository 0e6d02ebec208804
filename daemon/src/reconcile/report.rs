//! What the loop tells operators: its part of the status, and its log lines.
//!
//! Each issue and each trouble is logged once, when it begins; the status shows it as long as it
//! lasts.
#![allow(clippy::disallowed_methods, reason = "says since when things are as they are")]

use std::collections::BTreeSet;
use std::time::SystemTime;

use haproxy::app::Snapshot;
use haproxy::issue::Issue;
use haproxy::model::LbState;
use haproxy::reload::{How, Outcome};
use tokio::sync::watch;

use crate::status::{AppliedReport, TroubleReport, millis, seconds};

use super::build::Built;
use super::left_out::LeftOut;
use super::live::Brought;

/// The loop's part of the status.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReconcileStatus {
    /// What runs, and what should.
    pub applied: AppliedReport,
    /// What is wrong with which app.
    pub issues: Vec<Issue>,
}

/// Writes the status and the log.
pub(super) struct Reporter {
    status: watch::Sender<ReconcileStatus>,
    /// What was logged of the issues that still hold.
    known: BTreeSet<Issue>,
}

impl Reporter {
    pub(super) fn new(status: watch::Sender<ReconcileStatus>) -> Self {
        Self { status, known: BTreeSet::new() }
    }

    /// Something newer is wanted.
    pub(super) fn pending(&self) {
        self.status.send_if_modified(|status| !std::mem::replace(&mut status.applied.pending, true));
    }

    /// What the apps want, and what is wrong with them.
    pub(super) fn wanted(&mut self, now: &[Issue], left_out: &LeftOut) {
        let issues: BTreeSet<_> = now.iter().cloned().collect();
        for issue in issues.difference(&self.known) {
            let label = issue.label.as_deref().unwrap_or_default();
            log::warn!(app = issue.app.as_str(), label; "{issue}");
        }
        for mended in self.known.difference(&issues) {
            log::info!(app = mended.app.as_str(); "no longer: {mended}");
        }
        self.known = issues;
        self.status.send_modify(|status| {
            status.issues = now.to_vec();
            status.applied.left_out = left_out.report();
        });
    }

    /// An attempt ended.
    pub(super) fn ended(&self, outcome: &Outcome, built: &Built, snapshot: &Snapshot, reasons: &str) {
        match outcome {
            Outcome::Applied { digest, how, took, warnings, workers_old, unsaved } => {
                if let Some(why) = unsaved {
                    log::error!("applied, but a start of HAProxy would take an earlier configuration: {why}");
                }
                for warning in warnings {
                    log::warn!("HAProxy warns: {warning}");
                }
                let took_ms = millis(*took);
                log::info!(
                    digest:% = digest, revision = snapshot.revision, took_ms, reason = reasons, workers_old;
                    "applied by {how} in {took_ms} ms ({reasons})"
                );
            }
            Outcome::Unchanged { .. } => log::debug!(reason = reasons; "nothing to apply ({reasons})"),
            _ => (),
        }
        self.status.send_modify(|status| {
            let applied = &mut status.applied;
            match outcome {
                Outcome::Applied { digest, how, took, workers_old, .. } => {
                    applied.old_workers = *workers_old;
                    applied.digest = Some(digest.to_string());
                    applied.at = Some(seconds(SystemTime::now()));
                    applied.how = Some(how.to_string());
                    applied.took_ms = Some(millis(*took));
                    applied.reloads += u64::from(*how == How::Reload);
                }
                Outcome::Unchanged { digest } => applied.digest = Some(digest.to_string()),
                Outcome::Rejected(_) | Outcome::Unbindable(_) | Outcome::Reverted { .. } | Outcome::Failed { .. } => {
                    applied.failures += 1;
                    return;
                }
            }
            serves(applied, &built.state, snapshot);
        });
    }

    /// The newest wanted state runs.
    pub(super) fn serves(&self, state: &LbState, snapshot: &Snapshot) {
        self.status.send_modify(|status| serves(&mut status.applied, state, snapshot));
    }

    /// The files say what runs, or why they do not.
    pub(super) fn filed(&self, trouble: Option<&str>) {
        self.status.send_if_modified(|status| {
            let known = &mut status.applied.files_trouble;
            if known.as_ref().map(|known| known.text.as_str()) == trouble {
                return false;
            }
            let since = known.as_ref().map_or_else(|| seconds(SystemTime::now()), |known| known.since);
            match trouble {
                Some(text) => log::error!("{text}"),
                None => log::info!("the files say again what runs"),
            }
            *known = trouble.map(|text| TroubleReport { since, text: text.to_owned() });
            true
        });
    }

    /// A change at run time, or none was needed.
    pub(super) fn brought(&self, brought: &Brought, snapshot: &Snapshot, draining: usize) {
        self.status.send_modify(|status| {
            let applied = &mut status.applied;
            if let Brought::Applied { ops, took } = brought {
                let took_ms = millis(*took);
                log::info!(revision = snapshot.revision, took_ms; "applied at run time in {took_ms} ms: {ops} operations");
                applied.at = Some(seconds(SystemTime::now()));
                applied.how = Some("runtime".to_owned());
                applied.took_ms = Some(took_ms);
                applied.runtime += 1;
            }
            applied.draining = draining;
        });
    }

    /// So many servers are on their way out.
    pub(super) fn draining(&self, draining: usize) {
        self.status.send_if_modified(|status| std::mem::replace(&mut status.applied.draining, draining) != draining);
    }

    /// The newest wanted configuration does not run, for `text`; what ran before still does.
    pub(super) fn trouble(&self, text: &str) {
        self.status.send_modify(|status| {
            let trouble = &mut status.applied.trouble;
            match trouble {
                Some(known) if known.text == text => (),
                _ => {
                    log::error!("not applied: {text}");
                    let since = trouble.as_ref().map_or_else(|| seconds(SystemTime::now()), |known| known.since);
                    *trouble = Some(TroubleReport { since, text: text.to_owned() });
                }
            }
        });
    }
}

/// The newest wanted state runs.
fn serves(applied: &mut AppliedReport, state: &LbState, snapshot: &Snapshot) {
    applied.revision = snapshot.revision;
    applied.pending = false;
    applied.trouble = None;
    applied.frontends = state.frontends.len();
    applied.backends = state.backends.len();
    applied.servers = state.backends.values().map(|backend| backend.servers.len()).sum();
    applied.hosts = state.routes.len();
}
