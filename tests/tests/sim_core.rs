//! The simulator's core: apps become tasks that really listen, are checked, and announced.

mod sim;

use serde_json::{Value, json};
use sim::{BOTH, SOON, Stream, delete, get, send, start};

fn web(instances: u32) -> Value {
    json!({"id": "/web", "cmd": "serve", "instances": instances, "cpus": 0.1, "mem": 32,
        "healthChecks": [{"protocol": "HTTP", "path": "/health", "portIndex": 0, "intervalSeconds": 1}]})
}

#[tokio::test]
async fn an_app_is_deployed_listens_and_goes() {
    for personality in BOTH {
        let sim = start(personality).await;
        let url = sim.url(0);
        let mut stream = Stream::open(&format!("{url}/v2/events"), &[]).await;
        let created = send("POST", &format!("{url}/v2/apps"), &web(2)).await;
        assert_eq!(created.status, 201, "{}", created.text());
        assert_eq!(created.json()["id"], "/web");
        stream.until_event("deployment_success").await;
        assert!(sim.wait_settled(SOON).await);

        let app = get(&format!("{url}/v2/apps/web")).await.json()["app"].clone();
        assert_eq!((app["tasksRunning"].as_u64(), app["tasksHealthy"].as_u64()), (Some(2), Some(2)), "{app}");
        for task in app["tasks"].as_array().unwrap() {
            let told =
                get(&format!("http://{}:{}/x?y=1", task["host"].as_str().unwrap(), task["ports"][0])).await.json();
            assert_eq!((&told["app"], &told["task"], &told["path"]), (&json!("/web"), &task["id"], &json!("/x?y=1")));
        }
        let kinds = stream.kinds();
        let at = |kind: &str| kinds.iter().position(|k| k == kind).unwrap_or_else(|| panic!("{kind} in {kinds:?}"));
        let order = [
            "event_stream_attached",
            "api_post_event",
            "group_change_success",
            "add_health_check_event",
            "deployment_info",
            "instance_changed_event",
            "status_update_event",
            "instance_health_changed_event",
            "deployment_success",
        ];
        assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{kinds:?}");

        let gone = delete(&format!("{url}/v2/apps/web")).await;
        assert_eq!(gone.status, 200);
        assert_eq!(gone.header("Marathon-Deployment-Id").as_deref(), gone.json()["deploymentId"].as_str());
        stream.until_event("app_terminated_event").await;
        assert!(sim.wait_settled(SOON).await);
        assert_eq!(get(&format!("{url}/v2/apps")).await.json(), json!({"apps": []}));
        assert_eq!(sim.state()["tasks"], json!([]));
        sim.stop().await;
    }
}
