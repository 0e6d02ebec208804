//! The Linux side: sockets, addresses, links, and the thread that drives a node.
//!
//! Used by the daemon through [`engine`]. The only part of this crate that reads a clock or makes a
//! system call.

mod macvlan;
mod netlink;
mod realtime;
mod remark;
mod table;
mod vips;
