//! A Mesos agent: a host name, an address, and the ports it has to offer.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use super::def::{HostPort, Port};
use super::rng::Rng;

/// How an agent went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The host died: its tasks no longer listen.
    Dead,
    /// Only Mesos lost sight of it: its tasks still listen.
    Partitioned,
}

/// One agent.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Host name as tasks report it.
    pub name: String,
    /// Where its tasks listen.
    pub address: Ipv4Addr,
    /// Mesos' id.
    pub id: String,
    /// Set while it is lost.
    pub lost: Option<Loss>,
    used: BTreeSet<u16>,
    range: RangeInclusive<u16>,
}

impl Agent {
    /// The `number`th agent of the cluster.
    #[must_use]
    pub fn new(name: String, address: Ipv4Addr, number: usize, range: RangeInclusive<u16>) -> Self {
        let id = format!("a7f0d1c4-3b61-4e0b-9a52-0c5d6e7f8a90-S{number}");
        Self { name, address, id, lost: None, used: BTreeSet::new(), range }
    }

    /// Takes host ports for `wanted`: random start, then consecutive and wrapping, skipping what is used.
    pub fn allocate(&mut self, wanted: &[Port], rng: &mut Rng) -> Option<Vec<u16>> {
        let fixed = wanted.iter().filter_map(|port| match port.host {
            HostPort::Fixed(number) => Some(number),
            HostPort::Any | HostPort::None => None,
        });
        let fixed: Vec<u16> = fixed.collect();
        if fixed.iter().any(|port| self.used.contains(port)) {
            return None;
        }
        let any = wanted.iter().filter(|port| port.host == HostPort::Any).count();
        let (low, size) = (usize::from(*self.range.start()), self.range.len());
        let start = rng.below(size);
        let mut free = (0..size)
            .map(|step| low + (start + step) % size)
            .filter_map(|port| u16::try_from(port).ok())
            .filter(|port| !self.used.contains(port) && !fixed.contains(port));
        let dynamic: Vec<u16> = free.by_ref().take(any).collect();
        if dynamic.len() < any {
            return None;
        }
        let mut dynamic = dynamic.into_iter();
        let ports: Vec<u16> = wanted
            .iter()
            .filter_map(|port| match port.host {
                HostPort::Fixed(number) => Some(number),
                HostPort::Any => dynamic.next(),
                HostPort::None => None,
            })
            .collect();
        self.used.extend(&ports);
        Some(ports)
    }

    /// Gives ports back.
    pub fn release(&mut self, ports: &[u16]) {
        for port in ports {
            self.used.remove(port);
        }
    }

    /// How many ports are taken.
    #[must_use]
    pub fn load(&self) -> usize {
        self.used.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host: HostPort) -> Port {
        Port { service: 0, host, container: None, protocol: "tcp".to_owned(), name: None }
    }

    #[test]
    fn ports_are_consecutive_wrap_and_run_out() {
        let mut agent = Agent::new("a".to_owned(), Ipv4Addr::LOCALHOST, 0, 31000..=31004);
        let mut rng = Rng::new(7);
        let mut ports = agent.allocate(&vec![port(HostPort::Any); 5], &mut rng).unwrap();
        assert!(
            ports.windows(2).all(|pair| pair[1] == pair[0] + 1 || (pair[0] == 31004 && pair[1] == 31000)),
            "{ports:?}"
        );
        assert_eq!(agent.allocate(&[port(HostPort::Any)], &mut rng), None);
        agent.release(&ports.split_off(4));
        assert_eq!(agent.allocate(&[port(HostPort::Any)], &mut rng).map(|p| p.len()), Some(1));
        assert_eq!(agent.allocate(&[port(HostPort::Fixed(80)), port(HostPort::None)], &mut rng), Some(vec![80]));
        assert_eq!(agent.allocate(&[port(HostPort::Fixed(80))], &mut rng), None);
    }
}
