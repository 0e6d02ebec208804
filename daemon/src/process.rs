//! HAProxy as a process: started and watched here where `manage = "child"`.
//!
//! One task, run by the supervisor. It starts HAProxy as soon as there is a configuration to start
//! from, starts it again when it dies, and tells the reconcile loop, which puts a process that it
//! does not know right. Where HAProxy has a unit of its own, there is nothing to do here.
#![allow(clippy::disallowed_methods, reason = "says since when HAProxy does not run")]

use std::time::SystemTime;

use haproxy::child::{Event, Stopped, Supervisor};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::reconcile::Nudge;
use crate::status::{HaproxyReport, TroubleReport, millis, seconds};

/// Keeps HAProxy running until `stop`, then ends it in order.
pub async fn run(
    mut supervisor: Supervisor,
    status: watch::Sender<HaproxyReport>,
    nudges: mpsc::Sender<Nudge>,
    stop: CancellationToken,
) {
    loop {
        let event = tokio::select! {
            event = supervisor.next() => event,
            () = stop.cancelled() => break,
        };
        let (pid, trouble) = match event {
            Event::Started { pid, .. } => {
                log::info!(pid; "HAProxy started, pid {pid}");
                (Some(pid), None)
            }
            Event::Adopted { pid } => {
                log::info!(pid; "HAProxy of an earlier baton taken over, pid {pid}");
                (Some(pid), None)
            }
            Event::Ended { pid, status, ran, restart_in } => {
                let how = status.map_or_else(|| "ended".to_owned(), |status| status.to_string());
                let text = format!("HAProxy, pid {pid}, ended by itself ({how}) after {} ms", millis(ran));
                log::error!(pid; "{text}; starting it again in {} ms", millis(restart_in));
                (None, Some(text))
            }
            Event::NotStarted { error, restart_in } => {
                let text = format!("HAProxy does not start: {:#}", anyhow::Error::new(error));
                log::error!("{text}; trying again in {} ms", millis(restart_in));
                (None, Some(text))
            }
        };
        status.send_modify(|report| {
            report.pid = pid;
            report.restarts += u64::from(trouble.is_some());
            report.trouble = trouble.map(|text| TroubleReport { since: seconds(SystemTime::now()), text });
        });
        // A full channel means that a nudge waits already.
        if pid.is_some() {
            let _ = nudges.try_send(Nudge::Started);
        }
    }
    match supervisor.stop().await {
        Stopped::NotRunning => (),
        Stopped::Gracefully => log::info!("HAProxy ended, all connections served"),
        Stopped::Cut => log::warn!("HAProxy ended, connections that were still open were cut"),
        Stopped::Killed => log::warn!("HAProxy did not end and was killed"),
    }
}
