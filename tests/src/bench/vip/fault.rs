//! What can happen to the host that holds the virtual address.
//!
//! Plain values; [`pair`](super::pair) does it.

use std::time::Duration;

/// A fault, or a planned change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The Active host loses its link and all of its processes at once.
    HostDeath,
    /// Its VRRP daemon is stopped in order.
    Stop,
    /// Its VRRP daemon is killed.
    SigKill,
    /// Its VRRP daemon is frozen.
    SigStop,
    /// Its VRRP daemon is exchanged for a new one, as an upgrade does.
    Restart,
    /// Its HAProxy is killed.
    HaproxyKilled,
    /// Its link goes, the host lives.
    LinkDown,
    /// The preferred host comes back and takes over from the other one.
    Failback,
}

impl Fault {
    /// All of them, in the order of the report.
    pub(super) const ALL: [Self; 8] = [
        Self::HostDeath,
        Self::Stop,
        Self::SigKill,
        Self::SigStop,
        Self::Restart,
        Self::HaproxyKilled,
        Self::LinkDown,
        Self::Failback,
    ];

    /// As figures call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::HostDeath => "host_death",
            Self::Stop => "stop",
            Self::SigKill => "sigkill",
            Self::SigStop => "sigstop",
            Self::Restart => "restart",
            Self::HaproxyKilled => "haproxy_killed",
            Self::LinkDown => "link_down",
            Self::Failback => "failback",
        }
    }

    /// Whether the preferred host serves at the end; the other one does otherwise.
    pub(super) fn ends_at_the_first(self) -> bool {
        matches!(self, Self::Restart | Self::Failback)
    }

    /// Whether the host lives on with its address, and nobody on it who would take it away.
    pub(super) fn leaves_the_address(self) -> bool {
        matches!(self, Self::SigKill | Self::SigStop)
    }

    /// How long the client is watched after the address has moved.
    pub(super) fn aftermath(self) -> Duration {
        match self {
            // Peers are told of a longer interval for as long as an upgrade may take.
            Self::Restart => Duration::from_secs(2),
            _ => Duration::from_millis(300),
        }
    }
}
