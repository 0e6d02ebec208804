//! New apps and ports without a reload.

use super::*;
use crate::model::Dynamic;

proptest! {
    #[test]
    fn what_is_dynamic_comes_and_goes_without_a_reload(
        states in proptest::collection::vec(any_wild_state(), 2..8), finish in any::<bool>(),
    ) {
        let features = features(3, 4);
        let states: Vec<_> = states.into_iter().map(dynamic).collect();
        let mut running = Running::loaded(states[0].clone());
        for wanted in &states[1..] {
            let fits = |id: &BackendId| match (running.state.backends.get(id), wanted.backends.get(id)) {
                (Some(now), Some(new)) => view::same_options(now, new),
                (None, Some(new)) => running.profiles.find(new).is_some(),
                (_, None) => true,
            };
            let all_fit = wanted.backends.keys().all(fits);
            let fixed = wanted.backends.values().any(|backend| !backend.balance.dynamic);
            let applied = check_applies(&mut running, wanted, &features)?;
            prop_assert!(applied || !all_fit || fixed, "a port is no reason for a reload");
            if !applied {
                running = Running::loaded(wanted.clone());
            }
            if finish {
                for place in running.leaving().collect::<Vec<_>>() {
                    running.gone(&place);
                }
            }
        }
    }
}

/// The state where backends and ports may appear.
fn dynamic(state: LbState) -> LbState {
    let dynamic = Dynamic { backends: true, ports: Some(10_000..=10_010), taken: BTreeSet::new() };
    LbState { dynamic, ..state }
}

#[test]
fn a_new_app_like_another_one_needs_no_reload_on_a_dynamic_port() {
    let one = dynamic(state([(1, vec![server(1)])]));
    let two = dynamic(state([(1, vec![server(1)]), (2, vec![server(2)])]));
    let Plan::Runtime(ops) = diff(&Running::loaded(one.clone()), &two, &features(3, 4)) else { panic!() };
    let shown: Vec<_> = ops.iter().map(ToString::to_string).collect();
    let expected = [
        "add backend app2_10002 from profile_0",
        "add server app2_10002/agent_10_0_0_2_31000 at 10.0.0.2:31000",
        "publish backend app2_10002",
        "add /app2 app2_10002 to apps.map",
        "add 10002 app2_10002 to ports.map",
    ];
    assert_eq!(shown, expected);
    assert_eq!(
        diff(&Running::loaded(one.clone()).without_profiles(), &two, &features(3, 4)),
        reload(Reason::NewBackend(id(2)))
    );

    let change = |change: fn(&mut Backend)| {
        let mut state = two.clone();
        change(Arc::make_mut(state.backends.get_mut(&id(2)).unwrap()));
        state
    };
    check(&one, &change(|other| other.hsts = true), (3, 4), reload(Reason::NewBackend(id(2))));
    let listener = |change: fn(&mut Frontend)| {
        let mut state = two.clone();
        change(Arc::make_mut(&mut state.frontends).get_mut(&id(2)).unwrap());
        state
    };
    let own = listener(|own| own.addr = BindAddr::Ip(Ipv4Addr::LOCALHOST.into()));
    check(&one, &own, (3, 4), reload(Reason::NewFrontend(id(2))));
    check(&one, &listener(|far| far.port = 20_000), (3, 4), reload(Reason::NewFrontend(id(2))));
    // Where it was loaded with a listener of its own, the one for all leaves the port out.
    let mut gone = Running::loaded(own.clone());
    let Plan::Runtime(ops) = diff(&gone, &one, &features(3, 4)) else { panic!() };
    gone.applied(&ops, &one);
    assert_eq!(diff(&gone, &two, &features(3, 4)), reload(Reason::FrontendOptions(id(2))));

    let mut taken = two.clone();
    taken.dynamic.taken.insert(10_002);
    check(&two, &taken, (3, 4), reload(Reason::Dynamic));
    assert_eq!(
        (two.shared_ports(), own.shared_ports()),
        (vec![10_000..=10_010], vec![10_000..=10_001, 10_003..=10_010])
    );
    assert_eq!(taken.shared_ports(), own.shared_ports());
}
