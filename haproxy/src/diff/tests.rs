//! Properties over random states, and a table of what needs a reload.

mod dynamic;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::app::AppId;
use crate::features::{Regex, Version};
use crate::labels::options::{Balance, Mode};
use crate::model::{Check, Frontend, Owner, Route, Weight};
use crate::names;
use crate::text::{BindAddr, PathPrefix, Word};

pub(crate) fn features(major: u16, minor: u16) -> Features {
    Features {
        version: Version { major, minor, patch: 0 },
        release: PathBuf::from("x").display().to_string(),
        lua: None,
        prometheus: false,
        regex: Regex::Posix,
        tls: None,
        systemd: false,
        transparent: false,
        max_threads: None,
    }
}

fn id(n: u8) -> BackendId {
    BackendId::new(&app(n), 10_000 + u16::from(n))
}

fn app(n: u8) -> AppId {
    AppId::parse(&format!("/app{n}")).unwrap()
}

fn server(n: u8) -> Server {
    let addr = SocketAddr::new(Ipv4Addr::new(10, 0, 0, n).into(), 31_000);
    let name = names::server("agent", addr.ip(), addr.port());
    Server { name, id: u16::from(n) + 1, addr, check_port: None, weight: Weight::default(), admin: Admin::Ready }
}

fn backend(n: u8, servers: Vec<Server>) -> Backend {
    Backend {
        owner: Owner { app: app(n), index: 0 },
        port: 10_000 + u16::from(n),
        mode: Mode::Http,
        balance: Balance::default(),
        hosts: Vec::new(),
        auth: None,
        redirect_to_https: false,
        hsts: false,
        sticky: false,
        network_allowed: Vec::new(),
        proxypass_path: None,
        revproxy_path: None,
        redirect_root: None,
        check: None,
        servers,
    }
}

fn state(backends: impl IntoIterator<Item = (u8, Vec<Server>)>) -> LbState {
    let mut state = LbState::default();
    for (n, servers) in backends {
        let frontend = Frontend {
            owner: Owner { app: app(n), index: 0 },
            addr: BindAddr::Any,
            port: 10_000 + u16::from(n),
            mode: Mode::Http,
            cert: None,
            options: Vec::new(),
        };
        Arc::make_mut(&mut state.frontends).insert(id(n), frontend);
        state.backends.insert(id(n), Arc::new(backend(n, servers)));
        Arc::make_mut(&mut state.app_ids).insert(app(n), id(n));
    }
    state
}

fn route(state: &mut LbState, host: &str, path: Option<&str>, to: u8, ignore_case: bool) {
    let table = Arc::make_mut(&mut state.routes).entry(Host::parse(host).unwrap()).or_default();
    table.ignore_case |= ignore_case;
    let path = path.map(|path| PathPrefix::parse(path).unwrap());
    table.routes.push(Route { path, ignore_case, backend: id(to) });
}

/// A server as a test may want it: mostly plain.
fn any_server(n: u8) -> impl Strategy<Value = Server> {
    let admin = prop_oneof![6 => Just(Admin::Ready), 1 => Just(Admin::Drain), 1 => Just(Admin::Maint)];
    (0..=2_u16, admin, 0..8_u8).prop_map(move |(weight, admin, moved)| {
        let mut server = server(n);
        server.weight = Weight::new(weight).unwrap();
        server.admin = admin;
        if moved == 0 {
            server.addr.set_port(32_000);
        }
        server
    })
}

fn any_servers() -> impl Strategy<Value = Vec<Server>> {
    let each: Vec<_> = (0..5).map(|n| proptest::option::of(any_server(n))).collect();
    each.prop_map(|servers| servers.into_iter().flatten().collect())
}

/// States in which only servers and map entries differ.
fn any_state() -> impl Strategy<Value = LbState> {
    let routes = proptest::collection::btree_map((0..3_u8, 0..3_u8), 0..4_u8, 0..6);
    (proptest::collection::vec(any_servers(), 4), routes).prop_map(|(servers, routes)| {
        let mut state = state((0..).zip(servers));
        for ((host, path), to) in routes {
            route(&mut state, &format!("h{host}.example"), Some(&format!("/p{path}")), to, false);
        }
        state
    })
}

/// As [`any_state`], and backends come and go, are sticky, checked or static.
fn any_wild_state() -> impl Strategy<Value = LbState> {
    let options = (any::<bool>(), 0..5_u8, 0..5_u8, 0..4_u8);
    (any_state(), proptest::collection::vec(options, 4)).prop_map(|(mut state, options)| {
        for (n, (sticky, fixed, checked, there)) in (0..).zip(options) {
            let backend = Arc::make_mut(state.backends.get_mut(&id(n)).unwrap());
            backend.sticky = sticky;
            if fixed == 0 {
                backend.balance = Balance::new(vec![Word::parse("source").unwrap()], false, false);
            }
            if checked == 0 {
                backend.check = Some(Check { http: None, interval: Duration::from_secs(2), fall: 3, port: None });
            }
            if there == 0 {
                state = state.without(&BTreeSet::from([app(n)]));
            }
        }
        state
    })
}

type Servers = BTreeMap<BackendId, BTreeMap<String, Server>>;

/// What a client can tell from what runs: without order, and without what is empty and unreachable.
fn seen(running: &Running, wanted: &LbState) -> (Servers, Vec<BTreeMap<String, String>>) {
    let servers =
        |backend: &Backend| backend.servers.iter().map(|s| (s.name.clone(), s.clone())).collect::<BTreeMap<_, _>>();
    let backends = running.state.backends.iter().map(|(id, backend)| (id.clone(), servers(backend)));
    let backends = backends.filter(|(id, servers)| !servers.is_empty() || wanted.backends.contains_key(id)).collect();
    (backends, running.maps.values().cloned().collect())
}

fn check_applies(running: &mut Running, wanted: &LbState, features: &Features) -> Result<bool, TestCaseError> {
    match diff(running, wanted, features) {
        Plan::Reload { .. } => return Ok(false),
        Plan::Unchanged => running.applied(&[], wanted),
        Plan::Runtime(ops) => {
            check_order(running, &ops)?;
            running.applied(&ops, wanted);
        }
    }
    prop_assert_eq!(seen(running, wanted), seen(&Running::loaded(wanted.clone()), wanted));
    prop_assert_eq!(diff(running, wanted, features), Plan::Unchanged);
    for (id, backend) in &wanted.backends {
        prop_assert_eq!(running.state.backends.get(id), Some(backend), "the next comparison is quick");
    }
    Ok(true)
}

/// After every single operation each map entry leads to a backend that has the servers it had or
/// will have: nothing drains before the entries that lead there are changed.
fn check_order(running: &Running, ops: &[Op]) -> Result<(), TestCaseError> {
    let rank = |op: &Op| match op {
        Op::Create { .. }
        | Op::Publish { .. }
        | Op::Add { .. }
        | Op::Move { .. }
        | Op::Weigh { .. }
        | Op::Let { admin: Admin::Ready, .. } => 0,
        Op::Map { .. } | Op::Cert { .. } => 1,
        Op::Let { .. } | Op::Drain { .. } => 2,
    };
    let ranks: Vec<_> = ops.iter().map(rank).collect();
    prop_assert!(ranks.is_sorted(), "{:?}", ops);
    let has = |place: &Place| running.servers(&place.backend).iter().any(|s| s.name == place.server);
    for op in ops {
        match op {
            Op::Drain { place } => prop_assert!(has(place)),
            Op::Add { backend, server, .. } => {
                let there = has(&place(backend, server));
                prop_assert!(!there, "{} is there", server.name);
            }
            _ => (),
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_equals_itself_needs_nothing(state in any_wild_state()) {
        prop_assert_eq!(diff(&Running::loaded(state.clone()), &state, &features(2, 6)), Plan::Unchanged);
    }

    #[test]
    fn servers_weights_and_routes_change_without_a_reload(states in proptest::collection::vec(any_state(), 2..6)) {
        let mut running = Running::loaded(states[0].clone());
        for wanted in &states[1..] {
            prop_assert!(check_applies(&mut running, wanted, &features(2, 6))?);
        }
    }

    #[test]
    fn operations_lead_to_what_is_wanted_or_there_is_a_reload(
        states in proptest::collection::vec(any_wild_state(), 2..8), new in any::<bool>(), finish in any::<bool>(),
    ) {
        let features = if new { features(3, 0) } else { features(2, 6) };
        let mut running = Running::loaded(states[0].clone());
        for wanted in &states[1..] {
            if !check_applies(&mut running, wanted, &features)? {
                running = Running::loaded(wanted.clone());
            }
            if finish {
                for place in running.leaving().collect::<Vec<_>>() {
                    running.gone(&place);
                }
                prop_assert_eq!(diff(&running, wanted, &features), Plan::Unchanged);
            }
        }
    }

    #[test]
    fn what_needs_no_reload_is_brought_to_run_while_one_is_waited_for(
        states in proptest::collection::vec(any_wild_state(), 2..8), new in any::<bool>(),
    ) {
        let features = if new { features(3, 0) } else { features(2, 6) };
        let mut running = Running::loaded(states[0].clone());
        for wanted in &states[1..] {
            let part = within(&running, wanted, &features);
            let optioned: Vec<_> = running.state.backends.iter().map(|(id, has)| (id.clone(), has.clone())).collect();
            prop_assert!(check_applies(&mut running, &part, &features)?, "no reload for a part");
            for (id, had) in optioned {
                let (has, wants) = (&running.state.backends[&id], wanted.backends.get(&id));
                let names = |backend: &Arc<Backend>| backend.servers.iter().map(|s| s.name.clone()).collect::<BTreeSet<_>>();
                let wants = wants.map(names).unwrap_or_default();
                prop_assert!(names(has).is_subset(&wants), "who is not wanted is out");
                prop_assert!(names(has) == wants || !had.balance.dynamic || !running.leaving.is_empty() || had.sticky);
            }
            for (map, entries) in &running.maps {
                let leads = |to: &String| running.state.backends.keys().any(|id| id.as_str() == to);
                prop_assert!(entries.values().all(leads), "{:?}", map);
            }
            if check_applies(&mut running.clone(), wanted, &features)? {
                prop_assert_eq!(diff(&running, &part, &features), Plan::Unchanged);
            }
        }
    }

    #[test]
    fn what_is_read_back_is_led_to_what_is_wanted(was in any_state(), is in any_state(), wanted in any_state()) {
        // The model believes `was`, HAProxy has `is`.
        let features = features(2, 6);
        let mut running = Running::loaded(was);
        let servers = |backend: &Backend| backend.servers.iter().map(|s| (s.name.clone(), shown(s))).collect();
        let seen = is.backends.iter().map(|(id, backend)| (id.as_str().to_owned(), servers(backend))).collect();
        running.correct(&seen, &wanted);
        for map in Map::all(&is) {
            running.correct_map(map.name(), map.entries(&is));
        }
        prop_assert!(check_applies(&mut running, &wanted, &features)?);
    }
}

#[test]
fn what_was_read_back_as_wanted_is_the_same_value() {
    let wanted = state([(1, vec![server(2), server(1)]), (2, vec![server(3)])]);
    let mut running = Running::loaded(state([(1, vec![server(1)]), (2, vec![server(3)])]));
    let servers = |backend: &Backend| backend.servers.iter().map(|s| (s.name.clone(), shown(s))).collect();
    let seen = wanted.backends.iter().map(|(id, backend)| (id.as_str().to_owned(), servers(backend))).collect();
    running.correct(&seen, &wanted);
    for (id, backend) in &wanted.backends {
        assert!(Arc::ptr_eq(&running.state.backends[id], backend), "{id}");
    }
}

fn shown(server: &Server) -> Seen {
    Seen { id: server.id, addr: server.addr, weight: server.weight, admin: server.admin, checked: false }
}

#[track_caller]
fn check(old: &LbState, new: &LbState, release: (u16, u16), expected: Plan) {
    assert_eq!(diff(&Running::loaded(old.clone()), new, &features(release.0, release.1)), expected);
}

fn reload(because: Reason) -> Plan {
    Plan::Reload { because }
}

#[test]
fn beside_what_needs_a_reload_everything_else_is_brought_to_run() {
    let mut old = state([(1, vec![server(1)]), (2, vec![server(2)])]);
    route(&mut old, "moved.example", None, 1, false);
    let mut new = state([(1, vec![server(3)]), (2, vec![server(2)]), (3, vec![server(4)])]);
    Arc::make_mut(new.backends.get_mut(&id(2)).unwrap()).network_allowed = vec!["10.0.0.0/8".parse().unwrap()];
    route(&mut new, "moved.example", None, 3, false);
    route(&mut new, "added.example", None, 1, false);
    route(&mut new, "secret.example", None, 2, false);
    let running = Running::loaded(old.clone());
    assert!(matches!(diff(&running, &new, &features(2, 6)), Plan::Reload { .. }));
    let part = within(&running, &new, &features(2, 6));
    assert_eq!(part.backends[&id(1)].servers, vec![server(3)], "a task of another app moves");
    assert_eq!(part.backends[&id(2)], old.backends[&id(2)], "an option waits");
    assert!(!part.backends.contains_key(&id(3)));
    let leads = |host: &str| part.routes.get(&Host::parse(host).unwrap()).map(|table| table.routes[0].backend.clone());
    assert_eq!(leads("added.example"), Some(id(1)));
    assert_eq!(leads("moved.example"), Some(id(1)), "where it led before the new app is there");
    assert_eq!(leads("secret.example"), None, "not before it is known who may use it");
}

#[test]
fn what_the_runtime_api_cannot_do_is_a_reload_with_its_reason() {
    let one = state([(1, vec![server(1)])]);
    let two = state([(1, vec![server(1)]), (2, vec![])]);
    check(&one, &two, (3, 2), reload(Reason::NewBackend(id(2))));

    let mut options = one.clone();
    Arc::make_mut(options.backends.get_mut(&id(1)).unwrap()).hsts = true;
    check(&one, &options, (3, 2), reload(Reason::BackendOptions(id(1))));

    let mut checks = one.clone();
    let check_by_tcp = Check { http: None, interval: Duration::from_secs(2), fall: 3, port: None };
    Arc::make_mut(checks.backends.get_mut(&id(1)).unwrap()).check = Some(check_by_tcp);
    check(&one, &checks, (3, 2), reload(Reason::BackendOptions(id(1))));

    let mut silent = one.clone();
    Arc::make_mut(&mut silent.frontends).clear();
    check(&silent, &one, (3, 2), reload(Reason::NewFrontend(id(1))));
    check(&one, &silent, (3, 2), reload(Reason::FrontendGone(id(1))));

    let mut elsewhere = one.clone();
    Arc::make_mut(&mut elsewhere.frontends).get_mut(&id(1)).unwrap().port = 1;
    check(&one, &elsewhere, (3, 2), reload(Reason::FrontendOptions(id(1))));

    let (mut wild, mut case) = (one.clone(), one.clone());
    route(&mut wild, "*.example", None, 1, false);
    route(&mut case, "a.example", Some("/p"), 1, true);
    check(&one, &wild, (3, 2), reload(Reason::Wildcards));
    check(&one, &case, (3, 2), reload(Reason::CaseRules));
    check(&case, &one, (3, 2), reload(Reason::CaseRules));
}

#[test]
fn servers_that_a_release_or_an_algorithm_refuses_are_a_reload() {
    let with = |servers: Vec<Server>, change: fn(&mut Backend)| {
        let mut state = state([(1, servers)]);
        change(Arc::make_mut(state.backends.get_mut(&id(1)).unwrap()));
        state
    };
    let sticky = |servers| with(servers, |backend| backend.sticky = true);
    check(&sticky(vec![]), &sticky(vec![server(1)]), (2, 6), reload(Reason::Cookie(id(1))));
    let now = diff(&Running::loaded(sticky(vec![])), &sticky(vec![server(1)]), &features(3, 0));
    assert!(matches!(now, Plan::Runtime(_)), "{now:?}");

    let fixed = |servers| {
        with(servers, |backend| backend.balance = Balance::new(vec![Word::parse("source").unwrap()], false, false))
    };
    check(&fixed(vec![]), &fixed(vec![server(1)]), (3, 2), reload(Reason::StaticBalance(id(1))));
    let heavy = Server { weight: Weight::new(5).unwrap(), ..server(1) };
    check(&fixed(vec![server(1)]), &fixed(vec![heavy]), (3, 2), reload(Reason::StaticBalance(id(1))));
    let gone = Op::Drain { place: place(&id(1), &server(1)) };
    check(&fixed(vec![server(1)]), &fixed(vec![]), (2, 6), Plan::Runtime(vec![gone]));

    let other_id = Server { id: 99, ..server(1) };
    let why = Reason::ServerOptions(place(&id(1), &server(1)));
    check(&state([(1, vec![server(1)])]), &state([(1, vec![other_id])]), (3, 2), reload(why));
    let thief = Server { id: server(1).id, ..server(2) };
    let why = Reason::ServerOptions(place(&id(1), &thief));
    check(&state([(1, vec![server(1)])]), &state([(1, vec![thief])]), (3, 2), reload(why));
}

#[test]
fn a_moved_task_is_added_before_the_old_one_drains() {
    let (old, new) = (state([(1, vec![server(1)])]), state([(1, vec![server(2)])]));
    let words = "agent_10_0_0_2_31000 10.0.0.2:31000 id 3".to_owned();
    let add = Op::Add { backend: id(1), server: server(2), words, checked: false };
    let drain = Op::Drain { place: place(&id(1), &server(1)) };
    check(&old, &new, (2, 6), Plan::Runtime(vec![add, drain]));
}

#[test]
fn a_server_that_comes_back_while_it_drains_is_enabled_and_not_added() {
    let (with, without) = (state([(1, vec![server(1)])]), state([(1, vec![])]));
    let mut running = Running::loaded(with.clone());
    let Plan::Runtime(ops) = diff(&running, &without, &features(2, 6)) else { panic!() };
    running.applied(&ops, &without);
    assert_eq!(running.leaving().collect::<Vec<_>>(), [place(&id(1), &server(1))]);
    let back = Op::Let { place: place(&id(1), &server(1)), admin: Admin::Ready, checked: false };
    assert_eq!(diff(&running, &with, &features(2, 6)), Plan::Runtime(vec![back.clone()]));
    running.applied(&[back], &with);
    assert_eq!((running.leaving().count(), diff(&running, &with, &features(2, 6))), (0, Plan::Unchanged));
}

#[test]
fn a_vanished_backend_is_emptied_and_filled_again_without_a_reload() {
    let (with, without) = (state([(1, vec![server(1)])]), LbState::default());
    let mut running = Running::loaded(with.clone());
    let Plan::Runtime(ops) = diff(&running, &without, &features(2, 6)) else { panic!() };
    let gone = Op::Map { map: Map::Apps.name(), change: MapChange::Del { key: "/app1".into() } };
    assert_eq!(ops, [gone, Op::Drain { place: place(&id(1), &server(1)) }]);
    running.applied(&ops, &without);
    assert_eq!((running.retired(&without), running.retired(&with)), (1, 0));
    assert!(matches!(diff(&running, &with, &features(2, 6)), Plan::Runtime(_)));
}

#[test]
fn many_changed_entries_replace_the_map_and_few_do_not() {
    let routed = |hosts: u16, to: u8| {
        let mut state = state([(1, vec![]), (2, vec![])]);
        for n in 0..hosts {
            route(&mut state, &format!("h{n}.example"), None, to, false);
        }
        state
    };
    let count = |old: &LbState, new: &LbState, release: (u16, u16)| {
        let Plan::Runtime(ops) = diff(&Running::loaded(old.clone()), new, &features(release.0, release.1)) else {
            panic!()
        };
        ops.len()
    };
    assert_eq!(count(&routed(160, 1), &routed(160, 2), (2, 6)), 160);
    assert_eq!(count(&routed(161, 1), &routed(161, 2), (2, 6)), 1);
    assert_eq!(count(&routed(0, 1), &routed(500, 1), (2, 6)), 500, "nothing is looked for");
    assert_eq!(count(&routed(500, 1), &routed(500, 2), (3, 0)), 500);
}
