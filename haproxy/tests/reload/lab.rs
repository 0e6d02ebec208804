//! One HAProxy under one supervisor, in a temporary directory; ended and removed whatever happens.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use haproxy::bundle::{Bind, Bundle, Draft, MARKER, MapName};
use haproxy::child::{Event, Setup, Supervisor};
use haproxy::disk::Disk;
use haproxy::master::{Master, Processes};
use haproxy::reload::{Outcome, Reloader, Times};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The installed HAProxy, or `TEST_HAPROXY` for a run against another release.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("TEST_HAPROXY").map_or_else(|| "/usr/sbin/haproxy".into(), PathBuf::from)
}

pub(crate) struct Lab {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) disk: Disk,
    pub(crate) reloader: Reloader,
    pub(crate) supervisor: Supervisor,
    pub(crate) master: Master,
    /// A port that all bundles of this lab listen on.
    pub(crate) port: u16,
    /// Everything that happened to the child.
    pub(crate) events: Vec<Event>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with(&binary())
    }

    pub(crate) fn with(binary: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("baton-lab-").tempdir().unwrap();
        let disk = Disk::open(dir.path().join("state")).unwrap();
        let reloader = Reloader::new(binary, disk.clone(), dir.path().join("m"), times());
        let supervisor = Supervisor::new(setup(binary, &disk, dir.path()));
        let master = Master::new(dir.path().join("m"), Duration::from_secs(2));
        Self { disk, reloader, supervisor, master, port: free_port(), events: Vec::new(), dir }
    }

    /// A lab whose HAProxy runs a first bundle.
    pub(crate) async fn started() -> Self {
        let mut lab = Self::new();
        let first = lab.bundle("first", "");
        assert_applied(&lab.apply(&first).await);
        if lab.events.is_empty() {
            // The reloader saw the worker before the supervisor did.
            let event = lab.event().await;
            lab.events.push(event);
        }
        assert!(matches!(lab.events[..], [Event::Started { .. }]), "{:?}", lab.events);
        lab
    }

    /// A bundle that answers requests with `text`, with more lines for its frontend.
    pub(crate) fn bundle(&self, text: &str, lines: &str) -> Arc<Bundle> {
        self.bundle_on(text, lines, &[self.port])
    }

    pub(crate) fn bundle_on(&self, text: &str, lines: &str, ports: &[u16]) -> Arc<Bundle> {
        let binds: Vec<_> = ports.iter().map(|port| bind(*port)).collect();
        let bind_lines: String = ports.iter().map(|port| format!("  bind 127.0.0.1:{port}\n")).collect();
        let config = format!(
            "global\n  default-path config\n  {MARKER}\n  nbthread 1\n  hard-stop-after 5s\ndefaults\n  mode http\n  \
             timeout connect 1s\n  timeout client 5s\n  timeout server 5s\n  option idle-close-on-response\n\
             frontend f\n{bind_lines}{lines}\n  \
             http-request return status 200 content-type text/plain lf-string %[path,map(answers.map,none)]\n"
        );
        let mut draft = Draft { config, binds, ..Draft::default() };
        draft.maps.insert(MapName::parse("answers.map").unwrap(), format!("/ {text}\n"));
        Arc::new(Bundle::seal(draft).unwrap())
    }

    /// Applies while the supervisor works.
    pub(crate) async fn apply(&mut self, bundle: &Arc<Bundle>) -> Outcome {
        let Self { reloader, supervisor, events, .. } = self;
        let applying = reloader.apply(bundle);
        tokio::pin!(applying);
        loop {
            tokio::select! {
                outcome = &mut applying => return outcome,
                event = supervisor.next() => events.push(event),
            }
        }
    }

    /// Lets the supervisor work until something has happened.
    pub(crate) async fn event(&mut self) -> Event {
        tokio::time::timeout(Duration::from_secs(10), self.supervisor.next()).await.unwrap()
    }

    pub(crate) async fn processes(&self) -> Processes {
        self.master.processes().await.unwrap()
    }

    pub(crate) async fn get(&self) -> String {
        get(self.port).await.unwrap()
    }
}

impl Drop for Lab {
    /// The test is over, well or not: nothing may stay behind.
    fn drop(&mut self) {
        let socket = self.dir.path().join("m");
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            if command.contains(&format!("{},mode", socket.display())) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

pub(crate) fn setup(binary: &Path, disk: &Disk, dir: &Path) -> Setup {
    let times = haproxy::child::Times {
        ready: Duration::from_secs(5),
        grace: Duration::from_secs(3),
        kill: Duration::from_secs(1),
        ..haproxy::child::Times::default()
    };
    Setup { binary: binary.to_owned(), disk: disk.clone(), socket: dir.join("m"), socket_mode: 0o600, times }
}

pub(crate) fn times() -> Times {
    Times {
        check: Duration::from_secs(5),
        busy: Duration::from_secs(5),
        reload: Duration::from_secs(8),
        ..Times::default()
    }
}

pub(crate) fn bind(port: u16) -> Bind {
    Bind { addr: std::net::IpAddr::from(Ipv4Addr::LOCALHOST).into(), port, owner: None }
}

/// A port below the range of outgoing connections that nobody listens on.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 5000).unwrap();
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
            && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        {
            return port;
        }
    }
}

pub(crate) fn assert_applied(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome}\n{outcome:?}");
}

/// One request on a connection of its own; the body of the answer.
pub(crate) async fn get(port: u16) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.rsplit("\r\n").next().unwrap_or_default().to_owned())
}
