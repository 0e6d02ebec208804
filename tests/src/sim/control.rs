//! The control API: faults, agents, tasks and leadership on command, and the state for assertions. JSON over axum.
//!
//! - `GET /state`: agents, tasks, requests per member and kind, open streams, faults; `GET /events`: the last 200
//! - `POST /faults` `{"fault":"empty_list"|"partial_list"|"wrong_types"|"not_utf8"|"huge"|"unavailable"|"empty_body"|
//!   "bad_gateway"|"garbage"|"truncated"|"slow"|"hang"|"close"|"unauthorized", "member":0, "count":1, "path":"/v2/apps"}` (`drop` for
//!   a partial list, `app` for wrong types, `bytes`, `ms`); `GET` lists, `DELETE` clears all faults, refusals, silence
//! - `POST` and `DELETE /members/{n}/refuse`: connections are refused, or accepted again
//! - `POST /streams/cut` `{"member":0,"mid_event":true}`, `POST /streams/silence` `{"member":0,"on":true}`
//! - `POST /leader` `{"member":1}`: change of leader; `DELETE /leader`: nobody leads; `POST /health/forget`
//! - `POST /agents/{name}` `{"address":"127.1.0.9"}`, `…/lose` `{"partitioned":true}`, `…/return`
//! - `POST /tasks/{id}/crash`, `POST /tasks/{id}/mode` `{"mode":"healthy"|"unhealthy"|"slow"|"closing"|"hanging","ms":9}`
//! - `POST /bulk` `{"apps":1000,"tasks":5,"listen":false}`, `POST /move` `{"app":"/bench/app-1"}`: for benchmarks

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::agent::Loss;
use super::fault::Order;
use super::handle::{flip, load, move_task};
use super::instance::Condition;
use super::shared::Shared;
use super::stage::Mode;
use super::world::{Bulk, BulkBacking, World};

/// Serves the control API until the simulator stops.
pub async fn run(shared: Arc<Shared>, listener: TcpListener) {
    let router = Router::new()
        .route("/state", get(|State(shared): State<Arc<Shared>>| async move { Json(state(&shared)) }))
        .route("/events", get(events))
        .route("/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/members/{member}/refuse", post(refuse).delete(accept))
        .route("/streams/cut", post(cut))
        .route("/streams/silence", post(silence))
        .route("/leader", post(lead).delete(abdicate))
        .route("/agents/{name}", post(add_agent))
        .route("/agents/{name}/lose", post(lose_agent))
        .route("/agents/{name}/return", post(return_agent))
        .route("/tasks/{id}/crash", post(crash))
        .route("/tasks/{id}/mode", post(mode))
        .route("/health/forget", post(forget_health))
        .route("/bulk", post(bulk))
        .route("/move", post(move_one))
        .with_state(shared);
    // Ends with the simulator; an error here means the listener is gone, which clients notice.
    let _ = axum::serve(listener, router).await;
}

/// Agents, tasks, requests per member and kind, open streams.
#[must_use]
pub fn state(shared: &Shared) -> Value {
    let mut state = shared.look(World::state_json);
    let leadership = shared.cluster.leadership();
    let members: Vec<Value> = (0..shared.cluster.addresses().len())
        .map(|member| {
            let requests = shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
            let requests: serde_json::Map<String, Value> = requests
                .iter()
                .filter(|((m, _), _)| *m == member)
                .map(|((_, kind), count)| ((*kind).to_owned(), (*count).into()))
                .collect();
            json!({
                "address": shared.cluster.name(member),
                "leader": leadership.leader == Some(member),
                "requests": requests,
                "streams": shared.hub.open().get(&member).copied().unwrap_or(0),
            })
        })
        .collect();
    state["members"] = members.into();
    state["ready"] = leadership.ready.into();
    state["events"] = shared.hub.position().into();
    state["faults"] = json!(shared.faults.list());
    state
}

/// Ends all faults, refusals and silence.
pub fn clear(shared: &Shared) {
    shared.faults.clear();
    shared.hub.silence(BTreeSet::new());
    for member in 0..shared.cluster.addresses().len() {
        shared.cluster.refuse(member, false);
    }
}

/// The last events, newest last.
async fn events(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let records = shared.hub.since(shared.hub.position().saturating_sub(200));
    Json(records.iter().map(|record| record.body.as_ref().clone()).collect())
}

async fn faults(State(shared): State<Arc<Shared>>) -> Json<Vec<Order>> {
    Json(shared.faults.list())
}

async fn add_fault(State(shared): State<Arc<Shared>>, Json(order): Json<Order>) -> StatusCode {
    shared.faults.add(order);
    StatusCode::NO_CONTENT
}

async fn clear_faults(State(shared): State<Arc<Shared>>) -> StatusCode {
    clear(&shared);
    StatusCode::NO_CONTENT
}

async fn refuse(State(shared): State<Arc<Shared>>, Path(member): Path<usize>) -> StatusCode {
    shared.cluster.refuse(member, true);
    StatusCode::NO_CONTENT
}

async fn accept(State(shared): State<Arc<Shared>>, Path(member): Path<usize>) -> StatusCode {
    shared.cluster.refuse(member, false);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Cut {
    member: Option<usize>,
    #[serde(default)]
    mid_event: bool,
}

async fn cut(State(shared): State<Arc<Shared>>, Json(cut): Json<Cut>) -> Json<Value> {
    Json(json!({"streams": shared.hub.cut(cut.member, cut.mid_event)}))
}

#[derive(Deserialize)]
struct Silence {
    member: Option<usize>,
    #[serde(default = "yes")]
    on: bool,
}

async fn silence(State(shared): State<Arc<Shared>>, Json(silence): Json<Silence>) -> StatusCode {
    let all = 0..shared.cluster.addresses().len();
    let chosen = all.filter(|member| silence.on && silence.member.is_none_or(|only| only == *member));
    shared.hub.silence(chosen.collect());
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Lead {
    member: Option<usize>,
}

async fn lead(State(shared): State<Arc<Shared>>, Json(lead): Json<Lead>) -> StatusCode {
    flip(&shared, lead.member);
    StatusCode::NO_CONTENT
}

async fn abdicate(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.cluster.set(None, false);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct AgentAddress {
    address: std::net::Ipv4Addr,
}

async fn add_agent(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Json(agent): Json<AgentAddress>,
) -> StatusCode {
    found(shared.act(|world, _| world.add_agent(name, agent.address)))
}

#[derive(Deserialize, Default)]
struct Lose {
    #[serde(default)]
    partitioned: bool,
}

async fn lose_agent(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    lose: Option<Json<Lose>>,
) -> StatusCode {
    let loss = if lose.is_some_and(|Json(lose)| lose.partitioned) { Loss::Partitioned } else { Loss::Dead };
    found(shared.act(|world, now| world.lose_agent(&name, loss, now)))
}

async fn return_agent(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> StatusCode {
    found(shared.act(|world, now| world.return_agent(&name, now)))
}

async fn crash(State(shared): State<Arc<Shared>>, Path(task): Path<String>) -> StatusCode {
    let id = shared.look(|world| world.by_task(&task).map(|i| i.id.clone()));
    let Some(id) = id else { return StatusCode::NOT_FOUND };
    shared.act(|world, now| world.failed(&id, Condition::Failed, "Command exited with status 1", now));
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct TaskMode {
    mode: String,
    #[serde(default)]
    ms: u64,
}

async fn mode(State(shared): State<Arc<Shared>>, Path(task): Path<String>, Json(wanted): Json<TaskMode>) -> StatusCode {
    let mode = match wanted.mode.as_str() {
        "healthy" => Mode::Healthy,
        "unhealthy" => Mode::Unhealthy,
        "slow" => Mode::Slow(wanted.ms),
        "closing" => Mode::Closing,
        "hanging" | "unresponsive" => Mode::Hanging,
        _ => return StatusCode::UNPROCESSABLE_ENTITY,
    };
    let id = shared.look(|world| world.by_task(&task).map(|i| i.id.clone()));
    found(id.is_some_and(|id| shared.stage.set_mode(&id, mode)))
}

async fn forget_health(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.act(World::forget_health);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Amount {
    apps: usize,
    tasks: usize,
    #[serde(default)]
    listen: bool,
}

async fn bulk(State(shared): State<Arc<Shared>>, Json(amount): Json<Amount>) -> (StatusCode, String) {
    let backing = if amount.listen { BulkBacking::Real } else { BulkBacking::Nothing };
    match load(&shared, &Bulk { backing, ..Bulk::new(amount.apps, amount.tasks) }) {
        Ok(()) => (StatusCode::NO_CONTENT, String::new()),
        Err(rejection) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{rejection:?}")),
    }
}

#[derive(Deserialize)]
struct Moved {
    app: String,
}

async fn move_one(State(shared): State<Arc<Shared>>, Json(moved): Json<Moved>) -> Result<Json<Value>, StatusCode> {
    let task = move_task(&shared, &moved.app).ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(json!({"task": task})))
}

fn found(known: bool) -> StatusCode {
    if known { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

fn yes() -> bool {
    true
}
