//! An app as the API writes it: the canonical document with id and versions.

use serde_json::{Value, json};

use super::super::config::Personality;
use super::{AppDef, Doc, Network};

/// The bare `App`, without counts or tasks.
#[must_use]
pub fn app(def: &AppDef, personality: Personality) -> Doc {
    let mut doc = def.doc.clone();
    let written = |stamp: super::Stamp| match personality {
        Personality::V1_4 => stamp.full(),
        Personality::V1_8 => stamp.trimmed(),
    };
    if personality == Personality::V1_4 && doc.get("ipAddress").is_some_and(Value::is_object) {
        for key in ["ports", "portDefinitions", "requirePorts"] {
            doc.remove(key);
        }
    }
    if personality == Personality::V1_8 && def.facts.network != Network::Host {
        doc.remove("portDefinitions");
    }
    doc.insert("id".to_owned(), def.id.as_str().into());
    doc.insert("version".to_owned(), written(def.version).into());
    doc.insert(
        "versionInfo".to_owned(),
        json!({"lastScalingAt": written(def.last_scaling), "lastConfigChangeAt": written(def.last_config)}),
    );
    doc
}
