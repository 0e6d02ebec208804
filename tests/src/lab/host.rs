//! A host on the lab's LAN: a network namespace without a name, and a thread that lives in it.
//!
//! Made by [`Lan`](super::lan::Lan). What is to happen on the host is handed to its thread; processes and threads
//! started there belong to the host. The namespace ends with the thread, the handle and the last process. A process
//! that the host started is killed by the kernel when this one dies; `leftover`
//! clears the rest.
#![allow(clippy::disallowed_methods, reason = "waits for real processes")]

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::ifaddrs::getifaddrs;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getsid, gettid};
use serde_json::Value;
use tempfile::TempDir;

use super::leftover;
use super::process::Process;

type Job = Box<dyn FnOnce() + Send>;

/// A host; dropping it kills what runs on it.
#[derive(Debug)]
pub struct Host {
    name: String,
    dir: TempDir,
    namespace: File,
    /// What `/proc/PID/ns/net` of its processes reads.
    identity: String,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// An entry of a host's ARP or neighbour table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Whose link-layer address it is.
    pub address: IpAddr,
    /// That address; none while unknown.
    pub mac: Option<String>,
    /// `REACHABLE`, `STALE`, `FAILED`, …
    pub state: String,
}

impl Host {
    /// A host without a link.
    ///
    /// # Errors
    /// When the namespace cannot be made (not root).
    pub(super) fn new(name: &str) -> anyhow::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let (ready, made) = mpsc::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let usable = enter();
            let failed = usable.is_err();
            // The other side waits for it.
            let _ = ready.send(usable);
            if failed {
                return;
            }
            for job in waiting {
                job();
            }
        })?;
        let (namespace, identity) = made.recv().context("the host's thread ended")??;
        let dir = leftover::dir(name)?;
        Ok(Self { name: name.to_owned(), dir, namespace, identity, jobs: Some(jobs), thread: Some(thread) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A directory for the files of what runs on it.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// The name of its network namespace in `/proc`, such as `net:[4026532281]`.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Where `ip` finds its network namespace.
    pub(super) fn namespace(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd())
    }

    /// Runs `job` in the host's network; a thread that it starts is in it, too.
    ///
    /// # Panics
    /// When `job` does.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (give, take) = mpsc::channel();
        let job = move || {
            // Nobody waits any more only where the test is ending.
            let _ = give.send(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)));
        };
        self.jobs
            .as_ref()
            .expect("until it is dropped")
            .send(Box::new(job))
            .expect("the host's thread lives as it does");
        match take.recv().expect("every job answers") {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Runs a command on the host to its end; what it printed.
    ///
    /// # Errors
    /// When it cannot be run or fails; its standard error is in the error.
    pub fn command(&self, program: &str, args: &[&str]) -> anyhow::Result<String> {
        let line = format!("{program} {}", args.join(" "));
        let mut command = Command::new(program);
        command.args(args).env(leftover::VARIABLE, leftover::mark());
        let output = self.run(move || command.output()).with_context(|| format!("run {program} on {}", self.name))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{line} on {}: {}", self.name, said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts a process on the host, its output in the file `LOG.log` of the host's directory; it dies with this one.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, log: &str, program: &str, args: &[&str]) -> anyhow::Result<Process> {
        let path = self.dir().join(format!("{log}.log"));
        let file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program]).args(args);
        command.env(leftover::VARIABLE, leftover::mark());
        // A terminal's Ctrl-C is for this process, which ends the host in order.
        command.process_group(0);
        command.stdin(std::process::Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = self.run(move || command.spawn()).context("run setpriv (Debian package util-linux)")?;
        Ok(Process::new(child, path))
    }

    /// The processes on it, those of other namespaces and this one's threads not among them, nor a shell that somebody
    /// opened there from elsewhere.
    pub fn pids(&self) -> Vec<Pid> {
        let here = |pid: &i32| {
            fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|link| link.as_os_str() == self.identity.as_str())
        };
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let (mark, session) = (leftover::mark(), getsid(None).ok());
        // A script that `baton` runs has no mark, but it is in the session.
        let ours = |pid: &i32| {
            getsid(Some(Pid::from_raw(*pid))).ok() == session || leftover::mark_of(*pid).as_ref() == Some(&mark)
        };
        leftover::processes().filter(|pid| *pid != own).filter(here).filter(ours).map(Pid::from_raw).collect()
    }

    /// Kills its processes at once: none has the time to say farewell to its peers.
    ///
    /// # Errors
    /// When one does not end.
    pub fn kill_all(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let pids = self.pids();
            if pids.is_empty() {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("processes {pids:?} on {} do not end", self.name);
            }
            kill_at_once(&pids);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Every address of its interfaces.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn addresses(&self) -> anyhow::Result<Vec<IpAddr>> {
        let interfaces = self.run(|| getifaddrs().map(Iterator::collect::<Vec<_>>))?;
        let ip = |storage: nix::sys::socket::SockaddrStorage| {
            let four = storage.as_sockaddr_in().map(|four| IpAddr::V4(four.ip()));
            four.or_else(|| storage.as_sockaddr_in6().map(|six| IpAddr::V6(six.ip())))
        };
        Ok(interfaces.into_iter().filter_map(|interface| ip(interface.address?)).collect())
    }

    /// Whether it has the address.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.addresses().is_ok_and(|all| all.contains(&address))
    }

    /// Waits until it has the address, or has it no longer; how long that took.
    ///
    /// # Errors
    /// When it takes longer than `patience`.
    pub fn until_holds(&self, address: IpAddr, wanted: bool, patience: Duration) -> anyhow::Result<Duration> {
        let began = Instant::now();
        while self.holds(address) != wanted {
            let not = if wanted { "" } else { " still" };
            ensure!(
                began.elapsed() < patience,
                "{address} is{not} {}on {}",
                if wanted { "not " } else { "" },
                self.name
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(began.elapsed())
    }

    /// Its ARP and neighbour tables.
    ///
    /// # Errors
    /// When `ip` does not tell.
    pub fn neighbours(&self) -> anyhow::Result<Vec<Neighbour>> {
        let rows: Value = serde_json::from_str(&self.command("ip", &["-j", "neigh", "show"])?)?;
        let neighbour = |row: &Value| {
            let address = row["dst"].as_str()?.parse().ok()?;
            let mac = row["lladdr"].as_str().map(str::to_owned);
            Some(Neighbour { address, mac, state: row["state"][0].as_str().unwrap_or_default().to_owned() })
        };
        Ok(rows.as_array().context("no list of neighbours")?.iter().filter_map(neighbour).collect())
    }

    /// Forgets one neighbour's link-layer address.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn forget(&self, neighbour: IpAddr) -> anyhow::Result<()> {
        self.command("ip", &["neigh", "flush", "to", &neighbour.to_string()]).map(drop)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A process that does not end is the next run's.
        let _ = self.kill_all();
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Kills them so that none sees another one die.
pub(super) fn kill_at_once(pids: &[Pid]) {
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        for pid in pids {
            // One that has just ended is what is wanted.
            let _ = kill(*pid, signal);
        }
    }
}

/// Puts this thread into a network namespace of its own.
fn enter() -> anyhow::Result<(File, String)> {
    unshare(CloneFlags::CLONE_NEWNET).context("unshare the network (the lab needs root)")?;
    super::ip(&["link", "set", "lo", "up"])?;
    // Addresses are usable at once, as on a host that has been up for a while.
    for (key, value) in [("accept_dad", "0"), ("dad_transmits", "0"), ("accept_ra", "0")] {
        let path = format!("/proc/sys/net/ipv6/conf/default/{key}");
        fs::write(&path, value).with_context(|| format!("write {path}"))?;
    }
    // A host has a machine of its own; here, a build beside it would take its time. Inherited by all that runs on it;
    // where it is not permitted, things are slower and nothing else.
    let _ = Command::new("renice").args(["--priority", "-15", "--pid", &gettid().to_string()]).output();
    let path = "/proc/thread-self/ns/net";
    let namespace = File::open(path).context("open the network namespace")?;
    let identity = fs::read_link(path)?.to_string_lossy().into_owned();
    Ok((namespace, identity))
}

/// For a killed process to end.
const PATIENCE: Duration = Duration::from_secs(5);
