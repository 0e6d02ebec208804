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
    let runs = |record: &e2e::sim::hub::Record| record.body["taskStatus"] == "TASK_RUNNING";
    let running = sim.wait_event(from, runs, SOON).await.expect("moved");
    let events = sim.events_since(from);
    assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at && pair[0].sequence + 1 == pair[1].sequence));
    assert!(running.at >= events[0].at);
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
    let any = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0);
    sim.load(&Bulk { backing: BulkBacking::Shared(any), ..Bulk::new(5, 2) }).unwrap();
    let tasks: Vec<_> = (0..5).flat_map(|n| sim.instances(&format!("/bench/app-{n}"))).collect();
    assert!(tasks.len() == 10 && tasks.iter().all(|i| i.host == "127.0.0.1" && i.ports == tasks[0].ports));
    assert_eq!(get(&format!("http://127.0.0.1:{}/", tasks[0].ports[0])).await.json()["app"], "shared");
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
