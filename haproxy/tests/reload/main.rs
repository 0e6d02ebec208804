//! Drives a real HAProxy through starts, reloads and faults, in a directory of its own on loopback.
#![allow(clippy::disallowed_methods, reason = "real processes in real time")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod child;
mod cycle;
mod faults;
mod lab;
mod load;
