//! What the loop tells operators: its part of the status, and its log lines.
//!
//! Each issue and each trouble is logged once, when it begins; the status shows it as long as it
//! lasts.
#![allow(clippy::disallowed_methods, reason = "says since when things are as they are")]

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use haproxy::app::Snapshot;
use haproxy::issue::Issue;
use haproxy::model::LbState;
use haproxy::reload::{How, Outcome};
use tokio::sync::watch;

use crate::certs::keeper::Deployed;
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

    /// What HAProxy gets of the certificates.
    pub(super) fn certificates(&self, deployed: &Deployed) {
        self.status.send_modify(|status| {
            let report = &mut status.applied.certificates;
            let known = std::mem::take(&mut report.troubles);
            for (path, why) in deployed.troubles.iter().filter(|(path, why)| known.get(*path) != Some(why)) {
                log::error!("certificate {path}: {why}");
            }
            for path in known.keys().filter(|path| !deployed.troubles.contains_key(*path)) {
                log::info!("certificate {path} is in order again");
            }
            report.troubles.clone_from(&deployed.troubles);
            report.files = deployed.certificates.files().len();
        });
    }

    /// Something newer is wanted.
    pub(super) fn pending(&self) {
        self.status.send_if_modified(|status| !std::mem::replace(&mut status.applied.pending, true));
    }

    /// What the apps want, and what is wrong with them.
    pub(super) fn wanted(&mut self, now: &[Issue], left_out: &LeftOut) {
        self.status.send_if_modified(|status| {
            let left_out = left_out.report();
            let news = status.applied.left_out != left_out;
            status.applied.left_out = left_out;
            news
        });
        if self.known.iter().eq(now) {
            return;
        }
        let issues: BTreeSet<_> = now.iter().cloned().collect();
        for issue in issues.difference(&self.known) {
            let label = issue.label.as_deref().unwrap_or_default();
            log::warn!(app = issue.app.as_str(), label; "{issue}");
        }
        for mended in self.known.difference(&issues) {
            log::info!(app = mended.app.as_str(); "no longer: {mended}");
        }
        self.known = issues;
        self.status.send_modify(|status| status.issues = now.to_vec());
    }

    /// An attempt ended.
    pub(super) fn ended(&self, outcome: &Outcome, built: &Built, snapshot: &Snapshot, reasons: &str) {
        match outcome {
            Outcome::Applied { digest, how, took, warnings, workers_old, untold, unsaved } => {
                if let Some(why) = unsaved {
                    log::error!("applied, but a start of HAProxy would take an earlier configuration: {why}");
                }
                if let Some(why) = untold {
                    log::warn!("the new worker was not told which servers are down: {why}");
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
                Outcome::Applied { digest, how, took, .. } => {
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

    /// A change at run time, or none was needed; `state` is what runs now if nothing is left to do.
    pub(super) fn brought(&self, brought: &Brought, state: Option<&LbState>, snapshot: &Snapshot, draining: usize) {
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
            if let Some(state) = state {
                serves(applied, state, snapshot);
            }
        });
    }

    /// HAProxy was asked about so many configurations.
    pub(super) fn checked(&self, checks: u64) {
        self.status.send_if_modified(|status| std::mem::replace(&mut status.applied.checks, checks) != checks);
    }

    /// HAProxy refused a configuration, and apps were taken out, or nobody is to blame.
    pub(super) fn repaired(&self, repaired: bool, took: Duration, checks: u64) {
        self.checked(checks);
        if repaired {
            let took_ms = millis(took);
            log::info!(took_ms; "HAProxy refused a configuration; it accepts the rest after {took_ms} ms");
            self.status.send_modify(|status| status.applied.repair_ms = Some(took_ms));
        }
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
