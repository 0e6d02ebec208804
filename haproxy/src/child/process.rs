//! One HAProxy master process: our child, or one that an earlier daemon left running.
//!
//! Signals go to a process only while it is certainly the one meant: an unreaped child, or a pid
//! whose start time has not changed.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::{kill, killpg};
use nix::unistd::{Pid, getpgid};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::grant::granted;

pub(super) use nix::sys::signal::Signal;

#[derive(Debug)]
pub(super) struct Process {
    pid: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Child(Child),
    Adopted { started: u64, poll: Duration },
}

impl Process {
    /// Starts a child in a process group of its own, with no environment and our outputs.
    pub(super) fn start<'a>(binary: &Path, args: impl IntoIterator<Item = &'a OsStr>) -> io::Result<Self> {
        let mut command = Command::new(binary);
        command.args(args).env_clear().stdin(Stdio::null()).process_group(0).kill_on_drop(false);
        let child = granted(|| command.spawn())?;
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { pid, kind: Kind::Child(child) })
    }

    /// Takes over a running process; none if it has just ended.
    pub(super) fn adopt(pid: u32, poll: Duration) -> Option<Self> {
        Some(Self { pid, kind: Kind::Adopted { started: start_time(pid)?, poll } })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end; the status of an adopted one cannot be known.
    pub(super) async fn ended(&mut self) -> Option<ExitStatus> {
        match &mut self.kind {
            Kind::Child(child) => child.wait().await.ok(),
            Kind::Adopted { started, poll } => {
                while start_time(self.pid) == Some(*started) {
                    sleep(*poll).await;
                }
                None
            }
        }
    }

    /// Signals the master if it still runs.
    pub(super) fn signal(&self, signal: Signal) {
        let runs = match &self.kind {
            Kind::Child(child) => child.id().is_some(),
            Kind::Adopted { started, .. } => start_time(self.pid) == Some(*started),
        };
        if let (true, Some(pid)) = (runs, pid(self.pid)) {
            // It may end this instant: then there is nobody to tell.
            let _ = kill(pid, signal);
        }
    }

    /// Kills it and every worker that is left of it.
    pub(super) fn kill_group(&self) {
        self.signal(Signal::SIGKILL);
        // A group outlives its leader while it has members, and its number is not given away
        // meanwhile; a leader that leads another group is no process of ours.
        if let Some(pid) =
            pid(self.pid).filter(|pid| getpgid(Some(*pid)).is_ok_and(|group| group == *pid) || gone(*pid))
        {
            let _ = killpg(pid, Signal::SIGKILL);
        }
    }
}

fn gone(pid: Pid) -> bool {
    getpgid(Some(pid)).is_err()
}

/// Group and process numbers below 2 mean something else to `kill`.
fn pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 1).map(Pid::from_raw)
}

/// A process that was started with an argument that begins so; also one that executes itself anew.
pub(super) fn with_argument(beginning: &OsStr) -> Option<u32> {
    let beginning = beginning.as_encoded_bytes();
    let pids =
        fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut found = pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|argument| argument.starts_with(beginning))
    });
    found.find(|pid| start_time(*pid).is_some())
}

/// When the process started, in clock ticks since boot; none if there is none or it is a zombie.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    stat(pid, 19)
}

/// Its parent; none if there is no such process or it is a zombie.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    stat(pid, 1)
}

/// The field of `/proc/PID/stat` that comes `place` after the state.
fn stat<T: FromStr>(pid: u32, place: usize) -> Option<T> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold blanks and brackets; the state follows its last one.
    let mut fields = stat.rsplit_once(") ")?.1.split_ascii_whitespace();
    (!matches!(fields.next()?, "Z" | "X")).then(|| fields.nth(place - 1)?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_times_tell_processes_apart() {
        let me = std::process::id();
        assert_eq!(start_time(me), start_time(me));
        assert!(start_time(me) > start_time(1));
        assert_eq!(start_time(u32::MAX), None);
        assert_eq!(parent(me), Some(std::os::unix::process::parent_id()));
    }

    #[tokio::test]
    async fn an_adopted_process_ends_when_it_is_gone() {
        let mut owned = Process::start(Path::new("/bin/sleep"), ["60".as_ref()]).unwrap();
        let mut adopted = Process::adopt(owned.pid(), Duration::from_millis(5)).unwrap();
        let early = tokio::time::timeout(Duration::from_millis(30), adopted.ended()).await;
        assert!(early.is_err());
        adopted.signal(Signal::SIGKILL);
        // A zombie already counts as ended.
        tokio::time::timeout(Duration::from_secs(5), adopted.ended()).await.unwrap();
        assert!(!owned.ended().await.unwrap().success());
        assert!(Process::adopt(owned.pid(), Duration::ZERO).is_none());
    }

    #[tokio::test]
    async fn killing_the_group_reaches_what_the_leader_left_behind() {
        let script = "/bin/sleep 61 & echo $! > \"$0\"; exit 0";
        let file = tempfile::NamedTempFile::new().unwrap();
        let args = ["-c".as_ref(), script.as_ref(), file.path().as_os_str()];
        let mut leader = Process::start(Path::new("/bin/sh"), args).unwrap();
        assert!(leader.ended().await.unwrap().success());
        let orphan: u32 = fs::read_to_string(file.path()).unwrap().trim().parse().unwrap();
        assert!(start_time(orphan).is_some());
        leader.kill_group();
        while start_time(orphan).is_some() {
            sleep(Duration::from_millis(5)).await;
        }
    }
}
