//! The Marathon members: their addresses, who leads, who refuses connections.

use std::net::SocketAddr;

use tokio::sync::watch;

/// Who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    /// Index of the leading member.
    pub leader: Option<usize>,
    /// Whether it has loaded its state: before, it closes event streams at once.
    pub ready: bool,
    /// Counts changes.
    pub term: u64,
}

/// The members of one simulated cluster.
#[derive(Debug)]
pub struct Cluster {
    addresses: Vec<SocketAddr>,
    leadership: watch::Sender<Leadership>,
    refusing: Vec<watch::Sender<bool>>,
}

impl Cluster {
    /// Members at `addresses`; the first leads and is ready.
    #[must_use]
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        let (leadership, _) = watch::channel(Leadership { leader: Some(0), ready: true, term: 0 });
        let refusing = addresses.iter().map(|_| watch::channel(false).0).collect();
        Self { addresses, leadership, refusing }
    }

    /// Where the members listen.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// `host:port` of a member.
    #[must_use]
    pub fn name(&self, member: usize) -> String {
        self.addresses.get(member).map(ToString::to_string).unwrap_or_default()
    }

    /// Who leads now.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        *self.leadership.borrow()
    }

    /// Follows the leadership.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    /// Sets the leader; returns the new term.
    pub fn set(&self, leader: Option<usize>, ready: bool) -> u64 {
        let mut term = 0;
        self.leadership.send_modify(|leadership| {
            term = leadership.term + 1;
            *leadership = Leadership { leader: leader.filter(|member| *member < self.addresses.len()), ready, term };
        });
        term
    }

    /// Marks the leader ready, unless leadership changed since `term`.
    pub fn set_ready(&self, term: u64) {
        self.leadership.send_if_modified(|leadership| {
            let current = leadership.term == term;
            leadership.ready |= current;
            current
        });
    }

    /// Makes a member refuse connections, or accept them again.
    pub fn refuse(&self, member: usize, refuse: bool) {
        if let Some(refusing) = self.refusing.get(member) {
            refusing.send_replace(refuse);
        }
    }

    /// Follows whether a member refuses connections.
    #[must_use]
    pub fn refusing(&self, member: usize) -> Option<watch::Receiver<bool>> {
        self.refusing.get(member).map(watch::Sender::subscribe)
    }
}
