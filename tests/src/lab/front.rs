//! What serves on a lab host and says its name: an HAProxy of a fixed configuration, or a bare responder behind one.
//!
//! The HAProxy stands beside keepalived; the responder is the task that `baton`'s HAProxy has on each host. Both answer
//! every HTTP request with the host's name, so a client knows which host has the virtual address.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;

use super::haproxy_binary;
use super::host::Host;
use super::lan::wait_for;
use super::process::Process;

/// The port that is asked for the name, on every kind of load balancer.
pub const PORT: u16 = 10080;

/// A running HAProxy without `baton`.
#[derive(Debug)]
pub struct Front {
    host: Arc<Host>,
    process: Process,
}

impl Front {
    /// Starts it on port 80 and [`PORT`] of every address, and waits until it listens.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(host: &Arc<Host>) -> anyhow::Result<Self> {
        let mut config = String::from(
            "global\n  nbthread 1\n\ndefaults\n  mode http\n  timeout client 2s\n  timeout server 2s\n  \
             timeout connect 2s\n\nfrontend name\n",
        );
        for port in [80, PORT] {
            writeln!(config, "  bind :::{port} v4v6")?;
        }
        writeln!(config, "  http-request return status 200 content-type text/plain string {}", host.name())?;
        std::fs::write(host.dir().join("haproxy.cfg"), config)?;
        let process = Self::launch(host)?;
        Ok(Self { host: Arc::clone(host), process })
    }

    /// Kills it, without a word to anybody.
    pub fn kill(&mut self) {
        self.process.kill_family();
    }

    /// Starts another one after `kill`.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn again(&mut self) -> anyhow::Result<()> {
        self.process = Self::launch(&self.host)?;
        Ok(())
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Its process id, in a file of the host's directory: for a script that looks after it.
    pub fn pid_file(host: &Host) -> std::path::PathBuf {
        host.dir().join("haproxy.pid")
    }

    fn launch(host: &Host) -> anyhow::Result<Process> {
        let binary = haproxy_binary()?;
        let config = host.dir().join("haproxy.cfg");
        let path = |path: &std::path::Path| path.to_str().map(str::to_owned).context("a path in UTF-8");
        let process = host.spawn("haproxy", &path(&binary)?, &["-db", "-f", &path(&config)?])?;
        std::fs::write(Self::pid_file(host), format!("{}\n", process.pid()))?;
        listens(host, PORT).with_context(|| process.log())?;
        Ok(process)
    }
}

/// A task that answers with the host's name; dropping it ends it.
#[derive(Debug)]
pub struct Responder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Where it listens, on the host's loopback.
    pub const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 31_000);

    /// Starts it on `host`.
    ///
    /// # Errors
    /// When its address is taken.
    pub fn start(host: &Host) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, name) = (Arc::clone(&stop), host.name().to_owned());
        let thread = host.run(move || -> std::io::Result<_> {
            let listener = TcpListener::bind(Self::ADDRESS)?;
            let serve = move || {
                for stream in listener.incoming().flatten() {
                    if theirs.load(Ordering::Relaxed) {
                        return;
                    }
                    // A client that goes away is none of its business.
                    let _ = answer(stream, &name);
                }
            };
            std::thread::Builder::new().name("responder".to_owned()).spawn(serve)
        });
        Ok(Self { stop, thread: Some(thread.context("start the responder")?) })
    }

    /// Ends it; `host` is where it was started.
    pub fn stop(mut self, host: &Host) {
        self.stop.store(true, Ordering::Relaxed);
        // A last connection wakes it.
        let woken = host.run(|| TcpStream::connect(Self::ADDRESS).is_ok());
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut request = Vec::new();
    let mut buffer = [0; 2048];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < 64 * 1024 {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            size => request.extend_from_slice(&buffer[..size]),
        }
    }
    let size = name.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n{name}")
}

/// Waits until something listens on the port of the host's loopback.
///
/// # Errors
/// When nothing does within five seconds.
pub fn listens(host: &Host, port: u16) -> anyhow::Result<()> {
    wait_for(&format!("something listens on port {port} of {}", host.name()), Duration::from_secs(5), || {
        host.run(move || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
    })
}
