//! Hosts of our own: a single one with the addresses a test needs, here, and many on a LAN, in [`lan`].
//!
//! Used by the scenario tests and the benchmarks. A namespace belongs to the thread that made it
//! and to the processes started from it, and the kernel removes it with the last of them: nothing
//! is left behind, also not by a crash. Needs root.

pub mod baton;
pub mod capture;
pub mod client;
pub mod dissect;
pub mod forge;
pub mod front;
pub mod heard;
pub mod host;
pub mod keepalived;
pub mod lan;
mod leftover;
pub mod marathon;
pub mod node;
pub mod probe;
pub mod process;
pub mod router;

use std::future::Future;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use nix::sched::{CloneFlags, unshare};

/// Runs `test` in a fresh network namespace whose loopback has `addresses` (besides 127.0.0.1).
///
/// The runtime has one thread, so that every socket and child process is in the namespace.
///
/// # Panics
/// When the namespace cannot be made (not root, no iproute2), or when `test` panics.
pub fn on_a_host<T, F>(addresses: &[&str], test: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let addresses: Vec<String> = addresses.iter().map(|a| (*a).to_owned()).collect();
    let host = std::thread::Builder::new().name("host".to_owned()).spawn(move || {
        enter(&addresses).expect("make a network namespace");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("start a runtime");
        runtime.block_on(test())
    });
    match host.expect("start a thread").join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Puts this thread into a namespace of its own.
fn enter(addresses: &[String]) -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("unshare the network (the scenario tests run as root)")?;
    ip(&["link", "set", "lo", "up"])?;
    for address in addresses {
        ip(&["addr", "add", &format!("{address}/32"), "dev", "lo"])?;
    }
    Ok(())
}

/// Runs `ip` in the namespace of this thread.
///
/// # Errors
/// When iproute2 is missing or refuses.
pub fn ip(args: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(args).output().context("run ip (Debian package iproute2)")?;
    ensure!(output.status.success(), "ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// The HAProxy that the tests run with: the first in PATH.
///
/// # Errors
/// When there is none.
pub fn haproxy_binary() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from);
    let mut dirs = std::env::split_paths(&path).chain(sbin);
    dirs.find_map(|dir| Some(dir.join("haproxy")).filter(|file| file.is_file())).context("no haproxy in PATH")
}
