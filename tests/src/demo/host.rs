//! Where the demo runs: a named network namespace with the addresses of the load balancer, Marathon and the agents.
//!
//! Named, so that its user can look around in it with `ip netns exec`. One demo at a time; what a killed one left
//! behind (the namespace, processes in it, files) is cleared away by the next.

use std::fs;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

use crate::lab::ip;

/// The namespace.
pub(super) const NAME: &str = "baton-demo";

/// Files of the running demo; of an ended one only the log.
pub(super) const DIR: &str = "/run/baton-demo";

/// Where `baton` and its HAProxy log.
pub(super) const LOG: &str = "/run/baton-demo/log";

/// The demo's host, and the right to be the only one.
#[derive(Debug)]
pub(super) struct Host {
    _only: UnixListener,
}

impl Host {
    /// Makes the namespace with `addresses` and moves this thread, and all that it starts, into it.
    ///
    /// # Errors
    /// When something is missing, with the remedy; when another demo runs.
    pub(super) fn enter(addresses: &[Ipv4Addr]) -> anyhow::Result<Self> {
        ensure!(geteuid().is_root(), "the demo makes a network namespace: run it as root (sudo make demo)");
        for (program, package) in PROGRAMS {
            ensure!(in_path(program), "{program} is not installed: apt-get install {package}");
        }
        // An abstract name ends with the process that holds it, however that ends.
        let name = SocketAddr::from_abstract_name(NAME).context("name the demo's lock")?;
        let Ok(only) = UnixListener::bind_addr(&name) else {
            bail!("another demo is running; end it first (Ctrl-C where it runs)");
        };
        clear()?;
        ip(&["netns", "add", NAME]).context("make a network namespace (a container must be privileged for that)")?;
        // From here on it is removed when this is dropped.
        let host = Self { _only: only };
        let namespace = fs::File::open(namespace()).context("open the network namespace")?;
        setns(namespace, CloneFlags::CLONE_NEWNET).context("enter the network namespace")?;
        ip(&["link", "set", "lo", "up"])?;
        for address in addresses {
            ip(&["addr", "add", &format!("{address}/32"), "dev", "lo"])?;
        }
        Ok(host)
    }

    /// Makes [`DIR`].
    ///
    /// # Errors
    /// When that cannot be done.
    pub(super) fn dir(&self) -> anyhow::Result<TempDir> {
        let dir = Path::new(DIR);
        let (parent, name) = (dir.parent().unwrap_or(dir), dir.file_name().unwrap_or_default());
        let mut made =
            tempfile::Builder::new().prefix(name).rand_bytes(0).tempdir_in(parent).context("make its directory")?;
        // The log is to outlive the demo; the rest goes with the host.
        made.disable_cleanup(true);
        Ok(made)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A next demo clears away what this cannot.
        let _ = ip(&["netns", "del", NAME]);
        let entries = fs::read_dir(DIR).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.path() != Path::new(LOG)) {
            let _ = remove(&entry.path());
        }
    }
}

/// Clears away what a killed demo left behind.
fn clear() -> anyhow::Result<()> {
    if namespace().exists() {
        let left = left_behind()?;
        signal(&left, Signal::SIGTERM);
        for _ in 0..300 {
            if left.iter().all(|pid| !is_ours(*pid)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        signal(&left, Signal::SIGKILL);
        ip(&["netns", "del", NAME]).context("remove the network namespace of an earlier demo")?;
    }
    if Path::new(DIR).exists() {
        remove(Path::new(DIR)).context("remove the files of an earlier demo")?;
    }
    Ok(())
}

/// The processes that an earlier demo started in its namespace; a shell of its user is none of them.
fn left_behind() -> anyhow::Result<Vec<Pid>> {
    let output = Command::new("ip").args(["netns", "pids", NAME]).output().context("run ip")?;
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

fn namespace() -> PathBuf {
    Path::new("/run/netns").join(NAME)
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// What the demo runs, and the Debian packages that bring it.
const PROGRAMS: [(&str, &str); 3] = [("ip", "iproute2"), ("haproxy", "haproxy"), ("redis-server", "redis-server")];
