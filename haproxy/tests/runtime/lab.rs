//! A HAProxy that serves apps, the reconcile loop's part played by hand; ended and removed
//! whatever happens.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use haproxy::app::{App, AppId, Check, CheckProtocol, CheckTarget, Health, Instance, Networking, Port, TaskState};
use haproxy::bundle::{Bundle, FileName};
use haproxy::child::{Setup, Supervisor};
use haproxy::compile::Policy;
use haproxy::diff::{Op, Plan, Reason, Running, diff};
use haproxy::disk::Disk;
use haproxy::features::Features;
use haproxy::model::LbState;
use haproxy::reload::{Outcome, Reloader, Times};
use haproxy::render::settings::{Listen, Settings};
use haproxy::render::{Renderer, reserved};
use haproxy::runtime::drains::Drains;
use haproxy::runtime::{Client, RuntimeError, Worker};
use haproxy::text::{BindAddr, Word};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::common;

/// The installed HAProxy, or `TEST_HAPROXY` for a run against another release.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("TEST_HAPROXY").map_or_else(|| "/usr/sbin/haproxy".into(), PathBuf::from)
}

pub(crate) struct Lab {
    pub(crate) dir: tempfile::TempDir,
    reloader: Reloader,
    supervisor: Supervisor,
    pub(crate) client: Client,
    pub(crate) features: Features,
    pub(crate) settings: Settings,
    pub(crate) worker: Worker,
    pub(crate) running: Running,
    pub(crate) drains: Drains,
    pub(crate) wanted: LbState,
}

impl Lab {
    /// HAProxy with these apps.
    pub(crate) async fn started(apps: Vec<App>) -> Self {
        let binary = binary();
        let dir = tempfile::Builder::new().prefix("baton-runtime-").tempdir().unwrap();
        let disk = Disk::open(dir.path().join("state")).unwrap();
        let master = dir.path().join("m");
        let times = Times {
            check: Duration::from_secs(30),
            busy: Duration::from_secs(20),
            reload: Duration::from_secs(30),
            ..Times::default()
        };
        let reloader = Reloader::new(&binary, disk.clone(), &master, times);
        let times = haproxy::child::Times { ready: Duration::from_secs(30), ..haproxy::child::Times::default() };
        let supervisor =
            Supervisor::new(Setup { binary: binary.clone(), disk, socket: master.clone(), socket_mode: 0o600, times });
        let mut settings = common::settings();
        let listen = || Listen { addr: BindAddr::Any, port: free_port() };
        settings.log.clear();
        settings.stats_socket = Some(Word::parse(dir.path().join("s").to_str().unwrap()).unwrap());
        settings.stats.listen = listen();
        settings.stats.prometheus = false;
        settings.app_id = listen();
        settings.hard_stop_after = Duration::from_secs(10);
        let vhosts = settings.vhosts.as_mut().unwrap();
        (vhosts.http, vhosts.https) = (listen(), listen());
        let client = Client::new(dir.path().join("s"), master, Duration::from_secs(20));
        let features = Features::probe(&binary).await.unwrap();
        settings.own_names = features.tells_proxies_apart_by_name();
        let mut lab = Self {
            reloader,
            supervisor,
            client,
            features,
            settings,
            worker: Worker { pid: 0, digest: None },
            running: Running::loaded(LbState::default()),
            drains: Drains::new(Duration::from_secs(60)),
            wanted: LbState::default(),
            dir,
        };
        lab.wanted = lab.compiled(apps);
        lab.reload().await;
        lab
    }

    pub(crate) fn compiled(&self, apps: Vec<App>) -> LbState {
        let policy = Policy { reserved: reserved(&self.settings), ..common::policy() };
        let (state, issues) = common::compiled(apps, &policy);
        assert!(issues.is_empty(), "{issues:?}");
        state
    }

    /// Loads the file for what is wanted.
    pub(crate) async fn reload(&mut self) {
        let mut draft = Renderer::new().unwrap().render(&self.wanted, &self.settings).unwrap();
        draft.files.insert(FileName::parse("default.pem").unwrap(), pem("default.example"));
        let bundle = Arc::new(Bundle::seal(draft).unwrap());
        let Self { reloader, supervisor, .. } = self;
        let applying = reloader.force(&bundle);
        tokio::pin!(applying);
        let outcome = loop {
            tokio::select! {
                outcome = &mut applying => break outcome,
                _ = supervisor.next() => (),
            }
        };
        assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome}\n{outcome:?}");
        self.worker = self.client.worker().await.unwrap();
        assert_eq!(self.worker.digest, Some(bundle.digest()));
        self.running = Running::loaded(self.wanted.clone());
        self.drains.forget();
    }

    pub(crate) fn plan(&self) -> Plan {
        diff(&self.running, &self.wanted, &self.features)
    }

    /// Brings HAProxy to these apps without a reload; the operations.
    pub(crate) async fn change(&mut self, apps: Vec<App>) -> Vec<Op> {
        self.wanted = self.compiled(apps);
        self.converge().await
    }

    /// Brings HAProxy to what is wanted without a reload; the operations.
    pub(crate) async fn converge(&mut self) -> Vec<Op> {
        let ops = match self.plan() {
            Plan::Unchanged => return Vec::new(),
            Plan::Runtime(ops) => ops,
            Plan::Reload { because } => panic!("a reload: {because}"),
        };
        self.client.apply(&self.worker, &ops).await.unwrap();
        self.running.applied(&ops, &self.wanted);
        self.drains.note(&ops, Instant::now());
        self.is_the_same().await;
        ops
    }

    /// Why these apps would need a reload.
    pub(crate) fn refusal(&mut self, apps: Vec<App>) -> Option<Reason> {
        self.wanted = self.compiled(apps);
        match self.plan() {
            Plan::Reload { because } => Some(because),
            Plan::Unchanged | Plan::Runtime(_) => None,
        }
    }

    /// Plays the loop's part until nothing drains any more; how often it looked.
    pub(crate) async fn drained(&mut self) -> usize {
        let mut looks = 0;
        while let Some(at) = self.drains.deadline() {
            tokio::time::sleep_until(at.into()).await;
            self.look().await.unwrap();
            looks += 1;
            assert!(looks < 100, "{:?}", self.drains);
        }
        self.is_the_same().await;
        looks
    }

    /// One look at what drains.
    pub(crate) async fn look(&mut self) -> Result<(), RuntimeError> {
        let now = Instant::now();
        let sessions = self.client.sessions(&self.worker, &self.drains.backends(now)).await?;
        let removals = self.drains.tick(&sessions, now);
        for (place, how) in self.client.remove(&self.worker, &removals).await? {
            // Nobody waits to try again here.
            self.drains.ended(&place, how, now + Duration::from_millis(20));
            if how == haproxy::runtime::drains::Removed::Gone {
                self.running.gone(&place);
            }
        }
        Ok(())
    }

    /// Reads back, and what differs from what is wanted.
    pub(crate) async fn verified(&mut self) -> Plan {
        let read = self.client.read_back(&self.worker, self.running.maps()).await.unwrap();
        read.correct(&mut self.running, &self.wanted);
        self.drains.adopt(self.running.leaving(), Instant::now());
        self.plan()
    }

    pub(crate) async fn is_the_same(&self) {
        assert_eq!(self.client.worker().await.unwrap(), self.worker, "there was a reload");
    }

    /// What an operator does by hand.
    pub(crate) async fn by_hand(&self, line: &str) -> String {
        let mut stream = tokio::net::UnixStream::connect(self.dir.path().join("s")).await.unwrap();
        stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    }

    pub(crate) fn http_port(&self) -> u16 {
        self.settings.vhosts.as_ref().unwrap().http.port
    }

    /// Who answers a request for this host and path.
    pub(crate) async fn by_host(&self, host: &str, path: &str) -> String {
        get(self.http_port(), &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n")).await
    }
}

impl Drop for Lab {
    /// The test is over, well or not: nothing may stay behind.
    fn drop(&mut self) {
        let socket = format!("{},mode", self.dir.path().join("m").display());
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            if command.contains(&socket) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

/// An app with one service port and these tasks.
#[derive(Clone)]
pub(crate) struct Spec {
    id: String,
    pub(crate) port: u16,
    labels: BTreeMap<String, String>,
    check: bool,
}

impl Spec {
    pub(crate) fn new(id: &str, mode: &str) -> Self {
        let labels = BTreeMap::from([("HAPROXY_0_MODE".to_owned(), mode.to_owned())]);
        Self { id: id.to_owned(), port: free_port(), labels, check: false }
    }

    pub(crate) fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// HAProxy checks the tasks every second.
    pub(crate) fn checked(mut self) -> Self {
        self.check = true;
        self
    }

    pub(crate) fn with(&self, tasks: &[SocketAddr]) -> App {
        let task = |addr: &SocketAddr| Instance {
            id: format!("task.{addr}"),
            host: addr.ip().to_string(),
            addr: Some(addr.ip()),
            ports: vec![Some(addr.port())],
            state: TaskState::Running,
            health: Health::Alive,
        };
        let http = self.labels["HAPROXY_0_MODE"] == "http";
        let check = Check {
            protocol: if http { CheckProtocol::Http } else { CheckProtocol::Tcp },
            path: None,
            target: CheckTarget::Index(0),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            max_consecutive_failures: 1,
        };
        App {
            id: AppId::parse(&self.id).unwrap(),
            labels: self.labels.clone(),
            networking: Networking::Host,
            ports: vec![Port { service_port: Some(self.port) }],
            checks: self.check.then_some(check).into_iter().collect(),
            instances: tasks.iter().map(task).collect(),
            wanted: tasks.len().try_into().unwrap(),
        }
    }

    /// Who answers on the service port; the first line of a refusal.
    pub(crate) async fn ask(&self) -> String {
        match self.labels["HAPROXY_0_MODE"].as_str() {
            "http" => get(self.port, "GET / HTTP/1.1\r\nHost: x\r\n").await,
            _ => Tcp::open(self.port).await.ask().await,
        }
    }

    /// Everybody who answers, over some requests.
    pub(crate) async fn all(&self) -> Vec<String> {
        let mut names = Vec::new();
        for _ in 0..8 {
            names.push(self.ask().await);
        }
        names.sort();
        names.dedup();
        names
    }
}

/// One request on a connection of its own: the body of a good answer, the first line of another.
pub(crate) async fn get(port: u16, head: &str) -> String {
    let answer = exchange(port, head).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let first = head.lines().next().unwrap_or_default();
    if first.contains(" 200 ") { body.to_owned() } else { first.to_owned() }
}

/// One request on a connection of its own and all that comes back.
pub(crate) async fn exchange(port: u16, head: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

/// A connection that stays open.
pub(crate) struct Tcp(BufReader<TcpStream>);

impl Tcp {
    pub(crate) async fn open(port: u16) -> Self {
        Self(BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap()))
    }

    /// Who is at the other end; empty if nobody.
    pub(crate) async fn ask(&mut self) -> String {
        let mut name = String::new();
        if self.0.write_all(b"hello\n").await.is_ok() {
            let _ = self.0.read_line(&mut name).await;
        }
        name.trim().to_owned()
    }
}

/// Waits until something is so, twenty seconds at most.
pub(crate) async fn soon(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..1_000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not within 20 s: {what}");
}

/// A port below the range of outgoing connections that nobody listens on.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}

/// A self-signed certificate and its key.
pub(crate) fn pem(host: &str) -> String {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    made.cert.pem() + &made.signing_key.serialize_pem()
}
