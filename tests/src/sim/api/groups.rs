//! `/v2/groups`: the tree, updates, scaling and roll-back of whole groups.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::def::Doc;
use super::super::draft::Draft;
use super::super::http::{Request, Response};
use super::super::path::PathId;
use super::super::plan;
use super::super::rejection::Rejection;
use super::super::root::Root;
use super::super::shared::Shared;
use super::super::stamp::Stamp;
use super::super::world::change;
use super::super::world::view::Embed;
use super::{Answer, apps, deployed, not_allowed, object};

/// Everything below `/v2/groups`.
pub(super) fn handle(shared: &Arc<Shared>, request: &Request, method: &str, rest: &[&str]) -> Answer {
    let id = |parts: &[&str]| PathId::from_url(&parts.join("/"));
    match (method, rest) {
        ("GET", [group @ .., "apps"]) => members(shared, request, &id(group)),
        ("GET", [_group @ .., "versions"]) => Ok(versions(shared)),
        ("GET", [group @ .., "versions", version]) => read(shared, request, &id(group), Some(version)),
        ("GET", group) => read(shared, request, &id(group), None),
        ("POST", group) => create(shared, request, &id(group)),
        ("PUT", group) => update(shared, request, &id(group)),
        ("PATCH", _) => Ok(Response::json(200, &json!({}))),
        ("DELETE", group) => delete(shared, request, &id(group)),
        _ => Ok(not_allowed()),
    }
}

fn read(shared: &Shared, request: &Request, id: &PathId, version: Option<&str>) -> Answer {
    let embed = apps::embed(request, Embed::default());
    let asked: Vec<String> =
        request.query().into_iter().filter(|(key, _)| key == "embed").map(|(_, value)| value).collect();
    let shows = |what: &str| asked.is_empty() || asked.iter().any(|value| value.starts_with(what));
    shared.look(|world| {
        let old;
        let root = match version {
            None => world.root(),
            Some(version) => {
                let found = Stamp::parse(version).and_then(|stamp| world.root_version(stamp));
                old = found.ok_or_else(|| unknown(id, Some(version)))?;
                &old
            }
        };
        if !root.has_group(id) {
            return Err(unknown(id, version));
        }
        let mut tree = root.to_json(id, world.personality(), &|def| world.app_json(def, embed));
        prune(&mut tree, shows("group.apps"), shows("group.groups"), shows("group.pods"));
        Ok(Response::json(200, &tree))
    })
}

/// Drops what was not embedded, at every level.
fn prune(group: &mut Value, apps: bool, groups: bool, pods: bool) {
    let Some(doc) = group.as_object_mut() else { return };
    doc.retain(|key, _| (key != "apps" || apps) && (key != "groups" || groups) && (key != "pods" || pods));
    for below in doc.get_mut("groups").and_then(Value::as_array_mut).into_iter().flatten() {
        prune(below, apps, groups, pods);
    }
}

fn members(shared: &Shared, request: &Request, id: &PathId) -> Answer {
    let embed = apps::embed(request, Embed { counts: true, deployments: true, ..Embed::default() });
    shared.look(|world| {
        if !world.root().has_group(id) {
            return Err(unknown(id, None));
        }
        let apps: Vec<Value> = world.root().apps_below(id).map(|def| world.app_json(def, embed).into()).collect();
        Ok(Response::json(200, &json!({"apps": apps})))
    })
}

fn versions(shared: &Shared) -> Response {
    shared.look(|world| {
        let versions: Vec<String> = world.root_versions().into_iter().map(|version| world.written(version)).collect();
        Response::json(200, &json!(versions))
    })
}

fn create(shared: &Arc<Shared>, request: &Request, base: &PathId) -> Answer {
    let doc = match object(request) {
        Ok(doc) => doc,
        Err(response) => return Ok(response),
    };
    let id = target(&doc, base);
    shared.act(|world, now| {
        let root = world.root();
        if !id.is_root() && root.has_group(&id) {
            return Err(Rejection::Exists(format!("Group {id} is already created. Use PUT to change this group.")));
        }
        let accepted = world.change(&asked(request, &id), now, |draft| draft.update_group(&id, &doc))?;
        Ok(deployed(world, 201, &accepted))
    })
}

fn update(shared: &Arc<Shared>, request: &Request, base: &PathId) -> Answer {
    let doc = match object(request) {
        Ok(doc) => doc,
        Err(response) => return Ok(response),
    };
    let id = target(&doc, base);
    shared.act(|world, now| {
        let earlier = match doc.get("version").and_then(Value::as_str) {
            Some(version) if !doc.contains_key("apps") && !doc.contains_key("groups") => {
                let found = Stamp::parse(version).and_then(|stamp| world.root_version(stamp));
                Some(found.filter(|root| root.has_group(&id)).ok_or_else(|| unknown(&id, Some(version)))?)
            }
            _ => None,
        };
        let edit = |draft: &mut Draft| match (&earlier, doc.get("scaleBy").and_then(Value::as_f64)) {
            (Some(earlier), _) => revert(draft, earlier, &id),
            (None, Some(factor)) => draft.scale_by(&id, factor),
            (None, None) => draft.update_group(&id, &doc),
        };
        if request.flag("dryRun", false) {
            let steps: Vec<Value> = world.rehearse(now, edit)?.iter().map(|step| plan::step_json(step)).collect();
            return Ok(Response::json(200, &json!({"steps": steps})));
        }
        let accepted = world.change(&asked(request, &id), now, edit)?;
        Ok(deployed(world, 200, &accepted))
    })
}

fn delete(shared: &Arc<Shared>, request: &Request, id: &PathId) -> Answer {
    shared.act(|world, now| {
        let asked = change::Request { group: id.parent(), ..asked(request, id) };
        let accepted = world.change(&asked, now, |draft| draft.remove_group(id))?;
        Ok(deployed(world, 200, &accepted))
    })
}

fn revert(draft: &mut Draft, earlier: &Root, id: &PathId) -> Result<(), Rejection> {
    let now: Vec<PathId> = draft.root.apps_below(id).map(|def| def.id.clone()).collect();
    for app in now.iter().filter(|app| !earlier.apps.contains_key(*app)) {
        draft.revert(app, None)?;
    }
    for def in earlier.apps_below(id) {
        draft.revert(&def.id, Some(def))?;
    }
    Ok(())
}

/// The group that the body names, relative to the one in the URL.
fn target(doc: &Doc, base: &PathId) -> PathId {
    match doc.get("id").and_then(Value::as_str) {
        // A body that repeats the id of the URL means that group, not one nested in it.
        Some(id) if PathId::from_url(id) == *base => base.clone(),
        Some(id) => PathId::resolve(id, base),
        None => base.clone(),
    }
}

fn asked(request: &Request, id: &PathId) -> change::Request {
    change::Request { force: request.flag("force", false), group: id.clone(), posted: None }
}

fn unknown(id: &PathId, version: Option<&str>) -> Rejection {
    let version = version.map(|version| format!(" in version {version}")).unwrap_or_default();
    Rejection::NotFound(format!("Group '{id}' does not exist{version}"))
}
