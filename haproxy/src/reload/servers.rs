//! What a new worker is told of the servers, so that a reload does not let a dead one serve again.
//!
//! Part of the reload cycle: written just before the reload, taken back right after it, because a
//! stale file would speak for servers that have changed since. It says no more than which servers
//! HAProxy's own checks hold down, and only of those that the new configuration has just so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::{Reloader, blocking};
use crate::bundle::Bundle;
use crate::disk::DiskError;
use crate::master::MasterError;

impl Reloader {
    /// Has the worker that comes with `bundle` know what the current one knows. What fails leaves it
    /// to find out for itself.
    pub(super) async fn tell_of_servers(&self, bundle: &Bundle) -> Result<(), Untold> {
        let state = self.master.servers().await?;
        let Some(down) = still_down(&state, bundle.config()) else { return Ok(()) };
        let disk = self.disk.clone();
        Ok(blocking(move || disk.remember_servers(&down)).await?)
    }

    /// Takes back what was told.
    pub(super) async fn untell_of_servers(&self) -> Result<(), DiskError> {
        let disk = self.disk.clone();
        blocking(move || disk.forget_servers()).await
    }
}

/// Why the new worker takes every server to be up.
#[derive(Debug, thiserror::Error)]
pub enum Untold {
    /// The old one cannot be asked.
    #[error(transparent)]
    Master(#[from] MasterError),
    /// It cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The rows of `show servers state` about servers that are down and in `config` as they were; none
/// if there is no such row, or the table is not understood.
fn still_down(state: &str, config: &str) -> Option<String> {
    let mut lines = state.lines().filter(|line| !line.trim().is_empty());
    let version = lines.next().filter(|line| line.trim() == "1")?;
    let header = lines.next()?;
    let columns: Vec<&str> = header.strip_prefix("# ")?.split_ascii_whitespace().collect();
    let at = |name: &str| columns.iter().position(|column| *column == name);
    let (backend, server, addr, port) = (at("be_name")?, at("srv_name")?, at("srv_addr")?, at("srv_port")?);
    let (op, admin, weight) = (at("srv_op_state")?, at("srv_admin_state")?, at("srv_uweight")?);
    let mut down = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let field = |at: usize| fields.get(at).copied();
        if field(op)? != STOPPED || field(admin)? != "0" {
            continue;
        }
        let Ok(ip) = field(addr)?.parse() else { continue };
        let Ok(port) = field(port)?.parse() else { continue };
        let server = Checked { addr: SocketAddr::new(ip, port), weight: field(weight)?, name: field(server)? };
        down.push((field(backend)?, server, line));
    }
    if down.is_empty() {
        return None;
    }
    let wanted = checked(config, &down.iter().map(|(backend, ..)| *backend).collect());
    down.retain(|(backend, server, _)| wanted.get(backend).is_some_and(|servers| servers.contains(server)));
    let rows = down.iter().map(|(.., line)| *line);
    let text: Vec<&str> = [version, header].into_iter().chain(rows).collect();
    (text.len() > 2).then(|| text.join("\n") + "\n")
}

/// A server that HAProxy checks and that may serve.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Checked<'a> {
    addr: SocketAddr,
    weight: &'a str,
    name: &'a str,
}

/// Such servers of these backends.
fn checked<'a>(config: &'a str, backends: &BTreeSet<&str>) -> BTreeMap<&'a str, BTreeSet<Checked<'a>>> {
    let mut found: BTreeMap<&str, BTreeSet<Checked<'a>>> = BTreeMap::new();
    let mut section = None;
    for line in config.lines() {
        if !line.starts_with(' ') {
            section = line.strip_prefix("backend ").map(str::trim).filter(|name| backends.contains(name));
            continue;
        }
        let (Some(backend), Some(server)) = (section, line.trim_start().strip_prefix("server ")) else { continue };
        let words: Vec<&str> = server.split_ascii_whitespace().collect();
        let [name, addr, options @ ..] = words.as_slice() else { continue };
        let after = |word: &str| options.iter().skip_while(|option| **option != word).nth(1).copied();
        let serves = options.contains(&"check") && !options.contains(&"disabled");
        if let (Ok(addr), true) = (addr.parse(), serves) {
            let weight = after("weight").unwrap_or("1");
            found.entry(backend).or_default().insert(Checked { addr, weight, name });
        }
    }
    found
}

/// `SRV_ST_STOPPED`.
const STOPPED: &str = "0";

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "frontend b\n  use_backend b\nbackend b\n  balance roundrobin\n\
        \x20 server down 10.0.0.1:80 id 1 check inter 5s\n\
        \x20 server six [::1]:80 id 2 weight 3 check\n\
        \x20 server moved 10.0.0.9:80 id 3 check\n\
        \x20 server heavier 10.0.0.4:80 id 4 weight 9 check\n\
        \x20 server maint 10.0.0.5:80 id 5 check disabled\n\
        \x20 server blind 10.0.0.6:80 id 6\n\
        \x20 server drained 10.0.0.7:80 id 7 check\n\
        \x20 server up 10.0.0.8:80 id 8 check\n\
        backend c\n  server down 10.0.0.1:81 id 1 check\n";

    fn row(backend: &str, server: &str, addr: &str, op_admin_weight: &str, port: u16) -> String {
        format!("3 {backend} 1 {server} {addr} {op_admin_weight} 1 9 8 2 0 6 0 0 1 - {port} - 0 0 - - 0")
    }

    #[test]
    fn only_what_is_down_and_just_so_in_the_new_configuration_is_told() {
        let head = crate::disk::NO_SERVERS;
        let rows = [
            row("b", "down", "10.0.0.1", "0 0 1", 80),
            row("b", "six", "::1", "0 0 3", 80),
            row("b", "moved", "10.0.0.3", "0 0 1", 80),
            row("b", "heavier", "10.0.0.4", "0 0 1", 80),
            row("b", "maint", "10.0.0.5", "0 0 1", 80),
            row("b", "blind", "10.0.0.6", "0 0 1", 80),
            row("b", "drained", "10.0.0.7", "0 8 1", 80),
            row("b", "up", "10.0.0.8", "2 0 1", 80),
            row("b", "gone", "10.0.0.2", "0 0 1", 80),
            row("c", "down", "10.0.0.1", "0 0 1", 80),
            row("d", "down", "10.0.0.1", "0 0 1", 80),
        ];
        let told = still_down(&format!("{head}{}\n\n", rows.join("\n")), CONFIG);
        assert_eq!(told, Some(format!("{head}{}\n{}\n", rows[0], rows[1])));
        assert_eq!(still_down(&format!("{head}{}\n", rows[7]), CONFIG), None);
        for bad in ["", "2\n", "1\n", &format!("{head}3 b\n"), "Can't find the target\n"] {
            assert_eq!(still_down(bad, CONFIG), None, "{bad}");
        }
    }
}
