//! `bench`: measures and prints one line a figure on standard output, progress on standard error.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use e2e::bench::figure::Report;
use e2e::bench::{memory, run};

/// Measures Baton on synthetic clusters; as root, for network namespaces.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Only figures whose names begin like this
    #[arg(default_value = "", value_name = "PREFIX")]
    only: String,
    /// Divide the number of apps by this, for a quick look
    #[arg(long, default_value_t = 1, value_name = "N")]
    scale: usize,
    /// Run a command and print the most bytes of memory it held
    #[arg(long, num_args = 1.., allow_hyphen_values = true, value_name = "COMMAND", hide = true)]
    peak_rss: Vec<OsString>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let done = if arguments.peak_rss.is_empty() {
        run(&mut Report::new(arguments.only, &mut stdout, &mut stderr), arguments.scale)
    } else {
        memory::peak_of(&arguments.peak_rss).and_then(|bytes| Ok(writeln!(stdout, "{bytes}")?))
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "bench: {why:#}");
            ExitCode::FAILURE
        }
    }
}
