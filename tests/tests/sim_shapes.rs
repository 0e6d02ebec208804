//! The JSON of both personalities has the keys that the real ones write: compared with the fixtures.

mod sim;

use std::collections::BTreeSet;

use e2e::sim::Personality;
use serde_json::{Value, json};
use sim::{BOTH, SOON, fixture, get, send, start};

/// The published examples and a few apps of other kinds, as their authors post them.
fn examples(personality: Personality) -> Vec<Value> {
    let unique = if personality == Personality::V1_4 {
        json!([["hostname", "UNIQUE", ""]])
    } else {
        json!([["hostname", "UNIQUE"]])
    };
    let bridge = |image: &str, mapping: Value| json!({"type": "DOCKER", "docker": {"image": image, "network": "BRIDGE", "portMappings": [mapping]}});
    let mut apps = vec![
        json!({"id": "nginx", "instances": 1, "cpus": 0.1, "mem": 32, "constraints": unique,
            "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "nginx.example.com"},
            "container": bridge("nginx", json!({"containerPort": 80, "hostPort": 0, "servicePort": 10002, "protocol": "tcp"}))}),
        json!({"id": "tomcat", "instances": 1, "cpus": 0.1, "mem": 32, "constraints": unique,
            "labels": {"HAPROXY_GROUP": "external"},
            "container": bridge("tomcat", json!({"containerPort": 8080, "hostPort": 31001, "servicePort": 31002, "protocol": "tcp"}))}),
        json!({"id": "rolling", "cmd": "x", "instances": 3, "healthChecks": [{"path": "/", "protocol": "HTTP"}]}),
        json!({"id": "scaled-to-zero", "cmd": "x", "instances": 0}),
    ];
    if personality == Personality::V1_8 {
        apps.push(json!({"id": "host-docker", "instances": 1, "networks": [{"mode": "host"}], "requirePorts": true,
            "container": {"type": "DOCKER", "docker": {"image": "haproxy"}}, "labels": {"HAPROXY_GROUP": "internal"},
            "portDefinitions": [{"port": 31080, "name": "http", "protocol": "tcp", "labels": {"VIP_0": "/x:80"}}, {"port": 31443, "name": "https", "protocol": "tcp"}]}));
        apps.push(json!({"id": "batch", "cmd": "./worker", "instances": 1, "portDefinitions": []}));
    }
    apps
}

/// Dotted paths of all keys, list elements merged; the content of `env` and `labels` is the author's.
fn keys(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(doc) => {
            for (key, value) in doc {
                let path = format!("{at}.{key}");
                found.insert(path.clone());
                if !matches!(key.as_str(), "env" | "labels") {
                    keys(value, &path, found);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|entry| keys(entry, at, found)),
        _ => (),
    }
}

fn key_set(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    keys(value, "", &mut found);
    found
}

#[tokio::test]
async fn apps_have_the_keys_of_their_generation() {
    for (personality, name) in BOTH.into_iter().zip(["01-apps-tasks-1.4.json", "02-apps-tasks-1.8.json"]) {
        let sim = start(personality).await;
        let url = sim.url(0);
        for group in ["10-post-group-keys-and-values.json", "11-post-group-wordpress.json"] {
            assert_eq!(send("POST", &format!("{url}/v2/groups"), &fixture(group)).await.status, 201);
        }
        for app in examples(personality) {
            let answer = send("POST", &format!("{url}/v2/apps"), &app).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
        assert!(sim.wait_settled(SOON).await, "{}", sim.state());
        let ours = get(&format!("{url}/v2/apps?embed=apps.tasks")).await.json();
        let wanted = fixture(name);
        for theirs in wanted["apps"].as_array().unwrap() {
            let mine = ours["apps"].as_array().unwrap().iter().find(|app| app["id"] == theirs["id"]);
            let Some(mine) = mine else { panic!("{} is missing", theirs["id"]) };
            let allowed = |key: &String| {
                // A deployment is under way in the fixture; 1.4 writes addresses where Mesos tells some.
                let by_time = [
                    ".deployments.id",
                    ".tasks.startedAt",
                    ".tasks.healthCheckResults.lastFailure",
                    ".tasks.healthCheckResults.lastFailureCause",
                    ".tasks.healthCheckResults.firstSuccess",
                    ".tasks.healthCheckResults.lastSuccess",
                    ".lastTaskFailure",
                ];
                let addresses = personality == Personality::V1_4 && key.starts_with(".tasks.ipAddresses");
                !by_time.contains(&key.as_str()) && !addresses
            };
            let (mine, theirs_keys) = (key_set(mine), key_set(theirs));
            let extra: Vec<_> = mine.difference(&theirs_keys).filter(|key| allowed(key)).collect();
            let missing: Vec<_> = theirs_keys.difference(&mine).filter(|key| allowed(key)).collect();
            assert!(
                extra.is_empty() && missing.is_empty(),
                "{name} {}: extra {extra:?}, missing {missing:?}",
                theirs["id"]
            );
        }
        sim.stop().await;
    }
}

#[tokio::test]
async fn tasks_have_the_keys_of_their_generation() {
    for (personality, name) in BOTH.into_iter().zip(["13-tasks-1.4.json", "14-tasks-1.8.json"]) {
        let sim = start(personality).await;
        sim.post_group(&fixture("10-post-group-keys-and-values.json")).unwrap();
        assert!(sim.wait_settled(SOON).await);
        let ours = get(&format!("{}/v2/tasks", sim.url(0))).await.json();
        let db = |tasks: &Value| {
            tasks["tasks"].as_array().unwrap().iter().find(|t| t["appId"] == "/keys-and-values/db").unwrap().clone()
        };
        let (mut mine, theirs) = (db(&ours), db(&fixture(name)));
        if personality == Personality::V1_4 {
            mine.as_object_mut().unwrap().remove("ipAddresses");
        }
        let by_time = |set: BTreeSet<String>| -> BTreeSet<String> {
            set.into_iter().filter(|k| !k.contains("lastFailure")).collect()
        };
        assert_eq!(by_time(key_set(&mine)), by_time(key_set(&theirs)), "{name}");
        let id = mine["id"].as_str().unwrap();
        match personality {
            Personality::V1_4 => assert!(id.starts_with("keys-and-values_db.") && !id.contains("instance"), "{id}"),
            Personality::V1_8 => {
                assert!(id.starts_with("keys-and-values_db.instance-") && id.ends_with("._app.1"), "{id}")
            }
        }
        sim.stop().await;
    }
}

#[tokio::test]
async fn dates_are_written_as_in_their_generation() {
    for personality in BOTH {
        let sim = start(personality).await;
        // One version in ten ends in a zero, which 1.8 trims.
        let mut versions = Vec::new();
        while versions.len() < 500 && versions.iter().all(|v: &String| v.len() == 24) {
            let app = json!({"id": format!("/a{}", versions.len()), "cmd": "x", "instances": 0});
            let shown = send("POST", &format!("{}/v2/apps", sim.url(0)), &app).await.json();
            versions.push(shown["version"].as_str().unwrap().to_owned());
            if personality == Personality::V1_4 && versions.len() == 30 {
                break;
            }
        }
        let last = versions.last().unwrap();
        match personality {
            Personality::V1_4 => assert!(versions.iter().all(|v| v.len() == 24), "{versions:?}"),
            Personality::V1_8 => assert!(last.len() < 24 && !(last.contains('.') && last.ends_with("0Z")), "{last}"),
        }
        sim.stop().await;
    }
}

#[tokio::test]
async fn info_and_text_form_follow_their_generation() {
    let sim = start(Personality::V1_8).await;
    let info = get(&format!("{}/v2/info", sim.url(0))).await.json();
    assert_eq!(key_set(&info), key_set(&fixture("15-info-1.8.json")));
    sim.stop().await;

    let sim = start(Personality::V1_4).await;
    sim.post_group(&fixture("10-post-group-keys-and-values.json")).unwrap();
    sim.post_app(&json!({"id": "/none", "cmd": "x", "instances": 1, "ports": []})).unwrap();
    assert!(sim.wait_settled(SOON).await);
    let accept = [("Accept", "text/plain")];
    let text = sim::call("GET", &format!("{}/v2/tasks", sim.url(0)), &accept, None).await.text();
    let db = sim.instances("/keys-and-values/db").remove(0);
    assert!(text.contains(&format!("keys-and-values_db 9000 {}:{} \n", db.host, db.ports[0])), "{text:?}");
    assert!(text.contains(&format!("none   {} \n", sim.instances("/none")[0].host)), "{text:?}");
    sim.stop().await;
}

#[tokio::test]
async fn groups_and_deployments_have_their_shapes() {
    let sim = start(Personality::V1_8).await;
    let url = sim.url(0);
    let mut group = fixture("10-post-group-keys-and-values.json");
    group["apps"][1]["healthChecks"][0]["intervalSeconds"] = json!(1);
    // A database that never listens: it asks for a port that its container does not serve.
    group["apps"][1]["env"] = json!({"SIM_EXEC": "sleep 60"});
    sim.post_group(&group).unwrap();
    sim::eventually("the database is waited for", async || sim.instances("/keys-and-values/db").len() == 1).await;
    let deployments = get(&format!("{url}/v2/deployments")).await.json();
    assert_eq!(key_set(&deployments), {
        let mut keys = key_set(&fixture("12-deployments-1.8.json"));
        keys.retain(|key| !key.starts_with(".currentActions.readinessCheckResults."));
        keys
    });
    let steps: Vec<Value> = deployments[0]["steps"].as_array().unwrap().iter().map(|s| s["actions"].clone()).collect();
    assert_eq!(steps[1], json!([{"action": "ScaleApplication", "app": "/keys-and-values/db"}]));
    assert_eq!(steps[2], json!([{"action": "ScaleApplication", "app": "/keys-and-values/app"}]));
    assert_eq!(sim.instances("/keys-and-values/app").len(), 0, "its dependency is not healthy");
    let tree = get(&format!("{url}/v2/groups")).await.json();
    assert_eq!(tree["groups"][0]["id"], "/keys-and-values");
    assert_eq!(tree["groups"][0]["apps"].as_array().unwrap().len(), 2);
    for key in ["id", "apps", "groups", "pods", "dependencies", "version"] {
        assert!(tree.get(key).is_some() && tree["groups"][0].get(key).is_some(), "{key}");
    }
    sim.stop().await;
}

#[tokio::test]
async fn what_marathon_shows_can_be_posted_and_comes_back_the_same() {
    for (personality, name) in [
        (Personality::V1_4, "01-apps-tasks-1.4.json"),
        (Personality::V1_4, "03-apps-ip-per-task-1.4.json"),
        (Personality::V1_4, "06-apps-unequal-ports-1.4.json"),
        (Personality::V1_8, "02-apps-tasks-1.8.json"),
        (Personality::V1_8, "04-apps-container-networks-1.5.json"),
        (Personality::V1_8, "05-apps-health-checks-1.8.json"),
        (Personality::V1_8, "07-apps-unreachable-1.8.json"),
    ] {
        let sim = start(personality).await;
        for app in fixture(name)["apps"].as_array().unwrap() {
            let mut app = app.clone();
            let doc = app.as_object_mut().unwrap();
            let runtime = [
                "tasksStaged",
                "tasksRunning",
                "tasksHealthy",
                "tasksUnhealthy",
                "tasks",
                "deployments",
                "lastTaskFailure",
                "version",
                "versionInfo",
            ];
            doc.retain(|key, _| !runtime.contains(&key.as_str()));
            doc.insert("instances".to_owned(), json!(0));
            doc.remove("dependencies")
                .filter(|_| personality == Personality::V1_4)
                .map(|_| doc.insert("dependencies".to_owned(), json!([])));
            if personality == Personality::V1_4 || doc["labels"].is_null() {
                doc.entry("labels").or_insert(json!({}));
            }
            // The fixture of 1.5 predates `ipProtocol`.
            let checks = app.get_mut("healthChecks").filter(|_| personality == Personality::V1_8);
            for check in checks.and_then(Value::as_array_mut).into_iter().flatten() {
                check.as_object_mut().unwrap().entry("ipProtocol").or_insert("IPv4".into());
            }
            let answer = send("POST", &format!("{}/v2/apps", sim.url(0)), &app).await;
            assert_eq!(answer.status, 201, "{name} {}: {}", app["id"], answer.text());
            let mut shown = answer.json();
            shown.as_object_mut().unwrap().retain(|key, _| !runtime.contains(&key.as_str()));
            let differing: Vec<_> = app
                .as_object()
                .unwrap()
                .keys()
                .chain(shown.as_object().unwrap().keys())
                .filter(|key| app.get(*key) != shown.get(*key))
                .map(|key| {
                    format!(
                        "{key}: {:?} became {:?}",
                        app.get(key).map(Value::to_string),
                        shown.get(key).map(Value::to_string)
                    )
                })
                .collect();
            assert!(differing.is_empty(), "{name} {}: {differing:#?}", app["id"]);
        }
        sim.stop().await;
    }
}
