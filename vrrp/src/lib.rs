//! VRRP, the Virtual Router Redundancy Protocol (RFC 9568), version 3 and 2.
//!
//! So far the protocol's scalar types; the packets, the machine and the Linux side follow.
//! Knows no HAProxy, no Marathon and no metrics library.

pub mod types;
