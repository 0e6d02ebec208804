//! A JSON value without what we never read: unknown members are skipped while parsing.
//!
//! Used by `wire` for one app at a time. Skipping needs no memory and no recursion, so an app's
//! `env` of any size or depth costs nothing. What is kept is at most [`MAX_DEPTH`] levels deep.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The seed of one value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lean {
    depth: u8,
    /// Below `labels` every member is kept.
    every_member: bool,
}

impl Lean {
    fn inner(self, every_member: bool) -> Self {
        Self { depth: self.depth + 1, every_member }
    }
}

impl<'de> DeserializeSeed<'de> for Lean {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        if self.depth < MAX_DEPTH {
            input.deserialize_any(self)
        } else {
            // Not null, which would read as absent: nothing that deep is ever a right type.
            input.deserialize_ignored_any(IgnoredAny).map(|_| Value::Array(Vec::new()))
        }
    }
}

impl<'de> Visitor<'de> for Lean {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Value, S::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(self.inner(self.every_member))? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Value, M::Error> {
        let mut members = Map::new();
        let mut skipped = false;
        while let Some(key) = map.next_key_seed(Key { every_member: self.every_member })? {
            match key {
                Some(key) => {
                    let inner = self.inner(self.every_member || key == "labels");
                    let value = map.next_value_seed(inner)?;
                    members.insert(key, value);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                    skipped = true;
                }
            }
        }
        if skipped && members.is_empty() {
            // An empty object reads as absent, and this one is not.
            members.insert(String::new(), Value::Null);
        }
        Ok(Value::Object(members))
    }
}

/// A member's name, or none when the member is of no interest.
struct Key {
    every_member: bool,
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Option<String>, D::Error> {
        input.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<String>, E> {
        Ok((self.every_member || MEMBERS.binary_search(&name).is_ok()).then(|| name.to_owned()))
    }
}

/// App, container, ports is as deep as Marathon's objects go: six levels.
const MAX_DEPTH: u8 = 8;

/// Every member name that some reader in `wire` asks for, in order.
const MEMBERS: &[&str] = &[
    "alive",
    "container",
    "containerPort",
    "discovery",
    "docker",
    "healthCheckResults",
    "healthChecks",
    "host",
    "hostPort",
    "id",
    "instances",
    "intervalSeconds",
    "ipAddress",
    "ipAddresses",
    "labels",
    "maxConsecutiveFailures",
    "mode",
    "network",
    "networks",
    "number",
    "path",
    "port",
    "portDefinitions",
    "portIndex",
    "portMappings",
    "ports",
    "protocol",
    "servicePort",
    "state",
    "tasks",
    "timeoutSeconds",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn lean(text: &str) -> Value {
        Lean::default().deserialize(&mut serde_json::Deserializer::from_str(text)).unwrap()
    }

    #[test]
    fn keeps_what_is_read_and_all_labels() {
        let have =
            lean(r#"{"id":"/a","env":{"id":1},"labels":{"x":"y","n":7},"tasks":[{"id":"t","slaveId":"s"},null]}"#);
        let want = serde_json::json!({"id":"/a","labels":{"x":"y","n":7},"tasks":[{"id":"t"},null]});
        assert_eq!(have, want);
    }

    #[test]
    fn members_are_found() {
        assert!(MEMBERS.is_sorted());
    }

    #[test]
    fn depth_is_bounded_and_costs_no_stack() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        let have = lean(&format!(r#"{{"env":{0},"labels":{{"a":{0},"b":"c"}},"id":"/x"}}"#, deep(200_000)));
        assert_eq!(have["id"], "/x");
        assert_eq!(have["labels"]["b"], "c");
        assert!(have["labels"]["a"].is_array());
    }
}
