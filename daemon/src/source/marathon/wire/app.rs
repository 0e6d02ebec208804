//! One app with its tasks.

use std::collections::BTreeMap;

use haproxy::app::{App, AppId, BadAppId};
use haproxy::issue::Issue;
use serde_json::Value;

use super::field::{self, Object, Wrong};
use super::notes::Notes;
use super::{check, ports, task};

/// Reads the app that stands at `position` (from 1) of the list. None when it cannot be served;
/// then an issue says why.
pub(super) fn read(value: &Value, position: usize, issues: &mut Vec<Issue>) -> Option<App> {
    let id = value.get("id").and_then(Value::as_str);
    let mut notes = Notes::new(id.map_or_else(|| format!("app number {position}"), str::to_owned), issues);
    let app = value.as_object().ok_or(BadApp::NoObject).and_then(|app| one(app, &mut notes));
    notes.finish(app.as_ref().err().map(ToString::to_string));
    app.ok()
}

fn one(app: &Object, notes: &mut Notes<'_>) -> Result<App, BadApp> {
    let id = AppId::parse(field::text(app, "id")?.ok_or(BadApp::NoId)?)?;
    let layout = ports::read(app, notes)?;
    let labels = labels(app, notes)?;
    let checks = check::read(app, notes)?;
    let tasks = field::list(app, "tasks")?.iter().filter(|task| !task.is_null());
    let instances: Vec<_> = tasks.filter_map(|task| task::read(task, &layout, notes)).collect();
    let wanted = match field::count(app, "instances")? {
        Some(count) => count,
        None => u32::try_from(instances.len()).unwrap_or(u32::MAX),
    };
    Ok(App { id, labels, networking: layout.networking, ports: layout.ports, checks, instances, wanted })
}

#[derive(Debug, thiserror::Error)]
enum BadApp {
    #[error(transparent)]
    Wrong(#[from] Wrong),
    #[error(transparent)]
    Ports(#[from] ports::BadPorts),
    #[error(transparent)]
    Id(#[from] BadAppId),
    #[error("it has no id")]
    NoId,
    #[error("it is no object")]
    NoObject,
}

/// Labels are strings. Another value is handed on as its JSON text rather than dropped: a label
/// that restricts access must not vanish, the label table judges what is written there.
fn labels(app: &Object, notes: &mut Notes<'_>) -> Result<BTreeMap<String, String>, Wrong> {
    let Some(labels) = field::object(app, "labels")? else { return Ok(BTreeMap::new()) };
    let mut read = BTreeMap::new();
    for (name, value) in labels {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Array(_) | Value::Object(_) => {
                notes.label(name, "the value is no string; its JSON text is used");
                value.to_string()
            }
        };
        read.insert(name.clone(), text);
    }
    Ok(read)
}
