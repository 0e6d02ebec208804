//! Where the demo plays: two load balancers, Marathon with its agents, and a client, on a LAN of their own.
//!
//! The hosts are the lab's, with names added, so that the demo's user can look around in them with `ip netns exec`.
//! One demo of a name at a time; what a killed one left behind is cleared away first, by [`leftover`].

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use nix::sched::{CloneFlags, setns};
use nix::unistd::{geteuid, gettid};

use super::cluster::{AGENTS, MARATHON};
use super::leftover;
use crate::lab::host::Host;
use crate::lab::ip;
use crate::lab::lan::Lan;

/// The hosts, and the right to be the only demo of its name. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Site {
    name: String,
    /// The switch between them.
    pub(super) lan: Lan,
    /// The load balancers.
    pub(super) balancers: [Arc<Host>; 2],
    /// Marathon and its agents.
    pub(super) marathon: Arc<Host>,
    /// Where everything is looked at from.
    pub(super) client: Arc<Host>,
    _only: UnixListener,
}

impl Site {
    /// Makes the hosts and moves this thread, and all that it starts, to the client.
    ///
    /// # Errors
    /// When something is missing, with the remedy; when another demo of that name runs.
    pub(super) fn enter(name: &str) -> anyhow::Result<Self> {
        let prefix = leftover::PREFIX;
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        ensure!(plain && name.starts_with(prefix), "DEMO_NAME={name:?}: expected {prefix}, letters, digits and -");
        ensure!(geteuid().is_root(), "the demo makes network namespaces: run it as root (sudo make demo)");
        for (program, package) in PROGRAMS {
            ensure!(in_path(program), "{program} is not installed: apt-get install {package}");
        }
        let Ok(only) = leftover::lock(name) else {
            bail!("a demo is running already: end it (Ctrl-C where it runs), or set DEMO_NAME={prefix}-2 for this one");
        };
        leftover::clear_all(name)?;
        let site = Self::build(name, only).context("make the hosts (a container must be privileged for that)")?;
        for host in site.hosts() {
            // A thread has an entry in /proc, too.
            let thread = host.run(gettid).to_string();
            ip(&["netns", "attach", &site.namespace(host), &thread]).context("name a network namespace")?;
        }
        let namespace = File::open(leftover::namespace_file(&site.namespace(&site.client)))?;
        setns(namespace, CloneFlags::CLONE_NEWNET).context("enter the client's network namespace")?;
        site.link_files()?;
        Ok(site)
    }

    fn build(name: &str, only: UnixListener) -> anyhow::Result<Self> {
        let lan = Lan::new()?;
        let [lb1, lb2, marathon, client] = leftover::HOSTS;
        let addresses = [*MARATHON.ip()].into_iter().chain(AGENTS).map(|address| format!("{address}/24"));
        let addresses: Vec<_> = addresses.collect();
        let marathon = lan.host(marathon, &addresses.iter().map(String::as_str).collect::<Vec<_>>())?;
        let balancers = [lan.host(lb1, &["192.168.71.11/24"])?, lan.host(lb2, &["192.168.71.12/24"])?];
        let client = lan.host(client, &["192.168.71.50/24"])?;
        Ok(Self { name: name.to_owned(), lan, balancers, marathon, client, _only: only })
    }

    /// Makes `/run/NAME` with the logs and, while the demo runs, the directories of the load balancers.
    fn link_files(&self) -> anyhow::Result<()> {
        fs::create_dir(leftover::dir(&self.name)).context("make a directory in /run")?;
        for host in &self.balancers {
            symlink(host.dir(), leftover::dir(&self.name).join(host.name()))?;
            for log in ["baton.log", "haproxy.log"] {
                symlink(self.log(host), host.dir().join(log))?;
            }
        }
        Ok(())
    }

    /// The name of a host's network namespace.
    pub(super) fn namespace(&self, host: &Host) -> String {
        leftover::namespace(&self.name, host.name())
    }

    /// Where `baton` and HAProxy of a host log; it outlives the demo.
    pub(super) fn log(&self, host: &Host) -> PathBuf {
        leftover::dir(&self.name).join(format!("{}.log", host.name()))
    }

    /// The control socket of a host's `baton`.
    pub(super) fn socket(&self, host: &Host) -> PathBuf {
        leftover::dir(&self.name).join(host.name()).join("baton.sock")
    }

    /// Where the logs are, as a pattern.
    pub(super) fn logs(&self) -> String {
        leftover::dir(&self.name).join("lb[12].log").display().to_string()
    }

    fn hosts(&self) -> [&Arc<Host>; 4] {
        let [lb1, lb2] = &self.balancers;
        [lb1, lb2, &self.marathon, &self.client]
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for host in self.hosts() {
            // A next demo clears away what this cannot.
            let _ = ip(&["netns", "del", &self.namespace(host)]);
        }
        leftover::keep_logs_only(&self.name);
    }
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// What the demo runs, and the Debian packages that bring it.
const PROGRAMS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("haproxy", "haproxy"),
    ("nft", "nftables"),
    ("redis-server", "redis-server"),
    ("setpriv", "util-linux"),
];
