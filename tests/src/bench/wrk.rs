//! Load by `wrk`: connections that stay open, each request to one of many virtual hosts.
//!
//! Used by the suites that measure what clients see.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

/// What to send.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where to.
    pub port: u16,
    /// The hosts that requests name, drawn at random.
    pub hosts: Vec<String>,
    /// Open connections.
    pub connections: usize,
    /// Between two requests of one connection.
    pub pause: Duration,
    /// How long.
    pub time: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Requests that were answered.
    pub requests: f64,
    /// Answers of 400 and above, and whatever a connection ended with but an answer.
    pub failed: f64,
    /// The answer that 99 % are quicker than.
    pub p99: Duration,
    /// Answers in a second.
    pub rate: f64,
}

impl Load {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When `wrk` is missing or fails, or nothing was answered.
    pub async fn run(&self) -> anyhow::Result<Seen> {
        let dir = tempfile::Builder::new().prefix("baton-bench-").tempdir()?;
        let script = dir.path().join("load.lua");
        std::fs::write(&script, self.script())?;
        let mut wrk = Command::new("wrk");
        wrk.args(["--threads", "1", "--timeout", "5s", "--connections", &self.connections.to_string()]);
        wrk.args(["--duration", &format!("{}s", self.time.as_secs()), "--script"]).arg(&script);
        wrk.arg(format!("http://127.0.0.1:{}/", self.port)).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(self.time + PATIENCE, wrk.output()).await.context("wrk does not end")?;
        let output = output.context("run wrk, of the Debian package of that name")?;
        ensure!(output.status.success(), "wrk: {}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout)?;
        let line = said.lines().find_map(|line| line.strip_prefix("result ")).context("wrk gives no result")?;
        let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [requests, failed, p99, micros] = numbers[..] else { anyhow::bail!("wrk gives {line:?}") };
        ensure!(requests > 0.0, "nothing is answered on port {}: {said}", self.port);
        let p99 = Duration::from_secs_f64(p99 / 1e6);
        Ok(Seen { requests, failed, p99, rate: requests * 1e6 / micros })
    }

    /// All requests are made beforehand, so that drawing one costs next to nothing.
    fn script(&self) -> String {
        let mut hosts = String::new();
        for host in &self.hosts {
            // Writing to a String cannot fail.
            let _ = write!(hosts, "{host:?},");
        }
        let pause = match self.pause.as_millis() {
            0 => String::new(),
            ms => format!("function delay() return {ms} end\n"),
        };
        format!(
            "local requests = {{}}\n\
             function init()\n\
               for _, host in ipairs({{{hosts}}}) do\n\
                 requests[#requests + 1] = wrk.format(\"GET\", \"/\", {{Host = host}})\n\
               end\n\
             end\n\
             function request() return requests[math.random(#requests)] end\n\
             {pause}\
             function done(s, latency)\n\
               local e = s.errors\n\
               local failed = e.connect + e.read + e.write + e.status + e.timeout\n\
               io.write(string.format(\"result %d %d %d %d\\n\", s.requests, failed, latency:percentile(99), s.duration))\n\
             end\n"
        )
    }
}

/// Beyond the time it was given.
const PATIENCE: Duration = Duration::from_secs(20);
