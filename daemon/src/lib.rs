//! The Baton daemon: sources, the reconcile loop, admin and command line.
//!
//! A library so that the end-to-end tests can use its parts; the binary is `main.rs`.

pub mod certs;
pub mod cli;
pub mod config;
pub mod source;
