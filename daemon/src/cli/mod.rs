//! The command line: what is asked, and the exit code of the answer.
//!
//! Called by `main`. Each command is one function in a file of its own; exit codes are 0 for done,
//! 1 for could not, 2 for a mistake in arguments or configuration.

pub mod flags;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use flags::Flags;

/// The load balancer for Marathon: follows apps, drives HAProxy.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow Marathon and keep HAProxy as the apps want it
    Run(RunArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// marathon-lb's modes; `sse` is the default, `poll` asks every marathon.poll
    #[arg(value_name = "MODE")]
    mode: Option<RunMode>,

    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum RunMode {
    Sse,
    Poll,
}
