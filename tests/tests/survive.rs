//! What a reload must not undo: a dead server stays out, a draining one keeps its sessions and no longer than it may.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]
#![allow(clippy::disallowed_methods, reason = "measures how long sessions last")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::lab::baton::Baton;
use e2e::lab::client::get;
use e2e::lab::on_a_host;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A task that greets each connection with its name and then echoes, or that answers HTTP.
struct Task {
    unfit: AtomicBool,
    requests: AtomicUsize,
}

impl Task {
    fn serve(port: u16, respond: fn(&Self, TcpStream, u16)) -> Arc<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let task = Arc::new(Self { unfit: AtomicBool::new(false), requests: AtomicUsize::new(0) });
        let theirs = Arc::clone(&task);
        // It ends with the process: a test's threads hold nothing else.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let task = Arc::clone(&theirs);
                std::thread::spawn(move || respond(&task, stream, port));
            }
        });
        task
    }

    fn echo(&self, mut stream: TcpStream, port: u16) {
        let mut buffer = [0; 64];
        if stream.write_all(format!("{port}").as_bytes()).is_err() {
            return;
        }
        while let Ok(size @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..size]).is_err() {
                return;
            }
        }
    }

    /// `/health` says whether it is fit, anything else is counted.
    fn http(&self, mut stream: TcpStream, _port: u16) {
        let mut line = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let _ = reader.read_line(&mut line);
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) <= 2 {
                break;
            }
        }
        let check = line.contains("/health");
        self.requests.fetch_add(usize::from(!check && !line.is_empty()), Ordering::SeqCst);
        let status = if check && self.unfit.load(Ordering::SeqCst) { "500 No" } else { "200 OK" };
        let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
}

fn app(id: &str, port: u16, mode: &str, tasks: &[u16], checked: bool) -> Value {
    let check = json!({"protocol": "HTTP", "path": "/health", "portIndex": 0, "intervalSeconds": 1,
        "timeoutSeconds": 1, "maxConsecutiveFailures": 1});
    let checks = if checked { vec![check] } else { Vec::new() };
    let task = |number: &u16| json!({"id": format!("t{number}"), "appId": id, "host": "127.0.0.1", "ports": [number], "state": "TASK_RUNNING"});
    json!({"id": id, "ports": [port], "labels": {"HAPROXY_0_MODE": mode}, "instances": tasks.len(),
        "healthChecks": checks, "tasks": tasks.iter().map(task).collect::<Vec<_>>()})
}

fn put(file: &Path, apps: &[Value]) {
    std::fs::write(file, json!(apps).to_string()).unwrap();
}

async fn start(file: &Path) -> Baton {
    let toml = format!(
        "[marathon]\nfile = {file:?}\ngroups = [\"*\"]\n[haproxy]\ndrain_timeout = \"4s\"\nmin_reload_spacing = \"50ms\"\n"
    );
    Baton::start(&toml, &[]).await.unwrap()
}

/// Has HAProxy reloaded although nothing changed.
async fn force_reload(baton: &Baton) {
    let count = |status: &Value| status["applied"]["reloads"].as_u64().unwrap();
    let before = count(&baton.status().await.unwrap());
    baton.signal(Signal::SIGUSR1).unwrap();
    baton.until("reloaded", |status| count(status) > before).await.unwrap();
}

/// A connection through the load balancer and the task that has it.
async fn connect(port: u16) -> (TcpStream, u16) {
    for _ in 0..500 {
        if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let mut greeting = [0; 5];
            if stream.read_exact(&mut greeting).is_ok() {
                return (stream, std::str::from_utf8(&greeting).unwrap().parse().unwrap());
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody greets on port {port}");
}

async fn connect_to(port: u16, task: u16) -> TcpStream {
    for _ in 0..100 {
        let (stream, found) = connect(port).await;
        if found == task {
            return stream;
        }
    }
    panic!("no connection reaches task {task}");
}

fn echoes(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut buffer).is_ok() && buffer == *b"ping"
}

/// How long the session goes on.
fn lasts(mut stream: TcpStream, since: Instant) -> Duration {
    for _ in 0..200 {
        if !echoes(&mut stream) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    since.elapsed()
}

#[test]
fn a_server_that_its_check_holds_down_stays_so_through_a_reload() {
    on_a_host(&[], || async {
        let file = tempfile::NamedTempFile::new().unwrap();
        let [good, bad] = [31_001, 31_002].map(|port| Task::serve(port, Task::http));
        put(file.path(), &[app("/web", 10_001, "http", &[31_001, 31_002], true)]);
        let baton = start(file.path()).await;
        baton.until("two servers", |status| status["applied"]["servers"] == 2).await.unwrap();
        bad.unfit.store(true, Ordering::SeqCst);
        // HAProxy has found out once a round of requests leaves it out.
        let round = async || {
            let before = bad.requests.load(Ordering::SeqCst);
            for _ in 0..8 {
                assert_eq!(get("http://127.0.0.1:10001/", &[]).await.status, 200);
            }
            bad.requests.load(Ordering::SeqCst) - before
        };
        for _ in 0..100 {
            if baton.log().contains("is DOWN") && round().await == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(round().await, 0);
        for _ in 0..3 {
            force_reload(&baton).await;
            assert_eq!(round().await, 0, "it gets nothing after a reload:\n{}", baton.log());
        }
        let told = std::fs::read_to_string(baton.dir().join("state/server-state")).unwrap();
        assert_eq!(told.lines().count(), 2, "nothing is left of what the worker was told: {told}");
        bad.unfit.store(false, Ordering::SeqCst);
        for _ in 0..100 {
            if round().await > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(round().await > 0, "it serves again once its check passes");
        assert!(good.requests.load(Ordering::SeqCst) > 0);
    });
}

#[test]
fn a_draining_server_keeps_its_session_through_reloads_until_its_time_is_up() {
    on_a_host(&[], || async {
        let file = tempfile::NamedTempFile::new().unwrap();
        for port in [31_001, 31_002, 31_003] {
            Task::serve(port, Task::echo);
        }
        let apps = |tasks: &[u16]| app("/echo", 10_001, "tcp", tasks, false);
        put(file.path(), &[apps(&[31_001, 31_002, 31_003])]);
        let baton = start(file.path()).await;
        baton.until("three servers", |status| status["applied"]["servers"] == 3).await.unwrap();
        let (mut first, mut second) = (connect_to(10_001, 31_001).await, connect_to(10_001, 31_002).await);
        let mut stays = connect_to(10_001, 31_003).await;

        // One leaves at run time, before the reload.
        let left = Instant::now();
        put(file.path(), &[apps(&[31_002, 31_003])]);
        baton.until("draining", |status| status["applied"]["draining"] == 1).await.unwrap();
        force_reload(&baton).await;
        assert!(echoes(&mut first) && echoes(&mut second) && echoes(&mut stays));

        // The other one with a reload that a new app asks for.
        let with_reload = Instant::now();
        put(file.path(), &[apps(&[31_003]), app("/more", 10_002, "tcp", &[31_003], false)]);
        baton.until("both", |status| status["applied"]["backends"] == 2).await.unwrap();
        assert!(echoes(&mut first) && echoes(&mut second) && echoes(&mut stays));
        for _ in 0..6 {
            assert_eq!(connect(10_001).await.1, 31_003, "nothing new for those that leave");
        }
        let busy = |status: &Value| {
            let mut all = status["haproxy"]["old_workers"].as_array().unwrap().iter();
            all.find(|old| old["connections"].as_u64().is_some_and(|count| count > 0)).cloned()
        };
        let status = baton.until("old workers", |status| busy(status).is_some()).await.unwrap();
        let old = busy(&status).unwrap();
        let (since, until) = (old["since"].as_f64().unwrap(), old["until"].as_f64().unwrap());
        assert!((until - since - 3_660.0).abs() < 1.0, "{old}");

        let [first, second] = [(first, left), (second, with_reload)]
            .map(|(stream, since)| std::thread::spawn(move || lasts(stream, since)));
        for (name, thread) in [("first", first), ("second", second)] {
            // The clock of one starts before its removal is noticed.
            while !thread.is_finished() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let lasted = thread.join().unwrap();
            assert!(lasted > Duration::from_millis(3_900) && lasted < Duration::from_secs(8), "{name}: {lasted:?}");
        }
        assert!(echoes(&mut stays), "what is still wanted goes on in the old worker");
    });
}
