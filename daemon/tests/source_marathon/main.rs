//! The Marathon source against small servers on 127.0.0.1 that misbehave in every known way.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod auth;
mod events;
mod fake;
mod fetch;
mod follow;
mod harness;
mod redirect;
mod single;
mod tls;
