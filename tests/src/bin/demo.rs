//! `demo`: what `make demo` runs. The story is told by `e2e::demo`.

use std::process::ExitCode;

fn main() -> ExitCode {
    e2e::demo::run()
}
