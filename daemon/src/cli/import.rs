//! `baton import`: another program's configuration in Baton's words, on standard output.
//!
//! Reads files and prints; writes and starts nothing.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::keepalived::{self, Kind};

use super::warn;

/// Arguments of `baton import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// Print the [[vrrp]] blocks for the floating addresses of a keepalived configuration; what is
    /// not in them is listed with its line, there as comments and on standard error
    Keepalived(KeepalivedArgs),
}

#[derive(Debug, Args)]
struct KeepalivedArgs {
    /// keepalived.conf; files that it includes are read too
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Take the lines that begin with @ID, as keepalived's -i does
    #[arg(long, value_name = "ID")]
    config_id: Option<String>,
}

/// Prints the translation. What is not in it does not change the exit code.
///
/// # Errors
/// When the file cannot be read.
pub async fn run(args: ImportArgs) -> anyhow::Result<ExitCode> {
    let From::Keepalived(args) = args.from;
    let import = keepalived::import(&args.file, args.config_id.as_deref())?;
    std::io::stdout().write_all(import.toml.as_bytes()).context("write to standard output")?;
    for note in &import.notes {
        warn(&note.to_string());
    }
    let count = |kind: Kind| import.notes.iter().filter(|note| note.kind == kind).count();
    warn(&format!(
        "{}: routers: {}; not translated: {}, changed: {}, not needed: {}",
        args.file.display(),
        import.routers,
        count(Kind::Lost),
        count(Kind::Changed),
        count(Kind::Needless)
    ));
    Ok(ExitCode::SUCCESS)
}
