//! `baton completions` and `baton man`: what a package installs beside the program.
//!
//! Both are made from the command line's own definition, so that they never tell something else.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;

/// Arguments of `baton completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell to complete in
    shell: Shell,
}

/// Arguments of `baton man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Where the pages go: baton.1 and one for each command
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Prints the completion script.
///
/// # Errors
/// Never: a reader that hung up is no error of ours.
pub fn completions(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "baton", &mut script);
    let _ = std::io::Write::write_all(&mut std::io::stdout(), &script);
    Ok(ExitCode::SUCCESS)
}

/// Writes the manual pages.
///
/// # Errors
/// When the directory cannot be made or written.
pub fn man(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let out = &args.out;
    fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
    clap_mangen::generate_to(Cli::command(), out).with_context(|| format!("write to {}", out.display()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("pages");
        man(&ManArgs { out: out.clone() }).unwrap();
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let page = fs::read_to_string(out.join(format!("baton-{}.1", command.get_name()))).unwrap();
            assert!(page.contains(".SH"), "{page}");
        }
        assert!(fs::read_to_string(out.join("baton.1")).unwrap().contains("HAProxy"));
    }
}
