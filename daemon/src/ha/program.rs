//! A program of the operator's, run to its end without a shell: tracked scripts, notifications.
//!
//! Runs with a plain PATH and nothing else in its environment, no input, in a limited time, and as
//! an unprivileged user where we are root.
#![allow(clippy::disallowed_methods, reason = "runs programs in real time")]

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::unistd::{User, geteuid};
use tokio::process::Command;

/// A program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    command: Vec<String>,
    limit: Duration,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.command.join(" "))
    }
}

impl Program {
    /// `command` is the program and its first arguments; a run may take `limit`.
    pub(super) fn new(command: &[String], limit: Duration) -> Self {
        Self { command: command.to_vec(), limit }
    }

    /// Runs it with more arguments. Dropping the future kills it.
    ///
    /// # Errors
    /// When it cannot be started, does not end in time, or ends with anything but 0.
    pub(super) async fn run(&self, more: &[&str]) -> anyhow::Result<()> {
        let Some((program, args)) = self.command.split_first() else { return Ok(()) };
        let mut command = Command::new(program);
        command.args(args).args(more).env_clear().env("PATH", PATH);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        if geteuid().is_root() {
            let user = unprivileged().context("no user baton or nobody to run it as")?;
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let mut child = command.spawn().with_context(|| format!("start {program}"))?;
        match tokio::time::timeout(self.limit, child.wait()).await {
            Err(_) => bail!("did not end within {} s and was killed", self.limit.as_secs_f32()),
            Ok(status) => match status.context("wait for its end")? {
                status if status.success() => Ok(()),
                status => bail!("ended with {status}"),
            },
        }
    }
}

fn unprivileged() -> Option<User> {
    ["baton", "nobody"].into_iter().find_map(|name| User::from_name(name).ok().flatten())
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Program {
        Program::new(&["/bin/sh", "-c", script, "x"].map(str::to_owned), limit)
    }

    #[tokio::test]
    async fn only_success_in_time_is_success() {
        let second = Duration::from_secs(1);
        assert!(shell("[ \"$1\" = MASTER ]", second).run(&["MASTER"]).await.is_ok());
        assert!(shell("exit 3", second).run(&[]).await.unwrap_err().to_string().contains("exit status: 3"));
        let slow = shell("sleep 5", Duration::from_millis(50)).run(&[]).await.unwrap_err();
        assert!(slow.to_string().contains("did not end"), "{slow}");
        let missing = Program::new(&["/nowhere".to_owned()], second).run(&[]).await.unwrap_err();
        assert!(missing.to_string().contains("start /nowhere"), "{missing}");
    }
}
