//! Many tasks at once, and the moment of each event: what benchmarks need.

mod sim;

use e2e::sim::{Bulk, BulkBacking, Config, Personality, Sim};
use sim::{SOON, get, start};

#[tokio::test]
async fn thousands_of_tasks_are_loaded_and_one_is_moved() {
    let mut config = Config::for_test(Personality::V1_8);
    config.agent_pool = Some(std::net::Ipv4Addr::new(127, 200, 0, 1));
    let sim = Sim::start(config).await.unwrap();
    sim.load(&Bulk::new(500, 10)).unwrap();
    let apps = get(&format!("{}/v2/apps?embed=apps.tasks", sim.url(0))).await.json();
    let apps = apps["apps"].as_array().unwrap();
    assert_eq!(apps.len(), 500);
    assert!(apps.iter().all(|app| app["tasksHealthy"] == 10 && app["tasks"].as_array().unwrap().len() == 10));
    assert!(sim.state()["agents"].as_array().unwrap().len() > 3, "agents were added as ports ran out");

    let from = sim.event_position();
    let old = sim.move_task("/bench/app-7").unwrap();
    sim::eventually("moved", async || {
        let events = sim.events_since(from);
        events.iter().any(|e| e.kind == "status_update_event" && e.body["taskStatus"] == "TASK_RUNNING")
    })
    .await;
    let events = sim.events_since(from);
    assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at && pair[0].sequence + 1 == pair[1].sequence));
    let running = events.iter().find(|e| e.body["taskStatus"] == "TASK_RUNNING").unwrap();
    assert_ne!(running.body["taskId"], old.as_str());
    let address = format!("http://{}:{}/", running.body["host"].as_str().unwrap(), running.body["ports"][0]);
    assert_eq!(get(&address).await.json()["task"], running.body["taskId"], "the new task listens");
    sim.stop().await;
}

#[tokio::test]
async fn bulk_tasks_may_listen_or_share_a_listener() {
    let sim = start(Personality::V1_4).await;
    sim.load(&Bulk { backing: BulkBacking::Real, ..Bulk::new(20, 3) }).unwrap();
    assert!(sim.wait_settled(SOON).await);
    for task in sim.instances("/bench/app-3") {
        assert_eq!(
            get(&format!("http://{}:{}/", task.host, task.ports[0])).await.json()["task"],
            task.task_id.as_str()
        );
    }
    sim.stop().await;

    let sim = start(Personality::V1_8).await;
    let shared = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 4242);
    sim.load(&Bulk { backing: BulkBacking::Shared(shared), ..Bulk::new(5, 2) }).unwrap();
    let task = get(&format!("{}/v2/apps/bench/app-1", sim.url(0))).await.json()["app"]["tasks"][0].clone();
    assert_eq!((&task["host"], &task["ports"]), (&serde_json::json!("127.0.0.1"), &serde_json::json!([4242])));
    sim.stop().await;
}

#[tokio::test]
async fn the_same_seed_gives_the_same_ids_and_ports() {
    let run = async || {
        let sim = start(Personality::V1_8).await;
        sim.load(&Bulk::new(3, 3)).unwrap();
        let all: Vec<_> =
            (0..3).flat_map(|n| sim.instances(&format!("/bench/app-{n}"))).map(|i| (i.id, i.ports)).collect();
        sim.stop().await;
        all
    };
    assert_eq!(run().await, run().await);
}
