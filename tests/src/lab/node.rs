//! A load balancer with `baton` and its HAProxy on a lab host, the two as units of their own.
//!
//! HAProxy is started here, as its unit does it, with what a package ships for the first boot; `baton` drives it by the
//! master socket, and neither's life touches the other's. A node serves one app, whose task is a responder on the node
//! itself, so that the answer tells who has the virtual address; or it follows a Marathon.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::baton::{binary, write_config};
use super::front::{PORT, Responder, listens};
use super::haproxy_binary;
use super::host::Host;
use super::lan::{INTERFACE, until, wait_for};
use super::process::Process;
use super::router::Router;

/// `baton` and HAProxy on a host; dropping it kills both.
#[derive(Debug)]
pub struct Node {
    host: Arc<Host>,
    routers: Vec<Router>,
    /// Where the apps come from, as TOML.
    source: String,
    /// What else stands in the configuration.
    more: String,
    /// A program that `baton` is started by, with its arguments.
    wrapper: Vec<String>,
    daemon: Option<Process>,
    haproxy: Option<Process>,
    responder: Option<Responder>,
}

impl Node {
    /// Starts both and waits until the node says its name on [`PORT`]; `more` is TOML behind the router's block.
    ///
    /// # Errors
    /// When one does not start or nothing is served.
    pub fn start(host: &Arc<Host>, router: Router, more: &str) -> anyhow::Result<Self> {
        Self::start_all(host, vec![router], more)
    }

    /// As `start`, with many routers.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_all(host: &Arc<Host>, routers: Vec<Router>, more: &str) -> anyhow::Result<Self> {
        let mut node = Self::prepare(host, routers, more)?;
        node.start_haproxy()?;
        node.resume()?;
        node.serves()?;
        Ok(node)
    }

    /// As `start_all`, but nothing runs yet: HAProxy is started by `start_haproxy`, `baton` by `resume`.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn prepare(host: &Arc<Host>, routers: Vec<Router>, more: &str) -> anyhow::Result<Self> {
        let file = host.dir().join("apps.json");
        std::fs::write(&file, app().to_string())?;
        let mut node = Self::new(host, routers, format!("file = {file:?}"), more);
        node.responder = Some(Responder::start(host)?);
        node.lay_out()?;
        Ok(node)
    }

    /// Waits until it says its name on [`PORT`].
    ///
    /// # Errors
    /// When it does not; its log is in the error.
    pub fn serves(&self) -> anyhow::Result<()> {
        listens(&self.host, PORT).with_context(|| self.log())
    }

    /// As `start`, but follows the Marathon at this address and serves its apps.
    ///
    /// # Errors
    /// When one does not start or nothing is applied.
    pub fn follow(host: &Arc<Host>, router: Router, marathon: &str, more: &str) -> anyhow::Result<Self> {
        let mut node = Self::new(host, vec![router], format!("urls = [{marathon:?}]"), more);
        node.lay_out()?;
        node.start_haproxy()?;
        node.resume()?;
        node.until("applied a configuration", |status| status["applied"]["at"].is_number())?;
        Ok(node)
    }

    fn new(host: &Arc<Host>, routers: Vec<Router>, source: String, more: &str) -> Self {
        let more = more.to_owned();
        Self {
            host: Arc::clone(host),
            routers,
            source,
            more,
            wrapper: Vec::new(),
            daemon: None,
            haproxy: None,
            responder: None,
        }
    }

    fn lay_out(&self) -> anyhow::Result<()> {
        std::fs::create_dir_all(self.file("state/first"))?;
        std::fs::create_dir_all(self.file("run"))?;
        std::fs::write(self.file("state/first/haproxy.cfg"), FIRST_BOOT)?;
        std::os::unix::fs::symlink("first", self.file("state/current"))?;
        Ok(())
    }

    /// From its next start on, `baton` is started by this program (`setpriv` with its arguments).
    pub fn wrap(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
    }

    /// What else is to stand in its configuration, from its next start or [`Node::reload`] on.
    pub fn more_mut(&mut self) -> &mut String {
        &mut self.more
    }

    /// Lets it read its configuration again, written anew from what it is told by now.
    ///
    /// # Errors
    /// When it does not run.
    pub fn reload(&self) -> anyhow::Result<()> {
        write_config(&self.file(""), &self.toml())?;
        self.signal(Signal::SIGHUP)
    }

    /// Where it runs.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// What it is told, from its next start on.
    pub fn routers_mut(&mut self) -> &mut Vec<Router> {
        &mut self.routers
    }

    /// Starts `baton` again after `stop` or `kill`, and waits until it answers.
    ///
    /// # Errors
    /// When it does not, or ends; its log is in the error.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        write_config(&self.file(""), &self.toml())?;
        let (baton, config) = (text(binary("baton")?)?, text(self.file("baton.toml"))?);
        let mut line: Vec<&str> = self.wrapper.iter().map(String::as_str).collect();
        line.extend([&baton, "run", "--config", &config]);
        let mut daemon = self.host.spawn("baton", line[0], &line[1..])?;
        let answered = until(PATIENCE, || self.status().is_ok() || !daemon.is_running());
        if !answered || !daemon.is_running() {
            bail!("baton does not answer on its socket:\n{}", self.log());
        }
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Starts HAProxy again after `kill_haproxy`, as its unit does.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_haproxy(&mut self) -> anyhow::Result<()> {
        let (program, socket) = (text(haproxy_binary()?)?, text(self.file("run/master.sock"))?);
        let config = text(self.file("state/current/haproxy.cfg"))?;
        let args = ["-W", "-S", &format!("{socket},mode,660"), "-f", &config];
        let process = self.host.spawn("haproxy", &program, &args)?;
        wait_for("HAProxy's master answers", PATIENCE, || UnixStream::connect(&socket).is_ok())
            .with_context(|| process.log())?;
        self.haproxy = Some(process);
        Ok(())
    }

    /// Stops `baton` in order and waits for its end; HAProxy goes on.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if self.daemon.is_some() {
            self.signal(Signal::SIGTERM)?;
        }
        self.end()
    }

    /// Waits for the end of a `baton` that was asked to stop.
    ///
    /// # Errors
    /// When it does not end.
    pub fn end(&mut self) -> anyhow::Result<()> {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.wait(PATIENCE)?;
        }
        Ok(())
    }

    /// Sends `baton` a signal: SIGTERM to stop, SIGUSR2 for an upgrade in place, SIGSTOP, SIGCONT.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.daemon.as_ref().context("baton does not run")?.signal(signal)
    }

    /// Kills `baton` without warning; HAProxy goes on.
    pub fn kill(&mut self) {
        // At once; dropping looks for its children first. One that has ended is what is wanted.
        let _ = self.signal(Signal::SIGKILL);
        self.daemon = None;
    }

    /// Kills HAProxy, master and workers at once; `baton` goes on.
    pub fn kill_haproxy(&mut self) {
        self.haproxy = None;
    }

    /// Stops HAProxy, master and workers, where it is; or lets it go on.
    pub fn signal_haproxy(&self, signal: Signal) {
        if let Some(haproxy) = &self.haproxy {
            haproxy.signal_family(signal);
        }
    }

    /// The process id of `baton`, and of its HAProxy's master.
    pub fn pids(&self) -> (Option<Pid>, Option<Pid>) {
        (self.daemon.as_ref().map(Process::pid), self.haproxy.as_ref().map(Process::pid))
    }

    /// The first virtual router in its status.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn router(&self) -> anyhow::Result<Value> {
        Ok(self.status()?["vrrp"]["routers"][0].take())
    }

    /// Waits until its first virtual router is in this state; its status.
    ///
    /// # Errors
    /// As `until`.
    pub fn until_state(&self, state: &str) -> anyhow::Result<Value> {
        let what = format!("is {state}");
        let mut status = self.until(&what, |status| status["vrrp"]["routers"][0]["state"] == state)?;
        Ok(status["vrrp"]["routers"][0].take())
    }

    /// Whether `baton` runs, HAProxy runs.
    pub fn running(&mut self) -> (bool, bool) {
        let runs = |process: &mut Option<Process>| process.as_mut().is_some_and(Process::is_running);
        (runs(&mut self.daemon), runs(&mut self.haproxy))
    }

    /// The CPU time that `baton` has used.
    pub fn cpu_time(&self) -> Duration {
        self.daemon.as_ref().map(Process::cpu_time).unwrap_or_default()
    }

    /// Its status, as `baton status --json` prints it.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn status(&self) -> anyhow::Result<Value> {
        let mut stream = UnixStream::connect(self.file("baton.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /status HTTP/1.1\r\nHost: baton\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
        Ok(serde_json::from_str(body)?)
    }

    /// Waits until `done` says so about its status.
    ///
    /// # Errors
    /// When that takes too long; the last status and the log are in the error.
    pub fn until(&self, what: &str, mut done: impl FnMut(&Value) -> bool) -> anyhow::Result<Value> {
        let mut last = Value::Null;
        let mut look = || {
            last = self.status().unwrap_or_default();
            done(&last)
        };
        match wait_for(what, PATIENCE, &mut look) {
            Ok(()) => Ok(last),
            Err(why) => bail!("{why}; the last status:\n{last:#}\nthe log:\n{}", self.log()),
        }
    }

    /// Runs a command of `baton` that talks to it, `["vip", "hold"]`; what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn ask(&self, command: &[&str]) -> anyhow::Result<String> {
        let (baton, socket) = (text(binary("baton")?)?, text(self.file("baton.sock"))?);
        self.host.command(&baton, &[command, &["--socket", &socket]].concat())
    }

    /// What it and HAProxy logged since the host was made.
    pub fn log(&self) -> String {
        let of = |name: &str| std::fs::read_to_string(self.host.dir().join(name)).unwrap_or_default();
        format!("{}HAProxy's:\n{}", of("baton.log"), of("haproxy.log"))
    }

    fn toml(&self) -> String {
        let source = &self.source;
        let mut toml = format!("[marathon]\n{source}\ngroups = [\"*\"]\n\n[haproxy]\nmanage = \"systemd\"\n\n");
        for router in &self.routers {
            // Writing to a string cannot fail.
            let _ = block(router, &mut toml);
        }
        toml + &self.more
    }

    fn file(&self, name: &str) -> PathBuf {
        self.host.dir().join(name)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.daemon = None;
        self.haproxy = None;
        if let Some(responder) = self.responder.take() {
            responder.stop(&self.host);
        }
    }
}

/// The `[[vrrp]]` block.
fn block(router: &Router, toml: &mut String) -> std::fmt::Result {
    writeln!(toml, "[[vrrp]]\nname = {:?}\ninterface = \"{INTERFACE}\"", router.name)?;
    writeln!(toml, "virtual_router_id = {}\npriority = {}", router.vrid, router.priority)?;
    writeln!(toml, "version = {}\npreempt = {}", router.version, router.preempt)?;
    writeln!(toml, "advertisement_interval = \"{}ms\"", router.interval.as_millis())?;
    writeln!(toml, "addresses = {:?}", router.addresses)?;
    if !router.excluded.is_empty() {
        writeln!(toml, "excluded_addresses = {:?}", router.excluded)?;
    }
    if let Some((source, peers)) = &router.unicast {
        let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
        writeln!(toml, "source_address = \"{source}\"\npeers = {peers:?}")?;
    }
    if let Some(password) = &router.auth_pass {
        writeln!(toml, "auth_pass = {password:?}")?;
    }
    Ok(())
}

/// The app that says who answers.
fn app() -> Value {
    let address = Responder::ADDRESS;
    json!([{
        "id": "/who",
        "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_MODE": "http"},
        "portDefinitions": [{"port": PORT}],
        "instances": 1,
        "tasks": [{
            "id": "who.1",
            "host": address.ip().to_string(),
            "ports": [address.port()],
            "state": "TASK_RUNNING",
        }],
    }])
}

fn text(path: PathBuf) -> anyhow::Result<String> {
    path.into_os_string().into_string().ok().context("a path in UTF-8")
}

/// What a package ships.
const FIRST_BOOT: &str = "defaults
  mode http
  timeout client 1s
  timeout server 1s
  timeout connect 1s

listen first
  bind *:9090
  monitor-uri /_haproxy_health_check
";

/// For what takes a moment on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_is_written_as_the_configuration_reads_it() {
        let router = Router {
            excluded: vec!["10.77.0.101/24".to_owned()],
            unicast: Some(("10.77.0.11".parse().unwrap(), vec!["10.77.0.12".parse().unwrap()])),
            auth_pass: Some("secret".to_owned()),
            version: 2,
            interval: Duration::from_secs(1),
            ..Router::new(150, &["10.77.0.100/24"])
        };
        let mut toml = String::new();
        block(&router, &mut toml).unwrap();
        let expected = "\
[[vrrp]]
name = \"public\"
interface = \"eth0\"
virtual_router_id = 51
priority = 150
version = 2
preempt = true
advertisement_interval = \"1000ms\"
addresses = [\"10.77.0.100/24\"]
excluded_addresses = [\"10.77.0.101/24\"]
source_address = \"10.77.0.11\"
peers = [\"10.77.0.12\"]
auth_pass = \"secret\"
";
        assert_eq!(toml, expected);
    }
}
