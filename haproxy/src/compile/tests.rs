//! What the wanted state is for given apps: one builder, tables of cases.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;
use crate::app::{App, Check, CheckProtocol, CheckTarget, Health, Instance, Networking, Port, TaskState};
use crate::text::Host;

/// An app on host networking with one task for each of `tasks`, labels and service ports given.
fn app(id: &str, ports: &[u16], labels: &[(&str, &str)], tasks: u8) -> App {
    let instances = (1..=tasks).map(|n| task(n, ports.len())).collect();
    App {
        id: AppId::parse(id).unwrap(),
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        networking: Networking::Host,
        ports: ports.iter().map(|port| Port { service_port: Some(*port) }).collect(),
        checks: Vec::new(),
        instances,
        wanted: u32::from(tasks),
    }
}

fn task(n: u8, ports: usize) -> Instance {
    Instance {
        id: format!("task.{n}"),
        host: format!("10.0.0.{n}"),
        addr: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, n))),
        ports: (0..ports).map(|index| Some(31_000 + u16::try_from(index).unwrap())).collect(),
        state: TaskState::Running,
        health: Health::Unknown,
    }
}

fn check(protocol: CheckProtocol, target: CheckTarget) -> Check {
    Check {
        protocol,
        path: Some("/ping".to_owned()),
        target,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(10),
        max_consecutive_failures: 10,
    }
}

fn policy() -> Policy {
    Policy {
        groups: Groups::All,
        vhosts: true,
        reserved: vec![Reserved { addr: BindAddr::Any, port: 80, what: "the http listener" }],
        ..Policy::default()
    }
}

fn state(apps: Vec<App>, policy: &Policy) -> (LbState, Vec<Issue>) {
    let snapshot =
        Snapshot { apps: apps.into_iter().map(|app| (app.id.clone(), Arc::new(app))).collect(), ..Snapshot::default() };
    compile(&snapshot, policy)
}

/// The names of all backends.
fn served(apps: Vec<App>, policy: &Policy) -> Vec<String> {
    state(apps, policy).0.backends.keys().map(ToString::to_string).collect()
}

fn servers(app: App, policy: &Policy) -> Vec<String> {
    let (state, _) = state(vec![app], policy);
    state.backends.values().flat_map(|b| b.servers.iter().map(|s| s.name.clone())).collect()
}

/// `path → backend` of one host's table.
fn table(state: &LbState, host: &str) -> Vec<String> {
    let Some(table) = state.routes.get(&Host::parse(host).unwrap()) else { return Vec::new() };
    let line = |r: &crate::model::Route| format!("{}={}", r.path.as_ref().map_or("*", |p| p.as_str()), r.backend);
    table.routes.iter().map(line).collect()
}

#[test]
fn groups_decide_who_is_served_and_a_ports_own_group_alone_decides_for_it() {
    let only =
        |names: &[&str]| Policy { groups: Groups::Only(names.iter().map(|n| (*n).to_owned()).collect()), ..policy() };
    let both = || {
        vec![
            app("/none", &[1], &[], 1),
            app("/ext", &[2], &[("HAPROXY_GROUP", "external, internal")], 1),
            app("/split", &[3, 4], &[("HAPROXY_GROUP", "external"), ("HAPROXY_1_GROUP", "internal")], 1),
        ]
    };
    assert_eq!(served(both(), &policy()), ["ext_2", "none_1", "split_3", "split_4"]);
    assert_eq!(served(both(), &only(&["internal"])), ["ext_2", "split_4"]);
    assert_eq!(served(both(), &only(&["external"])), ["ext_2", "split_3"]);
    assert_eq!(served(both(), &only(&["other"])), [""; 0]);
}

#[test]
fn strict_mode_serves_only_what_is_enabled() {
    let strict = Policy { strict: true, ..policy() };
    let apps = || vec![app("/a", &[1], &[("HAPROXY_0_ENABLED", "yes")], 1), app("/b", &[2], &[], 1)];
    assert_eq!(served(apps(), &strict), ["a_1"]);
    assert_eq!(served(apps(), &policy()), ["a_1", "b_2"]);
    assert_eq!(served(vec![app("/a", &[1], &[("HAPROXY_0_ENABLED", "false")], 1)], &policy()), [""; 0]);
}

#[test]
fn unknown_health_waits_until_seen_and_is_no_matter_without_the_gate() {
    let gate = Policy { health_check: true, ..policy() };
    let with = |health| {
        let mut app = app("/a", &[1], &[], 1);
        app.checks = vec![check(CheckProtocol::Http, CheckTarget::Index(0))];
        app.instances[0].health = health;
        app
    };
    assert_eq!(servers(with(Health::Alive), &gate).len(), 1);
    assert_eq!(servers(with(Health::Unknown), &gate).len(), 0);
    assert_eq!(servers(with(Health::Dead), &gate).len(), 0);
    assert_eq!(servers(with(Health::Dead), &policy()).len(), 1);
    let unchecked = app("/a", &[1], &[], 1);
    assert_eq!(servers(unchecked, &gate).len(), 1);
}

#[test]
fn a_task_that_is_killed_serves_only_where_no_other_does() {
    let mut app = app("/a", &[10_000], &[], 2);
    let both = servers(app.clone(), &policy());
    app.instances[0].state = TaskState::Killing;
    assert_eq!(servers(app.clone(), &policy()), both[1..]);
    app.instances[1].state = TaskState::Killing;
    assert_eq!(servers(app.clone(), &policy()), both, "better than nobody");
    app.instances[1].state = TaskState::Ended;
    assert_eq!(servers(app, &policy()), both[..1]);
}

#[test]
fn task_states() {
    for (state, expected) in [
        (TaskState::Running, 1),
        (TaskState::Unreachable, 1),
        (TaskState::Starting, 0),
        (TaskState::Killing, 1),
        (TaskState::Ended, 0),
    ] {
        let mut app = app("/a", &[1], &[], 1);
        app.instances[0].state = state;
        assert_eq!(servers(app, &policy()).len(), expected, "{state:?}");
    }
}

#[test]
fn no_port_or_no_address_is_no_server_but_the_backend_stays() {
    let mut a = app("/a", &[1, 2], &[], 2);
    a.instances[0].ports = vec![Some(5)];
    a.instances[1].addr = None;
    let (state, issues) = state(vec![a], &policy());
    let count: Vec<_> = state.backends.values().map(|b| b.servers.len()).collect();
    assert_eq!(count, [1, 0]);
    assert_eq!(state.frontends.len(), 2);
    assert!(issues[0].problem.contains("cannot be resolved"), "{issues:?}");
}

#[test]
fn a_suspended_app_keeps_its_frontend_and_routes() {
    let (state, _) = state(vec![app("/a", &[1], &[("HAPROXY_0_VHOST", "a.com")], 0)], &policy());
    assert_eq!(state.frontends.len(), 1);
    assert_eq!(table(&state, "a.com"), ["*=a_1"]);
}

#[test]
fn modes() {
    let vhost = ("HAPROXY_0_VHOST", "a.com");
    let tcp = ("HAPROXY_0_MODE", "tcp");
    let borrow = ("HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX", "1");
    let http0 = check(CheckProtocol::Http, CheckTarget::Index(0));
    let mesos0 = check(CheckProtocol::MesosHttp, CheckTarget::Index(0));
    let mesos1 = check(CheckProtocol::MesosHttp, CheckTarget::Index(1));
    for (labels, checks, mode) in [
        (vec![], vec![], Mode::Tcp),
        (vec![vhost], vec![], Mode::Http),
        (vec![], vec![http0.clone()], Mode::Http),
        (vec![], vec![mesos0], Mode::Tcp),
        (vec![tcp], vec![http0], Mode::Tcp),
        (vec![tcp, borrow], vec![mesos1.clone()], Mode::Http),
        (vec![tcp], vec![mesos1], Mode::Tcp),
    ] {
        let mut app = app("/a", &[1, 2], &labels, 1);
        app.checks = checks.clone();
        let (state, _) = state(vec![app], &policy());
        let first = state.backends.values().next().unwrap();
        assert_eq!(first.mode, mode, "{labels:?} {checks:?}");
    }
}

#[test]
fn checks_follow_their_port_and_protocol() {
    let of = |protocol, target, labels: &[(&str, &str)]| {
        let mut app = app("/a", &[1, 2], labels, 1);
        app.checks = vec![check(protocol, target)];
        let (state, _) = state(vec![app], &policy());
        Arc::unwrap_or_clone(state.backends.into_values().next().unwrap())
    };
    let http = of(CheckProtocol::Http, CheckTarget::Index(0), &[]).check.unwrap();
    assert_eq!((http.fall, http.interval.as_secs(), http.port), (11, 2, None));
    assert_eq!(http.http.map(|h| h.uri.to_string()).as_deref(), Some("/ping"));
    assert_eq!(of(CheckProtocol::Http, CheckTarget::Index(1), &[]).check, None);
    assert_eq!(of(CheckProtocol::Command, CheckTarget::None, &[]).check, None);
    assert_eq!(of(CheckProtocol::Http, CheckTarget::Port(1024), &[]).check.unwrap().port, Some(1024));
    let tls = of(CheckProtocol::Https, CheckTarget::Index(0), &[("HAPROXY_0_MODE", "http")]).check.unwrap();
    assert!(tls.http.unwrap().tls);
    let tcp = of(CheckProtocol::Http, CheckTarget::Index(0), &[("HAPROXY_0_MODE", "tcp")]).check.unwrap();
    assert_eq!(tcp.http, None);
    let borrowed = of(CheckProtocol::Http, CheckTarget::Index(1), &[("HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX", "1")]);
    assert!(borrowed.check.is_some());
    assert_eq!(borrowed.servers[0].check_port, Some(31_001));
}

#[test]
fn two_that_want_one_listener() {
    let (state, issues) = state(
        vec![
            app("/a", &[8000], &[], 1),
            app("/b", &[8000], &[("HAPROXY_0_VHOST", "b.com")], 1),
            app("/c", &[80], &[], 1),
            app("/d", &[8001], &[("HAPROXY_0_BIND_ADDR", "10.1.1.1")], 1),
            app("/e", &[8001], &[("HAPROXY_0_BIND_ADDR", "10.1.1.2")], 1),
        ],
        &policy(),
    );
    let frontends: Vec<_> = state.frontends.keys().map(BackendId::as_str).collect();
    assert_eq!(frontends, ["a_8000", "d_8001", "e_8001"]);
    assert_eq!(table(&state, "b.com"), ["*=b_8000"], "the loser keeps its host");
    let losers: Vec<_> = issues.iter().map(|issue| issue.app.as_str()).collect();
    assert_eq!(losers, ["/b", "/c"]);
    assert!(issues[0].problem.contains("already taken by /a (port 0)"), "{}", issues[0]);
}

#[test]
fn one_app_with_one_port_twice() {
    let (state, issues) = state(vec![app("/a", &[8000, 8000], &[], 1)], &policy());
    assert_eq!(state.backends.len(), 1);
    assert_eq!(state.backends.values().next().unwrap().owner.index, 0);
    assert!(issues[0].problem.contains("out of service"), "{issues:?}");
}

#[test]
fn every_address_is_both_families_where_ipv6_is_in_use() {
    let six = Policy { ipv6: true, ..policy() };
    let addr = |text: &'static str| vec![("HAPROXY_0_BIND_ADDR", text)];
    let only = |text: &'static str| vec![("HAPROXY_0_BIND_ADDR", text), ("HAPROXY_0_BIND_OPTIONS", "v6only")];
    let case = |port, first: &[(&str, &str)], second: &[(&str, &str)], expected: [(&str, usize); 2]| {
        for (policy, (listeners, issues)) in [policy(), six.clone()].iter().zip(expected) {
            let apps = vec![app("/a", &[port], first, 1), app("/b", &[port], second, 1)];
            let (state, found) = state(apps, policy);
            let served = state.frontends.values().map(|f| format!("{}={}", f.owner.app, f.addr));
            assert_eq!(served.collect::<Vec<_>>().join(" "), listeners, "{first:?} {second:?}");
            assert_eq!(found.len(), issues, "{first:?} {second:?}: {found:?}");
        }
    };
    case(10_000, &[], &addr("::1"), [("/a=* /b=[::1]", 0), ("/a=0.0.0.0 /b=[::1]", 1)]);
    case(10_000, &addr("0.0.0.0"), &addr("::1"), [("/a=0.0.0.0 /b=[::1]", 0); 2]);
    case(10_000, &[], &addr("::"), [("/a=*", 1); 2]);
    case(10_000, &[], &only("::"), [("/a=* /b=[::]", 0), ("/a=0.0.0.0 /b=[::]", 1)]);
    case(10_000, &only("::"), &addr("::1"), [("/a=[::]", 1); 2]);
    // 80 is the vhosts': on IPv4, or on both.
    case(80, &addr("::1"), &addr("::2"), [("/a=[::1] /b=[::2]", 0), ("", 2)]);
}

#[test]
fn routes_go_by_weight_then_exactness_then_length() {
    let vhost = |hosts: &'static str| ("HAPROXY_0_VHOST", hosts);
    let path = |paths: &'static str| ("HAPROXY_0_PATH", paths);
    let weight = |weight: &'static str| ("HAPROXY_0_BACKEND_WEIGHT", weight);
    let case = |name: &str, apps: &[&[(&'static str, &'static str)]], host: &str, expected: &[&str], issues: usize| {
        let port = |i: usize| u16::try_from(i).unwrap() + 1;
        let apps = apps.iter().enumerate().map(|(i, labels)| app(&format!("/a{i}"), &[port(i)], labels, 1)).collect();
        let (state, found) = state(apps, &policy());
        assert_eq!(table(&state, host), expected, "{name}");
        assert_eq!(found.len(), issues, "{name}: {found:?}");
    };
    case("same host: lower id", &[&[vhost("x.com")], &[vhost("x.com")]], "x.com", &["*=a0_1"], 1);
    case("same host: weight", &[&[vhost("x.com")], &[vhost("x.com"), weight("3")]], "x.com", &["*=a1_2"], 1);
    case(
        "path before host",
        &[&[vhost("x.com")], &[vhost("x.com"), path("/api")]],
        "x.com",
        &["/api=a1_2", "*=a0_1"],
        0,
    );
    case(
        "longer path first, whatever the id",
        &[&[vhost("x.com"), path("/")], &[vhost("x.com"), path("/api /v2")]],
        "x.com",
        &["/api=a1_2", "/v2=a1_2", "/=a0_1"],
        0,
    );
    case(
        "/ is every path, so nothing is left for the plain host",
        &[&[vhost("x.com"), path("/")], &[vhost("x.com")]],
        "x.com",
        &["/=a0_1"],
        1,
    );
    case(
        "weight beats length",
        &[&[vhost("x.com"), path("/a"), weight("5")], &[vhost("x.com"), path("/a/b")]],
        "x.com",
        &["/a=a0_1"],
        1,
    );
    case(
        "an explicit 0 is 0",
        &[&[vhost("x.com"), path("/a"), weight("0")], &[vhost("x.com"), weight("0")]],
        "x.com",
        &["/a=a0_1", "*=a1_2"],
        0,
    );
    case("exact before wildcard", &[&[vhost("*.x.com")], &[vhost("a.x.com")]], "a.x.com", &["*=a1_2"], 0);
    case(
        "a wildcard's path reaches the exact host",
        &[&[vhost("*.x.com"), path("/api")], &[vhost("a.x.com")]],
        "a.x.com",
        &["/api=a0_1", "*=a1_2"],
        0,
    );
    case("narrower wildcard first", &[&[vhost("*.x.com")], &[vhost("*.b.x.com")]], "*.b.x.com", &["*=a1_2"], 0);
    case(
        "case ignored shadows every case",
        &[&[vhost("x.com"), path("-i /api"), weight("2")], &[vhost("x.com"), path("/API/v2")]],
        "x.com",
        &["/api=a0_1"],
        1,
    );
    case(
        "case minded does not shadow case ignored",
        &[&[vhost("x.com"), path("/api"), weight("2")], &[vhost("x.com"), path("-i /api")]],
        "x.com",
        &["/api=a0_1", "/api=a1_2"],
        0,
    );
}

#[test]
fn the_id_of_an_app_means_its_lowest_http_port() {
    let http = |n| (["HAPROXY_0_MODE", "HAPROXY_1_MODE"][n], "http");
    let (state, _) =
        state(vec![app("/a", &[9, 8], &[http(0), http(1)], 1), app("/b", &[1, 2], &[http(1)], 1)], &policy());
    let ids: Vec<_> = state.app_ids.values().map(BackendId::as_str).collect();
    assert_eq!(ids, ["a_8", "b_2"]);
}

#[test]
fn hosts_need_http() {
    let labels = [("HAPROXY_0_VHOST", "a.com"), ("HAPROXY_0_MODE", "tcp"), ("HAPROXY_0_STICKY", "true")];
    let (state, issues) = state(vec![app("/a", &[1], &labels, 1)], &policy());
    assert_eq!(state.routes.len(), 0);
    assert_eq!(state.frontends.len(), 1);
    let blamed: Vec<_> = issues.iter().map(|issue| issue.label.as_deref().unwrap_or("")).collect();
    assert_eq!(blamed, ["HAPROXY_0_STICKY", "HAPROXY_0_VHOST"]);
}

#[test]
fn container_apps_without_service_ports_get_invented_ones() {
    let range = Policy { invented_ports: Some(10_000..=10_020), ..policy() };
    let mut a = app("/a", &[], &[], 1);
    a.networking = Networking::Container;
    a.instances[0].ports = vec![Some(80), Some(81)];
    assert_eq!(served(vec![a.clone()], &policy()), [""; 0]);
    let names = served(vec![a.clone()], &range);
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names, served(vec![a.clone()], &range), "the same again");
    let narrow = Policy { invented_ports: Some(10_000..=10_000), ..policy() };
    let (state, issues) = state(vec![a], &narrow);
    assert_eq!(state.backends.len(), 1);
    assert!(issues.iter().any(|issue| issue.problem.contains("no service port left")), "{issues:?}");
}

#[test]
fn the_order_of_tasks_does_not_matter() {
    let a = app("/a", &[1], &[], 9);
    let mut b = a.clone();
    b.instances.reverse();
    assert_eq!(state(vec![a], &policy()), state(vec![b], &policy()));
}

#[test]
fn an_app_left_out_takes_nothing_else_with_it() {
    let apps = vec![
        app("/a", &[1], &[("HAPROXY_0_VHOST", "x.com"), ("HAPROXY_0_PATH", "/a")], 1),
        app("/b", &[2], &[("HAPROXY_0_VHOST", "x.com,y.com")], 1),
    ];
    let (state, _) = state(apps, &policy());
    let rest = state.without(&[AppId::parse("/b").unwrap()].into());
    assert_eq!(table(&rest, "x.com"), ["/a=a_1"]);
    assert_eq!(table(&rest, "y.com"), [""; 0]);
    assert_eq!(rest.backends.len(), 1);
    assert_eq!(rest.frontends.len(), 1);
}

#[test]
fn case_is_never_ignored_below_a_wildcard_where_all_hosts_would_pay_for_it() {
    let labels = [("HAPROXY_0_VHOST", "*.x.com,x.com"), ("HAPROXY_0_PATH", "-i /api")];
    let (state, issues) =
        state(vec![app("/a", &[1], &labels, 1), app("/b", &[2], &[("HAPROXY_0_VHOST", "b.x.com")], 1)], &policy());
    let rules: Vec<_> =
        state.routes.iter().filter(|(_, table)| table.ignore_case).map(|(host, _)| host.to_string()).collect();
    assert_eq!(rules, ["x.com"]);
    assert!(issues[0].problem.contains("wildcard"), "{issues:?}");
}

#[test]
fn one_app_cannot_claim_without_bound() {
    let many = |what: fn(usize) -> String, n| (0..n).map(what).collect::<Vec<_>>();
    let hosts = many(|n| format!("h{n}.com"), 100).join(",");
    let paths = many(|n| format!("/p{n}"), 100).join(" ");
    let ignoring = format!("-i {}", many(|n| format!("/p{n}"), 65).join(" "));
    for (hosts, paths, routed) in
        [(hosts.as_str(), paths.as_str(), 0), ("a.com", ignoring.as_str(), 0), ("a.com", &paths, 1)]
    {
        let labels = [("HAPROXY_0_VHOST", hosts), ("HAPROXY_0_PATH", paths)];
        let (state, issues) = state(vec![app("/a", &[1], &labels, 1)], &policy());
        assert_eq!((state.routes.len(), issues.len()), (routed, 1 - routed), "{issues:?}");
        assert_eq!(state.frontends.len(), 1, "the service port stays");
    }
}
