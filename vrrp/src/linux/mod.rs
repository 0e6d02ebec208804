//! The Linux side: sockets, addresses, links, and the thread that drives a node.
//!
//! Used by the daemon through [`engine`]. The only part of this crate that reads a clock or makes a
//! system call.
//!
//! `remark` ◀ `report`, `netlink` ◀ `table` ◀ `vips`, `macvlan`; `socket`, `announce` ◀ `port` ◀ `host`;
//! all of them ◀ `router` ◀ `run`, with `traffic` and `reconfigure`, ◀ `engine`.

pub mod announce;
pub mod engine;
mod host;
mod macvlan;
mod netlink;
mod port;
mod realtime;
mod reconfigure;
pub mod remark;
pub mod report;
mod router;
mod run;
pub mod socket;
mod table;
mod traffic;
mod vips;
