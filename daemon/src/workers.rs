//! Counts the workers that reloads left behind, each a whole process, there for its connections; and which release runs.
//!
//! One task, run by the supervisor. It asks the master now and then and writes what it hears into
//! the status; it ends nobody. HAProxy does, after `haproxy.hard_stop_after`.
#![allow(clippy::disallowed_methods, reason = "says since when and until when a worker is there")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use haproxy::master::Master;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::status::{HaproxyReport, OldWorkerReport, seconds};

/// Looks after old workers until `stop`.
pub async fn run(
    master: Master,
    config: watch::Receiver<Arc<Config>>,
    status: watch::Sender<HaproxyReport>,
    stop: CancellationToken,
) {
    // A worker's own successor may end before it does: what was seen first counts.
    let mut since = BTreeMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => (),
        }
        let bound = Duration::from(config.borrow().haproxy.hard_stop_after);
        let old = look(&master, &mut since, bound).await;
        // A package can have replaced it: what runs counts, not what this process found at its start.
        let runs = master.info().await.ok().map(|info| info.version);
        status.send_if_modified(|report| {
            let version = runs.unwrap_or_else(|| report.version.clone());
            let news = report.old_workers != old || report.version != version;
            report.old_workers = old;
            report.version = version;
            news
        });
    }
}

/// The old workers; none where there is no master to ask.
async fn look(master: &Master, since: &mut BTreeMap<u32, SystemTime>, bound: Duration) -> Vec<OldWorkerReport> {
    let Ok(processes) = master.processes().await else { return Vec::new() };
    let now = SystemTime::now();
    let retired: BTreeMap<u32, Duration> = processes.retired().map(|(old, ago)| (old.pid, ago)).collect();
    since.retain(|pid, _| retired.contains_key(pid));
    let mut reports = Vec::new();
    for (pid, ago) in retired {
        let since = *since.entry(pid).or_insert_with(|| now.checked_sub(ago).unwrap_or(now));
        let connections = master.info_of(pid).await.ok().map(|info| info.connections);
        reports.push(OldWorkerReport { pid, since: seconds(since), until: seconds(since + bound), connections });
    }
    reports
}

/// How long the master may take for an answer.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(2);
