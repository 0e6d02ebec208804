//! What can be changed in a running HAProxy without a reload.
//!
//! Made by [`super::diff`], carried out by `runtime`, and by [`super::Running`] on the model.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::CertChange;
use crate::bundle::MapName;
use crate::model::{Admin, Backend, BackendId, Server, Weight};
use crate::text::Word;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// A backend that HAProxy does not have yet; nothing goes to it before it is published.
    Create {
        /// Its name.
        id: BackendId,
        /// It, without servers.
        backend: Arc<Backend>,
        /// The section of defaults that has its options.
        profile: String,
    },
    /// A backend that was created is ready.
    Publish {
        /// Which.
        backend: BackendId,
    },
    /// A server that HAProxy does not have yet.
    Add {
        /// Its backend.
        backend: BackendId,
        /// The server.
        server: Server,
        /// Name, address, id and options, as on its line in the file.
        words: String,
        /// HAProxy checks it.
        checked: bool,
    },
    /// A server is somewhere else.
    Move {
        /// Which.
        place: Place,
        /// Where it is now.
        addr: SocketAddr,
    },
    /// A server's share.
    Weigh {
        /// Which.
        place: Place,
        /// Its share now.
        weight: Weight,
    },
    /// What a server is let do.
    Let {
        /// Which.
        place: Place,
        /// What it may do now.
        admin: Admin,
        /// HAProxy checks it.
        checked: bool,
    },
    /// Map entries.
    Map {
        /// Which map.
        map: MapName,
        /// What happens to it.
        change: MapChange,
    },
    /// A certificate.
    Cert {
        /// Its file, as HAProxy calls it.
        file: Word,
        /// What happens to it.
        change: CertChange,
    },
    /// A server is not wanted any more: the beginning of its end, which `runtime::drains` brings.
    Drain {
        /// Which.
        place: Place,
    },
}

impl Op {
    /// The backend that it is about, or its servers.
    pub(super) fn backend(&self) -> Option<&BackendId> {
        match self {
            Self::Add { backend, .. } | Self::Publish { backend } | Self::Create { id: backend, .. } => Some(backend),
            Self::Move { place, .. } | Self::Weigh { place, .. } | Self::Let { place, .. } | Self::Drain { place } => {
                Some(&place.backend)
            }
            Self::Map { .. } | Self::Cert { .. } => None,
        }
    }
}

/// What happens to a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapChange {
    /// A key that it does not have.
    Add {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// Another value for a key that it has.
    Set {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A key goes.
    Del {
        /// The key.
        key: String,
    },
    /// All entries at once, in one step for those who look something up.
    Swap {
        /// The entries.
        entries: Vec<(String, String)>,
    },
}

/// A server by the names that HAProxy knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Its backend.
    pub backend: BackendId,
    /// Its name.
    pub server: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend, self.server)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { id, profile, .. } => write!(f, "add backend {id} from {profile}"),
            Self::Publish { backend } => write!(f, "publish backend {backend}"),
            Self::Add { backend, server, .. } => write!(f, "add server {backend}/{} at {}", server.name, server.addr),
            Self::Move { place, addr } => write!(f, "move server {place} to {addr}"),
            Self::Weigh { place, weight } => write!(f, "give server {place} weight {}", weight.get()),
            Self::Let { place, admin: Admin::Ready, .. } => write!(f, "enable server {place}"),
            Self::Let { place, admin: Admin::Drain, .. } => write!(f, "put server {place} in drain"),
            Self::Let { place, admin: Admin::Maint, .. } => write!(f, "put server {place} in maintenance"),
            Self::Drain { place } => write!(f, "remove server {place}"),
            Self::Cert { file, change } => match change {
                CertChange::Add { list, .. } => write!(f, "add certificate {file} to {list}"),
                CertChange::Renew { .. } => write!(f, "renew certificate {file}"),
                CertChange::Remove { list } => write!(f, "take certificate {file} from {list}"),
            },
            Self::Map { map, change } => match change {
                MapChange::Add { key, value } => write!(f, "add {key} {value} to {}", map.as_str()),
                MapChange::Set { key, value } => write!(f, "change {key} to {value} in {}", map.as_str()),
                MapChange::Del { key } => write!(f, "take {key} from {}", map.as_str()),
                MapChange::Swap { entries } => write!(f, "replace {}, {} entries", map.as_str(), entries.len()),
            },
        }
    }
}
