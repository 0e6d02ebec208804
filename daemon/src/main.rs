//! The `baton` binary: arguments to exit code. Everything else is in the library.

fn main() {}
