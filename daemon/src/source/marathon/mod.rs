//! Follows a Marathon cluster: its event stream, its list of apps and single apps.
//!
//! [`run`] is one task with three loops side by side: `stream` keeps events coming and hands on
//! what they hint at, `refetch` fetches and merges, [`publish`] resolves hosts and publishes.
//! They share a `Cluster`. Losing Marathon freezes what was published last.

pub mod agenda;
pub mod auth;
pub mod book;
pub mod client;
pub mod config;
pub mod error;
pub mod event;
pub mod guard;
pub mod http;
mod refetch;
mod report;
pub mod sse;
mod stream;
pub mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use haproxy::app::Snapshot;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::client::Client;
use self::config::MarathonConfig;
use self::error::AllFailed;
use self::event::Hint;
use super::resolve::Resolver;
use super::{Restored, SourceCommand, SourceStatus, publish};

/// Follows the cluster until `shutdown`. Never fails; `status` says how it goes. What is `restored`
/// is published only if Marathon does not answer, or gives less than the guard believes at once.
pub async fn run(
    config: MarathonConfig,
    restored: Option<Restored>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    status: watch::Sender<SourceStatus>,
    commands: mpsc::Receiver<SourceCommand>,
    shutdown: CancellationToken,
) {
    let client = Client::new(&config);
    let (wish, wishes) = mpsc::channel(WISHES);
    let (hint, hints) = mpsc::channel(HINTS);
    let (answer, answers) = mpsc::channel(1);
    let cluster = Cluster {
        config: &config,
        client: &client,
        status: &status,
        wishes: wish,
        hints: hint,
        leader: watch::Sender::default(),
        recovered: Notify::new(),
    };
    let mut resolver = Resolver::system();
    resolver.remember(restored.as_ref().map_or(&BTreeMap::new(), |restored| &restored.apps));
    let events = async {
        if config.events {
            stream::follow(&cluster).await;
        }
    };
    let inbox = refetch::Inbox { wishes, hints, commands };
    let loops = async {
        tokio::join!(
            events,
            refetch::keep(&cluster, inbox, answer, restored),
            publish::run(answers, resolver, &snapshots),
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
    /// A wish that finds no room is granted with those that wait.
    wishes: mpsc::Sender<Why>,
    /// What events hint at, as many as one read gave.
    hints: mpsc::Sender<Vec<Hint>>,
    /// Who leads, as the last answer said, and when that was asked for.
    leader: watch::Sender<Option<(Instant, Option<String>)>>,
    /// The list can be read again after it could not.
    recovered: Notify,
}

impl Cluster<'_> {
    /// Wishes for a fetch of everything.
    fn wish(&self, why: Why) {
        let _ = self.wishes.try_send(why);
    }

    /// Hands on what events hint at. Where nobody keeps up, everything is fetched instead.
    fn hint(&self, hints: Vec<Hint>) {
        if !hints.is_empty() && self.hints.try_send(hints).is_err() {
            self.wish(Why::Overflow);
        }
    }
}

/// Why everything is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Start,
    Attached,
    NoStream,
    Event(&'static str),
    Command,
    Resync,
    Retry,
    Confirm,
    AppFailed,
    Overflow,
}

impl Why {
    /// A word for counters and the log.
    fn kind(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Attached => "attached",
            Self::NoStream => "no_stream",
            Self::Event(kind) => kind,
            Self::Command => "command",
            Self::Resync => "resync",
            Self::Retry => "retry",
            Self::Confirm => "confirm",
            Self::AppFailed => "app_failed",
            Self::Overflow => "overflow",
        }
    }

    /// Whether it means that we reconnected.
    fn reconnected(self) -> bool {
        matches!(self, Self::Attached | Self::NoStream)
    }
}

/// Reads of the stream that may wait to be looked at.
const HINTS: usize = 1024;

/// Wishes that may wait; one fetch grants them all.
const WISHES: usize = 8;
