//! What fetching leaves in the status and in the log.
//!
//! Called by `refetch` only. Each trouble is logged once, when it begins or changes.
#![allow(clippy::disallowed_methods, reason = "the status tells the time of day")]

use std::sync::Arc;
use std::time::SystemTime;

use super::book::Book;
use super::client::Fetched;
use super::error::{AllFailed, MemberError};
use super::{Cluster, Why};
use crate::source::status::{GoodFetch, SourceStatus, Trouble};

/// A fetch of everything starts.
pub(super) fn started(cluster: &Cluster<'_>, why: Why) {
    log::debug!(why = why.kind(); "fetching all apps");
    cluster.status.send_modify(|status| *status.fetch.reasons.entry(why.kind()).or_default() += 1);
}

/// A fetch of one app starts.
pub(super) fn started_one(cluster: &Cluster<'_>, why: &'static str) {
    cluster.status.send_modify(|status| *status.single.reasons.entry(why).or_default() += 1);
}

/// Everything was fetched. Gives whether that did not work before.
pub(super) fn succeeded(cluster: &Cluster<'_>, fetched: &Fetched) -> bool {
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
        status.fetch.bytes += bytes(fetched);
        let apps = fetched.answer.apps.len();
        status.fetch.last = Some(GoodFetch { at: now, took: fetched.took, bytes: fetched.bytes, apps });
    });
    if let Some(trouble) = &was_down {
        let down = now.duration_since(trouble.since).unwrap_or_default();
        log::info!(member = fetched.member, down:? = down; "Marathon answers again");
        cluster.recovered.notify_waiters();
    }
    was_down.is_some()
}

/// No member gave a list.
pub(super) fn failed(cluster: &Cluster<'_>, failed: &AllFailed) {
    cluster.status.send_modify(|status| {
        count(status, failed.members());
        if Trouble::note(&mut status.fetch.trouble, &failed.to_string(), SystemTime::now()) {
            log::warn!(reason:% = failed; "cannot read apps from Marathon; what is served stays as it is");
        }
    });
}

/// One app was fetched.
pub(super) fn succeeded_one(cluster: &Cluster<'_>, fetched: &Fetched, gone: bool, taken: bool) {
    cluster.status.send_modify(|status| {
        count(status, &fetched.failures);
        status.leader.clone_from(&fetched.leader);
        status.single.ok += 1;
        status.single.took = fetched.took;
        status.single.gone += u64::from(gone);
        status.single.late += u64::from(!taken);
        status.single.bytes += bytes(fetched);
    });
}

/// No member told about one app. The list is read instead, and says what is wrong.
pub(super) fn failed_one(cluster: &Cluster<'_>, failed: &AllFailed) {
    log::debug!(reason:% = failed; "cannot read one app; reading all");
    cluster.status.send_modify(|status| {
        count(status, failed.members());
        status.single.failed += 1;
    });
}

/// The list is held back.
pub(super) fn held(cluster: &Cluster<'_>, why: &str) {
    cluster.status.send_modify(|status| {
        status.guard.holds += 1;
        let text = format!("{why}; what is served stays until a second list agrees");
        if Trouble::note(&mut status.guard.held, &text, SystemTime::now()) {
            log::warn!(reason = why; "a list of apps is held back until a second one agrees");
        }
    });
}

/// The list counts.
pub(super) fn believed(cluster: &Cluster<'_>, confirmed: bool) {
    cluster.status.send_modify(|status| {
        status.restored = None;
        status.guard.confirmed += u64::from(confirmed);
        if status.guard.held.take().is_some() {
            match confirmed {
                true => log::warn!("a second list of apps agrees with the one that was held back"),
                false => log::info!("the list of apps that was held back is not confirmed and forgotten"),
            }
        }
    });
}

/// What the store remembers is served.
pub(super) fn restored(cluster: &Cluster<'_>, written: SystemTime) {
    cluster.status.send_modify(|status| {
        status.restored = Some(written);
        let age = SystemTime::now().duration_since(written).unwrap_or_default();
        log::warn!(age_s = age.as_secs(); "serving apps as they were last written down, until Marathon answers");
    });
}

/// Which tasks no answer vouches for, where that changed.
pub(super) fn unconfirmed(cluster: &Cluster<'_>, book: &Book) {
    if *cluster.status.borrow().unconfirmed != *book.unconfirmed() {
        let tasks = Arc::new(book.unconfirmed().clone());
        cluster.status.send_modify(|status| status.unconfirmed = tasks);
    }
}

fn count(status: &mut SourceStatus, failures: &[MemberError]) {
    for error in failures {
        *status.fetch.failed.entry(error.reason.kind()).or_default() += 1;
    }
}

fn bytes(fetched: &Fetched) -> u64 {
    u64::try_from(fetched.bytes).unwrap_or(u64::MAX)
}
