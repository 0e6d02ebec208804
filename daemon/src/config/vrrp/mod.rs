//! `[[vrrp]]`: one virtual router, as the operator writes it.
//!
//! Read as part of [`Config`](super::Config). `routers` turns these keys into what the `vrrp` crate
//! asks for and refuses what does not fit together, `remarks` says what fits and is still odd. What
//! a router tracks and whom it notifies stays here: that is the daemon's work, not the protocol's.

mod remarks;
mod routers;
mod scalar;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use serde::Deserialize;
use vrrp::config::ChecksumForm;
use vrrp::types::{Priority, Version};

use super::time::Time;

pub use remarks::{outside, remarks};
pub use routers::routers;
pub use scalar::{BasePriority, Delta, Floating, Host, Interface, Password, ProtocolVersion, RouterId, Times, Weight};

/// `[[vrrp]]`. Interface, router id and addresses must be given.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vrrp {
    /// How people and logs call it; none = `vrrp-INTERFACE-ID`.
    #[serde(default)]
    pub name: Option<String>,
    /// Where advertisements are sent and heard, and where the addresses go.
    pub interface: Interface,
    /// 1–255, the same on all hosts of the router.
    pub virtual_router_id: RouterId,
    /// 1–254; the highest living one is preferred.
    #[serde(default = "default_priority")]
    pub priority: BasePriority,
    /// Version 3: 10 ms to 40.95 s in steps of 10 ms; version 2: whole seconds.
    #[serde(default = "default_interval")]
    pub advertisement_interval: Time,
    /// 3, or 2 for old peers.
    #[serde(default = "default_version")]
    pub version: ProtocolVersion,
    /// What floats and stands in the advertisement; one family.
    pub addresses: Vec<Floating>,
    /// What moves along without standing in the advertisement; either family.
    #[serde(default)]
    pub excluded_addresses: Vec<Floating>,
    /// The other hosts, each sent to by itself; none = multicast.
    #[serde(default)]
    pub peers: Vec<Host>,
    /// Whether to take over from a living router of lower priority.
    #[serde(default)]
    pub preempt: bool,
    /// How long to wait before that.
    #[serde(default)]
    pub preempt_delay: Option<Time>,
    /// Routers of one group move together.
    #[serde(default)]
    pub group: Option<String>,
    /// The source of advertisements; none = the interface's own address.
    #[serde(default)]
    pub source_address: Option<Host>,
    /// Whether the addresses live on a macvlan with the virtual router's MAC.
    #[serde(default)]
    pub virtual_mac: bool,
    /// Version 2 only.
    #[serde(default)]
    pub auth_pass: Option<Password>,
    /// What the checksum of version 3 over IPv4 covers.
    #[serde(default)]
    pub checksum: Checksum,
    /// Interfaces whose loss matters besides the router's own.
    #[serde(default)]
    pub track_interface: Vec<TrackInterface>,
    /// Programs whose exit code matters.
    #[serde(default)]
    pub track_script: Vec<TrackScript>,
    /// A program told of every change, with `INSTANCE` or `GROUP`, the name, the state and the
    /// priority as further arguments; none = nobody is told.
    #[serde(default)]
    pub notify: Vec<String>,
    /// How long it may run.
    #[serde(default = "default_notify_timeout")]
    pub notify_timeout: Time,
    /// What the priority loses while this host serves, but not as it should.
    #[serde(default = "default_impaired_delta")]
    pub impaired_delta: Delta,
}

impl Vrrp {
    /// Every address that it moves from host to host.
    pub fn floating(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().chain(&self.excluded_addresses).map(|net| net.0.addr())
    }

    /// How people and logs call the router.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("vrrp-{}-{}", self.interface.0, self.virtual_router_id.0.get()))
    }
}

/// `checksum`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checksum {
    /// The IPv4 pseudo-header too, as keepalived and FRR do.
    #[default]
    PseudoHeader,
    /// The message alone, as RFC 9568, Cisco, Juniper and Arista do.
    Message,
}

impl From<Checksum> for ChecksumForm {
    fn from(checksum: Checksum) -> Self {
        match checksum {
            Checksum::PseudoHeader => Self::PseudoHeader,
            Checksum::Message => Self::Message,
        }
    }
}

/// `[[vrrp.track_interface]]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackInterface {
    /// Which one.
    pub name: Interface,
    /// What its state does to the priority.
    #[serde(default)]
    pub weight: Weight,
}

/// `[[vrrp.track_script]]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackScript {
    /// How logs call it.
    pub name: String,
    /// The program and its arguments, run without a shell.
    pub command: Vec<String>,
    /// From one start to the next.
    #[serde(default = "default_script_interval")]
    pub interval: Time,
    /// How long a run may take; none = `interval`.
    #[serde(default)]
    pub timeout: Option<Time>,
    /// Successes in a row after which it is well.
    #[serde(default = "once")]
    pub rise: Times,
    /// Failures in a row after which it is not.
    #[serde(default = "once")]
    pub fall: Times,
    /// What its state does to the priority.
    #[serde(default)]
    pub weight: Weight,
}

impl TrackScript {
    /// How long a run may take.
    pub fn timeout(&self) -> Time {
        self.timeout.unwrap_or(self.interval)
    }
}

fn default_priority() -> BasePriority {
    BasePriority(Priority(100))
}

fn default_interval() -> Time {
    Time::seconds(1)
}

fn default_version() -> ProtocolVersion {
    ProtocolVersion(Version::V3)
}

fn default_notify_timeout() -> Time {
    Time::seconds(10)
}

fn default_impaired_delta() -> Delta {
    Delta(20)
}

fn default_script_interval() -> Time {
    Time::seconds(1)
}

fn once() -> Times {
    Times(1)
}
