//! Hosts on a LAN for stories of their own: load balancers of either kind are started one by one.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use e2e::lab::host::Host;
use e2e::lab::lan::{Lan, wait_for};
use e2e::lab::node::Node;
use e2e::lab::router::Router;

use super::{Balancer, Kind, Watching, own};

/// Hosts on a LAN, without load balancers yet.
pub(crate) struct Scene {
    pub(crate) lan: Lan,
    pub(crate) hosts: Vec<Arc<Host>>,
    pub(crate) client: Arc<Host>,
}

impl Scene {
    pub(crate) fn new(hosts: u8) -> Self {
        let lan = Lan::new().unwrap();
        let host = |number: u8| lan.host(&format!("lb{number}"), &[&format!("10.77.0.{}/24", 10 + number)]).unwrap();
        let hosts = (1..=hosts).map(host).collect();
        let client = lan.host("client", &["10.77.0.50/24"]).unwrap();
        Self { lan, hosts, client }
    }

    /// Two hosts with `baton`, the first one preferred and Active.
    pub(crate) fn pair(router: &Router, more: &str) -> (Self, Node, Node) {
        let scene = Self::new(2);
        let node = |number: usize, priority| {
            Node::start(&scene.hosts[number], Router { priority, ..router.clone() }, more).unwrap()
        };
        let one = node(0, 200);
        one.until_state("active").unwrap();
        let two = node(1, 100);
        two.until_state("backup").unwrap();
        scene.only(0);
        (scene, one, two)
    }

    /// One host with `baton`, Active.
    pub(crate) fn lone(router: &Router, more: &str) -> (Self, Node) {
        let scene = Self::new(1);
        let node = Node::start(&scene.hosts[0], router.clone(), more).unwrap();
        node.until_state("active").unwrap();
        (scene, node)
    }

    pub(crate) fn start(&self, number: usize, kind: Kind, router: Router) -> Balancer {
        Balancer::start(kind, &self.hosts[number], router)
    }

    /// A client that is answered by this host by now.
    #[track_caller]
    pub(crate) fn probe(&self, number: usize) -> Watching {
        // The last host never dies.
        let client = Watching::start(&self.client, first(), own(self.hosts.len() - 1));
        client.until_answered_by(&format!("lb{}", number + 1), 50, PATIENCE).unwrap();
        client
    }

    /// Waits until this host holds the address and no other does, and stays so.
    #[track_caller]
    pub(crate) fn only(&self, number: usize) {
        let wanted: Vec<bool> = (0..self.hosts.len()).map(|other| other == number).collect();
        wait_for(&format!("only lb{} holds it", number + 1), PATIENCE, || self.holders() == wanted).unwrap();
        std::thread::sleep(Duration::from_millis(400));
        assert_eq!(self.holders(), wanted);
    }

    /// Which hosts hold the address.
    pub(crate) fn holders(&self) -> Vec<bool> {
        self.hosts.iter().map(|host| host.holds(first())).collect()
    }
}

/// A router of no priority yet, at 100 ms.
pub(crate) fn router() -> Router {
    Router::new(100, &[FIRST])
}

pub(crate) fn first() -> IpAddr {
    IpAddr::V4(VIRTUAL)
}

pub(crate) const VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
pub(crate) const FIRST: &str = "10.77.0.100/24";
pub(crate) const PATIENCE: Duration = Duration::from_secs(12);
