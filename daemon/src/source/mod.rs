//! Where apps come from: a Marathon cluster or a file. Each source publishes snapshots.
//!
//! A source is one async function that the supervisor runs as a task. It publishes
//! `watch<Arc<Snapshot>>` (latest wins, only when something changed) and a [`SourceStatus`], and
//! takes [`SourceCommand`]s. It never fails: trouble is a state it reports, and the last good
//! snapshot stays. Turning apps into a configuration is not its business.

pub mod backoff;
pub mod file;
pub mod marathon;
pub mod publish;
pub mod resolve;
pub mod status;
pub mod store;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use haproxy::app::{App, AppId};

pub use status::SourceStatus;

/// What the store remembers: the apps that were served last, health verdicts and addresses included.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// The apps.
    pub apps: BTreeMap<AppId, Arc<App>>,
    /// When they were written down.
    pub written: SystemTime,
}

/// What the supervisor asks of a running source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceCommand {
    /// Read everything again, now (SIGHUP, `baton reload`).
    Refetch,
}
