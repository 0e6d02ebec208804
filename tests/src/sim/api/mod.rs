//! The REST API of the leader: a request in, an answer out.
//!
//! Paths hold ids with slashes, so they are taken apart by hand: prefix first, then known suffixes.

use std::sync::Arc;

use serde_json::{Value, json};

use super::def::Doc;
use super::http::{Request, Response};
use super::rejection::Rejection;
use super::shared::Shared;
use super::world::World;
use super::world::change::Accepted;

mod apps;
mod deployments;
mod groups;
mod info;
mod labels;
mod tasks;

/// What a handler gives back.
type Answer = Result<Response, Rejection>;

/// Answers a request; refusals become their bodies.
pub(super) fn handle(shared: &Arc<Shared>, request: &Request) -> Response {
    let path = request.path();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let method = match request.method.as_str() {
        "HEAD" => "GET",
        other => other,
    };
    let answer = match (method, parts.as_slice()) {
        (_, ["ping"]) => Ok(info::ping(request)),
        ("GET", ["v2", "info"]) => Ok(info::info(shared)),
        ("GET", ["v2", "leader"]) => info::leader(shared),
        ("DELETE", ["v2", "leader"]) => info::abdicate(shared),
        (_, ["v2", "apps", rest @ ..]) => apps::handle(shared, request, method, rest),
        (_, ["v2", "groups", rest @ ..]) => groups::handle(shared, request, method, rest),
        (_, ["v2", "tasks", rest @ ..]) => tasks::handle(shared, request, method, rest),
        (_, ["v2", "deployments", rest @ ..]) => deployments::handle(shared, request, method, rest),
        (_, ["v2", "info" | "leader"]) => Ok(not_allowed()),
        _ => Err(Rejection::NotFound(format!("URI not found: {path}"))),
    };
    answer.unwrap_or_else(|rejection| {
        let (status, body) = rejection.answer(shared.config.personality);
        Response::json(status, &body)
    })
}

/// 405.
fn not_allowed() -> Response {
    Response::json(405, &json!({"message": "Method Not Allowed"}))
}

/// The body, or why not: 415 without a JSON media type, 400 when it does not parse.
fn body(request: &Request) -> Result<Value, Response> {
    let media_type = request.header("content-type").unwrap_or_default();
    if !request.body.is_empty() && !media_type.to_lowercase().contains("json") {
        return Err(Response::json(415, &json!({"message": "Unsupported Media Type"})));
    }
    serde_json::from_slice(&request.body)
        .map_err(|error| Response::json(400, &json!({"message": "Invalid JSON", "details": error.to_string()})))
}

/// The body as an object.
fn object(request: &Request) -> Result<Doc, Response> {
    match body(request)? {
        Value::Object(doc) => Ok(doc),
        _ => {
            let details = json!([{"path": "", "errors": ["error.expected.jsobject"]}]);
            Err(Response::json(400, &json!({"message": "Invalid JSON", "details": details})))
        }
    }
}

/// The deployment result, with its header.
fn deployed(world: &World, status: u16, accepted: &Accepted) -> Response {
    let body = json!({"version": world.written(accepted.version), "deploymentId": accepted.deployment});
    Response::json(status, &body).with("Marathon-Deployment-Id", accepted.deployment.as_str())
}
