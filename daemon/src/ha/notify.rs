//! Tells an operator's program of every change of a virtual router, with keepalived's arguments.
//!
//! Fed by the `vip` task and run beside it: one notification at a time, in order; when too many
//! wait, the newest are dropped and the log says so. Nothing waits for it.

use tokio::sync::mpsc;
use vrrp::machine::io::Phase;
use vrrp::types::Priority;

use super::program::Program;
use crate::config::vrrp::Vrrp;

/// One notification.
#[derive(Debug)]
pub(super) struct Notice {
    program: Program,
    kind: &'static str,
    name: String,
    state: &'static str,
    priority: String,
}

/// The sending end.
#[derive(Debug, Clone)]
pub(super) struct Notifier(mpsc::Sender<Notice>);

impl Notifier {
    /// Both ends; somebody has to run the second one.
    pub(super) fn new() -> (Self, Notices) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), Notices(receiver))
    }

    /// The router is in `phase` now.
    pub(super) fn moved(&self, router: &Vrrp, phase: Phase, priority: Priority) {
        let Some(state) = state(phase).filter(|_| !router.notify.is_empty()) else { return };
        let notice = |kind, name: String| Notice {
            program: Program::new(&router.notify, router.notify_timeout.into()),
            kind,
            name,
            state,
            priority: priority.0.to_string(),
        };
        let group = router.group.clone().map(|group| notice("GROUP", group));
        for notice in [notice("INSTANCE", router.name())].into_iter().chain(group) {
            if let Err(mpsc::error::TrySendError::Full(notice)) = self.0.try_send(notice) {
                log::warn!(
                    "not told of {} {}: too many notifications wait for {}",
                    notice.name,
                    notice.state,
                    notice.program
                );
            }
        }
    }
}

/// The running end.
#[derive(Debug)]
pub(super) struct Notices(mpsc::Receiver<Notice>);

impl Notices {
    /// Runs what comes, until all senders are gone.
    pub(super) async fn run(mut self) {
        while let Some(notice) = self.0.recv().await {
            let args = [notice.kind, &notice.name, notice.state, &notice.priority];
            if let Err(why) = notice.program.run(&args).await {
                log::warn!("notify {} {}: {}: {why:#}", notice.name, notice.state, notice.program);
            }
        }
    }
}

/// keepalived's word for it; Leaving is on the way to another one.
fn state(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::Active => Some("MASTER"),
        Phase::Backup => Some("BACKUP"),
        Phase::Fault => Some("FAULT"),
        Phase::Init => Some("STOP"),
        Phase::Leaving => None,
    }
}

/// Notifications that may wait.
const WAITING: usize = 64;
