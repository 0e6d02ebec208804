//! `baton reload`: has a running daemon read its configuration and the apps again.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hyper::Method;

use crate::admin::ReloadAnswer;
use crate::admin::client::ask;

/// Arguments of `baton reload`.
#[derive(Debug, Args)]
pub struct ReloadArgs {
    /// The running baton's control socket
    #[arg(long, value_name = "PATH", default_value = "/run/baton/baton.sock")]
    socket: PathBuf,
}

/// Asks for it; exit code 1 where the new configuration was refused and the old one stays.
///
/// # Errors
/// When no baton answers.
pub async fn run(args: ReloadArgs) -> anyhow::Result<ExitCode> {
    let (_, answer): (_, ReloadAnswer) = ask(&args.socket, Method::POST, "/reload").await?;
    let mut out = std::io::stderr();
    if let Some(error) = answer.error {
        let _ = writeln!(out, "baton: the old configuration stays: {error}");
        return Ok(ExitCode::FAILURE);
    }
    for remark in answer.remarks {
        let _ = writeln!(out, "baton: {remark}");
    }
    Ok(ExitCode::SUCCESS)
}
