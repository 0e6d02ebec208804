//! Keeps a stream of events open and hands on what they hint at.
//!
//! One of the two loops of the Marathon source; `refetch` is the other. Attaches first, then
//! wishes for a fetch, so that nothing falls between. A stream that is silent, ends or stands
//! behind another leader than the list of apps is opened anew, at once the first time.
#![allow(clippy::disallowed_methods, reason = "watches the heartbeat")]

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::client::Attached;
use super::error::{AllFailed, Reason};
use super::sse::{self, Decoder, TooLong};
use super::{Cluster, Why, event};
use crate::source::backoff::{Backoff, Start, jitter};
use crate::source::status::Trouble;

/// Follows events for ever.
pub(super) async fn follow(cluster: &Cluster<'_>) {
    let timing = &cluster.config.timing;
    let mut backoff = Backoff::new(Start::AtOnce(timing.first_wait), cluster.config.max_backoff);
    let mut without = false;
    loop {
        let lived = match cluster.client.attach().await {
            Ok(attached) => {
                without = false;
                pump_to_its_end(cluster, attached).await
            }
            Err(failed) => {
                not_attached(cluster, &failed);
                if !std::mem::replace(&mut without, true) {
                    // What happens from now on nobody tells us. It also shows whether lists can be read.
                    cluster.wish(Why::NoStream);
                }
                Duration::ZERO
            }
        };
        if lived >= timing.proven {
            backoff.reset();
        }
        let wait = backoff.failed(jitter());
        tokio::select! {
            () = tokio::time::sleep(wait) => (),
            () = cluster.recovered.notified() => backoff.reset(),
        }
    }
}

/// One stream from its opening to its end; gives how long it lived.
async fn pump_to_its_end(cluster: &Cluster<'_>, mut attached: Attached) -> Duration {
    let start = Instant::now();
    cluster.status.send_modify(|status| {
        let stream = &mut status.stream;
        stream.member = Some(attached.member.clone());
        stream.attached_at = Some(SystemTime::now());
        stream.last_byte = Some(start.into_std());
        stream.attached += 1;
    });
    log::debug!(member = attached.member; "attached to the event stream");
    cluster.wish(Why::Attached);

    let end = pump(cluster, &mut attached, start).await;
    let lived = start.elapsed();
    cluster.client.rotate_stream();
    cluster.status.send_modify(|status| {
        let stream = &mut status.stream;
        stream.member = None;
        stream.attached_at = None;
        *stream.failed.entry(end.kind()).or_default() += 1;
        // A stream that worked for a while and ended is replaced at once: worth a line each time.
        // One that never worked is worth one line until that changes.
        if lived >= cluster.config.timing.proven {
            stream.trouble = None;
        }
        if Trouble::note(&mut stream.trouble, &end.to_string(), SystemTime::now()) {
            log::warn!(member = attached.member, reason:% = end, lived:? = lived; "the event stream ended");
        }
    });
    lived
}

async fn pump(cluster: &Cluster<'_>, attached: &mut Attached, start: Instant) -> End {
    let timing = &cluster.config.timing;
    let mut decoder = Decoder::new(sse::CAP);
    let mut leader = cluster.leader.subscribe();
    let mut last_byte = start;
    let mut proven = false;
    loop {
        let patience = timing.silence.saturating_sub(last_byte.elapsed());
        let bytes = tokio::select! {
            bytes = cluster.client.read(attached, patience) => bytes,
            Ok(()) = leader.changed() => {
                // A list that was asked for before we attached may tell of the leader before.
                let told = leader.borrow_and_update().clone().filter(|(asked, _)| *asked >= start);
                if told.and_then(|(_, leader)| leader).zip(attached.leader.as_ref()).is_some_and(|(a, b)| a != *b) {
                    return End::OtherLeader;
                }
                continue;
            }
            () = tokio::time::sleep_until(start + timing.proven), if !proven => {
                proven = true;
                works(cluster, attached);
                continue;
            }
        };
        last_byte = Instant::now();
        let events = match bytes {
            Ok(Some(bytes)) => decoder.feed(&bytes),
            Ok(None) => return End::Closed,
            Err(Reason::Timeout(_)) => return End::Silent(timing.silence),
            Err(reason) => return End::Broken(reason),
        };
        let events = match events {
            Ok(events) => events,
            Err(too_long) => return End::TooLong(too_long),
        };
        let now = last_byte.into_std();
        let mut hints = Vec::new();
        cluster.status.send_modify(|status| {
            status.stream.last_byte = Some(now);
            if !events.is_empty() {
                status.stream.last_event = Some(now);
            }
            for event in &events {
                let meaning = event::meaning(event);
                *status.stream.events.entry(meaning.kind).or_default() += 1;
                hints.extend(meaning.hint);
            }
        });
        cluster.hint(hints);
        if !proven && !events.is_empty() {
            proven = true;
            works(cluster, attached);
        }
    }
}

/// The stream has lived long enough, or said something, to be believed.
fn works(cluster: &Cluster<'_>, attached: &Attached) {
    let trouble = cluster.status.borrow().stream.trouble.is_some();
    if trouble {
        cluster.status.send_modify(|status| status.stream.trouble = None);
        log::info!(member = attached.member; "following events again");
    }
}

fn not_attached(cluster: &Cluster<'_>, failed: &AllFailed) {
    cluster.status.send_modify(|status| {
        for error in failed.members() {
            *status.stream.failed.entry(error.reason.kind()).or_default() += 1;
        }
        if Trouble::note(&mut status.stream.trouble, &failed.to_string(), SystemTime::now()) {
            log::warn!(reason:% = failed; "cannot follow events");
        }
    });
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("closed by Marathon")]
    Closed,
    #[error("not a byte for {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Broken(Reason),
    #[error(transparent)]
    TooLong(TooLong),
    #[error("the cluster has another leader")]
    OtherLeader,
}

impl End {
    fn kind(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Silent(_) => "silent",
            Self::Broken(reason) => reason.kind(),
            Self::TooLong(_) => "too_long",
            Self::OtherLeader => "other_leader",
        }
    }
}
