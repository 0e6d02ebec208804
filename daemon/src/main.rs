//! The `baton` binary: arguments to exit code. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Before there is a second thread.
    let ambient = baton::privileges::Ambient::withhold();
    let cli = baton::cli::Cli::parse();
    // The only provider that is compiled in; an error means that it is set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(baton::cli::run(cli, ambient)),
        Err(why) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "baton: start the runtime: {why}");
            ExitCode::FAILURE
        }
    }
}
