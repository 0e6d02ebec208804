//! The loop that keeps HAProxy as the apps want it.
//!
//! One task, run by the supervisor. It waits for a reason to act (a newer snapshot, a re-read
//! configuration, a signal, HAProxy started anew, a retry that is due), builds the newest wanted
//! configuration and has it applied. Snapshots and configurations come by `watch`, so whatever
//! piled up meanwhile is one change: at most one reload runs and one waits, and the newest wins.
//! It does not talk to Marathon and does not look at VRRP.
#![allow(clippy::disallowed_methods, reason = "the shell that schedules reloads reads the clock")]

pub mod build;
mod left_out;
mod schedule;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use haproxy::app::Snapshot;
use haproxy::bundle::Digest;
use haproxy::issue::Issue;
use haproxy::reload::{Outcome, Reloader};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::status::{AppliedReport, TroubleReport, millis, seconds};

use build::{Builder, Built};
use left_out::LeftOut;
use schedule::Schedule;
