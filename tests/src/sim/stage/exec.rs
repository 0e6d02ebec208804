//! A task that is a real process: `SIM_EXEC` of the app's environment, run by `sh` in a process group of its own.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::super::instance::{Condition, Instance};
use super::super::shared::Shared;

/// How long a process may take to follow SIGTERM.
const GRACE: Duration = Duration::from_secs(3);

/// Starts the process; `HOST`, `PORT`, `PORT0`, … and the app's environment are set.
///
/// # Errors
/// When it cannot be started.
pub(super) fn start(
    shared: &Arc<Shared>,
    instance: &Instance,
    command: &str,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut process = Command::new("sh");
    process.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    process.process_group(0).kill_on_drop(true);
    process.envs(&instance.def.facts.env).env("HOST", instance.address.to_string());
    process.env("MARATHON_APP_ID", instance.def.id.as_str()).env("MESOS_TASK_ID", &instance.task_id);
    for (index, port) in instance.ports.iter().enumerate() {
        process.env(format!("PORT{index}"), port.to_string());
    }
    if let Some(port) = instance.ports.first() {
        process.env("PORT", port.to_string());
    }
    let mut child = process.spawn()?;
    let group = Group(child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw));
    let (shared, id) = (Arc::clone(shared), instance.id.clone());
    let tasks = Arc::clone(&shared);
    tasks.tasks.spawn(async move {
        tokio::select! {
            status = child.wait() => {
                let (condition, message) = match status {
                    Ok(status) if status.success() => (Condition::Finished, "Command exited with status 0".to_owned()),
                    Ok(status) => (Condition::Failed, format!("Command terminated: {status}")),
                    Err(error) => (Condition::Failed, error.to_string()),
                };
                shared.act(|world, now| world.failed(&id, condition, &message, now));
            }
            () = stop.cancelled() => {
                group.signal(Signal::SIGTERM);
                let _ = tokio::time::timeout(GRACE, child.wait()).await;
            }
        }
        drop(group);
    });
    Ok(())
}

/// A process group that does not outlive its owner.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // ESRCH: everything in it has ended already.
            let _ = killpg(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}
