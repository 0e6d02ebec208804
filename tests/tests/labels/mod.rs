//! A host with tasks that answer, a file of apps, a running `baton` with its HAProxy, and curl.
//!
//! Shared by the label scenarios. Each task listens on an address of its own, so what a client gets
//! names the app, the task and what of the request arrived there.
#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of this is test code")]

pub(crate) mod curl;
pub(crate) mod task;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use e2e::lab::baton::Baton;
use e2e::lab::on_a_host;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpSocket;

use task::Kind;

/// An app: its labels without `HAPROXY_`, its service ports, its tasks.
#[derive(Clone)]
pub(crate) struct App {
    id: String,
    ports: Vec<u16>,
    labels: Vec<(String, String)>,
    tasks: u8,
    checks: Value,
    kind: Kind,
}

/// An app with one port, one task that speaks HTTP, and the labels of its port 0: `("VHOST", …)`.
pub(crate) fn app(id: &str, port: u16, labels: &[(&str, &str)]) -> App {
    ports(id, &[port]).labels(labels.iter().map(|(name, value)| (format!("HAPROXY_0_{name}"), (*value).to_owned())))
}

/// An app with these ports.
pub(crate) fn ports(id: &str, ports: &[u16]) -> App {
    let (id, ports) = (id.to_owned(), ports.to_vec());
    App { id, ports, labels: Vec::new(), tasks: 1, checks: json!([]), kind: Kind::Http }
}

impl App {
    /// More labels, by their whole names.
    pub(crate) fn labels(mut self, more: impl IntoIterator<Item = (String, String)>) -> Self {
        self.labels.extend(more);
        self
    }

    /// One more label, by its whole name.
    pub(crate) fn label(self, name: &str, value: &str) -> Self {
        self.labels([(name.to_owned(), value.to_owned())])
    }

    /// As many tasks.
    pub(crate) fn tasks(self, tasks: u8) -> Self {
        Self { tasks, ..self }
    }

    /// Marathon's health checks.
    pub(crate) fn checks(self, checks: Value) -> Self {
        Self { checks, ..self }
    }

    /// Tasks that do something else than answer HTTP.
    pub(crate) fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }
}

/// Where task `task` (from 1) of the app at `position` in the list listens.
pub(crate) fn address(position: usize, task: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 1, u8::try_from(position).unwrap(), task)
}

/// The host port of a task's port `index`.
pub(crate) fn host_port(index: usize) -> u16 {
    31_000 + u16::try_from(index).unwrap()
}

/// A running `baton` that serves a file of apps.
pub(crate) struct Host {
    pub(crate) baton: Baton,
    dir: TempDir,
}

/// Runs `test` on a host where a `baton` serves `apps`. `marathon` and `haproxy` are further lines
/// of these sections of its configuration; `{dir}` in them and in labels is a directory of the test
/// with a certificate, `shop.pem`.
pub(crate) fn host(apps: Vec<App>, marathon: &str, haproxy: &str, test: impl AsyncFnOnce(&Host) + Send + 'static) {
    let (marathon, haproxy) = (marathon.to_owned(), haproxy.to_owned());
    on_a_host(&["10.9.0.1", "10.9.0.2"], move || async move {
        let dir = tempfile::Builder::new().prefix("labels-").tempdir().unwrap();
        baton::certs::default_certificate(&dir.path().join("shop.pem")).unwrap();
        for (position, app) in apps.iter().enumerate() {
            task::start(app.kind, &app.id, position, app.tasks, app.ports.len()).await;
        }
        let here = dir.path().to_str().unwrap();
        write(&dir, &apps);
        let toml = format!("[marathon]\nfile = \"{here}/apps.json\"\n{marathon}\n[haproxy]\n{haproxy}\n");
        let baton = Baton::start(&toml.replace("{dir}", here), &[]).await.unwrap();
        let served = |status: &Value| status["applied"]["revision"] == 1 && status["applied"]["pending"] == false;
        baton.until("served the apps", served).await.unwrap();
        test(&Host { baton, dir }).await;
    });
}

impl Host {
    /// A file of the test's directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What is wrong with the apps, a line each.
    pub(crate) async fn issues(&self) -> Vec<String> {
        let status = self.baton.status().await.unwrap();
        let text =
            |issue: &Value| format!("{} {}", issue["app"].as_str().unwrap(), issue["label"].as_str().unwrap_or("-"));
        status["issues"].as_array().unwrap().iter().map(text).collect()
    }
}

/// What a TCP client from `source` reads on a port; none if it is refused.
pub(crate) async fn greeting(source: &str, port: u16) -> Option<String> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
    let mut stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.ok()?;
    let mut text = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut text).await;
    Some(String::from_utf8(text).unwrap().trim_end().to_owned())
}

fn write(dir: &TempDir, apps: &[App]) {
    let here = dir.path().to_str().unwrap();
    let apps: Vec<Value> = apps.iter().enumerate().map(|(position, app)| definition(position, app)).collect();
    fs::write(dir.path().join("apps.json"), json!({"apps": apps}).to_string().replace("{dir}", here)).unwrap();
}

fn definition(position: usize, app: &App) -> Value {
    let task = |n: u8| {
        let ports: Vec<_> = (0..app.ports.len()).map(host_port).collect();
        json!({"id": format!("task.{n}"), "host": address(position, n).to_string(), "ports": ports, "state": "TASK_RUNNING"})
    };
    let ports: Vec<_> = app.ports.iter().map(|port| json!({"port": port})).collect();
    let labels: serde_json::Map<_, _> = app.labels.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
    let tasks: Vec<_> = (1..=app.tasks).map(task).collect();
    json!({
        "id": app.id, "labels": labels, "portDefinitions": ports, "healthChecks": app.checks,
        "instances": app.tasks, "tasks": tasks,
    })
}
