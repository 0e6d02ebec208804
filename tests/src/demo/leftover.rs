//! The names that a demo gives to things outside its process, and how a next demo clears away those of a killed one.
//!
//! Those are network namespaces, processes in them and a directory in `/run`. The hosts' own files and processes are
//! the lab's to clear. Called by [`site`](super::site).

use std::collections::BTreeSet;
use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::ip;

/// The right to be the demo of that name. An abstract name ends with the process that holds it, however that ends.
pub(super) fn lock(name: &str) -> std::io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

/// The network namespace of a demo's host.
pub(super) fn namespace(name: &str, host: &str) -> String {
    format!("{name}-{host}")
}

/// Where iproute2 keeps it.
pub(super) fn namespace_file(namespace: &str) -> PathBuf {
    Path::new(NAMESPACES).join(namespace)
}

/// A demo's directory.
pub(super) fn dir(name: &str) -> PathBuf {
    Path::new("/run").join(name)
}

/// Clears away what killed demos left behind, and everything of the one of this name.
///
/// # Errors
/// When something of this name stays.
pub(super) fn clear_all(name: &str) -> anyhow::Result<()> {
    clear(name)?;
    for dead in demos().iter().filter(|other| *other != name && lock(other).is_ok()) {
        clear(dead)?;
    }
    Ok(())
}

/// Removes everything from the directory of an ended demo but the logs.
pub(super) fn keep_logs_only(name: &str) {
    let entries = fs::read_dir(dir(name)).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.path().extension().is_none_or(|extension| extension != "log")) {
        let _ = remove(&entry.path());
    }
}

/// The demos that have namespaces.
fn demos() -> BTreeSet<String> {
    let entries = fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let demo = |name: String| {
        let (demo, host) = name.rsplit_once('-')?;
        (demo.starts_with(PREFIX) && HOSTS.contains(&host)).then(|| demo.to_owned())
    };
    names.filter_map(demo).collect()
}

fn clear(name: &str) -> anyhow::Result<()> {
    let all = HOSTS.map(|host| namespace(name, host));
    let there = all.into_iter().filter(|namespace| namespace_file(namespace).exists());
    for namespace in there {
        let left = left_behind(&namespace)?;
        signal(&left, Signal::SIGTERM);
        for _ in 0..300 {
            if left.iter().all(|pid| !is_ours(*pid)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        signal(&left, Signal::SIGKILL);
        ip(&["netns", "del", &namespace]).context("remove a network namespace of an earlier demo")?;
    }
    if dir(name).exists() {
        remove(&dir(name)).context("remove the files of an earlier demo")?;
    }
    Ok(())
}

/// The processes that an earlier demo started in a namespace; a shell of its user is none of them.
fn left_behind(namespace: &str) -> anyhow::Result<Vec<Pid>> {
    let output = Command::new("ip").args(["netns", "pids", namespace]).output().context("run ip")?;
    let pids = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(pids.lines().filter_map(|pid| pid.trim().parse().ok()).map(Pid::from_raw).filter(|pid| is_ours(*pid)).collect())
}

fn is_ours(pid: Pid) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let zombie = fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    ["baton", "haproxy", "redis-server", "demo"].contains(&name.trim()) && !zombie
}

fn signal(pids: &[Pid], signal: Signal) {
    for pid in pids.iter().filter(|pid| is_ours(**pid)) {
        // One that has just ended is what is wanted.
        let _ = kill(*pid, signal);
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// The hosts: two load balancers, Marathon with its agents, a client.
pub(super) const HOSTS: [&str; 4] = ["lb1", "lb2", "marathon", "client"];

/// Every demo's name begins so.
pub(super) const PREFIX: &str = "baton-demo";

const NAMESPACES: &str = "/run/netns";
