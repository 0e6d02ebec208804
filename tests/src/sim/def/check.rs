//! What is wrong with a submitted app: JSON of the wrong shape, then values that Marathon refuses.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::config::Personality;
use super::super::path::SEGMENT_RULE;
use super::{AppDef, Doc, Network, Protocol, Rules};

/// One entry of an error's `details`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    path: String,
    error: String,
}

impl Violation {
    /// Something wrong at `path` (`/instances`, `/constraints(0)`).
    #[must_use]
    pub fn new(path: impl Into<String>, error: impl Into<String>) -> Self {
        Self { path: path.into(), error: error.into() }
    }

    /// As written in `details`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"path": self.path, "errors": [self.error]})
    }
}

const NUMBERS: &[&str] = &[
    "instances",
    "cpus",
    "mem",
    "disk",
    "gpus",
    "backoffSeconds",
    "backoffFactor",
    "maxLaunchDelaySeconds",
    "taskKillGracePeriodSeconds",
];
const ARRAYS: &[&str] = &[
    "args",
    "constraints",
    "uris",
    "fetch",
    "ports",
    "portDefinitions",
    "healthChecks",
    "readinessChecks",
    "dependencies",
    "networks",
    "acceptedResourceRoles",
];
const OBJECTS: &[&str] = &["env", "labels", "container", "upgradeStrategy", "ipAddress", "residency", "secrets"];

/// Fields of a wrong JSON type.
#[must_use]
pub fn shape(doc: &Doc) -> Vec<Violation> {
    let mut found = Vec::new();
    for (key, value) in doc.iter().filter(|(_, value)| !value.is_null()) {
        let expected = match key.as_str() {
            "id" | "cmd" | "user" | "executor" | "killSelection" if !value.is_string() => "error.expected.jsstring",
            "requirePorts" if !value.is_boolean() => "error.expected.jsboolean",
            name if NUMBERS.contains(&name) && !value.is_number() => "error.expected.jsnumber",
            name if ARRAYS.contains(&name) && !value.is_array() => "error.expected.jsarray",
            name if OBJECTS.contains(&name) && !value.is_object() => "error.expected.jsobject",
            "labels" => {
                let wrong = value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_string());
                found.extend(
                    wrong.map(|(name, _)| Violation::new(format!("/labels/{name}"), "error.expected.jsstring")),
                );
                continue;
            }
            "ports" => {
                let wrong = value.as_array().into_iter().flatten().enumerate().filter(|(_, value)| !value.is_number());
                found.extend(wrong.map(|(at, _)| Violation::new(format!("/ports({at})"), "error.expected.jsnumber")));
                continue;
            }
            "healthChecks" | "portDefinitions" | "networks" => {
                let wrong = value.as_array().into_iter().flatten().enumerate().filter(|(_, value)| !value.is_object());
                found.extend(wrong.map(|(at, _)| Violation::new(format!("/{key}({at})"), "error.expected.jsobject")));
                continue;
            }
            _ => continue,
        };
        found.push(Violation::new(format!("/{key}"), expected));
    }
    found
}

/// Values that Marathon refuses in a canonical definition.
#[must_use]
pub fn app(def: &AppDef, rules: &Rules) -> Vec<Violation> {
    let mut found = Vec::new();
    let newer = rules.personality >= Personality::V1_8;
    if def.id.is_root() || !def.id.is_valid() {
        found.push(Violation::new("/id", SEGMENT_RULE));
    }
    let last = def.id.segments().next_back().unwrap_or_default();
    if newer && matches!(last, "restart" | "tasks" | "versions") {
        found.push(Violation::new("/id", format!("must not end with any of the following reserved keywords: {last}")));
    }
    let given = |key: &str| def.doc.get(key).is_some_and(|value| !value.is_null());
    let image = def.doc.get("container").and_then(|c| c.get("docker")).and_then(|d| d.get("image"));
    if !given("cmd") && !given("args") && image.is_none() {
        found.push(Violation::new(
            "/",
            "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
        ));
    }
    if newer && given("cmd") && given("args") {
        found.push(Violation::new(
            "/",
            "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
        ));
    }
    for key in ["instances", "cpus", "mem", "disk"] {
        if def.doc.get(key).and_then(Value::as_f64).is_some_and(|value| value < 0.0) {
            found.push(Violation::new(format!("/{key}"), "error.min"));
        }
    }
    if def.doc.get("instances").is_some_and(|value| value.as_i64().is_none()) {
        found.push(Violation::new("/instances", "error.expected.jsnumber"));
    }
    ports(def, &mut found);
    checks(def, &mut found);
    for (key, value) in
        [("minimumHealthCapacity", def.facts.minimum_health), ("maximumOverCapacity", def.facts.over_capacity)]
    {
        if !(0.0..=1.0).contains(&value) {
            found.push(Violation::new(format!("/upgradeStrategy/{key}"), "is not between 0.0 and 1.0"));
        }
    }
    if newer && rules.strict_constraints {
        constraints(def, &mut found);
    }
    found
}

fn ports(def: &AppDef, found: &mut Vec<Violation>) {
    let at = if def.facts.network == Network::Host { "/portDefinitions" } else { "/container/portMappings" };
    let mut names = BTreeSet::new();
    if !def.facts.ports.iter().filter_map(|port| port.name.as_ref()).all(|name| names.insert(name)) {
        found.push(Violation::new(at, "Port names must be unique."));
    }
    let mut numbers = BTreeSet::new();
    let unique = def.facts.ports.iter().map(|port| port.service).filter(|port| *port != 0).all(|p| numbers.insert(p));
    if def.facts.network == Network::Host && !unique {
        found.push(Violation::new(at, "Ports must be unique."));
    }
}

fn checks(def: &AppDef, found: &mut Vec<Violation>) {
    for (at, check) in def.facts.checks.iter().enumerate() {
        if check.protocol == Protocol::Command {
            if !check.doc.get("command").is_some_and(Value::is_object) {
                found.push(Violation::new(format!("/healthChecks({at})/command"), "must not be empty"));
            }
        } else if check.port.is_none() && check.port_index.is_none_or(|index| index >= def.facts.ports.len()) {
            found.push(Violation::new(
                format!("/healthChecks({at})"),
                "Health check port indices must address an element of the ports array or container port mappings.",
            ));
        }
    }
}

fn constraints(def: &AppDef, found: &mut Vec<Violation>) {
    for (at, constraint) in def.facts.constraints.iter().enumerate() {
        let path = format!("/constraints({at})");
        match constraint.as_slice() {
            [_, operator] if matches!(operator.as_str(), "CLUSTER" | "LIKE" | "UNLIKE" | "MAX_PER" | "IS") => {
                found.push(Violation::new(path, format!("A value must be provided for {operator}")));
            }
            [_, operator, _] if operator == "UNIQUE" => {
                found.push(Violation::new(path, "UNIQUE does not accept a value"));
            }
            [_, _] | [_, _, _] => (),
            _ => found.push(Violation::new(
                path,
                "Constraint definition must be an array of strings in format: <key>, <operator>[, value]",
            )),
        }
    }
}
