//! `/v2/tasks` and the tasks of an app: JSON, the text form, and killing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::config::Personality;
use super::super::http::{Request, Response};
use super::super::instance::Condition;
use super::super::path::PathId;
use super::super::rejection::Rejection;
use super::super::shared::Shared;
use super::super::world::{World, change};
use super::{Answer, apps, deployed, not_allowed, object};

/// Everything below `/v2/tasks`.
pub(super) fn handle(shared: &Arc<Shared>, request: &Request, method: &str, rest: &[&str]) -> Answer {
    match (method, rest) {
        ("GET", []) => Ok(list(shared, request)),
        ("POST", ["delete"]) => kill_many(shared, request),
        _ => Ok(not_allowed()),
    }
}

fn list(shared: &Shared, request: &Request) -> Response {
    let asked: Vec<String> = request
        .query()
        .into_iter()
        .filter(|(key, _)| key == "status" || key == "status[]")
        .map(|(_, value)| value)
        .filter(|value| matches!(value.as_str(), "running" | "staging"))
        .collect();
    let wanted = |condition: Condition| {
        let status = match condition {
            Condition::Running => "running",
            Condition::Created | Condition::Provisioned | Condition::Starting => "staging",
            _ => "",
        };
        condition != Condition::Scheduled && (asked.is_empty() || asked.iter().any(|asked| asked == status))
    };
    shared.look(|world| {
        let personality = world.personality();
        if wants_text(request, personality) {
            let ids: Vec<PathId> = world.root().apps.keys().cloned().collect();
            return Response::new(200, "text/plain", text(world, &ids));
        }
        let chosen = world.instances().values().filter(|i| wanted(i.condition));
        let tasks: Vec<Value> = chosen.map(|i| i.to_json(personality, true)).collect();
        Response::json(200, &json!({"tasks": tasks}))
    })
}

/// `GET` and `DELETE /v2/apps/{id}/tasks`; of all apps below when `transitive`.
pub(super) fn of_app(shared: &Arc<Shared>, request: &Request, method: &str, id: &PathId, transitive: bool) -> Answer {
    let ids: Vec<PathId> = shared.look(|world| match transitive {
        true => world.root().apps_below(id).map(|def| def.id.clone()).collect(),
        false => world.root().apps.get(id).map(|def| def.id.clone()).into_iter().collect(),
    });
    if ids.is_empty() && !transitive {
        return Err(apps::unknown(id));
    }
    if method == "GET" {
        return Ok(shared.look(|world| {
            if wants_text(request, world.personality()) {
                return Response::new(200, "text/plain", text(world, &ids));
            }
            let tasks: Vec<Value> = ids.iter().flat_map(|id| world.tasks_of(id)).collect();
            Response::json(200, &json!({"tasks": tasks}))
        }));
    }
    let host = request.parameter("host");
    let doomed: Vec<String> = shared.look(|world| {
        let all = ids.iter().flat_map(|id| world.instances_of(id)).filter(|i| i.condition != Condition::Scheduled);
        all.filter(|i| host.as_ref().is_none_or(|host| *host == i.host)).map(|i| i.id.clone()).collect()
    });
    kill(shared, request, &doomed, |tasks| json!({"tasks": tasks}))
}

/// `DELETE /v2/apps/{id}/tasks/{task}`.
pub(super) fn kill_one(shared: &Arc<Shared>, request: &Request, id: &PathId, task: &str) -> Answer {
    let found = shared.look(|world| world.by_task(task).filter(|i| i.def.id == *id).map(|i| i.id.clone()));
    let Some(instance) = found else {
        return Err(Rejection::NotFound(format!("Task '{task}' does not exist")));
    };
    kill(shared, request, &[instance], |mut tasks| json!({"task": tasks.pop()}))
}

fn kill_many(shared: &Arc<Shared>, request: &Request) -> Answer {
    let doc = match object(request) {
        Ok(doc) => doc,
        Err(response) => return Ok(response),
    };
    let ids = doc.get("ids").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let mut doomed = Vec::new();
    for id in ids {
        if !id.contains('.') {
            return Err(Rejection::BadRequest(format!(
                "Invalid task id '{id}'. [A task id has the form <app>.<uuid>]"
            )));
        }
        doomed.extend(shared.look(|world| world.by_task(id).map(|i| i.id.clone())));
    }
    kill(shared, request, &doomed, |tasks| json!({"tasks": tasks}))
}

fn kill(
    shared: &Arc<Shared>,
    request: &Request,
    doomed: &[String],
    answer: impl FnOnce(Vec<Value>) -> Value,
) -> Answer {
    let (scale, wipe) = (request.flag("scale", false), request.flag("wipe", false));
    if scale && wipe {
        return Err(Rejection::BadRequest("You cannot use scale and wipe at the same time.".to_owned()));
    }
    if !scale {
        return Ok(shared.act(|world, now| {
            let personality = world.personality();
            let chosen = doomed.iter().filter_map(|id| world.instances().get(id));
            let tasks: Vec<Value> = chosen.map(|i| i.to_json(personality, false)).collect();
            for id in doomed {
                world.kill(id, now);
            }
            Response::json(200, &answer(tasks))
        }));
    }
    let asked = change::Request { force: request.flag("force", false), group: PathId::root(), posted: None };
    shared.act(|world, now| {
        let mut fewer: BTreeMap<PathId, u32> = BTreeMap::new();
        let live = doomed.iter().filter_map(|id| world.instances().get(id)).filter(|i| i.condition.is_live());
        for instance in live {
            *fewer.entry(instance.def.id.clone()).or_default() += 1;
        }
        let accepted = world.change(&asked, now, |draft| {
            fewer.iter().try_for_each(|(id, count)| {
                let instances = draft.root.apps.get(id).map_or(0, |def| def.facts.instances);
                draft.scale(id, instances.saturating_sub(*count))
            })
        })?;
        for id in doomed {
            world.kill(id, now);
        }
        Ok(deployed(world, 200, &accepted))
    })
}

fn wants_text(request: &Request, personality: Personality) -> bool {
    let accept = request.header("accept").unwrap_or_default();
    let json = accept.contains("json") || accept.contains("*/*") || accept.is_empty();
    accept.contains("text/plain") && (!json || personality < Personality::V1_8 && !accept.contains("json"))
}

/// A line per app and service port; 1.4 separates by single blanks.
fn text(world: &World, ids: &[PathId]) -> String {
    let blank = if world.personality() < Personality::V1_8 { ' ' } else { '\t' };
    let mut out = String::new();
    for id in ids {
        let Some(def) = world.root().apps.get(id) else { continue };
        let running: Vec<_> = world.instances_of(id).filter(|i| i.condition == Condition::Running).collect();
        let name = id.task_prefix();
        if def.facts.ports.is_empty() {
            out.push_str(&format!("{name}{blank} {blank}"));
            running.iter().for_each(|i| out.push_str(&format!("{}{blank}", i.host)));
            out.push('\n');
        }
        for (index, port) in def.facts.ports.iter().enumerate() {
            out.push_str(&format!("{name}{blank}{}{blank}", port.service));
            for i in &running {
                match i.ports.get(index) {
                    Some(port) => out.push_str(&format!("{}:{port}{blank}", i.host)),
                    None if world.personality() < Personality::V1_8 => out.push_str(&format!("{}:0{blank}", i.host)),
                    None => (),
                }
            }
            out.push('\n');
        }
    }
    out
}
