//! The file that holds the last good apps: a line that says what it is, then JSON.
//!
//! Used by `store`; pure. `baton-apps VERSION SHA256 LENGTH` and, below, exactly that many bytes of
//! that digest. What is torn, foreign or newer is refused as a whole: half a list would be worse
//! than none.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use haproxy::app::{
    App, AppId, Check, CheckProtocol, CheckTarget, Health, Instance, Networking, Port, Snapshot, TaskState,
};
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::source::Restored;

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is something else.
    #[error("it is no file of apps that baton wrote")]
    Foreign,
    /// This version does not know its form.
    #[error("a newer baton wrote it (form {0}, this one knows {VERSION})")]
    Newer(u32),
    /// It was not written to its end, or changed since.
    #[error("it is torn: its checksum is not that of its content")]
    Torn,
    /// It is whole, but not what its form says.
    #[error("it cannot be understood: {0}")]
    Content(String),
    /// It tells of other members.
    #[error("it is about another cluster: {0}")]
    OtherCluster(String),
}

/// The text of the file. `members` are those of the cluster; `as_of` is when Marathon last vouched
/// for the apps.
pub fn write(snapshot: &Snapshot, members: &[String], as_of: SystemTime) -> Vec<u8> {
    let since = as_of.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let stored = Stored {
        as_of: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        members: members.to_vec(),
        apps: snapshot.apps.values().map(|app| StoredApp::from(&**app)).collect(),
    };
    // Strings, numbers and lists: nothing that could fail.
    let body = serde_json::to_vec(&stored).unwrap_or_default();
    let mut text = format!("{MAGIC} {VERSION} {} {}\n", checksum(&body), body.len()).into_bytes();
    text.extend_from_slice(&body);
    text
}

/// Reads the file back for a cluster of these members.
///
/// # Errors
/// When it is not exactly what [`write()`] gave, or is about another cluster.
pub fn read(text: &[u8], members: &[String]) -> Result<Restored, Refused> {
    let end = text.iter().take(HEAD).position(|byte| *byte == b'\n').ok_or(Refused::Foreign)?;
    let (head, body) = (&text[..end], &text[end + 1..]);
    let head = std::str::from_utf8(head).map_err(|_| Refused::Foreign)?;
    let (magic, rest) = head.split_once(' ').ok_or(Refused::Foreign)?;
    let (version, rest) = rest.split_once(' ').ok_or(Refused::Foreign)?;
    let version: u32 = version.parse().map_err(|_| Refused::Foreign)?;
    if magic != MAGIC || version == 0 {
        return Err(Refused::Foreign);
    }
    if version > VERSION {
        return Err(Refused::Newer(version));
    }
    if rest != format!("{} {}", checksum(body), body.len()) {
        return Err(Refused::Torn);
    }
    let stored: Stored = serde_json::from_slice(body).map_err(|why| Refused::Content(why.to_string()))?;
    if !stored.members.iter().any(|member| members.contains(member)) {
        return Err(Refused::OtherCluster(stored.members.join(", ")));
    }
    let mut apps = BTreeMap::new();
    for app in stored.apps {
        let id = AppId::parse(&app.id).map_err(|why| Refused::Content(format!("{:?}: {why}", app.id)))?;
        apps.insert(id.clone(), Arc::new(app.into_app(id)));
    }
    let written = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(stored.as_of));
    Ok(Restored { apps, written: written.unwrap_or(SystemTime::UNIX_EPOCH) })
}

fn checksum(body: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, body);
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[derive(Serialize, Deserialize)]
struct Stored {
    /// Milliseconds since 1970.
    as_of: u64,
    members: Vec<String>,
    apps: Vec<StoredApp>,
}

#[derive(Serialize, Deserialize)]
struct StoredApp {
    id: String,
    labels: BTreeMap<String, String>,
    #[serde(with = "NetworkingForm")]
    networking: Networking,
    service_ports: Vec<Option<u16>>,
    checks: Vec<StoredCheck>,
    instances: Vec<StoredInstance>,
    wanted: u32,
}

#[derive(Serialize, Deserialize)]
struct StoredCheck {
    #[serde(with = "ProtocolForm")]
    protocol: CheckProtocol,
    path: Option<String>,
    #[serde(with = "TargetForm")]
    target: CheckTarget,
    interval: Duration,
    timeout: Duration,
    max_consecutive_failures: u32,
}

#[derive(Serialize, Deserialize)]
struct StoredInstance {
    id: String,
    host: String,
    addr: Option<IpAddr>,
    ports: Vec<Option<u16>>,
    #[serde(with = "StateForm")]
    state: TaskState,
    #[serde(with = "HealthForm")]
    health: Health,
}

impl From<&App> for StoredApp {
    fn from(app: &App) -> Self {
        Self {
            id: app.id.as_str().to_owned(),
            labels: app.labels.clone(),
            networking: app.networking,
            service_ports: app.ports.iter().map(|port| port.service_port).collect(),
            checks: app.checks.iter().map(StoredCheck::from).collect(),
            instances: app.instances.iter().map(StoredInstance::from).collect(),
            wanted: app.wanted,
        }
    }
}

impl StoredApp {
    fn into_app(self, id: AppId) -> App {
        App {
            id,
            labels: self.labels,
            networking: self.networking,
            ports: self.service_ports.into_iter().map(|service_port| Port { service_port }).collect(),
            checks: self.checks.into_iter().map(Check::from).collect(),
            instances: self.instances.into_iter().map(Instance::from).collect(),
            wanted: self.wanted,
        }
    }
}

impl From<&Check> for StoredCheck {
    fn from(check: &Check) -> Self {
        let Check { protocol, path, target, interval, timeout, max_consecutive_failures } = check.clone();
        Self { protocol, path, target, interval, timeout, max_consecutive_failures }
    }
}

impl From<StoredCheck> for Check {
    fn from(check: StoredCheck) -> Self {
        let StoredCheck { protocol, path, target, interval, timeout, max_consecutive_failures } = check;
        Self { protocol, path, target, interval, timeout, max_consecutive_failures }
    }
}

impl From<&Instance> for StoredInstance {
    fn from(instance: &Instance) -> Self {
        let Instance { id, host, addr, ports, state, health } = instance.clone();
        Self { id, host, addr, ports, state, health }
    }
}

impl From<StoredInstance> for Instance {
    fn from(instance: StoredInstance) -> Self {
        let StoredInstance { id, host, addr, ports, state, health } = instance;
        Self { id, host, addr, ports, state, health }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Networking", rename_all = "lowercase")]
enum NetworkingForm {
    Host,
    Bridge,
    Container,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "CheckProtocol", rename_all = "snake_case")]
enum ProtocolForm {
    Http,
    MesosHttp,
    Https,
    MesosHttps,
    Tcp,
    Command,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "CheckTarget", rename_all = "lowercase")]
enum TargetForm {
    Index(usize),
    Port(u16),
    None,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "TaskState", rename_all = "lowercase")]
enum StateForm {
    Running,
    Unreachable,
    Starting,
    Killing,
    Ended,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Health", rename_all = "lowercase")]
enum HealthForm {
    Alive,
    Dead,
    Unknown,
}

const MAGIC: &str = "baton-apps";

/// The form written now; a change that an older reader would misunderstand counts it up.
const VERSION: u32 = 1;

/// The longest first line.
const HEAD: usize = 200;
