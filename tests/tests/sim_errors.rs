//! Refusals, word for word as in the fixture.

mod sim;

use e2e::sim::{Config, Personality, Sim};
use serde_json::json;
use sim::{BOTH, call, fixture, get, send, start};

#[tokio::test]
async fn refusals_have_the_documented_status_and_body() {
    for personality in BOTH {
        let sim = start(personality).await;
        let url = sim.url(0);
        let errors = fixture("16-errors.json");
        let app = json!({"id": "/nginx", "cmd": "x", "instances": 0});
        assert_eq!(send("POST", &format!("{url}/v2/apps"), &app).await.status, 201);
        for (method, path, body, name) in [
            ("POST", "/v2/apps", Some(app.clone()), "409 app exists"),
            ("GET", "/v2/apps/nope", None, "404 app"),
            ("GET", "/v2/groups/nope", None, "404 group"),
            ("POST", "/v2/apps", Some(json!({"id": "/x", "cmd": "x", "instances": -1})), "422 validation"),
            ("PUT", "/v2/tasks", Some(json!({})), "405"),
        ] {
            let answer = match body {
                Some(body) => send(method, &format!("{url}{path}"), &body).await,
                None => get(&format!("{url}{path}")).await,
            };
            assert_eq!(answer.status, errors[name]["status"], "{name}: {}", answer.text());
            assert_eq!(answer.json(), errors[name]["body"], "{name}");
        }
        let shape =
            send("POST", &format!("{url}/v2/apps"), &json!({"id": "/x", "cmd": "x", "instances": "three"})).await;
        assert_eq!(shape.json()["details"], errors["400 json shape"]["body"]["details"]);
        assert_eq!(shape.status, if personality == Personality::V1_4 { 400 } else { 422 });
        let plain = call("POST", &format!("{url}/v2/apps"), &[], Some("{}".to_owned())).await;
        assert_eq!((plain.status, plain.json()), (415, errors["415"]["body"].clone()));
        let json_type = [("Content-Type", "application/json")];
        let syntax = call("POST", &format!("{url}/v2/apps"), &json_type, Some("{,}".to_owned())).await;
        assert_eq!((syntax.status, &syntax.json()["message"]), (400, &json!("Invalid JSON")));
        assert!(syntax.json()["details"].is_string());
        let uri = get(&format!("{url}/v2/nothing")).await;
        assert_eq!((uri.status, uri.json()), (404, json!({"message": "URI not found: /v2/nothing"})));
        assert_eq!(get(&format!("{url}//v2/apps//nginx")).await.status, 200, "doubled slashes");
        sim.stop().await;
    }
}

#[tokio::test]
async fn validation_refuses_what_marathon_refuses() {
    for personality in BOTH {
        let sim = start(personality).await;
        for (app, path) in [
            (json!({"id": "/Upper", "cmd": "x"}), "/id"),
            (json!({"id": "/a_b", "cmd": "x"}), "/id"),
            (json!({"id": "/none"}), "/"),
            (json!({"id": "/x", "cmd": "x", "ports": [1, 1]}), "/portDefinitions"),
            (json!({"id": "/x", "cmd": "x", "healthChecks": [{"portIndex": 3}]}), "/healthChecks(0)"),
            (json!({"id": "/x", "cmd": "x", "healthChecks": [{"protocol": "COMMAND"}]}), "/healthChecks(0)/command"),
            (
                json!({"id": "/x", "cmd": "x", "upgradeStrategy": {"minimumHealthCapacity": 2}}),
                "/upgradeStrategy/minimumHealthCapacity",
            ),
            (json!({"id": "/x", "cmd": "x", "labels": {"n": 1}}), "/labels/n"),
        ] {
            let answer = send("POST", &format!("{}/v2/apps", sim.url(0)), &app).await;
            assert!(matches!(answer.status, 400 | 422), "{app}: {}", answer.text());
            assert_eq!(answer.json()["details"][0]["path"], path, "{app}");
        }
        let circle = json!({"id": "/c", "apps": [{"id": "a", "cmd": "x", "dependencies": ["b"]}, {"id": "b", "cmd": "x", "dependencies": ["/c/a"]}]});
        let answer = send("POST", &format!("{}/v2/groups", sim.url(0)), &circle).await;
        assert!(answer.status == 422 && answer.text().contains("cyclic dependencies"), "{}", answer.text());
        assert_eq!(sim.state()["apps"], 0, "a refused change leaves nothing");

        let unique = json!({"id": "/u", "cmd": "x", "instances": 0, "constraints": [["hostname", "UNIQUE", ""]]});
        let answer = send("POST", &format!("{}/v2/apps", sim.url(0)), &unique).await;
        match personality {
            Personality::V1_4 => assert_eq!(answer.json()["constraints"], unique["constraints"]),
            Personality::V1_8 => assert_eq!(
                (answer.status, answer.json()),
                (
                    422,
                    json!({"message": "Object is not valid", "details": [{"path": "/constraints(0)", "errors": ["UNIQUE does not accept a value"]}]})
                )
            ),
        }
        sim.stop().await;
    }
}

#[tokio::test]
async fn newer_marathons_rewrite_the_old_spelling_and_refuse_a_mixture() {
    let sim = start(Personality::V1_8).await;
    let url = sim.url(0);
    let old = json!({"id": "/old", "instances": 0, "uris": ["http://x/a.tgz"],
        "container": {"type": "DOCKER", "docker": {"image": "i", "network": "BRIDGE", "portMappings": [{"containerPort": 80}]}}});
    let app = send("POST", &format!("{url}/v2/apps"), &old).await.json();
    assert_eq!(app["networks"], json!([{"mode": "container/bridge"}]));
    assert_eq!(
        app["container"]["portMappings"],
        json!([{"containerPort": 80, "hostPort": 0, "servicePort": 10000, "protocol": "tcp", "labels": {}}])
    );
    assert_eq!(app["fetch"][0]["uri"], "http://x/a.tgz");
    assert!(app["container"]["docker"].get("network").is_none() && app.get("uris").is_none());
    let mut mixed = old.clone();
    mixed["networks"] = json!([{"mode": "host"}]);
    let answer = send("POST", &format!("{url}/v2/apps"), &mixed).await;
    assert!(answer.status == 422 && answer.text().contains("cannot mix deprecated and canonical network APIs"));
    let unnamed = json!({"id": "/n", "cmd": "x", "ipAddress": {}});
    assert_eq!(send("POST", &format!("{url}/v2/apps"), &unnamed).await.status, 422);
    sim.stop().await;
}

#[tokio::test]
async fn lists_are_filtered_by_id_cmd_and_label() {
    let sim = start(Personality::V1_8).await;
    let url = sim.url(0);
    for (id, cmd, group) in
        [("/one/web", "serve", "external"), ("/two/web", "Run", "internal"), ("/two/db", "serve", "internal")]
    {
        sim.post_app(&json!({"id": id, "cmd": cmd, "instances": 0, "labels": {"HAPROXY_GROUP": group}})).unwrap();
    }
    for (query, expected) in [
        ("", 3),
        ("?id=TWO", 2),
        ("?cmd=SERVE", 2),
        ("?id=web&cmd=run", 1),
        ("?label=HAPROXY_GROUP==external", 1),
        ("?label=HAPROXY_GROUP%20in%20(external,internal)", 3),
        ("?label=HAPROXY_GROUP!=external,HAPROXY_GROUP", 2),
        ("?label=NONE", 0),
        ("?unknown=x", 3),
    ] {
        let apps = get(&format!("{url}/v2/apps{query}")).await.json();
        assert_eq!(apps["apps"].as_array().unwrap().len(), expected, "{query}");
    }
    assert_eq!(get(&format!("{url}/v2/apps?label===")).await.status, 422);
    let bare = get(&format!("{url}/v2/apps")).await.json()["apps"][0].clone();
    assert!(bare.get("tasks").is_none() && bare["tasksRunning"] == 0 && bare["deployments"] == json!([]));
    sim.stop().await;
}

#[tokio::test]
async fn service_ports_are_lowest_first_kept_and_exhaustible() {
    for personality in BOTH {
        let mut config = Config::for_test(personality);
        config.service_ports = 10_000..=10_002;
        let sim = Sim::start(config).await.unwrap();
        let url = sim.url(0);
        let ports = |app: &serde_json::Value| {
            app["portDefinitions"].as_array().unwrap().iter().map(|d| d["port"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        sim.post_app(&json!({"id": "/a", "cmd": "x", "instances": 0, "ports": [10_001]})).unwrap();
        sim.post_app(&json!({"id": "/b", "cmd": "x", "instances": 0})).unwrap();
        let two = send("PUT", &format!("{url}/v2/apps/b"), &json!({"ports": [0, 0]})).await;
        assert_eq!(two.status, 200, "{}", two.text());
        assert_eq!(
            ports(&get(&format!("{url}/v2/apps/b")).await.json()["app"]),
            [10_000, 10_002],
            "the old one is kept"
        );
        let full = send("POST", &format!("{url}/v2/apps"), &json!({"id": "/c", "cmd": "x"})).await;
        assert_eq!(
            (full.status, full.json()),
            (500, json!({"message": "All ports in the range [10000-10003) are already in use"}))
        );
        let taken = send(
            "POST",
            &format!("{url}/v2/apps"),
            &json!({"id": "/d", "cmd": "x", "instances": 0, "ports": [10_001]}),
        )
        .await;
        assert_eq!(taken.status, 201, "explicit numbers are taken as they are");
        sim.stop().await;
    }
}
