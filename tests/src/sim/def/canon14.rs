//! The canonical document of 1.4: every field present, nulls written, `ports` mirroring the service ports.
//!
//! Fields that 1.4 does not know (`networks`, `container.portMappings`) are dropped, as its lenient reader does.

use serde_json::{Value, json};

use super::canon18::{complete_checks, fetch_of};
use super::{Doc, Facts, Network, default};

/// Fields that an update may carry.
const KNOWN: &[&str] = &[
    "cmd",
    "args",
    "user",
    "env",
    "instances",
    "cpus",
    "mem",
    "disk",
    "gpus",
    "executor",
    "constraints",
    "uris",
    "fetch",
    "storeUrls",
    "backoffSeconds",
    "backoffFactor",
    "maxLaunchDelaySeconds",
    "container",
    "healthChecks",
    "readinessChecks",
    "dependencies",
    "upgradeStrategy",
    "labels",
    "ipAddress",
    "residency",
    "secrets",
    "taskKillGracePeriodSeconds",
    "unreachableStrategy",
    "killSelection",
    "ports",
    "portDefinitions",
    "requirePorts",
    "acceptedResourceRoles",
];

/// Lays the known fields of `update` over `doc`.
pub fn merge(doc: &mut Doc, update: &Doc) {
    for (key, value) in update.iter().filter(|(key, _)| KNOWN.contains(&key.as_str())) {
        match key.as_str() {
            // Said twice, the richer form counts.
            "ports" if update.get("portDefinitions").is_some_and(Value::is_array) => continue,
            "ports" => {
                doc.remove("portDefinitions");
            }
            "portDefinitions" => {
                doc.remove("ports");
            }
            "uris" if !update.contains_key("fetch") => {
                doc.remove("fetch");
            }
            "fetch" => {
                doc.remove("uris");
            }
            _ => (),
        }
        doc.insert(key.clone(), value.clone());
    }
}

/// Fills everything that was not said.
pub fn complete(doc: &mut Doc) {
    for key in ["cmd", "args", "user", "container", "ipAddress", "residency", "taskKillGracePeriodSeconds"] {
        doc.entry(key).or_insert(Value::Null);
    }
    for key in ["constraints", "storeUrls", "healthChecks", "readinessChecks", "dependencies"] {
        default(doc, key, json!([]));
    }
    for key in ["env", "labels", "secrets"] {
        default(doc, key, json!({}));
    }
    for (key, value) in [("instances", 1), ("cpus", 1), ("mem", 128), ("disk", 0), ("gpus", 0), ("backoffSeconds", 1)] {
        default(doc, key, value);
    }
    default(doc, "backoffFactor", 1.15);
    default(doc, "maxLaunchDelaySeconds", 3600);
    default(doc, "executor", "");
    default(doc, "requirePorts", false);
    default(doc, "killSelection", "YOUNGEST_FIRST");
    let resident = doc.get("residency").is_some_and(Value::is_object);
    let upgrade = if resident { (0.5, 0) } else { (1.0, 1) };
    default(doc, "upgradeStrategy", json!({}));
    if let Some(strategy) = doc.get_mut("upgradeStrategy").and_then(Value::as_object_mut) {
        default(strategy, "minimumHealthCapacity", if resident { json!(upgrade.0) } else { json!(1) });
        default(strategy, "maximumOverCapacity", upgrade.1);
    }
    default(doc, "unreachableStrategy", json!({"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}));
    if doc.get("acceptedResourceRoles").is_some_and(|roles| roles.as_array().is_none_or(Vec::is_empty)) {
        doc.remove("acceptedResourceRoles");
    }
    complete_fetch(doc);
    complete_container(doc);
    complete_ports(doc);
    let has_ports = !Facts::read(doc, &super::PathId::root()).ports.is_empty();
    complete_checks(doc, has_ports, false);
}

fn complete_fetch(doc: &mut Doc) {
    if !doc.get("fetch").is_some_and(Value::is_array) {
        let fetch = fetch_of(doc.get("uris"));
        doc.insert("fetch".to_owned(), fetch);
    }
    if let Some(list) = doc.get_mut("fetch").and_then(Value::as_array_mut) {
        for entry in list.iter_mut().filter_map(Value::as_object_mut) {
            default(entry, "extract", true);
            default(entry, "executable", false);
            default(entry, "cache", false);
        }
        let uris: Vec<Value> = list.iter().filter_map(|entry| entry.get("uri").cloned()).collect();
        doc.insert("uris".to_owned(), uris.into());
    }
}

fn complete_container(doc: &mut Doc) {
    let bridge = Facts::network(doc) == Network::Bridge;
    let Some(container) = doc.get_mut("container").and_then(Value::as_object_mut) else { return };
    container.remove("portMappings");
    default(container, "type", "DOCKER");
    default(container, "volumes", json!([]));
    let Some(docker) = container.get_mut("docker").and_then(Value::as_object_mut) else { return };
    docker.entry("network").or_insert(Value::Null);
    default(docker, "privileged", false);
    default(docker, "parameters", json!([]));
    default(docker, "forcePullImage", false);
    if bridge {
        default(docker, "portMappings", json!([{"containerPort": 0, "hostPort": 0, "name": "default"}]));
    } else {
        docker.entry("portMappings").or_insert(Value::Null);
    }
    let mappings = docker.get_mut("portMappings").and_then(Value::as_array_mut);
    for mapping in mappings.into_iter().flatten().filter_map(Value::as_object_mut) {
        default(mapping, "containerPort", 0);
        if bridge {
            default(mapping, "hostPort", 0);
        }
        default(mapping, "servicePort", 0);
        default(mapping, "protocol", "tcp");
        default(mapping, "labels", json!({}));
    }
}

/// `ports` and `portDefinitions` say the same; on a bridge both mirror the mappings.
fn complete_ports(doc: &mut Doc) {
    let mapped = (Facts::network(doc) != Network::Host).then(|| {
        let docker = doc.get("container").and_then(|c| c.get("docker"));
        docker.and_then(|d| d.get("portMappings")).and_then(Value::as_array).cloned()
    });
    if let Some(Some(mappings)) = mapped {
        let definitions: Vec<Value> = mappings
            .iter()
            .enumerate()
            .map(|(index, mapping)| {
                let mut definition = json!({"port": mapping.get("servicePort"), "protocol": "tcp", "labels": {}});
                if index == 0 {
                    definition["name"] = "default".into();
                }
                definition
            })
            .collect();
        doc.insert("portDefinitions".to_owned(), definitions.into());
    } else if !doc.get("portDefinitions").is_some_and(Value::is_array) {
        let definitions = match doc.get("ports").and_then(Value::as_array) {
            Some(ports) => ports.iter().map(|port| json!({"port": port, "protocol": "tcp", "labels": {}})).collect(),
            None => vec![json!({"port": 0, "protocol": "tcp", "name": "default", "labels": {}})],
        };
        doc.insert("portDefinitions".to_owned(), definitions.into());
    }
    let mut ports = Vec::new();
    let definitions = doc.get_mut("portDefinitions").and_then(Value::as_array_mut);
    for definition in definitions.into_iter().flatten().filter_map(Value::as_object_mut) {
        default(definition, "port", 0);
        default(definition, "protocol", "tcp");
        default(definition, "labels", json!({}));
        ports.extend(definition.get("port").cloned());
    }
    doc.insert("ports".to_owned(), ports.into());
}
