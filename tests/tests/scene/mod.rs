//! What the scenario tests share: a host with a simulated Marathon and a `baton` that follows it.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use e2e::lab::baton::Baton;
use e2e::lab::client::get;
use e2e::lab::on_a_host;
use e2e::sim::{Config, Personality, Sim};
use serde_json::{Value, json};

/// A cluster and the load balancer that follows it.
pub(crate) struct Scene {
    pub(crate) sim: Sim,
    pub(crate) baton: Baton,
}

/// Runs `play` on a host of its own; `baton` serves every group and minds health checks.
pub(crate) fn scene<F: Future<Output = ()>>(
    personality: Personality,
    members: usize,
    play: impl FnOnce(Scene) -> F + Send + 'static,
) {
    on_a_host(&[], move || async move {
        let sim = Sim::start(Config::for_test(personality).members(members)).await.unwrap();
        let toml = format!(
            "[marathon]\nurls = {:?}\ngroups = [\"*\"]\nhealth_check = true\nmax_backoff = \"1s\"\n\
             [haproxy]\nmin_reload_spacing = \"50ms\"\n",
            sim.urls()
        );
        let baton = Baton::start(&toml, &[]).await.unwrap();
        play(Scene { sim, baton }).await;
    });
}

impl Scene {
    /// How many requests failed while `act` went on; one request every few milliseconds.
    pub(crate) async fn watch_while(&self, url: &str, act: impl Future<Output = ()>) -> usize {
        let mut failed = 0;
        let watch = async {
            loop {
                failed += usize::from(get(url, &[]).await.status != 200);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = act => (),
            () = watch => (),
        }
        failed
    }
}

/// An app on bridge networking with one service port.
pub(crate) fn app(id: &str, port: u16, labels: &[(&str, &str)], instances: u32) -> Value {
    let labels: serde_json::Map<_, _> = labels.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
    json!({
        "id": id,
        "instances": instances,
        "cpus": 0.1,
        "mem": 32,
        "container": {
            "type": "DOCKER",
            "docker": {
                "image": "web",
                "network": "BRIDGE",
                "portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": port, "protocol": "tcp"}],
            },
        },
        "labels": Value::Object(labels.into_iter().chain([("HAPROXY_0_MODE".to_owned(), json!("http"))]).collect()),
    })
}

/// The tasks that answer at `url`: asks until `count` of them did, or ten seconds passed, and then
/// a few times more, so that one too many is seen.
pub(crate) async fn answering(url: &str, count: usize) -> BTreeSet<String> {
    let mut recent: Vec<String> = Vec::new();
    for _ in 0..1_000 {
        let answer = get(url, &[]).await;
        if answer.status == 200 {
            recent.push(answer.json()["task"].as_str().unwrap_or_default().to_owned());
        } else {
            recent.clear();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let last = recent.len().saturating_sub(count * 4);
        let tasks: BTreeSet<_> = recent[last..].iter().cloned().collect();
        if recent.len() >= count * 4 && tasks.len() == count {
            return tasks;
        }
        if recent.len() > 60 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    recent.into_iter().rev().take(count * 4).collect()
}
