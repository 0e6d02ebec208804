//! Whatever is in the cache, the result is that of an empty one; and what stays is not made anew.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::app::{Check, CheckProtocol, CheckTarget, Health, Instance, Networking, Port, TaskState};
use crate::compile::{Groups, compile};

fn task(n: u8, ports: usize, health: Health) -> Instance {
    Instance {
        id: format!("task.{n}"),
        host: format!("10.0.0.{n}"),
        // Two in ten wait for an address.
        addr: (n > 1).then_some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, n % 6))),
        ports: (0..ports).map(|index| Some(31_000 + u16::try_from(index).unwrap())).collect(),
        state: TaskState::Running,
        health,
    }
}

/// Few names, ports, hosts and addresses, so that apps get in each other's way.
fn any_app() -> impl Strategy<Value = App> {
    let label = prop_oneof![
        (0..2_u8, prop_oneof![Just("a.test"), Just("b.test,a.test"), Just("*.test"), Just("no host")])
            .prop_map(|(n, host)| (format!("HAPROXY_{n}_VHOST"), host)),
        (0..2_u8, prop_oneof![Just("/x"), Just("-i /X"), Just("/x/y")])
            .prop_map(|(n, path)| (format!("HAPROXY_{n}_PATH"), path)),
        (0..2_u8, prop_oneof![Just("10000"), Just("10001"), Just("80"), Just("none")])
            .prop_map(|(n, port)| (format!("HAPROXY_{n}_PORT"), port)),
        (0..2_u8, prop_oneof![Just("tcp"), Just("http")]).prop_map(|(n, mode)| (format!("HAPROXY_{n}_MODE"), mode)),
        prop_oneof![Just("external"), Just("internal")].prop_map(|group| ("HAPROXY_GROUP".to_owned(), group)),
        prop_oneof![Just("::1"), Just("127.0.0.1"), Just("x")].prop_map(|a| ("HAPROXY_0_BIND_ADDR".to_owned(), a)),
        prop_oneof![Just("true"), Just("false")].prop_map(|on| ("HAPROXY_0_STICKY".to_owned(), on)),
    ];
    let name = prop_oneof![Just("/a"), Just("/a/b"), Just("/a_b"), Just("/c"), Just("/d")];
    let ports = proptest::collection::vec(proptest::option::of(10_000..10_003_u16), 0..3);
    let health = prop_oneof![Just(Health::Alive), Just(Health::Dead), Just(Health::Unknown)];
    let tasks = proptest::collection::vec((0..10_u8, 0..3_usize, health), 0..4);
    let labels = proptest::collection::vec(label, 0..4);
    (name, ports, tasks, labels, any::<bool>(), any::<bool>()).prop_map(
        |(id, ports, tasks, labels, container, checked)| {
            let check = Check {
                protocol: CheckProtocol::Http,
                path: None,
                target: CheckTarget::Index(0),
                interval: Default::default(),
                timeout: Default::default(),
                max_consecutive_failures: 3,
            };
            App {
                id: AppId::parse(id).unwrap(),
                labels: labels.into_iter().map(|(key, value)| (key, value.to_owned())).collect(),
                networking: if container { Networking::Container } else { Networking::Host },
                ports: ports.into_iter().map(|service_port| Port { service_port }).collect(),
                checks: checked.then_some(check).into_iter().collect(),
                instances: tasks.into_iter().map(|(n, ports, health)| task(n, ports, health)).collect(),
                wanted: 1,
            }
        },
    )
}

/// What happens between two compilations.
#[derive(Debug, Clone)]
enum Op {
    Put(App),
    /// Only tasks change, of the app at this place.
    Tasks(prop::sample::Index, Vec<(u8, usize)>),
    Delete(prop::sample::Index),
    /// Another value, the same content.
    Renew(prop::sample::Index),
    Policy(bool, bool, bool, bool),
    Issue(bool),
}

fn any_op() -> impl Strategy<Value = Op> {
    let at = || any::<prop::sample::Index>();
    prop_oneof![
        6 => any_app().prop_map(Op::Put),
        4 => (at(), proptest::collection::vec((0..10_u8, 0..3_usize), 0..4)).prop_map(|(at, tasks)| Op::Tasks(at, tasks)),
        2 => at().prop_map(Op::Delete),
        1 => at().prop_map(Op::Renew),
        1 => any::<(bool, bool, bool, bool)>().prop_map(|(a, b, c, d)| Op::Policy(a, b, c, d)),
        1 => any::<bool>().prop_map(Op::Issue),
    ]
}

fn act(op: Op, snapshot: &mut Snapshot, policy: &mut Policy) {
    let pick = |apps: &BTreeMap<AppId, Arc<App>>, at: prop::sample::Index| {
        (!apps.is_empty()).then(|| apps.keys().nth(at.index(apps.len())).cloned().unwrap())
    };
    match op {
        Op::Put(app) => drop(snapshot.apps.insert(app.id.clone(), Arc::new(app))),
        Op::Tasks(at, tasks) => {
            let Some(id) = pick(&snapshot.apps, at) else { return };
            let app = Arc::make_mut(snapshot.apps.get_mut(&id).unwrap());
            app.instances = tasks.into_iter().map(|(n, ports)| task(n, ports, Health::Alive)).collect();
        }
        Op::Delete(at) => {
            if let Some(id) = pick(&snapshot.apps, at) {
                snapshot.apps.remove(&id);
            }
        }
        Op::Renew(at) => {
            if let Some(id) = pick(&snapshot.apps, at) {
                let same = Arc::new(App::clone(&snapshot.apps[&id]));
                snapshot.apps.insert(id, same);
            }
        }
        Op::Policy(all, invented, own, strict) => {
            *policy = Policy {
                groups: if all { Groups::All } else { Groups::Only(["external".to_owned()].into()) },
                invented_ports: invented.then_some(10_001..=10_003),
                own_app: own.then(|| AppId::parse("/a").unwrap()),
                strict,
                health_check: strict,
                vhosts: true,
                ipv6: all,
                ..Policy::default()
            }
        }
        Op::Issue(there) => {
            snapshot.issues = there.then(|| Issue::app("/x", "cannot be read")).into_iter().collect();
        }
    }
}

proptest! {
    #[test]
    fn a_cache_changes_no_result(ops in proptest::collection::vec(any_op(), 1..40)) {
        let mut cache = Cache::default();
        let mut snapshot = Snapshot::default();
        let mut policy = Policy { groups: Groups::All, vhosts: true, invented_ports: Some(10_001..=10_003), ..Policy::default() };
        for op in ops {
            act(op, &mut snapshot, &mut policy);
            prop_assert_eq!(cache.compile(&snapshot, &policy), compile(&snapshot, &policy));
        }
    }
}

#[test]
fn a_task_that_moves_leaves_everything_but_its_backend_the_same_value() {
    let app = |name: &str, port| App {
        id: AppId::parse(name).unwrap(),
        labels: BTreeMap::from([("HAPROXY_0_VHOST".to_owned(), format!("{}.test", &name[1..]))]),
        networking: Networking::Host,
        ports: vec![Port { service_port: Some(port) }],
        checks: Vec::new(),
        instances: vec![task(2, 1, Health::Alive)],
        wanted: 1,
    };
    let apps = [app("/a", 10_000), app("/b", 10_001)];
    let mut snapshot = Snapshot::default();
    snapshot.apps.extend(apps.into_iter().map(|app| (app.id.clone(), Arc::new(app))));
    let policy = Policy { groups: Groups::All, vhosts: true, ..Policy::default() };
    let mut cache = Cache::default();
    let before = cache.compile(&snapshot, &policy).0;
    let moved = Arc::make_mut(snapshot.apps.values_mut().next().unwrap());
    moved.instances = vec![task(3, 1, Health::Alive)];
    let after = cache.compile(&snapshot, &policy).0;
    assert!(Arc::ptr_eq(&before.frontends, &after.frontends));
    assert!(Arc::ptr_eq(&before.routes, &after.routes) && Arc::ptr_eq(&before.app_ids, &after.app_ids));
    let same: Vec<_> = before
        .backends
        .values()
        .zip(after.backends.values())
        .map(|(before, after)| Arc::ptr_eq(before, after))
        .collect();
    assert_eq!(same, [false, true]);
}
