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

/// The demo's host, and the right to be the only one of its name.
#[derive(Debug)]
pub(super) struct Host {
    name: String,
    _only: UnixListener,
}

impl Host {
    /// Makes the namespace `name` with `addresses` and moves this thread, and all that it starts, into it.
    ///
    /// # Errors
    /// When something is missing, with the remedy; when another demo of that name runs.
    pub(super) fn enter(name: &str, addresses: &[Ipv4Addr]) -> anyhow::Result<Self> {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        ensure!(plain && name.starts_with(PREFIX), "DEMO_NAME={name:?}: expected {PREFIX}, letters, digits and -");
        ensure!(geteuid().is_root(), "the demo makes a network namespace: run it as root (sudo make demo)");
        for (program, package) in PROGRAMS {
            ensure!(in_path(program), "{program} is not installed: apt-get install {package}");
        }
        let Ok(only) = lock(name) else {
            bail!("a demo is running already: end it (Ctrl-C where it runs), or set DEMO_NAME={PREFIX}-2 for this one");
        };
        clear(name)?;
        for dead in namespaces().filter(|other| other != name && lock(other).is_ok()) {
            clear(&dead)?;
        }
        ip(&["netns", "add", name]).context("make a network namespace (a container must be privileged for that)")?;
        // From here on it is removed when this is dropped.
        let host = Self { name: name.to_owned(), _only: only };
        let namespace = fs::File::open(Path::new(NAMESPACES).join(name)).context("open the network namespace")?;
        setns(namespace, CloneFlags::CLONE_NEWNET).context("enter the network namespace")?;
        ip(&["link", "set", "lo", "up"])?;
        for address in addresses {
            ip(&["addr", "add", &format!("{address}/32"), "dev", "lo"])?;
        }
        Ok(host)
    }

    /// The namespace.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes the directory of the running demo, `/run/NAME`; of an ended one it keeps only the log.
    ///
    /// # Errors
    /// When that cannot be done.
    pub(super) fn dir(&self) -> anyhow::Result<TempDir> {
        let mut builder = tempfile::Builder::new();
        let mut made = builder.prefix(&self.name).rand_bytes(0).tempdir_in("/run").context("make a directory")?;
        // The log is to outlive the demo; the rest goes with the host.
        made.disable_cleanup(true);
        Ok(made)
    }

    /// Where `baton` and its HAProxy log.
    pub(super) fn log(&self) -> PathBuf {
        dir(&self.name).join("log")
    }

    /// The control socket of `baton`.
    pub(super) fn socket(&self) -> PathBuf {
        dir(&self.name).join("baton.sock")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A next demo clears away what this cannot.
        let _ = ip(&["netns", "del", &self.name]);
        let entries = fs::read_dir(dir(&self.name)).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.path() != self.log()) {
            let _ = remove(&entry.path());
        }
    }
}

/// The right to be the demo of that name. An abstract name ends with the process that holds it, however that ends.
fn lock(name: &str) -> std::io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

/// The namespaces of this and other demos.
fn namespaces() -> impl Iterator<Item = String> {
    let entries = fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.starts_with(PREFIX))
}

/// Clears away what a killed demo left behind.
fn clear(name: &str) -> anyhow::Result<()> {
    if Path::new(NAMESPACES).join(name).exists() {
        let left = left_behind(name)?;
        signal(&left, Signal::SIGTERM);
        for _ in 0..300 {
            if left.iter().all(|pid| !is_ours(*pid)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        signal(&left, Signal::SIGKILL);
        ip(&["netns", "del", name]).context("remove the network namespace of an earlier demo")?;
    }
    if dir(name).exists() {
        remove(&dir(name)).context("remove the files of an earlier demo")?;
    }
    Ok(())
}

/// The processes that an earlier demo started in its namespace; a shell of its user is none of them.
fn left_behind(name: &str) -> anyhow::Result<Vec<Pid>> {
    let output = Command::new("ip").args(["netns", "pids", name]).output().context("run ip")?;
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

fn dir(name: &str) -> PathBuf {
    Path::new("/run").join(name)
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// What the demo runs, and the Debian packages that bring it.
const PROGRAMS: [(&str, &str); 3] = [("ip", "iproute2"), ("haproxy", "haproxy"), ("redis-server", "redis-server")];

/// Every demo's name begins so.
const PREFIX: &str = "baton-demo";

/// Where iproute2 keeps the names.
const NAMESPACES: &str = "/run/netns";
