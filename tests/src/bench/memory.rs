//! How much memory a process of `baton render` needs at most.
//!
//! The kernel's `ru_maxrss` of children counts the memory of whoever started them, too: so a fresh,
//! small process starts `baton` and reads it ([`peak_of`], the binary's `--peak-rss`).

use std::ffi::OsString;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use nix::sys::resource::{UsageWho, getrusage};

use super::cluster::Shape;
use super::figure::{Figure, Report};
use crate::lab::baton::binary;

/// Measures on a cluster of this shape.
///
/// # Errors
/// When `baton` is not built or fails.
pub fn run(report: &mut Report<'_>, shape: Shape) -> anyhow::Result<()> {
    let name = format!("render_rss_{shape}");
    if !report.wants(&[&name]) {
        return Ok(());
    }
    report.say(&format!("the memory of baton render on {shape}"));
    let dir = tempfile::Builder::new().prefix("baton-bench-").tempdir()?;
    let apps = dir.path().join("apps.json");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::fs::write(&apps, runtime.block_on(shape.answer(true))?)?;
    let output = Command::new(binary("bench")?)
        .arg("--peak-rss")
        .arg(binary("baton")?)
        .args(["render", "--group", "external", "--apps"])
        .arg(&apps)
        .arg("--out")
        .arg(dir.path().join("out"))
        .stderr(Stdio::null())
        .output()
        .context("run bench --peak-rss")?;
    ensure!(output.status.success(), "baton render fails ({})", output.status);
    let bytes: u32 = String::from_utf8(output.stdout)?.trim().parse().context("read the peak")?;
    report.give(&Figure::megabytes(name, f64::from(bytes)))?;
    Ok(())
}

/// Runs a command to its end; the most bytes of memory that it, or a child of it, ever held.
///
/// # Errors
/// When it cannot be started or fails.
pub fn peak_of(command: &[OsString]) -> anyhow::Result<u64> {
    let (program, args) = command.split_first().context("no command")?;
    let status = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "{} fails ({status})", program.display());
    let kibibytes = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    Ok(u64::try_from(kibibytes)? * 1024)
}
