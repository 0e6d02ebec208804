//! The loop that keeps HAProxy as the apps want it.
//!
//! One task, run by the supervisor. It waits for a reason to act (a newer snapshot, a re-read
//! configuration, a signal, HAProxy started anew, a retry that is due), builds the newest wanted
//! configuration and has it applied. Snapshots and configurations come by `watch`, so whatever
//! piled up meanwhile is one change: at most one reload runs and one waits, and the newest wins.
//! It does not talk to Marathon and does not look at VRRP.
#![allow(clippy::disallowed_methods, reason = "the shell that schedules reloads reads the clock")]

pub mod build;
mod left_out;
mod report;

use std::sync::Arc;
use std::time::Duration;

use haproxy::app::Snapshot;
use haproxy::reload::queue::Queue;
use haproxy::reload::{Outcome, Reloader};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

use build::{Builder, Built};
use left_out::LeftOut;
pub use report::ReconcileStatus;
use report::Reporter;

/// What the loop needs, handed over by the supervisor.
pub struct Reconcile {
    /// Applies bundles.
    pub reloader: Reloader,
    /// Makes them; its configuration is replaced when `config` changes.
    pub builder: Builder,
    /// The configuration.
    pub config: watch::Receiver<Arc<Config>>,
    /// The apps.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Reasons of others.
    pub nudges: mpsc::Receiver<Nudge>,
    /// What operators see.
    pub status: watch::Sender<ReconcileStatus>,
}
