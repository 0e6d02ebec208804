//! Odd apps and tasks as a table, and the promise that no bytes make the reader panic.

use haproxy::app::{CheckProtocol, CheckTarget, Health, Networking, TaskState};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The app made of these members, and what is said about it.
fn app(members: Value) -> (Option<App>, Vec<String>) {
    let mut app = json!({"id": "/a", "instances": 1});
    app.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let body = json!({"apps": [app, {"id": "/other"}]}).to_string();
    let mut answer = read(body.as_bytes(), Envelope::Object).unwrap();
    assert!(answer.apps.remove(&AppId::parse("/other").unwrap()).is_some(), "another app suffers");
    (
        answer.apps.into_values().next().map(Arc::unwrap_or_clone),
        answer.issues.iter().map(ToString::to_string).collect(),
    )
}

fn good(members: Value) -> App {
    let (app, issues) = app(members);
    assert_eq!(issues, [""; 0]);
    app.unwrap()
}

fn refused(members: Value, why: &str) {
    let (app, issues) = app(members);
    assert_eq!((app, issues.as_slice()), (None, &[format!("/a: the app cannot be read: {why}")][..]));
}

fn service_ports(app: &App) -> Vec<Option<u16>> {
    app.ports.iter().map(|port| port.service_port).collect()
}

#[test]
fn what_is_no_answer() {
    let error = |body: &[u8]| read(body, Envelope::Object).unwrap_err();
    for empty in ["", " \r\n"] {
        assert!(matches!(error(empty.as_bytes()), WireError::Empty));
    }
    for broken in ["<html>", r#"{"apps":[{"id":"/a"}"#, r#"{"apps":[]} x"#, "{", "nul"] {
        assert!(matches!(error(broken.as_bytes()), WireError::Syntax(_)), "{broken}");
    }
    for other in ["{}", "null", "5", "\"x\"", "[]", r#"{"apps":null}"#, r#"{"apps":{}}"#, r#"{"message":"no leader"}"#]
    {
        assert!(matches!(error(other.as_bytes()), WireError::NoApps), "{other}");
    }
    assert_eq!(read(b"\xef\xbb\xbf{\"apps\":[]}", Envelope::Object).unwrap(), Answer::default());
}

#[test]
fn null_is_absent_at_every_level() {
    let bare = good(json!({}));
    let nulls = json!({
        "labels": null, "networks": null, "container": null, "ports": null, "portDefinitions": null,
        "ipAddress": null, "healthChecks": null, "tasks": null,
    });
    assert_eq!(good(nulls), bare);
    let inner = json!({
        "labels": {"x": null}, "networks": [null], "container": {"docker": {"network": null, "portMappings": null}},
        "ipAddress": {}, "healthChecks": [null, {}], "tasks": [null],
    });
    assert_eq!(good(inner), bare);
    assert_eq!(bare.networking, Networking::Host);
    let task = json!({"tasks": [{"id": "t", "host": "h", "state": null, "ports": null, "ipAddresses": null,
        "healthCheckResults": [null]}]});
    let task = good(task).instances.remove(0);
    assert_eq!((task.state, task.health, task.ports, task.addr), (TaskState::Running, Health::Unknown, vec![], None));
}

#[test]
fn networking_modes() {
    use Networking::{Bridge, Container, Host};
    for (members, want) in [
        (json!({"networks": [{"mode": "host"}]}), Host),
        (json!({"networks": [{"mode": "container/bridge"}]}), Bridge),
        (json!({"networks": [{"mode": "container", "name": "n"}, {"mode": "container", "name": "m"}]}), Container),
        (json!({"networks": [{"name": "n"}]}), Container),
        (json!({"container": {"docker": {"network": "BRIDGE"}}}), Bridge),
        (json!({"container": {"docker": {"network": "HOST"}}}), Host),
        (json!({"container": {"docker": {"network": "USER"}}}), Container),
        (json!({"container": {"docker": {"network": "HOST"}}, "networks": [{"mode": "container"}]}), Container),
        (json!({"ipAddress": {"groups": []}}), Container),
        (json!({"ipAddress": {"groups": []}, "container": {"docker": {"network": "BRIDGE"}}}), Bridge),
    ] {
        assert_eq!(good(members.clone()).networking, want, "{members}");
    }
    refused(
        json!({"networks": [{"mode": "magic"}]}),
        "the networking mode \"magic\" is not host, container/bridge or container",
    );
}

#[test]
fn the_index_counts_entries_without_service_port() {
    let mappings =
        json!([{"containerPort": 1}, {"servicePort": 10001}, null, {"servicePort": 0}, {"servicePort": 10004.0}]);
    let task = json!([{"id": "t", "host": "10.0.0.1", "ports": [31000, 31001, 31002, 31003, 31004, 31005]}]);
    for container in [json!({"portMappings": mappings}), json!({"docker": {"portMappings": mappings}})] {
        let app = good(json!({"networks": [{"mode": "container/bridge"}], "container": container, "tasks": task}));
        assert_eq!(service_ports(&app), [None, Some(10001), None, None, Some(10004)]);
        assert_eq!(app.instances[0].ports[4], Some(31004));
    }
}

#[test]
fn service_ports_by_generation() {
    let bridge = json!({"docker": {"network": "BRIDGE", "portMappings": [{"containerPort": 80}]}});
    for (members, want) in [
        (json!({"ports": [1, 0, 3]}), vec![Some(1), None, Some(3)]),
        (json!({"ports": [9], "portDefinitions": [{"port": 1}, {"name": "x"}]}), vec![Some(1), None]),
        (json!({"container": bridge, "ports": [5]}), vec![Some(5)]),
        (json!({"container": bridge, "ports": [5, 6]}), vec![Some(5)]),
        (json!({"container": bridge, "portDefinitions": [{"port": 7}]}), vec![Some(7)]),
        (
            json!({"container": {"docker": {"network": "HOST", "portMappings": [{"servicePort": 4}]}}, "ports": [5]}),
            vec![Some(5)],
        ),
        (json!({"container": {"portMappings": []}, "networks": [{"mode": "container"}]}), vec![]),
        (json!({"ipAddress": {"discovery": {"ports": [{"number": 80}, {"number": 81}]}}}), vec![None, None]),
    ] {
        assert_eq!(service_ports(&good(members.clone())), want, "{members}");
    }
    let (app, issues) = app(json!({"ports": [70000, "80", 90]}));
    assert_eq!(service_ports(&app.unwrap()), [None, None, Some(90)]);
    assert_eq!(issues.len(), 1, "alike issues are one: {issues:?}");
}

#[test]
fn no_port_is_no_server() {
    for (networks, ports) in
        [("host", json!([])), ("container/bridge", json!(null)), ("host", json!([0, "x", 70000, -1]))]
    {
        let app = good(json!({"networks": [{"mode": networks}], "portDefinitions": [{"port": 80}],
            "container": {"portMappings": [{"containerPort": 80, "servicePort": 80}]},
            "tasks": [{"id": "t", "host": "10.0.0.1", "ports": ports}]}));
        assert_eq!(app.instances[0].ports.iter().flatten().count(), 0, "{networks} {ports}");
    }
}

#[test]
fn container_networks() {
    let mappings = json!([
        {"containerPort": 80}, {"containerPort": 0, "hostPort": 0}, {"containerPort": 0}, {"hostPort": 31999, "containerPort": 90},
        {"containerPort": 0, "hostPort": 0},
    ]);
    let mut members = json!({"networks": [{"mode": "container"}], "container": {"portMappings": mappings}, "tasks": [
        {"id": "t", "host": "agent", "ports": [31001, 31999, 31003], "ipAddresses": [null, {"ipAddress": "fd01::2"}, {"ipAddress": "9.0.0.1"}]},
    ]});
    let task = good(members.clone()).instances.remove(0);
    assert_eq!(task.addr, Some("fd01::2".parse().unwrap()));
    assert_eq!(task.ports, [Some(80), Some(31001), None, Some(90), Some(31003)]);

    for (state, issues) in [("TASK_STAGING", 0), ("TASK_STARTING", 0), ("TASK_UNREACHABLE", 0), ("TASK_RUNNING", 1)] {
        members["tasks"] = json!([{"id": "t", "host": "agent", "state": state, "ipAddresses": []}]);
        let (app, said) = app(members.clone());
        assert_eq!((app.unwrap().instances.len(), said.len()), (0, issues), "{state}");
    }
    members["tasks"] = json!([{"id": "t", "host": "agent", "ipAddresses": [{"ipAddress": "x\n"}]}]);
    assert_eq!(app(members).1, ["/a: task t is left out: \"x\\n\" is no IP address"]);
}

#[test]
fn states() {
    for (states, want) in [
        (&["TASK_RUNNING", "TASK_NEW_IN_MESOS_2", ""][..], TaskState::Running),
        (&["TASK_UNREACHABLE", "TASK_LOST"], TaskState::Unreachable),
        (&["TASK_STAGING", "TASK_STARTING"], TaskState::Starting),
        (&["TASK_KILLING"], TaskState::Killing),
        (
            &["TASK_KILLED", "TASK_FINISHED", "TASK_FAILED", "TASK_ERROR", "TASK_GONE", "TASK_GONE_BY_OPERATOR"],
            TaskState::Ended,
        ),
        (&["TASK_DROPPED", "TASK_UNKNOWN"], TaskState::Ended),
    ] {
        for state in states {
            let app = good(json!({"tasks": [{"id": "t", "host": "h", "state": state}]}));
            assert_eq!(app.instances[0].state, want, "{state}");
        }
    }
}

#[test]
fn verdicts() {
    for (results, want) in [
        (json!([]), Health::Unknown),
        (json!([null]), Health::Unknown),
        (json!([{}]), Health::Unknown),
        (json!([{"alive": null}]), Health::Unknown),
        (json!([{"alive": false}]), Health::Dead),
        (json!([{"alive": false}, null]), Health::Dead),
        (json!([{"alive": false}, {"alive": true}]), Health::Alive),
        (json!([null, {"alive": true}]), Health::Alive),
    ] {
        let app = good(json!({"tasks": [{"id": "t", "host": "h", "healthCheckResults": results}]}));
        assert_eq!(app.instances[0].health, want, "{results}");
    }
}

#[test]
fn bad_tasks_cost_themselves() {
    let tasks = json!([
        5, {"host": "h"}, {"id": "", "host": "h"}, {"id": "no host"}, {"id": "host", "host": "a b\nserver"},
        {"id": "ports", "host": "h", "ports": "x"}, {"id": "good", "host": "h"}, {"id": "starting", "state": "TASK_STAGING"},
    ]);
    let (app, issues) = app(json!({"tasks": tasks}));
    let app = app.unwrap();
    assert_eq!(app.instances.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(), ["good"]);
    assert_eq!(
        issues,
        [
            "/a: task host is left out: its host is no host name",
            "/a: task no host is left out: it runs but has no host",
            "/a: task ports is left out: `ports` is no array",
            "/a: task without id is left out: it has no id",
            "/a: task  is left out: it has no id",
            "/a: task without id is left out: it is no object",
        ]
        .into_iter()
        .map(str::to_owned)
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
    );
}

#[test]
fn checks() {
    let check = |check: Value| {
        let (app, issues) = app(json!({"healthChecks": [check]}));
        (app.unwrap().checks.remove(0), issues)
    };
    for (value, protocol, target) in [
        (json!({"path": "/"}), CheckProtocol::Http, CheckTarget::Index(0)),
        (json!({"protocol": "TCP", "portIndex": 2}), CheckProtocol::Tcp, CheckTarget::Index(2)),
        (json!({"protocol": "MESOS_TCP", "port": 80, "portIndex": 2}), CheckProtocol::Tcp, CheckTarget::Port(80)),
        (json!({"protocol": "HTTPS", "port": 0}), CheckProtocol::Https, CheckTarget::Index(0)),
        (json!({"protocol": "COMMAND", "command": {"value": "x"}}), CheckProtocol::Command, CheckTarget::None),
    ] {
        let (check, issues) = check(value.clone());
        assert_eq!((check.protocol, check.target, issues.len()), (protocol, target, 0), "{value}");
    }
    for bad in [
        json!({"protocol": "UDP"}),
        json!({"port": -1}),
        json!({"portIndex": "http"}),
        json!({"intervalSeconds": "x"}),
        json!(7),
    ] {
        let (check, issues) = check(bad.clone());
        assert_eq!(
            (check.protocol, check.target, issues.len()),
            (CheckProtocol::Command, CheckTarget::None, 1),
            "{bad}"
        );
    }
}

#[test]
fn labels_never_vanish() {
    let (app, issues) = app(json!({"labels": {"s": "text", "n": 80, "b": true, "o": {"a": ["b"]}, "z": null}}));
    let labels = app.unwrap().labels;
    let labels: Vec<_> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(labels, [("b", "true"), ("n", "80"), ("o", r#"{"a":["b"]}"#), ("s", "text")]);
    assert_eq!(issues, ["/a: o: the value is no string; its JSON text is used"]);
}

#[test]
fn bad_apps_cost_themselves() {
    refused(json!({"labels": []}), "`labels` is no object");
    refused(json!({"tasks": {}}), "`tasks` is no array");
    refused(json!({"container": 1}), "`container` is no object");
    refused(json!({"healthChecks": "x"}), "`healthChecks` is no array");
    refused(json!({"instances": "x"}), "`instances` is no count");
    refused(json!({"ports": vec![1; 1001]}), "it has 1001 ports, allowed are 1000");
    let body =
        br#"{"apps": [null, 7, {}, {"id": 5}, {"id": "/a b"}, {"id": "/x"}, {"id": "/x", "instances": 9}, "y"]}"#;
    let answer = read(body, Envelope::Object).unwrap();
    assert_eq!(answer.apps.len(), 1);
    assert_eq!(answer.apps.values().next().unwrap().wanted, 0, "the first of two wins");
    assert_eq!(answer.issues.len(), 6, "{:?}", answer.issues);
}

#[test]
fn bytes_that_are_no_utf8_cost_the_label() {
    let answer = read(b"{\"apps\":[{\"id\":\"/a\",\"labels\":{\"x\":\"a\xff\"}}]}", Envelope::Object).unwrap();
    assert_eq!(answer.apps.values().next().unwrap().labels["x"], "a\u{fffd}");
}

#[test]
fn size_and_depth_are_bounded() {
    let tasks: Vec<_> = (0..10_000).map(|n| json!({"id": format!("t{n}"), "host": "bad host"})).collect();
    let (app, issues) = app(json!({"tasks": tasks}));
    assert_eq!((app.unwrap().instances.len(), issues.len()), (0, 21));
    assert!(issues.contains(&"/a: 9980 more problems are not listed".to_owned()));
    let tasks: Vec<_> =
        (0..10_000).map(|n| json!({"id": format!("t{n}"), "host": "10.0.0.1", "ports": [31000]})).collect();
    assert_eq!(good(json!({"tasks": tasks})).instances.len(), 10_000);

    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let body = format!(r#"{{"x":{0},"apps":[{{"id":"/a","tasks":{0},"env":{0}}},{{"id":"/b"}}]}}"#, deep(100_000));
    let answer = read(body.as_bytes(), Envelope::Object).unwrap();
    assert!(answer.apps.contains_key(&AppId::parse("/b").unwrap()));
    assert!(read(deep(100_000).as_bytes(), Envelope::ObjectOrArray).is_ok());
    assert!(read("[".repeat(1_000_000).as_bytes(), Envelope::ObjectOrArray).is_err());
}

/// JSON that uses our member names, with values of any type.
fn anything() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "apps",
        "id",
        "labels",
        "tasks",
        "host",
        "ports",
        "container",
        "docker",
        "portMappings",
        "networks",
        "mode",
        "healthChecks",
        "healthCheckResults",
        "ipAddress",
        "ipAddresses",
        "discovery",
        "hostPort",
        "containerPort",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["/a", "container", "10.0.0.1", "USER", ""]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(names.clone(), inner, 0..6).prop_map(|map| map
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_makes_it_panic_or_fail(apps in prop::collection::vec(anything(), 0..5)) {
        let listed = apps.len();
        let answer = read(json!({"apps": apps}).to_string().as_bytes(), Envelope::Object).unwrap();
        prop_assert!(answer.apps.len() <= listed);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, Envelope::ObjectOrArray);
    }

    #[test]
    fn a_cut_answer_is_refused(cut in 0_usize..20_000) {
        let path = format!("{}/tests/fixtures/marathon/01-apps-tasks-1.4.json", env!("CARGO_MANIFEST_DIR"));
        let body = std::fs::read(path).unwrap();
        let end = body.iter().rposition(|b| *b == b'}').unwrap();
        prop_assert!(read(&body[..cut.min(end)], Envelope::Object).is_err());
    }
}
