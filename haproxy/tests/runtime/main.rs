//! Changes a real HAProxy while it runs and watches what clients see, in a directory of its own on
//! loopback.
#![allow(clippy::print_stdout, reason = "figures")]
#![allow(clippy::disallowed_methods, reason = "real processes in real time")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../common/mod.rs"]
mod common;

mod certs;
mod drain;
mod figures;
mod lab;
mod load;
mod origin;
mod routes;
mod servers;
mod trouble;
mod workers;
