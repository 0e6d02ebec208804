//! The definition of an app: the JSON that Marathon stores and the few facts the simulator acts upon.
//!
//! The JSON (`doc`) is canonical for the personality: `canon14` and `canon18` fill it, `check` judges it, `render`
//! writes it. Health checks, ports and the rest that drives tasks are read once into [`Facts`].

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::config::Personality;
use super::path::PathId;
use super::stamp::Stamp;

pub mod canon14;
pub mod canon18;
pub mod check;
pub mod facts;
pub mod render;

pub use facts::{Check, Facts, HostPort, Network, Port, Protocol, Unreachable};

/// A JSON object.
pub type Doc = Map<String, Value>;

/// One version of one app.
#[derive(Debug, Clone, PartialEq)]
pub struct AppDef {
    /// Absolute id.
    pub id: PathId,
    /// Canonical JSON without `id`, `version` and `versionInfo`.
    pub doc: Doc,
    /// What the simulator needs from `doc`.
    pub facts: Facts,
    /// Of this definition.
    pub version: Stamp,
    /// `versionInfo.lastScalingAt`.
    pub last_scaling: Stamp,
    /// `versionInfo.lastConfigChangeAt`.
    pub last_config: Stamp,
    /// Tasks of an older generation are replaced: moves with every upgrade and restart.
    pub generation: Stamp,
}

impl AppDef {
    /// Canonicalises `update` over `base` and reads it; the version is set by whoever stores it.
    ///
    /// # Errors
    /// What is wrong with the result, each with its path.
    pub fn build(id: &PathId, update: &Doc, base: Option<&Self>, rules: &Rules) -> Result<Self, Vec<check::Violation>> {
        let mut doc = base.map(|base| base.doc.clone()).unwrap_or_default();
        match rules.personality {
            Personality::V1_4 => canon14::merge(&mut doc, update),
            Personality::V1_8 => canon18::merge(&mut doc, update, rules.default_network.as_deref())?,
        }
        let mut def = Self {
            id: id.clone(),
            doc,
            facts: Facts::default(),
            version: Stamp::default(),
            last_scaling: Stamp::default(),
            last_config: Stamp::default(),
            generation: Stamp::default(),
        };
        def.complete(rules.personality);
        let violations = check::app(&def, rules);
        if violations.is_empty() { Ok(def) } else { Err(violations) }
    }

    /// Whether going from `self` to `other` replaces tasks: anything but `instances` differs.
    #[must_use]
    pub fn is_upgrade(&self, other: &Self) -> bool {
        let but_instances = |doc: &Doc| doc.iter().filter(|(key, _)| *key != "instances").count();
        but_instances(&self.doc) != but_instances(&other.doc)
            || self.doc.iter().any(|(key, value)| key != "instances" && other.doc.get(key) != Some(value))
    }

    /// Sets the number of instances.
    pub fn scale(&mut self, instances: u32) {
        self.doc.insert("instances".to_owned(), instances.into());
        self.facts.instances = instances;
    }

    /// Gives every service port of 0 a number: ports that `previous` had at hand first, then `free`.
    /// `None` when `free` has no number left.
    #[must_use]
    pub fn assign_ports(
        &mut self,
        previous: Option<&Self>,
        personality: Personality,
        mut free: impl FnMut() -> Option<u16>,
    ) -> Option<()> {
        let fixed: Vec<u16> = self.facts.ports.iter().map(|port| port.service).collect();
        let mut reusable: Vec<u16> = previous
            .map(|def| def.facts.ports.iter().map(|port| port.service).filter(|p| !fixed.contains(p)).collect())
            .unwrap_or_default();
        reusable.reverse();
        for slot in service_ports(&mut self.doc) {
            if slot.as_u64() == Some(0) {
                let port = match reusable.pop() {
                    Some(port) => port,
                    None => free()?,
                };
                *slot = port.into();
            }
        }
        self.complete(personality);
        Some(())
    }

    fn complete(&mut self, personality: Personality) {
        match personality {
            Personality::V1_4 => canon14::complete(&mut self.doc),
            Personality::V1_8 => canon18::complete(&mut self.doc),
        }
        self.facts = Facts::read(&self.doc, &self.id.parent());
    }
}

/// What decides how an app is read.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The generation imitated.
    pub personality: Personality,
    /// `--default_network_name`.
    pub default_network: Option<String>,
    /// Whether 1.8 refuses empty constraint values.
    pub strict_constraints: bool,
}

/// The places in a canonical document that hold service ports, in order.
fn service_ports(doc: &mut Doc) -> Vec<&mut Value> {
    let host = matches!(Facts::network(doc), Network::Host);
    if host {
        return slots(doc.get_mut("portDefinitions"), "port");
    }
    let Some(container) = doc.get_mut("container") else { return Vec::new() };
    if container.get("portMappings").is_some() {
        return slots(container.get_mut("portMappings"), "servicePort");
    }
    slots(container.get_mut("docker").and_then(|docker| docker.get_mut("portMappings")), "servicePort")
}

fn slots<'a>(list: Option<&'a mut Value>, key: &str) -> Vec<&'a mut Value> {
    let entries = list.and_then(Value::as_array_mut).map(|list| list.iter_mut()).into_iter().flatten();
    entries.filter_map(|entry| entry.get_mut(key)).collect()
}

/// Inserts `value` unless the key is there and not null.
fn default(doc: &mut Doc, key: &str, value: impl Into<Value>) {
    let entry = doc.entry(key).or_insert(Value::Null);
    if entry.is_null() {
        *entry = value.into();
    }
}

/// Reads a list of strings into a map of labels or variables.
fn strings(value: Option<&Value>) -> BTreeMap<String, String> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
