//! `baton run`: the daemon.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::config::vrrp;
use crate::privileges::Ambient;
use crate::{logging, supervisor};

use super::flags::Flags;
use super::load::Loader;

/// Arguments of `baton run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// marathon-lb's modes: sse follows events, poll asks every marathon.poll
    #[arg(value_name = "MODE")]
    mode: Option<Mode>,

    #[command(flatten)]
    flags: Flags,

    /// Only find out whether it would start: arguments, configuration, HAProxy. An upgrade in place asks so
    #[arg(long)]
    trial: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Sse,
    Poll,
}

/// Runs until it is told to stop.
///
/// # Errors
/// When it cannot start, or a part of it failed.
pub async fn run(args: RunArgs, ambient: Ambient) -> anyhow::Result<ExitCode> {
    let mut flags = args.flags;
    flags.events = args.mode.map(|mode| mode == Mode::Sse);
    let loader = Loader::new(flags);
    let loaded = loader.load()?;
    if args.trial {
        supervisor::probe(&loaded.config).await?;
        return Ok(ExitCode::SUCCESS);
    }
    logging::start(loaded.config.log.level)?;
    loaded.remarks.iter().for_each(|remark| log::warn!("{remark}"));
    vrrp::remarks(&loaded.config.vrrp).iter().for_each(|remark| log::warn!("{remark}"));
    supervisor::run(loaded.config, loader, ambient).await?;
    Ok(ExitCode::SUCCESS)
}
