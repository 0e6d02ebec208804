//! `/v2/apps`: list, read, write, restart, versions, and the tasks below an app.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::config::Personality;
use super::super::def::{AppDef, Doc, render};
use super::super::draft::member_id;
use super::super::http::{Request, Response};
use super::super::path::PathId;
use super::super::rejection::Rejection;
use super::super::shared::Shared;
use super::super::stamp::Stamp;
use super::super::world::change;
use super::super::world::view::Embed;
use super::labels::Selector;
use super::{Answer, body, deployed, not_allowed, object, tasks};

/// Everything below `/v2/apps`.
pub(super) fn handle(shared: &Arc<Shared>, request: &Request, method: &str, rest: &[&str]) -> Answer {
    let id = |parts: &[&str]| PathId::from_url(&parts.join("/"));
    match (method, rest) {
        ("GET", []) => list(shared, request),
        ("POST", []) => create(shared, request),
        ("PUT" | "PATCH", []) => put_many(shared, request),
        ("GET", [group @ .., "*"]) => transitive(shared, request, &id(group)),
        ("GET" | "DELETE", [group @ .., "*", "tasks"]) => tasks::of_app(shared, request, method, &id(group), true),
        ("GET" | "DELETE", [app @ .., "tasks"]) => tasks::of_app(shared, request, method, &id(app), false),
        ("DELETE", [app @ .., "tasks", task]) => tasks::kill_one(shared, request, &id(app), task),
        ("POST", [app @ .., "restart"]) => restart(shared, request, &id(app)),
        ("GET", [app @ .., "versions"]) => versions(shared, &id(app)),
        ("GET", [app @ .., "versions", version]) => version_of(shared, &id(app), version),
        ("GET", app) => read(shared, request, &id(app)),
        ("PUT", app) => put(shared, request, &id(app)),
        ("PATCH", app) => put(shared, request, &id(app)),
        ("DELETE", app) => delete(shared, request, &id(app)),
        _ => Ok(not_allowed()),
    }
}

/// What `embed` parameters ask for, on top of `base`.
pub(super) fn embed(request: &Request, base: Embed) -> Embed {
    let mut embed = base;
    for (_, value) in request.query().into_iter().filter(|(key, _)| key == "embed") {
        let name = ["group.apps.", "apps.", "app."].iter().find_map(|prefix| value.strip_prefix(prefix));
        match name.unwrap_or(&value) {
            "tasks" => (embed.tasks, embed.deployments) = (true, true),
            "counts" => embed.counts = true,
            "deployments" => embed.deployments = true,
            "readiness" => embed.readiness = true,
            "lastTaskFailure" => embed.last_failure = true,
            "failures" => (embed.last_failure, embed.tasks, embed.deployments) = (true, true, true),
            "taskStats" => embed.stats = true,
            _ => (),
        }
    }
    embed
}

fn list(shared: &Shared, request: &Request) -> Answer {
    let lower = |name: &str| request.parameter(name).map(|text| text.to_lowercase());
    let (cmd, id) = (lower("cmd"), lower("id"));
    let selector = request.parameter("label").map(|text| Selector::parse(&text)).transpose();
    let selector = selector.map_err(Rejection::Unprocessable)?;
    let embed = embed(request, Embed { counts: true, deployments: true, ..Embed::default() });
    let matches = |def: &&Arc<AppDef>| {
        let has = |text: &str, wanted: &Option<String>| wanted.as_ref().is_none_or(|w| text.to_lowercase().contains(w));
        let command = def.doc.get("cmd").and_then(Value::as_str).unwrap_or_default();
        has(def.id.as_str(), &id)
            && has(command, &cmd)
            && selector.as_ref().is_none_or(|s| s.matches(&def.facts.labels))
    };
    let apps: Vec<Value> = shared.look(|world| {
        world.root().apps.values().filter(matches).map(|def| world.app_json(def, embed).into()).collect()
    });
    Ok(Response::json(200, &json!({"apps": apps})))
}

fn read(shared: &Shared, request: &Request, id: &PathId) -> Answer {
    let all = Embed { counts: true, tasks: true, last_failure: true, deployments: true, ..Embed::default() };
    let embed = embed(request, all);
    shared.look(|world| {
        let def = world.root().apps.get(id).ok_or_else(|| unknown(id))?;
        Ok(Response::json(200, &json!({"app": world.app_json(def, embed)})))
    })
}

fn transitive(shared: &Shared, request: &Request, group: &PathId) -> Answer {
    let embed = embed(request, Embed { counts: true, deployments: true, ..Embed::default() });
    shared.look(|world| {
        if !world.root().has_group(group) {
            return Err(Rejection::NotFound(format!("Group '{group}' does not exist")));
        }
        let apps: Vec<Value> = world.root().apps_below(group).map(|def| world.app_json(def, embed).into()).collect();
        Ok(Response::json(200, &json!({"*": apps})))
    })
}

fn create(shared: &Arc<Shared>, request: &Request) -> Answer {
    let doc = match object(request) {
        Ok(doc) => doc,
        Err(response) => return Ok(response),
    };
    let id = member_id(&doc, &PathId::root())?;
    let personality = shared.config.personality;
    let accepted =
        shared.act(|world, now| world.change(&posted(request, &id), now, |draft| draft.create(&id, &doc)))?;
    shared.look(|world| {
        let def = world.root().apps.get(&id).ok_or_else(|| unknown(&id))?;
        let mut body = render::app(def, personality);
        for count in ["tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy"] {
            body.insert(count.to_owned(), 0.into());
        }
        body.insert("deployments".to_owned(), json!([{"id": accepted.deployment}]));
        if personality < Personality::V1_8 {
            body.insert("tasks".to_owned(), json!([]));
        }
        let response = Response::json(201, &Value::Object(body));
        Ok(response.with("Location", id.as_str()).with("Marathon-Deployment-Id", accepted.deployment))
    })
}

fn put(shared: &Arc<Shared>, request: &Request, id: &PathId) -> Answer {
    let doc = match object(request) {
        Ok(doc) => doc,
        Err(response) => return Ok(response),
    };
    let exists = shared.look(|world| world.root().apps.contains_key(id));
    if !exists && request.method == "PATCH" {
        return Err(unknown(id));
    }
    let partial = request.flag("partialUpdate", true);
    shared.act(|world, now| {
        let earlier = earlier(world, id, &doc)?;
        let accepted = world.change(&posted(request, id), now, |draft| match &earlier {
            Some(earlier) => draft.revert(id, Some(earlier.as_ref())),
            None => draft.put(id, &doc, partial),
        })?;
        Ok(deployed(world, if exists { 200 } else { 201 }, &accepted))
    })
}

/// The definition that an update of `{"version": …}` alone asks for.
fn earlier(world: &super::World, id: &PathId, doc: &Doc) -> Result<Option<Arc<AppDef>>, Rejection> {
    let only = doc.keys().all(|key| key == "version" || key == "id");
    let Some(version) = doc.get("version").and_then(Value::as_str).filter(|_| only) else { return Ok(None) };
    let found = Stamp::parse(version).and_then(|stamp| world.app_version(id, stamp));
    found.map(Some).ok_or_else(|| Rejection::NotFound(format!("App '{id}' does not exist in version {version}")))
}

fn put_many(shared: &Arc<Shared>, request: &Request) -> Answer {
    let list = match body(request) {
        Ok(Value::Array(list)) => list,
        Ok(_) => return Err(Rejection::BadRequest("expected an array of apps".to_owned())),
        Err(response) => return Ok(response),
    };
    let docs: Vec<Doc> = list.iter().filter_map(|entry| entry.as_object().cloned()).collect();
    let ids = docs.iter().map(|doc| member_id(doc, &PathId::root())).collect::<Result<Vec<_>, _>>()?;
    let partial = request.flag("partialUpdate", true);
    let asked = change::Request { force: request.flag("force", false), group: PathId::root(), posted: None };
    shared.act(|world, now| {
        let accepted = world.change(&asked, now, |draft| {
            ids.iter().zip(&docs).try_for_each(|(id, doc)| {
                if request.method == "PATCH" && !draft.root.apps.contains_key(id) {
                    return Err(unknown(id));
                }
                draft.put(id, doc, partial)
            })
        })?;
        Ok(deployed(world, 200, &accepted))
    })
}

fn delete(shared: &Arc<Shared>, request: &Request, id: &PathId) -> Answer {
    let asked = change::Request { force: request.flag("force", true), group: id.parent(), posted: None };
    shared.act(|world, now| {
        let accepted = world.change(&asked, now, |draft| draft.remove(id))?;
        Ok(deployed(world, 200, &accepted))
    })
}

fn restart(shared: &Arc<Shared>, request: &Request, id: &PathId) -> Answer {
    let asked = change::Request { force: request.flag("force", false), group: id.parent(), posted: None };
    shared.act(|world, now| {
        let accepted = world.change(&asked, now, |draft| draft.restart(id))?;
        Ok(deployed(world, 200, &accepted))
    })
}

fn versions(shared: &Shared, id: &PathId) -> Answer {
    shared.look(|world| {
        let versions = world.app_versions(id);
        if versions.is_empty() {
            return Err(unknown(id));
        }
        let versions: Vec<String> = versions.into_iter().map(|version| world.written(version)).collect();
        Ok(Response::json(200, &json!({"versions": versions})))
    })
}

fn version_of(shared: &Shared, id: &PathId, version: &str) -> Answer {
    shared.look(|world| {
        let def = Stamp::parse(version).and_then(|stamp| world.app_version(id, stamp)).ok_or_else(|| unknown(id))?;
        Ok(Response::json(200, &Value::Object(render::app(&def, shared.config.personality))))
    })
}

fn posted(request: &Request, id: &PathId) -> change::Request {
    let uri = request.target.split('?').next().unwrap_or_default().to_owned();
    change::Request {
        force: request.flag("force", false),
        group: id.parent(),
        posted: Some((request.peer.ip().to_string(), uri, id.clone())),
    }
}

/// 404.
pub(super) fn unknown(id: &PathId) -> Rejection {
    Rejection::NotFound(format!("App '{id}' does not exist"))
}
