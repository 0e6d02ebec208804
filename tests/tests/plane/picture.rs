//! Servers and maps: as HAProxy shows them on its socket, and as its files have them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// What is served, without what is on its way out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    /// By backend and name.
    servers: BTreeMap<(String, String), Server>,
    /// By map and key.
    maps: BTreeMap<(String, String), String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    addr: SocketAddr,
    id: u32,
    weight: u32,
}

impl Picture {
    /// What the HAProxy of a daemon's directory runs.
    pub(crate) async fn running(dir: &Path) -> anyhow::Result<Self> {
        let socket = dir.join(SOCKET);
        let mut picture = Self::default();
        let table = ask(&socket, "show servers state").await?;
        let mut lines = table.lines().skip_while(|line| !line.starts_with("# "));
        let names: Vec<&str> = lines.next().context("a table")?[2..].split(' ').collect();
        let at = |name: &str| names.iter().position(|n| *n == name).with_context(|| name.to_owned());
        let (backend, name, id, ip) = (at("be_name")?, at("srv_name")?, at("srv_id")?, at("srv_addr")?);
        let (port, weight, admin) = (at("srv_port")?, at("srv_uweight")?, at("srv_admin_state")?);
        for line in lines.filter(|line| !line.trim().is_empty()) {
            let fields: Vec<&str> = line.split(' ').collect();
            if fields.len() < names.len() {
                bail!("half a line: {line}");
            }
            if fields[admin] != "0" {
                continue;
            }
            let server = Server {
                addr: SocketAddr::new(fields[ip].parse()?, fields[port].parse()?),
                id: fields[id].parse()?,
                weight: fields[weight].parse()?,
            };
            picture.servers.insert((fields[backend].to_owned(), fields[name].to_owned()), server);
        }
        for map in MAPS {
            for line in ask(&socket, &format!("show map {map}")).await?.lines().filter(|line| !line.trim().is_empty()) {
                let mut words = line.split(' ').skip(1);
                let (key, value) = (words.next().context("a key")?, words.next().context("a value")?);
                picture.maps.insert((map.to_owned(), key.to_owned()), value.to_owned());
            }
        }
        Ok(picture)
    }

    /// What the current files of a daemon's directory say; they are the confirmed ones, too.
    pub(crate) fn filed(dir: &Path) -> anyhow::Result<Self> {
        let state = dir.join("state");
        let (current, confirmed) = (state.join("current"), state.join("confirmed"));
        if std::fs::read_link(&current)? != std::fs::read_link(confirmed)? {
            bail!("the current files are not the confirmed ones");
        }
        let mut picture = Self::default();
        let mut backend = String::new();
        for line in std::fs::read_to_string(current.join("haproxy.cfg"))?.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["backend", name] => backend = (*name).to_owned(),
                ["server", name, addr, rest @ ..] => {
                    let after = |word: &str| {
                        let value = rest.iter().skip_while(|w| **w != word).nth(1);
                        value.map(|value| value.parse::<u32>()).transpose()
                    };
                    let server = Server {
                        addr: addr.parse()?,
                        id: after("id")?.context("an id")?,
                        weight: after("weight")?.unwrap_or(1),
                    };
                    picture.servers.insert((backend.clone(), (*name).to_owned()), server);
                }
                _ => (),
            }
        }
        for map in MAPS {
            for line in std::fs::read_to_string(current.join(map))?.lines() {
                let (key, value) = line.split_once(' ').context("key and value")?;
                picture.maps.insert((map.to_owned(), key.to_owned()), value.to_owned());
            }
        }
        Ok(picture)
    }

    /// Where each backend's servers are.
    pub(crate) fn addresses(&self) -> BTreeMap<String, BTreeSet<SocketAddr>> {
        let mut all: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for ((backend, _), server) in &self.servers {
            all.entry(backend.clone()).or_default().insert(server.addr);
        }
        all
    }

    /// The backend of a route.
    pub(crate) fn route(&self, key: &str) -> Option<&str> {
        self.maps.get(&("routes.map".to_owned(), key.to_owned())).map(String::as_str)
    }

    /// What is in one and not in the other.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let only = |a: &Self, b: &Self| {
            let servers = a.servers.iter().filter(|(at, server)| b.servers.get(*at) != Some(*server));
            let maps = a.maps.iter().filter(|(at, value)| b.maps.get(*at) != Some(*value));
            servers.map(|entry| format!("{entry:?}")).chain(maps.map(|entry| format!("{entry:?}"))).collect::<Vec<_>>()
        };
        (self != other).then(|| format!("here {:#?}, there {:#?}", only(self, other), only(other, self)))
    }
}

/// Asks one thing on a connection of its own.
pub(crate) async fn ask(socket: &Path, command: &str) -> anyhow::Result<String> {
    let asking = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    tokio::time::timeout(Duration::from_secs(5), asking).await?
}

/// HAProxy's socket below a daemon's directory.
pub(crate) const SOCKET: &str = "run/haproxy.sock";

const MAPS: [&str; 2] = ["routes.map", "apps.map"];
