//! The demo's Marathon: who is where, which apps it runs, and how it is asked for changes.
//!
//! The simulator runs in this process, on threads of Marathon's host, but is asked over HTTP, as an operator would;
//! every request is shown as sent.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::lab::host::Host;
use crate::sim::instance::Instance;
use crate::sim::{AgentConfig, Config, Personality, Sim};

/// The load balancers' virtual address, where the published apps look for their databases.
pub(super) const BALANCER: Ipv4Addr = Ipv4Addr::new(192, 168, 71, 168);
/// Marathon.
pub(super) const MARATHON: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 71, 166), 8080);
/// The simulator's control API.
pub(super) const CONTROL: SocketAddrV4 = SocketAddrV4::new(*MARATHON.ip(), 8079);
/// The agents.
pub(super) const AGENTS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(192, 168, 71, 167), Ipv4Addr::new(192, 168, 71, 169), Ipv4Addr::new(192, 168, 71, 170)];

/// The app that is scaled: its id, its host name, its service port.
pub(super) const WEB: (&str, &str, u16) = ("/wordpress/web-app", "test-worldpress.example.com", 11111);
/// The app whose label is broken, likewise.
pub(super) const NGINX: (&str, &str, u16) = ("/nginx", "nginx.example.com", 10002);
/// The app with a fixed port on its agent, which is deleted.
pub(super) const TOMCAT: (&str, u16) = ("/tomcat", 31002);
/// The app that is a real redis.
pub(super) const REDIS: (&str, u16) = ("/keys-and-values/db", 9000);
/// A database that only greets.
pub(super) const MYSQL: (&str, u16) = ("/wordpress/mysql-db", 10000);
/// The app that does not ask to be served.
pub(super) const UNSERVED: &str = "/keys-and-values/app";
/// All that ask to be served.
const SERVED: [&str; 5] = [WEB.0, NGINX.0, TOMCAT.0, REDIS.0, MYSQL.0];

/// The cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    /// The simulator.
    pub(super) sim: Sim,
    http: reqwest::Client,
    _threads: Threads,
}

/// A runtime whose threads, and so all that it opens and starts, are on a host.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // A thread of a runtime may not wait for another runtime's end; tasks are to end with this one.
            let ended = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(2)));
            let _ = ended.join();
        }
    }
}

impl Cluster {
    /// Starts it on `host`, without apps.
    ///
    /// # Errors
    /// When an address is taken.
    pub(super) fn start(host: &Host) -> anyhow::Result<Self> {
        let (threads, sim) = host.run(|| -> anyhow::Result<_> {
            let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("marathon").enable_all().build()?;
            let sim = runtime.block_on(Sim::start(config())).context("start the Marathon simulator")?;
            Ok((Threads(Some(runtime)), sim))
        })?;
        Ok(Self { sim, http: super::client::connector()?, _threads: threads })
    }

    /// Posts all apps and waits until they run; their number of tasks.
    ///
    /// # Errors
    /// When Marathon refuses one, or they do not come up.
    pub(super) async fn deploy(&self) -> anyhow::Result<usize> {
        for group in groups()? {
            self.ask(Method::POST, "/v2/groups", Some(&group)).await?;
        }
        for app in [nginx(NGINX.1), tomcat()] {
            self.ask(Method::POST, "/v2/apps", Some(&app)).await?;
        }
        ensure!(self.sim.wait_settled(LONG).await, "the simulated tasks do not come up: {}", self.sim.state());
        Ok(SERVED.iter().chain([&UNSERVED]).map(|app| self.sim.instances(app).len()).sum())
    }

    /// Sends a request to Marathon; how it reads.
    ///
    /// # Errors
    /// When Marathon refuses it.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<String> {
        self.send(method, MARATHON, path, body).await
    }

    /// Sends a request to the simulator's control API; how it reads.
    ///
    /// # Errors
    /// When it refuses.
    pub(super) async fn command(&self, path: &str) -> anyhow::Result<String> {
        self.send(Method::POST, CONTROL, path, None).await
    }

    /// Where HAProxy has to send requests to now.
    #[must_use]
    pub(super) fn endpoints(&self) -> BTreeSet<SocketAddr> {
        let instances = SERVED.iter().flat_map(|app| self.sim.instances(app));
        instances.filter(Instance::is_ready).filter_map(|i| i.endpoint(0)).map(SocketAddr::from).collect()
    }

    /// The tasks of an app that serve.
    #[must_use]
    pub(super) fn tasks(&self, app: &str) -> BTreeSet<String> {
        let instances = self.sim.instances(app).into_iter();
        instances.filter(Instance::is_ready).map(|instance| instance.task_id).collect()
    }

    /// Where the only task of an app runs.
    #[must_use]
    pub(super) fn place(&self, app: &str) -> Option<SocketAddr> {
        self.sim.instances(app).first()?.endpoint(0).map(SocketAddr::from)
    }

    async fn send(&self, method: Method, to: SocketAddrV4, path: &str, body: Option<&Value>) -> anyhow::Result<String> {
        let shown = format!("{method} {path}{}", body.map(|body| format!(" {body}")).unwrap_or_default());
        let mut request = self.http.request(method, format!("http://{to}{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| shown.clone())?;
        let status = answer.status();
        if !status.is_success() {
            bail!("{shown}: {status} {}", answer.text().await.unwrap_or_default());
        }
        Ok(shown)
    }
}

/// The definition of nginx with `vhost`.
#[must_use]
pub(super) fn nginx(vhost: &str) -> Value {
    json!({
        "id": NGINX.0, "instances": 1, "cpus": 0.2, "mem": 20,
        "container": docker("nginx", 80, 0, NGINX.2),
        "healthChecks": [{"protocol": "HTTP", "path": "/", "portIndex": 0, "intervalSeconds": 5}],
        "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": vhost},
    })
}

fn tomcat() -> Value {
    json!({
        "id": TOMCAT.0, "instances": 1, "cpus": 1, "mem": 128,
        "container": docker("tomcat", 8080, 31001, TOMCAT.1),
        "labels": {"HAPROXY_GROUP": "internal"},
    })
}

fn docker(image: &str, container: u16, host: u16, service: u16) -> Value {
    let mapping = json!({"containerPort": container, "hostPort": host, "servicePort": service, "protocol": "tcp"});
    json!({"type": "DOCKER", "docker": {"image": image, "network": "BRIDGE", "portMappings": [mapping]}})
}

/// The published groups; what the simulator runs in place of redis' and MySQL's images is added.
fn groups() -> anyhow::Result<[Value; 2]> {
    let mut keys_and_values: Value =
        serde_json::from_str(include_str!("../../fixtures/marathon/10-post-group-keys-and-values.json"))?;
    let mut wordpress: Value =
        serde_json::from_str(include_str!("../../fixtures/marathon/11-post-group-wordpress.json"))?;
    run_in_place(&mut keys_and_values, "db", "SIM_EXEC", RUN_REDIS)?;
    run_in_place(&mut wordpress, "mysql-db", "SIM_TASK", "tcp")?;
    Ok([keys_and_values, wordpress])
}

fn run_in_place(group: &mut Value, app: &str, name: &str, value: &str) -> anyhow::Result<()> {
    let apps = group.get_mut("apps").and_then(Value::as_array_mut).context("a group without apps")?;
    let app = apps.iter_mut().find(|found| found["id"] == app).with_context(|| format!("no app {app}"))?;
    app["env"] = json!({ name: value });
    Ok(())
}

fn config() -> Config {
    Config {
        listen: vec![MARATHON.into()],
        control: Some(CONTROL.into()),
        agents: AGENTS.iter().map(|ip| AgentConfig { name: ip.to_string(), address: *ip }).collect(),
        agent_pool: None,
        // Health checks after half a second instead of five.
        second: Duration::from_millis(100),
        staging: Duration::from_millis(150),
        starting: Duration::from_millis(150),
        killing: Duration::from_secs(1),
        ..Config::new(Personality::V1_8)
    }
}

const RUN_REDIS: &str =
    "exec redis-server --bind $HOST --port $PORT0 --protected-mode no --save '' --appendonly no --daemonize no";

/// Longer than any deployment of the demo takes.
const LONG: Duration = Duration::from_secs(20);
