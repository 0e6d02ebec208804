//! The control socket: what `baton status` and `baton reload` talk to.
//!
//! HTTP on a unix socket, so that curl can ask too:
//! - `GET /status`: the [`Report`] as JSON
//! - `POST /reload`: read the configuration again, fetch the apps again; answers what came of it
//! - `POST /vip/handover`, `/vip/hold`, `/vip/release` with `?router=&by=&force=`: floating addresses
//!
//! Run as a task by the supervisor. It reads the tasks' watch channels and decides nothing.

pub mod client;

use std::future::IntoFuture as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use axum::extract::{Path as Segment, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::ha::report::VipReport;
use crate::ha::{self, Ask};
use crate::reconcile::ReconcileStatus;
use crate::source::SourceStatus;
use crate::status::{HaproxyReport, Report, SourceReport};

/// Where the report's parts come from.
#[derive(Clone)]
pub struct Views {
    /// `baton`'s start, in seconds since 1970.
    pub started_at: f64,
    /// The source.
    pub source: watch::Receiver<SourceStatus>,
    /// The reconcile loop.
    pub reconcile: watch::Receiver<ReconcileStatus>,
    /// HAProxy.
    pub haproxy: watch::Receiver<HaproxyReport>,
    /// The floating addresses.
    pub vrrp: watch::Receiver<VipReport>,
}

/// Where requests go.
#[derive(Clone)]
pub struct Doors {
    /// To the supervisor.
    pub reloads: mpsc::Sender<ReloadRequest>,
    /// To the floating addresses.
    pub vip: mpsc::Sender<ha::Request>,
}

/// A request to read everything again; the answer says what could not be done.
pub type ReloadRequest = oneshot::Sender<Result<Vec<String>, String>>;

/// The socket, bound before anything is announced.
///
/// # Errors
/// When another `baton` answers there, or the path cannot be used.
pub async fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(pid) = listener(path).await {
        let path = path.display();
        bail!("another baton, pid {pid}, answers on {path}; stop it, or give this one another admin.socket");
    }
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    }
    match std::fs::remove_file(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
            return Err(why).with_context(|| format!("remove the old socket {}", path.display()));
        }
        _ => (),
    }
    let listener = UnixListener::bind(path).with_context(|| format!("listen on {} (admin.socket)", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
        .with_context(|| format!("set the mode of {}", path.display()))?;
    Ok(listener)
}

/// The process that listens there, if there is one and it is another one.
///
/// A socket may outlive its process: a child that was forked has it until it executes its own program. Whoever
/// listened first is gone then, or became this process, by an upgrade in place.
async fn listener(path: &Path) -> Option<i32> {
    let pid = UnixStream::connect(path).await.ok()?.peer_cred().ok()?.pid()?;
    let own = i32::try_from(std::process::id()).ok()?;
    (pid != own && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)).then_some(pid)
}

/// Answers until `stop`.
///
/// # Errors
/// When the socket fails.
pub async fn serve(listener: UnixListener, views: Views, doors: Doors, stop: CancellationToken) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/status", get(status))
        .route("/reload", post(reload))
        .route("/vip/{what}", post(vip))
        .with_state(Arc::new((views, doors)));
    // Open connections are not waited for: a client that keeps one must not delay the stop.
    tokio::select! {
        ended = axum::serve(listener, router).into_future() => ended.context("serve the control socket"),
        () = stop.cancelled() => Ok(()),
    }
}

type Shared = State<Arc<(Views, Doors)>>;

async fn status(State(shared): Shared) -> Json<Report> {
    Json(report(&shared.0))
}

/// The report as it stands now.
pub fn report(views: &Views) -> Report {
    let reconcile = views.reconcile.borrow().clone();
    Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_at: views.started_at,
        source: SourceReport::from(&*views.source.borrow()),
        applied: reconcile.applied,
        haproxy: views.haproxy.borrow().clone(),
        vrrp: views.vrrp.borrow().clone(),
        issues: reconcile.issues.iter().map(Into::into).collect(),
    }
}

async fn reload(State(shared): Shared) -> (StatusCode, Json<ReloadAnswer>) {
    let (sender, receiver) = oneshot::channel();
    let answer = match shared.1.reloads.send(sender).await {
        Ok(()) => receiver.await.unwrap_or_else(|_| Err("baton is stopping".to_owned())),
        Err(_) => Err("baton is stopping".to_owned()),
    };
    match answer {
        Ok(remarks) => (StatusCode::OK, Json(ReloadAnswer { error: None, remarks })),
        Err(error) => {
            (StatusCode::UNPROCESSABLE_ENTITY, Json(ReloadAnswer { error: Some(error), remarks: Vec::new() }))
        }
    }
}

/// What came of `POST /reload`.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct ReloadAnswer {
    /// Why nothing was taken over.
    pub error: Option<String>,
    /// What was changed in the file and needs a restart.
    pub remarks: Vec<String>,
}

/// What `POST /vip/…` may say.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub struct VipQuery {
    /// Which virtual router; none = all.
    router: Option<String>,
    /// Who asks.
    by: Option<String>,
    /// Also where nobody takes over.
    force: bool,
}

async fn vip(
    State(shared): Shared,
    Segment(what): Segment<String>,
    Query(query): Query<VipQuery>,
) -> (StatusCode, Json<VipAnswer>) {
    let ask = match what.as_str() {
        "handover" => Ask::HandOver,
        "hold" => Ask::Hold { force: query.force },
        "release" => Ask::Release,
        _ => {
            return (
                StatusCode::NOT_FOUND,
                Json(VipAnswer { error: Some("no such request".to_owned()), done: vec![] }),
            );
        }
    };
    let (answer, answered) = oneshot::channel();
    let by = query.by.unwrap_or_else(|| "somebody on the control socket".to_owned());
    let request = ha::Request::Operator { ask, router: query.router, by, answer };
    let answer = match shared.1.vip.send(request).await {
        Ok(()) => answered.await.unwrap_or_else(|_| Err("baton is stopping".to_owned())),
        Err(_) => Err("baton is stopping".to_owned()),
    };
    match answer {
        Ok(done) => (StatusCode::OK, Json(VipAnswer { error: None, done })),
        Err(error) => (StatusCode::CONFLICT, Json(VipAnswer { error: Some(error), done: Vec::new() })),
    }
}

/// What came of `POST /vip/…`.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct VipAnswer {
    /// Why not.
    pub error: Option<String>,
    /// A line for each virtual router.
    pub done: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_left_from_before_an_upgrade_in_place_is_no_other_baton() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("baton.sock");
        // As a child has it that was forked shortly before the upgrade.
        let before = bind(&path).await.unwrap();
        let after = bind(&path).await.unwrap();
        drop(before);
        let (client, accepted) = tokio::join!(UnixStream::connect(&path), after.accept());
        assert!(client.is_ok() && accepted.is_ok());
    }
}
