//! Deployments: order by dependency, rolling upgrades, locks, roll-back, scaling, kills.

mod sim;

use std::time::Duration;

use e2e::sim::{Config, Personality, Sim};
use serde_json::{Value, json};
use sim::{BOTH, SOON, Stream, delete, eventually, fixture, get, send, start};

fn web(instances: u32) -> Value {
    json!({"id": "/web", "cmd": "serve", "instances": instances})
}

/// Asks for a health check that no task passes, so that a deployment stays.
fn stuck(id: &str) -> Value {
    json!({"id": id, "cmd": "x", "instances": 1, "env": {"SIM_EXEC": "sleep 60"},
        "healthChecks": [{"protocol": "TCP", "portIndex": 0, "intervalSeconds": 1}]})
}

#[tokio::test]
async fn the_published_groups_deploy_in_the_order_of_their_dependencies() {
    for personality in BOTH {
        let sim = start(personality).await;
        let url = sim.url(0);
        let from = sim.event_position();
        for name in ["10-post-group-keys-and-values.json", "11-post-group-wordpress.json"] {
            let answer = send("POST", &format!("{url}/v2/groups"), &fixture(name)).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
            assert!(answer.json()["deploymentId"].is_string());
        }
        assert!(sim.wait_settled(SOON).await, "{}", sim.state());
        let ports = |id: &str| sim.instances(id).iter().map(|i| i.def.facts.ports[0].service).collect::<Vec<_>>();
        assert_eq!(ports("/keys-and-values/db"), [9000]);
        assert_eq!(ports("/wordpress/mysql-db"), [10000]);
        assert_eq!(ports("/wordpress/web-app"), [11111; 3]);
        // keys-and-values/app came first and got the first free port, 10000; the mapping of mysql-db is taken as is.
        assert_eq!(ports("/keys-and-values/app"), [10000; 3]);
        let events = sim.events_since(from);
        let healthy = events
            .iter()
            .position(|e| e.kind == "health_status_changed_event" && e.body["appId"] == "/keys-and-values/db");
        let staged = events
            .iter()
            .position(|e| e.kind == "instance_changed_event" && e.body["runSpecId"] == "/keys-and-values/app");
        assert!(healthy.unwrap() < staged.unwrap(), "the app waits for a healthy database");
        let steps: Vec<&str> = events.iter().filter(|e| e.kind.starts_with("deployment_")).map(|e| e.kind).collect();
        assert_eq!(steps.iter().filter(|kind| **kind == "deployment_success").count(), 2, "{steps:?}");
        assert_eq!(events.iter().filter(|e| e.kind == "api_post_event").count(), 0, "groups raise none");
        sim.stop().await;
    }
}

#[tokio::test]
async fn a_changed_label_replaces_all_tasks_without_a_gap() {
    for personality in BOTH {
        let sim = start(personality).await;
        sim.post_app(&web(4)).unwrap();
        assert!(sim.wait_settled(SOON).await);
        let old: Vec<String> = sim.instances("/web").into_iter().map(|i| i.id).collect();
        let from = sim.event_position();
        let answer = send("PUT", &format!("{}/v2/apps/web", sim.url(0)), &json!({"labels": {"A": "b"}})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut least = usize::MAX;
        while !sim.wait_settled(Duration::ZERO).await {
            let running = sim.instances("/web").iter().filter(|i| i.is_ready()).count();
            least = least.min(running);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(least >= 4, "minimumHealthCapacity 1 was broken: {least}");
        let new = sim.instances("/web");
        assert!(new.iter().all(|i| !old.contains(&i.id)) && new.len() == 4);
        let kinds: Vec<_> = sim.events_since(from).iter().map(|e| e.kind).collect();
        assert!(kinds.contains(&"deployment_success") && kinds.contains(&"api_post_event"));
        let info = get(&format!("{}/v2/apps/web", sim.url(0))).await.json()["app"].clone();
        assert_eq!(info["versionInfo"]["lastConfigChangeAt"], info["version"]);

        // Scaling keeps tasks and the configuration's date.
        send("PUT", &format!("{}/v2/apps/web", sim.url(0)), &json!({"instances": 2})).await;
        assert!(sim.wait_settled(SOON).await);
        assert!(sim.instances("/web").iter().all(|i| new.iter().any(|n| n.id == i.id)));
        let scaled = get(&format!("{}/v2/apps/web", sim.url(0))).await.json()["app"].clone();
        assert_eq!(scaled["versionInfo"]["lastConfigChangeAt"], info["version"]);
        assert_eq!(scaled["versionInfo"]["lastScalingAt"], scaled["version"]);

        // A restart replaces them; the same definition again does nothing.
        let kept: Vec<String> = sim.instances("/web").into_iter().map(|i| i.id).collect();
        let same = send("PUT", &format!("{}/v2/apps/web", sim.url(0)), &json!({"instances": 2})).await;
        assert!(same.json()["deploymentId"].is_string());
        assert!(sim.wait_settled(SOON).await);
        assert!(sim.instances("/web").iter().all(|i| kept.contains(&i.id)));
        let restarted = send("POST", &format!("{}/v2/apps/web/restart", sim.url(0)), &json!({})).await;
        assert_eq!(restarted.status, 200);
        assert!(sim.wait_settled(SOON).await);
        assert!(sim.instances("/web").iter().all(|i| !kept.contains(&i.id)));
        sim.stop().await;
    }
}

#[tokio::test]
async fn over_capacity_bounds_a_rolling_upgrade() {
    let sim = start(Personality::V1_8).await;
    let mut app = web(4);
    app["upgradeStrategy"] = json!({"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0});
    sim.post_app(&app).unwrap();
    assert!(sim.wait_settled(SOON).await);
    sim.put_app("/web", &json!({"cmd": "serve --new"})).unwrap();
    let mut most = 0;
    while !sim.wait_settled(Duration::ZERO).await {
        most = most.max(sim.instances("/web").len());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(most <= 4, "maximumOverCapacity 0 was broken: {most}");
    sim.stop().await;
}

#[tokio::test]
async fn a_lock_is_a_409_until_forced_or_rolled_back() {
    for personality in BOTH {
        let sim = start(personality).await;
        let url = sim.url(0);
        let mut stream = Stream::open(&format!("{url}/v2/events"), &[]).await;
        sim.post_app(&stuck("/db")).unwrap();
        let put = format!("{url}/v2/apps/db");
        let locked = send("PUT", &put, &json!({"instances": 2})).await;
        let wanted = fixture("16-errors.json")["409 locked"]["body"]["message"].clone();
        assert_eq!((locked.status, &locked.json()["message"]), (409, &wanted));
        assert!(locked.json()["deployments"][0]["id"].is_string());
        stream.until_event("group_change_failed").await;
        // Another app is free.
        assert_eq!(send("POST", &format!("{url}/v2/apps"), &web(1)).await.status, 201);

        let forced = send("PUT", &format!("{put}?force=true"), &json!({"instances": 2})).await;
        assert_eq!(forced.status, 200, "{}", forced.text());
        stream.until_event("deployment_failed").await;

        let id = forced.json()["deploymentId"].as_str().unwrap().to_owned();
        let back = delete(&format!("{url}/v2/deployments/{id}")).await;
        assert_eq!(back.status, 200, "{}", back.text());
        assert_eq!(get(&put).await.json()["app"]["instances"], 1);
        let again = back.json()["deploymentId"].as_str().unwrap().to_owned();
        assert_eq!(delete(&format!("{url}/v2/deployments/{again}?force=true")).await.status, 202);
        eventually("none left", async || get(&format!("{url}/v2/deployments")).await.json() == json!([])).await;
        let unknown = delete(&format!("{url}/v2/deployments/{again}")).await;
        assert_eq!(
            (unknown.status, unknown.json()["message"].clone()),
            (404, json!(format!("DeploymentPlan {again} does not exist")))
        );
        sim.stop().await;
    }
}

#[tokio::test]
async fn kills_refill_or_scale() {
    for personality in BOTH {
        let sim = start(personality).await;
        let url = sim.url(0);
        sim.post_app(&web(3)).unwrap();
        assert!(sim.wait_settled(SOON).await);
        let victim = sim.instances("/web").remove(0).task_id;
        let killed = delete(&format!("{url}/v2/apps/web/tasks/{victim}")).await;
        assert_eq!((killed.status, &killed.json()["task"]["id"]), (200, &json!(victim)));
        assert_eq!(killed.json()["task"]["state"], "TASK_RUNNING", "as before the kill");
        assert!(sim.wait_settled(SOON).await);
        assert!(sim.instances("/web").len() == 3 && sim.instances("/web").iter().all(|i| i.task_id != victim));

        let chosen = sim.instances("/web").remove(1).task_id;
        let scaled =
            send("POST", &format!("{url}/v2/tasks/delete?scale=true"), &json!({"ids": [chosen, "web.gone"]})).await;
        assert_eq!(scaled.status, 200, "{}", scaled.text());
        assert!(scaled.json()["deploymentId"].is_string());
        assert!(sim.wait_settled(SOON).await);
        assert!(sim.instances("/web").len() == 2 && sim.instances("/web").iter().all(|i| i.task_id != chosen));
        assert_eq!(get(&format!("{url}/v2/apps/web")).await.json()["app"]["instances"], 2);

        let all = delete(&format!("{url}/v2/apps/web/tasks")).await.json();
        assert_eq!(all["tasks"].as_array().unwrap().len(), 2);
        assert!(sim.wait_settled(SOON).await);

        let errors = fixture("16-errors.json");
        let both = send("POST", &format!("{url}/v2/tasks/delete?scale=true&wipe=true"), &json!({"ids": []})).await;
        assert_eq!((both.status, both.json()), (400, errors["400 scale+wipe"]["body"].clone()));
        let invalid = send("POST", &format!("{url}/v2/tasks/delete"), &json!({"ids": ["nonsense"]})).await;
        assert!(invalid.status == 400 && invalid.text().contains("Invalid task id 'nonsense'"));
        let none = delete(&format!("{url}/v2/apps/web/tasks/nginx.0c1b7a55-2de0-11e9-b210-d663bd873d93")).await;
        assert_eq!((none.status, none.json()), (404, errors["404 task"]["body"].clone()));
        sim.stop().await;
    }
}

#[tokio::test]
async fn groups_scale_shrink_roll_back_and_go() {
    let sim = start(Personality::V1_8).await;
    let url = sim.url(0);
    let group = json!({"id": "/g", "apps": [{"id": "a", "cmd": "x", "instances": 1}, {"id": "b", "cmd": "x", "instances": 2}],
        "groups": [{"id": "sub", "apps": [{"id": "../c", "cmd": "x"}]}]});
    let refused =
        send("POST", &format!("{url}/v2/groups"), &json!({"id": "/x", "apps": [{"id": "Bad", "cmd": "x"}]})).await;
    assert_eq!(refused.status, 422);
    assert_eq!(send("POST", &format!("{url}/v2/groups"), &group).await.status, 201);
    assert!(sim.wait_settled(SOON).await);
    let exists = send("POST", &format!("{url}/v2/groups"), &group).await;
    assert_eq!(
        (exists.status, exists.json()),
        (409, json!({"message": "Group /g is already created. Use PUT to change this group."}))
    );
    let before = get(&format!("{url}/v2/groups/versions")).await.json()[0].clone();

    let dry = send("PUT", &format!("{url}/v2/groups/g?dryRun=true"), &json!({"scaleBy": 1.5})).await.json();
    assert_eq!(dry["steps"][0]["actions"].as_array().unwrap().len(), 3, "{dry}");
    assert_eq!(send("PUT", &format!("{url}/v2/groups/g"), &json!({"scaleBy": 1.5})).await.status, 200);
    assert!(sim.wait_settled(SOON).await);
    assert_eq!([sim.instances("/g/a").len(), sim.instances("/g/b").len()], [2, 3]);

    let shrunk = json!({"apps": [{"id": "b", "cmd": "x", "instances": 3}]});
    assert_eq!(send("PUT", &format!("{url}/v2/groups/g"), &shrunk).await.status, 200);
    assert!(sim.wait_settled(SOON).await);
    assert_eq!(get(&format!("{url}/v2/apps/g/a")).await.status, 404);
    assert_eq!(get(&format!("{url}/v2/apps/g/*")).await.json()["*"].as_array().unwrap().len(), 1);

    assert_eq!(send("PUT", &format!("{url}/v2/groups/g"), &json!({"version": before})).await.status, 200);
    assert!(sim.wait_settled(SOON).await);
    assert_eq!([sim.instances("/g/a").len(), sim.instances("/g/b").len()], [1, 2]);

    assert_eq!(delete(&format!("{url}/v2/groups/g")).await.status, 200);
    assert!(sim.wait_settled(SOON).await);
    assert_eq!(get(&format!("{url}/v2/groups/g")).await.status, 404);
    assert_eq!(get(&format!("{url}/v2/groups")).await.json()["groups"], json!([]));
    sim.stop().await;
}

#[tokio::test]
async fn an_app_rolls_back_to_a_version_and_arrays_deploy_at_once() {
    let sim = start(Personality::V1_8).await;
    let url = sim.url(0);
    sim.post_app(&web(1)).unwrap();
    assert!(sim.wait_settled(SOON).await);
    sim.put_app("/web", &json!({"cmd": "other"})).unwrap();
    assert!(sim.wait_settled(SOON).await);
    let versions = get(&format!("{url}/v2/apps/web/versions")).await.json()["versions"].clone();
    assert_eq!(versions.as_array().unwrap().len(), 2);
    let old = get(&format!("{url}/v2/apps/web/versions/{}", versions[1].as_str().unwrap())).await.json();
    assert_eq!((&old["cmd"], &old["id"]), (&json!("serve"), &json!("/web")));
    assert_eq!(send("PUT", &format!("{url}/v2/apps/web"), &json!({"version": versions[1]})).await.status, 200);
    assert!(sim.wait_settled(SOON).await);
    assert_eq!(get(&format!("{url}/v2/apps/web")).await.json()["app"]["cmd"], "serve");

    let many = json!([{"id": "/web", "instances": 2}, {"id": "/new", "cmd": "x"}]);
    assert_eq!(send("PUT", &format!("{url}/v2/apps"), &many).await.status, 200);
    assert!(sim.wait_settled(SOON).await);
    assert_eq!([sim.instances("/web").len(), sim.instances("/new").len()], [2, 1]);
    let missing = send("PATCH", &format!("{url}/v2/apps/nope"), &json!({"instances": 1})).await;
    assert_eq!((missing.status, missing.json()), (404, fixture("16-errors.json")["404 app"]["body"].clone()));
    sim.stop().await;
}

#[tokio::test]
async fn a_real_process_is_a_task_and_ends_with_it() {
    let sim = Sim::start(Config::for_test(Personality::V1_8)).await.unwrap();
    let script = "exec python3 -m http.server --bind $HOST $PORT0";
    sim.post_app(&json!({"id": "/py", "cmd": "x", "instances": 1, "env": {"SIM_EXEC": script},
        "healthChecks": [{"protocol": "HTTP", "path": "/", "portIndex": 0, "intervalSeconds": 1, "gracePeriodSeconds": 500}]}))
        .unwrap();
    assert!(sim.wait_settled(SOON).await, "{}", sim.state());
    let task = sim.instances("/py").remove(0);
    let address = format!("http://{}:{}/", task.host, task.ports[0]);
    assert!(get(&address).await.text().contains("Directory listing"));
    sim.delete_app("/py").unwrap();
    let socket = address[7..].trim_end_matches('/').to_owned();
    eventually("the process is gone", async || tokio::net::TcpStream::connect(&socket).await.is_err()).await;

    // A process that ends by itself is a failed task, one of a stopped simulator is killed.
    sim.post_app(&json!({"id": "/py", "cmd": "x", "instances": 1, "env": {"SIM_EXEC": "exit 3"}})).unwrap();
    let failed = |record: &e2e::sim::hub::Record| record.body["taskStatus"] == "TASK_FAILED";
    assert!(sim.wait_event(0, failed, SOON).await.is_some());
    sim.put_app("/py", &json!({"env": {"SIM_EXEC": script}})).unwrap();
    eventually("running", async || !sim.instances("/py").is_empty() && sim.instances("/py")[0].is_ready()).await;
    let task = sim.instances("/py").remove(0);
    let socket = format!("{}:{}", task.host, task.ports[0]);
    eventually("listening", async || tokio::net::TcpStream::connect(&socket).await.is_ok()).await;
    sim.stop().await;
    eventually("killed", async || tokio::net::TcpStream::connect(&socket).await.is_err()).await;
}

#[tokio::test]
async fn newer_marathons_refuse_too_many_deployments() {
    let mut config = Config::for_test(Personality::V1_8);
    config.max_deployments = 2;
    let sim = Sim::start(config).await.unwrap();
    sim.post_app(&stuck("/a")).unwrap();
    sim.post_app(&stuck("/b")).unwrap();
    let third = send("POST", &format!("{}/v2/apps", sim.url(0)), &web(1)).await;
    assert!(third.status == 403 && third.text().contains("Max number (2) of running deployments is achieved"));
    assert_eq!(send("POST", &format!("{}/v2/apps?force=true", sim.url(0)), &web(1)).await.status, 201);
    sim.stop().await;
}
