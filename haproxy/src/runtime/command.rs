//! The commands of the runtime API that are used, as lines, and the answers that mean success.
//!
//! Made from operations, sent by `connection`. An answer that is not on a command's list is a
//! failure, whatever it says: HAProxy's texts differ between releases, and its errors look like any
//! other text.

use std::fmt::Write as _;

use crate::bundle::MapName;
use crate::certs::Pem;
use crate::diff::{CertChange, MapChange, Op, Place};
use crate::model::{Admin, BackendId, Weight};
use crate::text;

use super::drains::Removal;

/// One line and what may be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    line: String,
    /// Further lines; the end of them is marked by an empty one.
    payload: String,
    expect: Expect,
}

/// The answers that mean success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// Nothing at all.
    Silence,
    /// Exactly this.
    Words(&'static str),
    /// Begins with one of these, and is one line.
    Begins(&'static [&'static str]),
    /// Begins and ends with these, whatever is told in between.
    Spans(&'static str, &'static str),
    /// A table or a value: whoever asked reads it.
    Data,
}

impl Command {
    fn new(line: String, expect: Expect) -> Self {
        Self { line, payload: String::new(), expect }
    }

    fn silent(line: String) -> Self {
        Self::new(line, Expect::Silence)
    }

    /// The line, without its end and without what follows it: fit for a message.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// All that is sent.
    pub(super) fn text(&self) -> String {
        match self.payload.as_str() {
            "" => format!("{}\n", self.line),
            payload => format!("{} <<\n{payload}\n", self.line),
        }
    }

    /// Whether HAProxy did it.
    pub(super) fn accepts(&self, reply: &str) -> bool {
        // For each line of a payload there is a prompt of another kind.
        let reply = if self.payload.is_empty() { reply } else { reply.trim_start_matches("+ ") };
        let reply = reply.trim();
        match self.expect {
            Expect::Silence => reply.is_empty(),
            Expect::Words(words) => reply == words,
            Expect::Begins(words) => !reply.contains('\n') && words.iter().any(|word| reply.starts_with(word)),
            Expect::Spans(first, last) => reply.starts_with(first) && reply.ends_with(last),
            Expect::Data => true,
        }
    }

    pub(super) fn show_info() -> Self {
        Self::new("show info".to_owned(), Expect::Data)
    }

    /// Whether backends can be made: what is missing is asked for only by those that can.
    pub(super) fn make_backend() -> Self {
        Self::new("add backend".to_owned(), Expect::Words("Require backend name."))
    }

    pub(super) fn show_servers() -> Self {
        Self::new("show servers state".to_owned(), Expect::Data)
    }

    /// A backend's servers with its number. (What they say of connections leaves out mode tcp.)
    pub(super) fn show_number(backend: &BackendId) -> Self {
        Self::new(format!("show servers conn {backend}"), Expect::Data)
    }

    /// Statistics of a backend's servers. Not by name, which would be the frontend's first, or taken
    /// for a number if it begins with one.
    pub(super) fn show_sessions(number: u32) -> Self {
        Self::new(format!("show stat {number} 4 -1"), Expect::Data)
    }

    pub(super) fn show_map(map: &MapName) -> Self {
        Self::new(format!("show map {}", map.as_str()), Expect::Data)
    }

    pub(super) fn prepare_map(map: &MapName) -> Self {
        Self::new(format!("prepare map {}", map.as_str()), Expect::Begins(&["New version created: "]))
    }

    /// Puts entries into the version that is being prepared.
    pub(super) fn stage(map: &MapName, version: u32, key: &str, value: &str) -> Self {
        Self::silent(format!("add map @{version} {} {} {}", map.as_str(), Word(key), Word(value)))
    }

    pub(super) fn commit_map(map: &MapName, version: u32) -> Self {
        Self::silent(format!("commit map @{version} {}", map.as_str()))
    }

    /// Throws away what was prepared.
    pub(super) fn clear_map(map: &MapName, version: u32) -> Self {
        Self::silent(format!("clear map @{version} {}", map.as_str()))
    }

    /// A step of taking a server out for good. It may be in drain or in maintenance: the way through drain
    /// makes HAProxy close the idle connections that would keep it.
    pub(super) fn remove(removal: &Removal) -> Vec<Self> {
        let Removal { place, cut, delete } = removal;
        let mut commands = match delete {
            true => vec![],
            false => vec![state(place, Admin::Drain), state(place, Admin::Maint)],
        };
        if *cut {
            commands.push(Self::silent(format!("shutdown sessions server {place}")));
        }
        if *delete {
            commands.push(Self::delete(place));
        }
        commands
    }

    /// Takes a server for `up` or `down`, until its check finds otherwise.
    pub(super) fn health(place: &Place, health: &str) -> Self {
        Self::silent(format!("set server {place} health {health}"))
    }

    /// Deletes a server in maintenance.
    pub(super) fn delete(place: &Place) -> Self {
        Self::new(format!("del server {place}"), Expect::Words("Server deleted."))
    }
}

/// The commands of an operation; none for a map's replacement, which takes an answer on its way.
pub(super) fn of(op: &Op) -> Vec<Command> {
    match op {
        Op::Create { id, profile, .. } => {
            let line = format!("add backend {id} from {profile}");
            vec![Command::new(line, Expect::Words("New backend registered."))]
        }
        Op::Publish { backend } => {
            vec![Command::new(format!("publish backend {backend}"), Expect::Words("Backend published."))]
        }
        Op::Add { backend, server, words, checked } => {
            let place = Place { backend: backend.clone(), server: server.name.clone() };
            let add = Command::new(format!("add server {backend}/{words}"), Expect::Words("New server registered."));
            [vec![add], let_it(&place, server.admin, *checked)].concat()
        }
        Op::Move { place, addr } => {
            let line = format!("set server {place} addr {} port {}", addr.ip(), addr.port());
            // HAProxy 3.0 says nothing of an address that stays.
            let expect = Expect::Begins(&["IP changed from ", "no need to change the addr", "port changed from "]);
            vec![Command::new(line, expect)]
        }
        Op::Weigh { place, weight } => vec![weigh(place, *weight)],
        Op::Let { place, admin, checked } => let_it(place, *admin, *checked),
        Op::Drain { place } => vec![state(place, Admin::Drain)],
        Op::Cert { file, change } => match change {
            CertChange::Add { list, pem } => {
                let new =
                    Command::new(format!("new ssl cert {file}"), Expect::Begins(&["New empty certificate store "]));
                let add = Command::new(
                    format!("add ssl crt-list {list} {file}"),
                    Expect::Spans("Inserting certificate ", "Success!"),
                );
                let [set, commit] = fill(file, pem);
                vec![new, set, commit, add]
            }
            CertChange::Renew { pem } => fill(file, pem).to_vec(),
            CertChange::Remove { list } => {
                let take = Command::new(format!("del ssl crt-list {list} {file}"), Expect::Spans("Entry ", "!"));
                let delete = Command::new(format!("del ssl cert {file}"), Expect::Spans("Certificate ", " deleted!"));
                vec![take, delete]
            }
        },
        Op::Map { map, change } => {
            let name = map.as_str();
            match change {
                MapChange::Add { key, value } => {
                    vec![Command::silent(format!("add map {name} {} {}", Word(key), Word(value)))]
                }
                MapChange::Set { key, value } => {
                    vec![Command::silent(format!("set map {name} {} {}", Word(key), Word(value)))]
                }
                MapChange::Del { key } => vec![Command::silent(format!("del map {name} {}", Word(key)))],
                MapChange::Swap { .. } => Vec::new(),
            }
        }
    }
}

/// Fills a certificate's place and makes it count.
fn fill(file: &text::Word, pem: &Pem) -> [Command; 2] {
    let created = &["Transaction created for certificate ", "Transaction updated for certificate "];
    let set = Command::new(format!("set ssl cert {file}"), Expect::Begins(created));
    let commit = Command::new(format!("commit ssl cert {file}"), Expect::Spans("Committing ", "Success!"));
    [Command { payload: pem.as_str().to_owned(), ..set }, commit]
}

/// Throws away what of a certificate was not committed, so that the next try finds the place free.
pub(super) fn give_up(op: &Op) -> Vec<Command> {
    let abort = |file: &text::Word| Command::silent(format!("abort ssl cert {file}"));
    match op {
        Op::Cert { file, change: CertChange::Renew { .. } } => vec![abort(file)],
        Op::Cert { file, change: CertChange::Add { .. } } => {
            vec![abort(file), Command::silent(format!("del ssl cert {file}"))]
        }
        _ => Vec::new(),
    }
}

/// A server that was added, or was in maintenance since it was loaded, is not checked by itself.
fn let_it(place: &Place, admin: Admin, checked: bool) -> Vec<Command> {
    let mut commands = Vec::new();
    if checked {
        commands.push(Command::silent(format!("enable health {place}")));
    }
    commands.push(state(place, admin));
    commands
}

fn state(place: &Place, admin: Admin) -> Command {
    let word = match admin {
        Admin::Ready => "ready",
        Admin::Drain => "drain",
        Admin::Maint => "maint",
    };
    Command::silent(format!("set server {place} state {word}"))
}

fn weigh(place: &Place, weight: Weight) -> Command {
    Command::silent(format!("set server {place} weight {}", weight.get()))
}

/// A word as the command line takes it: `;` ends a command there, `\` and blanks are special.
struct Word<'a>(&'a str);

impl std::fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            if matches!(c, ';' | '\\' | ' ') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        Ok(())
    }
}

/// The number in the answer to `prepare map`.
pub(super) fn version(reply: &str) -> Option<u32> {
    reply.trim().strip_prefix("New version created: ")?.parse().ok()
}

/// Why a server cannot be deleted yet: nothing is wrong.
pub(super) fn is_busy(reply: &str) -> bool {
    reply.contains("still has connections attached")
}

/// The server is not there, which is what deleting it is for.
pub(super) fn is_unknown(reply: &str) -> bool {
    reply.trim() == "No such server." || reply.trim() == "No such backend."
}
