//! The canonical document of 1.8: RAML spelling, empty things left out.
//!
//! Input in the spelling of ≤ 1.4 is accepted and rewritten (BRIDGE → `container/bridge`, `docker.portMappings` →
//! `container.portMappings`, `ports` → `portDefinitions`, `uris` → `fetch`), a mixture of both is refused.

use serde_json::{Value, json};

use super::check::Violation;
use super::{Doc, Facts, Network, default};

/// Fields that the canonical document may carry.
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
    "fetch",
    "backoffSeconds",
    "backoffFactor",
    "maxLaunchDelaySeconds",
    "container",
    "healthChecks",
    "readinessChecks",
    "dependencies",
    "upgradeStrategy",
    "labels",
    "networks",
    "residency",
    "secrets",
    "taskKillGracePeriodSeconds",
    "unreachableStrategy",
    "killSelection",
    "portDefinitions",
    "requirePorts",
    "acceptedResourceRoles",
    "tty",
    "executorResources",
    "check",
];

/// Rewrites `update` into the canonical spelling and lays it over `doc`.
///
/// # Errors
/// When both spellings are mixed or a network has no name.
pub fn merge(doc: &mut Doc, update: &Doc, default_network: Option<&str>) -> Result<(), Vec<Violation>> {
    let mut update = update.clone();
    modernise(&mut update, default_network)?;
    for (key, value) in update.into_iter().filter(|(key, _)| KNOWN.contains(&key.as_str())) {
        doc.insert(key, value);
    }
    Ok(())
}

fn modernise(update: &mut Doc, default_network: Option<&str>) -> Result<(), Vec<Violation>> {
    let mut mode = None;
    let mut old = update.get("ipAddress").is_some_and(Value::is_object);
    let mut new = update.contains_key("networks");
    if let Some(container) = update.get_mut("container").and_then(Value::as_object_mut) {
        new |= container.get("portMappings").is_some_and(Value::is_array);
        let docker = container.get_mut("docker").and_then(Value::as_object_mut);
        let (network, mappings) = docker.map_or((None, None), |d| (d.remove("network"), d.remove("portMappings")));
        let network = network.filter(|network| !network.is_null());
        let mappings = mappings.filter(|mappings| !mappings.is_null());
        old |= network.is_some() || mappings.is_some();
        mode = network.and_then(|network| network.as_str().map(str::to_owned));
        if let (Some(mappings), false) = (mappings, new) {
            container.insert("portMappings".to_owned(), mappings);
        }
    }
    if old && new {
        return Err(vec![Violation::new("/", "cannot mix deprecated and canonical network APIs")]);
    }
    let ip_address = update.remove("ipAddress").filter(Value::is_object);
    let networks = match (mode.as_deref(), &ip_address) {
        (Some("BRIDGE"), _) => Some(json!([{"mode": "container/bridge"}])),
        (Some("HOST"), _) => Some(json!([{"mode": "host"}])),
        (Some("USER"), _) | (None, Some(_)) => {
            let given = ip_address.as_ref().and_then(|ip| ip.get("networkName")).and_then(Value::as_str);
            let Some(name) = given.or(default_network) else {
                return Err(vec![Violation::new("/networks(0)/name", "must not be empty")]);
            };
            Some(json!([{"mode": "container", "name": name}]))
        }
        _ => None,
    };
    if let Some(networks) = networks {
        update.insert("networks".to_owned(), networks);
    }
    if let Some(ports) = update.remove("ports").filter(Value::is_array) {
        let definitions: Vec<Value> =
            ports.as_array().into_iter().flatten().map(|port| json!({"port": port, "protocol": "tcp"})).collect();
        update.entry("portDefinitions").or_insert(definitions.into());
    }
    if let Some(uris) = update.remove("uris").filter(Value::is_array) {
        let fetch = fetch_of(Some(&uris));
        update.entry("fetch").or_insert(fetch);
    }
    Ok(())
}

/// Fills what was not said and drops what is empty.
pub fn complete(doc: &mut Doc) {
    for (key, value) in [("instances", 1), ("cpus", 1), ("mem", 128), ("disk", 0), ("gpus", 0), ("backoffSeconds", 1)] {
        default(doc, key, value);
    }
    default(doc, "backoffFactor", 1.15);
    default(doc, "maxLaunchDelaySeconds", 300);
    default(doc, "executor", "");
    default(doc, "labels", json!({}));
    default(doc, "killSelection", "YOUNGEST_FIRST");
    let resident = doc.get("residency").is_some_and(Value::is_object);
    default(doc, "upgradeStrategy", json!({}));
    if let Some(strategy) = doc.get_mut("upgradeStrategy").and_then(Value::as_object_mut) {
        default(strategy, "minimumHealthCapacity", if resident { json!(0.5) } else { json!(1) });
        default(strategy, "maximumOverCapacity", u8::from(!resident));
    }
    default(doc, "unreachableStrategy", json!({"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}));
    complete_fetch(doc);
    complete_networks(doc);
    let network = Facts::network(doc);
    complete_container(doc, &network);
    complete_definitions(doc, &network);
    let has_ports = !Facts::read(doc, &super::PathId::root()).ports.is_empty();
    complete_checks(doc, has_ports, true);
    doc.retain(|key, value| key == "labels" || key == "portDefinitions" || !is_empty(value));
}

fn complete_fetch(doc: &mut Doc) {
    let list = doc.get_mut("fetch").and_then(Value::as_array_mut);
    for entry in list.into_iter().flatten().filter_map(Value::as_object_mut) {
        default(entry, "extract", true);
        default(entry, "executable", false);
        default(entry, "cache", false);
    }
}

fn complete_networks(doc: &mut Doc) {
    if doc.get("networks").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        doc.insert("networks".to_owned(), json!([{"mode": "host"}]));
    }
    let networks = doc.get_mut("networks").and_then(Value::as_array_mut);
    for network in networks.into_iter().flatten().filter_map(Value::as_object_mut) {
        default(network, "mode", "container");
    }
}

fn complete_container(doc: &mut Doc, network: &Network) {
    if *network == Network::Bridge {
        default(doc, "container", json!({"type": "MESOS"}));
    }
    let Some(container) = doc.get_mut("container").and_then(Value::as_object_mut) else { return };
    default(container, "type", "DOCKER");
    default(container, "volumes", json!([]));
    if let Some(docker) = container.get_mut("docker").and_then(Value::as_object_mut) {
        default(docker, "forcePullImage", false);
        if container.get("type").and_then(Value::as_str) == Some("DOCKER")
            && let Some(docker) = container.get_mut("docker").and_then(Value::as_object_mut)
        {
            default(docker, "parameters", json!([]));
            default(docker, "privileged", false);
        }
    }
    if *network == Network::Host {
        container.remove("portMappings");
        return;
    }
    let mappings = match network {
        Network::Bridge => json!([{"containerPort": 0, "hostPort": 0, "name": "default"}]),
        _ => json!([]),
    };
    default(container, "portMappings", mappings);
    let mappings = container.get_mut("portMappings").and_then(Value::as_array_mut);
    for mapping in mappings.into_iter().flatten().filter_map(Value::as_object_mut) {
        default(mapping, "containerPort", 0);
        if *network == Network::Bridge {
            default(mapping, "hostPort", 0);
        }
        default(mapping, "servicePort", 0);
        default(mapping, "protocol", "tcp");
        default(mapping, "labels", json!({}));
    }
}

fn complete_definitions(doc: &mut Doc, network: &Network) {
    if *network != Network::Host {
        doc.remove("portDefinitions");
        doc.insert("requirePorts".to_owned(), false.into());
        return;
    }
    default(doc, "requirePorts", false);
    default(doc, "portDefinitions", json!([{"port": 0, "name": "default"}]));
    let definitions = doc.get_mut("portDefinitions").and_then(Value::as_array_mut);
    for definition in definitions.into_iter().flatten().filter_map(Value::as_object_mut) {
        default(definition, "port", 0);
        default(definition, "protocol", "tcp");
        if definition.get("labels").is_some_and(is_empty) {
            definition.remove("labels");
        }
    }
}

/// Fills the health checks; the newer personality shows `delaySeconds` and `ipProtocol` of all.
pub(super) fn complete_checks(doc: &mut Doc, has_ports: bool, newer: bool) {
    let checks = doc.get_mut("healthChecks").and_then(Value::as_array_mut);
    for check in checks.into_iter().flatten().filter_map(Value::as_object_mut) {
        default(check, "protocol", "HTTP");
        default(check, "gracePeriodSeconds", 300);
        default(check, "intervalSeconds", 60);
        default(check, "timeoutSeconds", 20);
        default(check, "maxConsecutiveFailures", 3);
        let protocol = check.get("protocol").and_then(Value::as_str).unwrap_or_default().to_owned();
        if matches!(protocol.as_str(), "HTTP" | "HTTPS") {
            default(check, "ignoreHttp1xx", false);
        }
        if check.contains_key("port") || protocol == "COMMAND" {
            check.remove("portIndex");
        } else if has_ports {
            default(check, "portIndex", 0);
        }
        if newer || protocol == "COMMAND" || protocol.starts_with("MESOS_") {
            default(check, "delaySeconds", 15);
        }
        if newer {
            default(check, "ipProtocol", "IPv4");
        }
    }
}

/// `uris` in the spelling of `fetch`.
pub(super) fn fetch_of(uris: Option<&Value>) -> Value {
    let uris = uris.and_then(Value::as_array).into_iter().flatten();
    uris.map(|uri| json!({"uri": uri, "extract": true, "executable": false, "cache": false})).collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
