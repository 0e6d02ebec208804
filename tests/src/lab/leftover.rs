//! What a killed run left behind: its processes and directories are told by a mark, and cleared by the next run.
//!
//! Every process that a lab host starts carries the mark of the run in its environment, and so do its children; every
//! directory carries it in its name. The mark names the run's process, so it also tells whether the run is over. The
//! namespaces themselves have no name and end with the last process in them. Called by [`Lan`](super::lan::Lan).

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};
use tempfile::TempDir;

/// The variable that holds the mark.
pub(super) const VARIABLE: &str = "LAB_OWNER";

/// The mark of this run: the process id and when that process began, because ids come again.
pub(super) fn mark() -> String {
    let pid = std::process::id();
    format!("{pid}-{}", began(pid).unwrap_or_default())
}

/// A directory that a later run clears away if this one cannot.
///
/// # Errors
/// When it cannot be made.
pub(super) fn dir(name: &str) -> std::io::Result<TempDir> {
    tempfile::Builder::new().prefix(&format!("{PREFIX}{}-{name}-", mark())).tempdir()
}

/// Kills the processes and removes the directories of runs that are over.
pub(super) fn sweep() {
    for pid in processes() {
        if mark_of(pid).is_some_and(|mark| is_over(&mark)) {
            // One that has just ended is what is wanted.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        // The mark is the first two of the numbers.
        let mark = rest.map(|rest| rest.splitn(3, '-').take(2).collect::<Vec<_>>().join("-"));
        if mark.is_some_and(|mark| is_over(&mark)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The mark that a process carries.
pub(super) fn mark_of(pid: i32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).find_map(|pair| {
        let (name, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
        (name == VARIABLE).then(|| value.to_owned())
    })
}

/// The ids of all processes.
pub(super) fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn is_over(mark: &str) -> bool {
    let Some((pid, start)) = mark.split_once('-') else { return false };
    let (Ok(pid), Ok(start)) = (pid.parse::<u32>(), start.parse::<u64>()) else { return false };
    !Path::new("/proc").join(pid.to_string()).exists() || began(pid) != Some(start)
}

/// When a process began, in clock ticks since the machine did.
fn began(pid: u32) -> Option<u64> {
    field(i32::try_from(pid).ok()?, 22)
}

/// The parent of a process.
pub(super) fn parent(pid: i32) -> Option<i32> {
    field(pid, 4)
}

/// The CPU time of a process, its own and the kernel's on its behalf.
pub(super) fn cpu_time(pid: i32) -> Duration {
    let ticks: u64 = [14, 15].into_iter().filter_map(|number| field::<u64>(pid, number)).sum();
    let a_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok());
    Duration::from_millis(ticks * 1_000 / a_second.unwrap_or(100))
}

/// A field of `/proc/PID/stat`, counted from 1; those after the name only.
fn field<T: std::str::FromStr>(pid: i32, number: usize) -> Option<T> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

const PREFIX: &str = "baton-lan-";

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_mark_tells_whether_its_run_is_over() {
        let mine = mark();
        assert!(!is_over(&mine), "{mine}");
        let (pid, start) = mine.split_once('-').unwrap();
        assert!(is_over(&format!("{pid}-{}", start.parse::<u64>().unwrap() + 1)), "the same id again");
        assert!(is_over("4194305-1"), "beyond the greatest id");
        assert!(!is_over("not-a-mark"));
    }

    #[test]
    fn processes_of_ended_runs_are_killed_and_ours_are_kept() {
        let sleep = |mark: &str| Command::new("sleep").arg("60").env(VARIABLE, mark).spawn().unwrap();
        let (mut mine, mut theirs) = (sleep(&mark()), sleep("4194305-1"));
        // Its environment is there once it is the new program.
        std::thread::sleep(Duration::from_millis(100));
        sweep();
        assert_eq!(theirs.wait().unwrap().signal(), Some(9));
        assert!(mine.try_wait().unwrap().is_none());
        mine.kill().unwrap();
        mine.wait().unwrap();
    }

    #[test]
    fn directories_of_ended_runs_are_removed_and_ours_are_kept() {
        let mine = dir("mine").unwrap();
        let theirs = tempfile::Builder::new().prefix(&format!("{PREFIX}4194305-1-theirs-")).tempdir().unwrap();
        sweep();
        assert!(mine.path().exists());
        assert!(!theirs.path().exists());
    }
}
