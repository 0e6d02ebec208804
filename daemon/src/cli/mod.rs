//! The command line: what is asked, and the exit code of the answer.
//!
//! Called by `main`. Each command is a file of its own; exit codes are 0 for done, 1 for could not,
//! 2 for a mistake in arguments or configuration.

pub mod check;
pub mod flags;
pub mod import;
pub mod load;
pub mod manual;
pub mod reload;
pub mod render;
pub mod run;
pub mod status;
pub mod vip;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::config::load::ConfigError;
use crate::privileges::Ambient;

/// The load balancer for Marathon: follows apps, drives HAProxy.
#[derive(Debug, Parser)]
#[command(name = "baton", version, about, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow Marathon and keep HAProxy as the apps want it
    Run(run::RunArgs),
    /// Write the configuration that HAProxy would run, once
    Render(render::RenderArgs),
    /// Say what is wrong with the configuration and this host, and how to mend it
    Check(check::CheckArgs),
    /// Show what a running baton follows, serves and complains about
    Status(status::StatusArgs),
    /// Have a running baton read its configuration and the apps again
    Reload(reload::ReloadArgs),
    /// Show and move the floating addresses of a running baton
    Vip(vip::VipArgs),
    /// Translate another program's configuration
    Import(import::ImportArgs),
    /// Print a script that completes this command line in a shell
    Completions(manual::CompletionsArgs),
    /// Write the manual pages
    #[command(hide = true)]
    Man(manual::ManArgs),
}

/// Runs the command. `ambient`: what the daemon had before it was withheld from children.
pub async fn run(cli: Cli, ambient: Ambient) -> ExitCode {
    let ended = match cli.command {
        Command::Run(args) => run::run(args, ambient).await,
        Command::Render(args) => render::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Reload(args) => reload::run(args).await,
        Command::Vip(args) => vip::run(args).await,
        Command::Import(args) => import::run(args).await,
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
    };
    match ended {
        Ok(code) => code,
        Err(why) => {
            warn(&format!("{why:#}"));
            if why.downcast_ref::<ConfigError>().is_some() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// A line on standard error; a reader that hung up is no error of ours.
fn warn(text: &str) {
    let _ = writeln!(std::io::stderr(), "baton: {text}");
}

/// The HAProxy to run: the configured one, the packaged one, or the first in PATH.
pub(crate) fn binary(config: &Config) -> Option<PathBuf> {
    if let Some(path) = &config.haproxy.binary {
        return Some(path.clone());
    }
    let packaged = PathBuf::from(PACKAGED);
    if packaged.exists() {
        return Some(packaged);
    }
    let path = std::env::var_os("PATH")?;
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(sbin).map(|dir| dir.join("haproxy")).find(|candidate| candidate.is_file())
}

/// Where the package puts HAProxy.
const PACKAGED: &str = "/usr/libexec/baton/haproxy";
