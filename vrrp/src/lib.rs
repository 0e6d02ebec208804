//! VRRP, the Virtual Router Redundancy Protocol (RFC 9568), version 3 and 2, in layers.
//!
//! `types` ◀ `config` ◀ `wire` ◀ `machine` ◀ `linux`: each may use those before it. `wire` turns
//! bytes into advertisements and back, `machine` decides, and neither reads a clock or a socket;
//! `linux` is the only part that does. Knows no HAProxy, no Marathon and no metrics library.

pub mod config;
pub mod machine;
pub mod types;
