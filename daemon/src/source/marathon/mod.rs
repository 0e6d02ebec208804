//! Follows a Marathon cluster: its event stream and its list of apps.
//!
//! [`run`] is one task with three loops side by side: `stream` keeps events coming and wishes
//! for fetches, `refetch` fetches, [`publish`] resolves hosts and publishes.
//! They share a `Cluster`; a wish is all that goes from one to the other. Losing Marathon freezes
//! what was published last.

pub mod auth;
pub mod client;
pub mod config;
pub mod error;
pub mod event;
pub mod http;
mod refetch;
pub mod sse;
mod stream;
pub mod wire;

use std::fmt;
use std::sync::Arc;

use haproxy::app::Snapshot;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::client::Client;
use self::config::MarathonConfig;
use self::error::AllFailed;
use super::resolve::Resolver;
use super::{SourceCommand, SourceStatus, publish};

/// Follows the cluster until `shutdown`. Never fails; `status` says how it goes. What `snapshots`
/// holds already (from the store) counts as the last answer.
pub async fn run(
    config: MarathonConfig,
    snapshots: watch::Sender<Arc<Snapshot>>,
    status: watch::Sender<SourceStatus>,
    commands: mpsc::Receiver<SourceCommand>,
    shutdown: CancellationToken,
) {
    let client = Client::new(&config);
    let (wish, wishes) = mpsc::channel(1);
    let (answer, answers) = mpsc::channel(1);
    let cluster = Cluster {
        config: &config,
        client: &client,
        status: &status,
        wishes: wish,
        leader: watch::Sender::default(),
        recovered: Notify::new(),
    };
    let served = snapshots.borrow().clone();
    let events = async {
        if config.events {
            stream::follow(&cluster).await;
        }
    };
    let loops = async {
        tokio::join!(
            events,
            refetch::keep(&cluster, wishes, commands, answer, &served),
            publish::run(answers, Resolver::system(), &snapshots),
        )
    };
    tokio::select! {
        () = shutdown.cancelled() => (),
        _ = loops => (),
    }
}

/// Reads the list once, all hosts resolved: for `baton render --marathon`.
///
/// # Errors
/// When no member gave a list.
pub async fn once(config: &MarathonConfig) -> Result<Snapshot, AllFailed> {
    let fetched = Client::new(config).apps().await?;
    Ok(publish::once(fetched.answer, Resolver::system()).await)
}

/// What the loops share.
struct Cluster<'a> {
    config: &'a MarathonConfig,
    client: &'a Client,
    status: &'a watch::Sender<SourceStatus>,
    /// Room for one: a wish that finds another waiting is granted with it.
    wishes: mpsc::Sender<Why>,
    /// Who leads, as the last list said, and when that list was asked for.
    leader: watch::Sender<Option<(Instant, Option<String>)>>,
    /// The list can be read again after it could not.
    recovered: Notify,
}

impl Cluster<'_> {
    fn wish(&self, why: Why) {
        let _ = self.wishes.try_send(why);
    }
}

/// Why a fetch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Start,
    Attached,
    NoStream,
    Event(&'static str),
    Command,
    Resync,
    Retry,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Attached => f.write_str("attached to the event stream"),
            Self::NoStream => f.write_str("there is no event stream"),
            Self::Event(kind) => f.write_str(kind),
            Self::Command => f.write_str("asked to"),
            Self::Resync => f.write_str("it is time"),
            Self::Retry => f.write_str("the last one failed"),
        }
    }
}
