//! Several routers of one node: what is refused, and what members of a group do together.

use super::*;
use crate::config::Delivery;
use crate::machine::io::{Command, Count, GroupMove};
use crate::machine::{ConfigError, Node};

use Phase::{Active, Backup, Fault as Out, Init, Leaving};

fn router(name: &str, interface: &str, address: &str, group: Option<&str>) -> RouterConfig {
    RouterConfig {
        name: name.to_owned(),
        interface: interface.to_owned(),
        addresses: vec![address.parse().unwrap()],
        group: group.map(str::to_owned),
        ..config()
    }
}

fn pair() -> Vec<RouterConfig> {
    vec![router("v4", "eth0", "192.0.2.10/24", Some("g")), router("v6", "eth0", "fe80::10/64", Some("g"))]
}

fn refused(change: impl Fn(&mut Vec<RouterConfig>)) -> String {
    let mut configs = vec![router("a", "eth0", "192.0.2.10/24", None), router("b", "eth1", "192.0.2.11/24", Some("g"))];
    assert!(Node::new(&configs).is_ok());
    change(&mut configs);
    Node::new(&configs).map_or_else(|error: ConfigError| error.to_string(), |_| "accepted".to_owned())
}

#[test]
fn what_cannot_run_is_refused_by_name() {
    let net = |text: &str| text.parse().expect("a constant");
    let cases: Vec<(String, &str)> = vec![
        (refused(|c| c[1].name = "a".to_owned()), "two routers are called \"a\""),
        (
            refused(|c| c[1].interface = "eth0".to_owned()),
            "routers \"a\" and \"b\" both have virtual_router_id 51 on eth0 for one address family",
        ),
        (
            refused(|c| c[1].addresses = vec![net("192.0.2.10/32")]),
            "address 192.0.2.10 is in router \"a\" and again in \"b\"",
        ),
        (
            refused(|c| c[1].excluded = vec![net("192.0.2.11/32")]),
            "address 192.0.2.11 is in router \"b\" and again in \"b\"",
        ),
        (refused(|c| c[0].addresses.push(net("2001:db8::1/64"))), "router \"a\" mixes IPv4 and IPv6"),
        (refused(|c| c[0].addresses.clear()), "router \"a\" has no addresses"),
        (refused(|c| c[0].priority = Priority(0)), "router \"a\" has priority 0"),
        (refused(|c| c[0].priority = Priority(255)), "router \"a\" has priority 255"),
        (
            refused(|c| {
                c[0].version = Version::V2;
                c[0].addresses = vec![net("fe80::1/64")];
            }),
            "router \"a\" is version 2, which has no IPv6",
        ),
        (
            refused(|c| c[0].version = Version::V2),
            "router \"a\" is version 2, whose advertisement interval is in whole",
        ),
        (
            refused(|c| {
                c.push(router("c", "eth2", "192.0.2.12/24", Some("g")));
                c[2].priority = Priority(99);
            }),
            "routers \"b\" and \"c\" are in group \"g\" and differ in priority",
        ),
        (
            refused(|c| c[0].addresses = (0..=255).map(|n| net(&format!("10.0.0.{n}/24"))).collect()),
            "router \"a\" has 256 addresses",
        ),
        (
            refused(|c| c[0].addresses = vec![net("224.0.0.18/32")]),
            "router \"a\": 224.0.0.18 is not an address of one host",
        ),
        (refused(|c| c[0].delivery = Delivery::Unicast(Vec::new())), "router \"a\" is unicast and has no peers"),
        (refused(|c| c[0].source = Some(net("fe80::1/64").addr())), "router \"a\": fe80::1 is not of the family"),
        (refused(|c| c[0].auth_pass = Some([0; 8])), "router \"a\" has a password"),
    ];
    for (said, wanted) in cases {
        assert!(said.starts_with(wanted), "{said}\n{wanted}");
    }
    // One identifier may serve both families, and other interfaces.
    assert_eq!(
        refused(|c| (c[1].interface, c[1].addresses) = ("eth0".to_owned(), vec![net("fe80::1/64")])),
        "accepted"
    );
}

/// A group of two, started; time as in [`Bench`].
struct Pair {
    node: Node,
    now: Instant,
}

impl Pair {
    fn new(configs: &[RouterConfig], start: [Start; 2]) -> Self {
        let mut pair = Self { node: Node::new(configs).unwrap(), now: epoch() };
        pair.node.broadcast(link_up(), pair.now);
        for (index, start) in start.into_iter().enumerate() {
            pair.give(index, Input::Start(start));
        }
        pair
    }

    fn active() -> Self {
        let mut pair = Self::new(&pair(), [Start::Fresh; 2]);
        pair.run(ms(400));
        assert_eq!(pair.phases(), [Active; 2]);
        pair
    }

    fn give(&mut self, index: usize, input: Input) -> Vec<(usize, Action)> {
        self.node.handle(index, input, self.now)
    }

    fn run(&mut self, wait: Duration) -> Vec<(usize, Action)> {
        let (end, mut out) = (self.now + wait, Vec::new());
        for _ in 0..10_000 {
            let Some(at) = self.node.deadline().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            out.extend(self.node.broadcast(Input::Wake, self.now));
            self.agree();
        }
        self.now = end;
        out
    }

    fn phases(&self) -> [Phase; 2] {
        [0, 1].map(|index| self.node.machines()[index].phase())
    }

    /// Active together or not at all, at every moment.
    fn agree(&self) {
        let actives = self.phases().iter().filter(|phase| **phase == Active).count();
        assert_ne!(actives, 1, "{:?}", self.phases());
    }
}

#[test]
fn members_become_active_together() {
    let configs = pair();
    let mut pair = Pair::new(&configs, [Start::Fresh; 2]);
    pair.run(ms(50));
    pair.give(0, advert(200, 9));
    // The other one's timer is 50 ms ahead, within an interval: it need not wait, and takes both.
    let out = pair.run(ms(400));
    let reasons: Vec<Reason> =
        out.iter().flat_map(|(_, action)| moves(std::slice::from_ref(action))).map(|m| m.2).collect();
    assert_eq!((pair.phases(), reasons), ([Active; 2], vec![Reason::Silence, Reason::Group]));
}

#[test]
fn a_member_does_not_claim_while_another_hears_its_active() {
    let mut pair = Pair::new(&pair(), [Start::Fresh; 2]);
    for _ in 0..20 {
        pair.run(ms(100));
        pair.give(0, advert(200, 9));
    }
    assert_eq!(pair.phases(), [Backup; 2]);
    // The gate opens, and a claim that waited for it is not late, though the other one's peer was slow.
    let slow = |priority| {
        Input::Advert(Heard { source: host(9), priority: Priority(priority), interval: cs(100), version: Version::V3 })
    };
    pair.give(0, slow(200));
    pair.run(ms(1000));
    assert_eq!(pair.phases(), [Backup; 2]);
    pair.give(0, slow(0));
    let out = pair.run(ms(61));
    assert_eq!(pair.phases(), [Active; 2]);
    assert!(!out.iter().any(|(_, action)| *action == Action::Count(Count::Late)));
}

#[test]
fn one_outranked_member_takes_all_along() {
    let mut pair = Pair::active();
    let out = pair.give(0, advert(200, 9));
    assert_eq!(pair.phases(), [Backup, Leaving]);
    assert!(!out.contains(&(0, Action::Drop)));
    // The other one resigns, and keeps its address until the peer has it.
    assert!(out.contains(&(1, Action::Advertise { priority: Priority::RESIGN, interval: cs(10) })));
    assert!(!out.contains(&(1, Action::Drop)));
    pair.give(1, advert(200, 9));
    assert_eq!(pair.phases(), [Backup; 2]);
    assert_eq!(pair.run(ms(10)), [(0, Action::Drop), (1, Action::Drop)]);
}

#[test]
fn one_link_down_takes_all_out_and_brings_all_back() {
    let mut pair = Pair::active();
    pair.give(0, link_down());
    assert_eq!(pair.phases(), [Out, Leaving]);
    pair.run(ms(400));
    assert_eq!(pair.phases(), [Out, Out]);
    pair.run(ms(5000));
    assert_eq!(pair.phases(), [Out, Out]);
    pair.give(0, link_up());
    assert_eq!(pair.phases(), [Backup, Backup]);
    pair.run(ms(500));
    assert_eq!(pair.phases(), [Active, Active]);
}

#[test]
fn commands_and_health_are_for_all() {
    let mut pair = Pair::active();
    pair.give(1, Input::Command(Command::HandOver));
    assert_eq!(pair.phases(), [Leaving; 2]);
    // Taken for one is taken for all, though the other hears nothing.
    pair.give(0, advert(50, 9));
    assert_eq!(pair.phases(), [Backup, Leaving]);
    pair.run(ms(280));
    pair.give(0, advert(50, 9));
    pair.run(ms(90));
    assert_eq!(pair.phases(), [Backup; 2]);

    let mut pair = Pair::active();
    pair.give(0, Input::Command(Command::Hold { force: false }));
    pair.run(ms(400));
    assert_eq!(pair.phases(), [Active; 2], "nobody else");
    pair.give(0, health(&[down()], 0, true));
    pair.run(ms(400));
    assert_eq!(pair.phases(), [Out; 2]);
    pair.give(0, health(&[], 0, true));
    pair.run(ms(400));
    assert_eq!(pair.phases(), [Active; 2]);
    let out = pair.node.broadcast(Input::Command(Command::Shutdown), pair.now);
    assert_eq!((pair.phases(), adverts(&out.into_iter().map(|o| o.1).collect::<Vec<_>>())), ([Leaving; 2], vec![0, 0]));
    let out = pair.run(ms(400));
    assert_eq!(out.iter().filter(|(_, action)| *action == Action::Finished).count(), 2);
    assert_eq!(pair.phases(), [Init; 2]);
}

#[test]
fn a_resumption_is_one_of_all_or_of_none() {
    let pair_of = |starts| Pair::new(&pair(), starts).phases();
    assert_eq!(pair_of([Start::Resume; 2]), [Active; 2]);
    assert_eq!(pair_of([Start::Resume, Start::Leftover]), [Backup; 2]);
    let half = Pair::new(&pair(), [Start::Resume, Start::Fresh]);
    assert_eq!(half.phases(), [Backup; 2]);
    assert!(half.node.machines()[0].holds(), "its addresses are there, and stay while it listens");
}

#[test]
fn routers_without_a_group_do_not_care() {
    let configs = [router("a", "eth0", "192.0.2.10/24", None), router("b", "eth1", "192.0.2.11/24", None)];
    let mut node = Node::new(&configs).unwrap();
    node.broadcast(link_up(), epoch());
    node.broadcast(Input::Start(Start::Fresh), epoch());
    node.handle(0, link_down(), epoch());
    node.handle(7, link_down(), epoch());
    assert_eq!([node.machines()[0].phase(), node.machines()[1].phase()], [Out, Backup]);
    // Only those that are due are woken.
    let out = node.broadcast(Input::Wake, at_us(360_937));
    assert!(!out.is_empty() && out.iter().all(|(index, _)| *index == 1));
}

#[test]
fn group_moves_are_harmless_in_any_state() {
    for change in [GroupMove::Active, GroupMove::Backup, GroupMove::Fault, GroupMove::Fit] {
        let mut bench = Bench::new(&config());
        bench.give(Input::Group(change));
        assert_eq!(bench.machine.phase(), Init, "{change:?}");
    }
}
