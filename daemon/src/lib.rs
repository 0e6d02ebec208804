//! The Baton daemon: sources, the reconcile loop, admin and command line.
//!
//! A library so that the end-to-end tests can use its parts; the binary is `main.rs`.

pub mod admin;
pub mod certs;
pub mod cli;
pub mod config;
pub mod ha;
pub mod keepalived;
pub mod logging;
pub mod privileges;
pub mod process;
pub mod reconcile;
pub mod signals;
pub mod source;
pub mod status;
pub mod supervisor;
pub mod systemd;
pub mod upgrade;
pub mod workers;
