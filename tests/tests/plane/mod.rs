//! What the tests of changes and faults share: a cluster, a `baton` whose calls of `haproxy -c` are counted, and an
//! independent look at what HAProxy runs, what its files say and what Marathon wants.
//!
//! It does not read what the daemon believes, except where a counter of its status is what is tested.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "waits for real processes")]

pub(crate) mod meddler;
pub(crate) mod picture;
pub(crate) mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use e2e::lab::baton::Baton;
use e2e::lab::client::get;
use e2e::lab::{haproxy_binary, on_a_host};
use e2e::sim::instance::Condition;
use e2e::sim::{Auth, Config, Personality, Sim};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use picture::Picture;

/// A cluster and the load balancer that follows it.
pub(crate) struct Plane {
    pub(crate) sim: Sim,
    pub(crate) baton: Baton,
    checks: PathBuf,
}

/// What a change may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    /// No reload, and no `haproxy -c`.
    RunTime,
    /// As [`Self::RunTime`], and nothing changes at run time either.
    Nothing,
    /// Exactly one reload, of a configuration that was checked before or is known to be accepted.
    Reload,
    /// Exactly one reload, of a configuration that was checked before.
    CheckedReload,
}

/// Counters of the daemon, and of its calls of `haproxy -c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) reloads: u64,
    pub(crate) runtime: u64,
    pub(crate) checks: usize,
    pub(crate) restarts: u64,
}

/// Plays on a host of its own. Tasks are told before they die; `baton` minds Marathon's health.
pub(crate) fn plane<F: Future<Output = ()>>(play: impl FnOnce(Plane) -> F + Send + 'static) {
    plane_of(|_| (), "", play);
}

/// As [`plane`], with another cluster and more lines for `[haproxy]`.
pub(crate) fn plane_of<F: Future<Output = ()>>(
    set: impl FnOnce(&mut Config) + Send + 'static,
    haproxy: &'static str,
    play: impl FnOnce(Plane) -> F + Send + 'static,
) {
    on_a_host(&[], move || async move {
        let dir = tempfile::Builder::new().prefix("baton-").tempdir().unwrap();
        play(Plane::start(set, haproxy, dir).await).await;
    });
}

/// As [`plane`], but Marathon is behind a DC/OS login, and its tokens live that long.
pub(crate) fn plane_behind_a_login<F: Future<Output = ()>>(
    lifetime: Duration,
    play: impl FnOnce(Plane) -> F + Send + 'static,
) {
    on_a_host(&[], move || async move {
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/marathon");
        let mut config = Config::for_test(Personality::V1_8);
        let public_key = keys.join("service-account.pub.pem");
        config.auth = Auth::Token { public_key, uid: "baton".to_owned(), lifetime };
        let sim = Sim::start(config).await.unwrap();
        let dir = tempfile::Builder::new().prefix("baton-").tempdir().unwrap();
        let account = dir.path().join("account.json");
        let private_key = std::fs::read_to_string(keys.join("service-account.key.pem")).unwrap();
        let login_endpoint = format!("{}/acs/api/v1/auth/login", sim.url(0));
        let text = json!({"uid": "baton", "private_key": private_key, "login_endpoint": login_endpoint});
        std::fs::write(&account, text.to_string()).unwrap();
        let urls = sim.urls();
        let source = format!("urls = {urls:?}\nservice_account_file = {account:?}\nmax_backoff = \"1s\"\n");
        play(Plane::begin(sim, &source, "", dir).await).await;
    });
}

/// As [`plane`], but `baton` reads a file, so that an app changes and its tasks go on: [`Plane::say`] writes it.
pub(crate) fn plane_of_a_file<F: Future<Output = ()>>(play: impl FnOnce(Plane) -> F + Send + 'static) {
    on_a_host(&[], move || async move {
        let sim = Sim::start(Config::for_test(Personality::V1_8)).await.unwrap();
        let dir = tempfile::Builder::new().prefix("baton-").tempdir().unwrap();
        let file = dir.path().join(FILE);
        std::fs::write(&file, "[]").unwrap();
        play(Plane::begin(sim, &format!("file = {file:?}\n"), "", dir).await).await;
    });
}

impl Plane {
    /// Has the file say that the simulated app, as it is, has these labels.
    pub(crate) fn say(&self, id: &str, port: u16, labels: &[(&str, &str)]) {
        let task = |task: e2e::sim::instance::Instance| json!({"id": task.task_id, "host": task.host, "ports": task.ports, "state": "TASK_RUNNING"});
        let tasks: Vec<Value> = self.sim.instances(id).into_iter().map(task).collect();
        let mut app = app(id, port, labels, 0);
        app["instances"] = tasks.len().into();
        app["tasks"] = tasks.into();
        let (file, new) = (self.baton.dir().join(FILE), self.baton.dir().join("apps.new"));
        std::fs::write(&new, json!({"apps": [app]}).to_string()).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    /// Starts both in `dir`.
    pub(crate) async fn start(set: impl FnOnce(&mut Config), haproxy: &str, dir: tempfile::TempDir) -> Self {
        let mut config = Config::for_test(Personality::V1_8);
        // Longer than a request takes, so that none is inside a task that dies.
        config.killing = Duration::from_millis(300);
        set(&mut config);
        let sim = Sim::start(config).await.unwrap();
        let source = format!("urls = {:?}\nhealth_check = true\nmax_backoff = \"1s\"\n", sim.urls());
        Self::begin(sim, &source, haproxy, dir).await
    }

    async fn begin(sim: Sim, source: &str, haproxy: &str, dir: tempfile::TempDir) -> Self {
        let checks = dir.path().join("checks");
        let toml = format!(
            "[marathon]\ngroups = [\"*\"]\n{source}[haproxy]\nbinary = {:?}\nmin_reload_spacing = \"50ms\"\n\
             drain_timeout = \"2s\"\n{haproxy}",
            counted(dir.path(), &checks),
        );
        let baton = Baton::start_in(dir, &toml, &[]).await.unwrap();
        Self { sim, baton, checks }
    }

    /// The daemon is killed without warning, and another one started in its place.
    pub(crate) async fn killed(self) -> Self {
        self.killed_with(false).await
    }

    /// As [`Self::killed`], and HAProxy dies with it.
    pub(crate) async fn killed_with(self, haproxy: bool) -> Self {
        let Self { sim, baton, checks } = self;
        if haproxy {
            // The daemon stands still, so that it sees nothing of it.
            baton.signal(Signal::SIGSTOP).unwrap();
            baton.kill_haproxy();
        }
        let baton = baton.kill_and_restart().await.unwrap();
        Self { sim, baton, checks }
    }

    /// What the daemon itself logged, without HAProxy's lines.
    pub(crate) fn journal(&self) -> String {
        let log = self.baton.log();
        log.lines().filter(|line| line.starts_with("[20")).fold(String::new(), |all, line| all + line + "\n")
    }

    /// The counters now.
    pub(crate) async fn counts(&self) -> Counts {
        let status = self.baton.until("an answer", |_| true).await.unwrap();
        let number = |at: &str| status.pointer(at).and_then(Value::as_u64).unwrap();
        Counts {
            reloads: number("/applied/reloads"),
            runtime: number("/applied/runtime"),
            checks: std::fs::read_to_string(&self.checks).unwrap_or_default().lines().count(),
            restarts: number("/haproxy/restarts"),
        }
    }

    /// Does `act`, which waits for what it is to bring about, and sees what it cost once all is settled.
    pub(crate) async fn costs(&self, cost: Cost, what: &str, act: impl Future<Output = ()>) {
        let before = self.counts().await;
        act.await;
        self.settled().await;
        let now = self.counts().await;
        let (reloads, checks, runtime) =
            (now.reloads - before.reloads, now.checks - before.checks, now.runtime - before.runtime);
        let said = format!("{what}: {reloads} reloads, {runtime} times at run time, {checks} checks");
        match cost {
            Cost::RunTime => assert!(reloads == 0 && checks == 0 && runtime > 0, "{said}\n{}", self.journal()),
            Cost::Nothing => assert!(reloads == 0 && checks == 0 && runtime == 0, "{said}\n{}", self.journal()),
            Cost::Reload => assert!(reloads == 1, "{said}\n{}", self.journal()),
            Cost::CheckedReload => assert!(reloads == 1 && checks >= 1, "{said}\n{}", self.journal()),
        }
    }

    /// Waits until nothing is under way in the daemon and the files say what HAProxy runs.
    pub(crate) async fn settled(&self) {
        let mut quiet = 0;
        let mut last = String::new();
        for _ in 0..PATIENCE {
            let status = self.baton.status().await.unwrap_or_default();
            let applied = &status["applied"];
            let idle = applied["pending"] == false && applied["draining"] == 0 && applied["trouble"].is_null();
            let same = match (Picture::running(self.baton.dir()).await, Picture::filed(self.baton.dir())) {
                (Ok(running), Ok(filed)) => running.difference(&filed),
                (running, filed) => Some(format!("{:?} {:?}", running.err(), filed.err())),
            };
            quiet = if idle && same.is_none() { quiet + 1 } else { 0 };
            if quiet > 3 {
                return;
            }
            last = format!("{} {applied:#}", same.unwrap_or_default());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never settled: {last}\nthe log:\n{}", self.journal());
    }

    /// Waits until HAProxy has exactly the servers that Marathon has tasks for; how long that took.
    pub(crate) async fn converged(&self, apps: &[(&str, u16)]) -> Duration {
        let began = Instant::now();
        let mut said = String::new();
        for _ in 0..PATIENCE {
            match Picture::running(self.baton.dir()).await {
                Ok(running) => {
                    let (has, wants) = (running.addresses(), self.wanted(apps));
                    if has == wants {
                        return began.elapsed();
                    }
                    said = format!("HAProxy has {has:#?}\nMarathon wants {wants:#?}");
                }
                Err(why) => said = format!("{why:#}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let status = self.baton.status().await.unwrap_or_default();
        let position = self.sim.event_position();
        let events = self.sim.events_since(position.saturating_sub(12));
        let events: Vec<_> =
            events.iter().map(|e| format!("{:?} ago: {} {}", e.at.elapsed(), e.kind, e.body)).collect();
        panic!("never as wanted: {said}\n{status:#}\nthe last events: {events:#?}\nthe log:\n{}", self.journal());
    }

    /// The addresses that ought to be behind each port.
    pub(crate) fn wanted(&self, apps: &[(&str, u16)]) -> BTreeMap<String, BTreeSet<SocketAddr>> {
        let of = |(app, port): &(&str, u16)| {
            let there = self.sim.instances(app).into_iter().filter(|task| {
                matches!(task.condition, Condition::Running | Condition::Unreachable) && task.healthy() != Some(false)
            });
            let addresses = there.map(|task| SocketAddr::new(task.address.into(), task.ports[0]));
            (format!("{}_{port}", app.trim_matches('/').replace('/', "_")), addresses.collect())
        };
        apps.iter().map(of).filter(|(_, servers): &(_, BTreeSet<_>)| !servers.is_empty()).collect()
    }

    /// All of it: routing is as wanted, the files say so, an HAProxy started from them has it, and the daemon goes on.
    pub(crate) async fn sound(&self, apps: &[(&str, u16)]) {
        assert!(self.sim.wait_settled(Duration::from_secs(20)).await, "the cluster itself");
        self.converged(apps).await;
        self.settled().await;
        self.reproduced().await;
        self.converged(apps).await;
        for (app, port) in apps.iter().filter(|(app, _)| !self.sim.instances(app).is_empty()) {
            let answer = until(&format!("http://127.0.0.1:{port}/"), &[], |a| a.status == 200).await;
            assert_eq!(answer.json()["app"], *app);
        }
    }

    /// Kills HAProxy, starts one from the files while the daemon stands still, and compares what both ran.
    pub(crate) async fn reproduced(&self) {
        let dir = self.baton.dir();
        let status = self.baton.status().await.unwrap();
        let before = Picture::running(dir).await.unwrap();
        self.baton.signal(Signal::SIGSTOP).unwrap();
        self.baton.kill_haproxy();
        let log = std::fs::File::create(dir.join("again.log")).unwrap();
        let mut again = tokio::process::Command::new(haproxy_binary().unwrap());
        again.arg("-db").arg("-f").arg(dir.join("state/current/haproxy.cfg")).kill_on_drop(true);
        let mut again = again.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut after = Err(anyhow::anyhow!("not asked"));
        for _ in 0..PATIENCE {
            after = Picture::running(dir).await;
            if after.is_ok() || again.try_wait().unwrap().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        again.kill().await.unwrap();
        self.baton.signal(Signal::SIGCONT).unwrap();
        let said = std::fs::read_to_string(dir.join("again.log")).unwrap_or_default();
        let after = after.unwrap_or_else(|why| panic!("HAProxy does not start from its files: {why:#}\n{said}"));
        assert_eq!(before.difference(&after), None, "started from the files\n{}", self.journal());
        let pid = status["haproxy"]["pid"].clone();
        self.baton
            .until("another HAProxy", |s| s["haproxy"]["pid"].is_u64() && s["haproxy"]["pid"] != pid)
            .await
            .unwrap();
    }
}

/// As `client::get_until`, with more patience.
pub(crate) async fn until(
    url: &str,
    headers: &[(&str, &str)],
    mut done: impl FnMut(&e2e::lab::client::Answer) -> bool,
) -> e2e::lab::client::Answer {
    let mut answer = get(url, headers).await;
    for _ in 0..PATIENCE {
        if done(&answer) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer = get(url, headers).await;
    }
    answer
}

/// A script that notes each `haproxy -c` in `checks` and is HAProxy otherwise.
fn counted(dir: &Path, checks: &Path) -> PathBuf {
    let (script, real) = (dir.join("haproxy-counted"), haproxy_binary().unwrap());
    std::fs::write(checks, "").unwrap();
    std::fs::set_permissions(checks, std::fs::Permissions::from_mode(0o666)).unwrap();
    let text = format!(
        "#!/bin/sh\nfor word; do [ \"$word\" != -c ] || echo \"$*\" >>{}; done\nexec {} \"$@\"\n",
        checks.display(),
        real.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

/// An app of one port on bridge networking, mode http.
pub(crate) fn app(id: &str, port: u16, labels: &[(&str, &str)], instances: u32) -> Value {
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
        "labels": labelled(labels),
    })
}

/// Labels beside the one for mode http.
pub(crate) fn labelled(labels: &[(&str, &str)]) -> Value {
    let labels = [("HAPROXY_0_MODE", "http")].iter().chain(labels);
    Value::Object(labels.map(|(name, value)| ((*name).to_owned(), json!(value))).collect())
}

/// What a daemon of [`plane_of_a_file`] reads.
const FILE: &str = "apps.json";

/// Looks, ten milliseconds apart.
const PATIENCE: u32 = 2_000;
