//! The Linux side: sockets, addresses, links, and the thread that drives a node.
//!
//! Used by the daemon. The only part of this crate that reads a clock or makes a system call.

pub mod announce;
pub mod socket;
