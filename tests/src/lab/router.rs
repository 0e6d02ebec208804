//! One virtual router as a test wants it, whoever is to run it.
//!
//! Written as keepalived.conf by [`keepalived`](super::keepalived) and as `[[vrrp]]` by [`node`](super::node), so that
//! both sides of a pair are told the same.

use std::net::IpAddr;
use std::time::Duration;

/// What a host is told, the rest at its defaults: preempting, multicast, v3 at 100 ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// What the configuration calls it.
    pub name: String,
    /// VRRP's version, 2 or 3.
    pub version: u8,
    /// The Advertisement Interval: whole seconds for v2, centiseconds for v3.
    pub interval: Duration,
    /// The virtual router's id.
    pub vrid: u8,
    /// The priority.
    pub priority: u8,
    /// Whether it takes over from a living router of lower priority.
    pub preempt: bool,
    /// The addresses it advertises (`10.77.0.100/24`).
    pub addresses: Vec<String>,
    /// The addresses it holds but does not advertise.
    pub excluded: Vec<String>,
    /// Its own address and its peers', for unicast.
    pub unicast: Option<(IpAddr, Vec<IpAddr>)>,
    /// The password of v2.
    pub auth_pass: Option<String>,
}

impl Router {
    /// A router of this priority for these addresses.
    pub fn new(priority: u8, addresses: &[&str]) -> Self {
        Self {
            name: "public".to_owned(),
            version: 3,
            interval: Duration::from_millis(100),
            vrid: 51,
            priority,
            preempt: true,
            addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
            excluded: Vec::new(),
            unicast: None,
            auth_pass: None,
        }
    }

    /// How long silence lasts until a Backup of this router takes over: Active_Down_Interval (RFC 9568, section 6.1).
    pub fn down_interval(&self) -> Duration {
        self.interval * 3 + self.skew()
    }

    /// Skew_Time: what a Backup of this router waits after a resignation.
    pub fn skew(&self) -> Duration {
        // That of v2 is told of a second, which is its only interval in use.
        let of = if self.version == 2 { Duration::from_secs(1) } else { self.interval };
        of * (256 - u32::from(self.priority)) / 256
    }
}
