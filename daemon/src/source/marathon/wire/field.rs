//! Typed reading of one member of a JSON object, where `null` is the same as absent.
//!
//! Used by every reader in `wire`. A member of the wrong type is an error value that names it;
//! the caller decides what that costs.

use serde_json::{Map, Value};

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// A member that cannot be what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{member}` is no {wanted}")]
pub(super) struct Wrong {
    member: &'static str,
    wanted: &'static str,
}

/// A member that is a string.
pub(super) fn text<'a>(object: &'a Object, member: &'static str) -> Result<Option<&'a str>, Wrong> {
    match present(object, member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Wrong { member, wanted: "string" }),
    }
}

/// A member that is a list; an absent one is empty.
pub(super) fn list<'a>(object: &'a Object, member: &'static str) -> Result<&'a [Value], Wrong> {
    match present(object, member) {
        None => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(Wrong { member, wanted: "array" }),
    }
}

/// A member that is an object; an empty one is absent.
pub(super) fn object<'a>(object: &'a Object, member: &'static str) -> Result<Option<&'a Object>, Wrong> {
    match present(object, member) {
        None => Ok(None),
        Some(Value::Object(inner)) => Ok(Some(inner).filter(|inner| !inner.is_empty())),
        Some(_) => Err(Wrong { member, wanted: "object" }),
    }
}

/// A member that is a port number; 0 stays 0, which means "any" to Marathon.
pub(super) fn port(object: &Object, member: &'static str) -> Result<Option<u16>, Wrong> {
    let wrong = Wrong { member, wanted: "port number" };
    present(object, member).map(|value| whole(value).and_then(|n| u16::try_from(n).ok()).ok_or(wrong)).transpose()
}

/// A member that is a count.
pub(super) fn count(object: &Object, member: &'static str) -> Result<Option<u32>, Wrong> {
    present(object, member).map(|value| whole(value).ok_or(Wrong { member, wanted: "count" })).transpose()
}

/// A number as a port, if it can be one.
pub(super) fn as_port(value: &Value) -> Option<u16> {
    whole(value).and_then(|n| u16::try_from(n).ok())
}

/// A whole number of 0 to 2³²-1, however it is written (`128`, `128.0`, `1.28e2`).
fn whole(value: &Value) -> Option<u32> {
    let number = value.as_f64()?;
    if number.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&number) {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, reason = "whole and in range as just checked")]
    let number = number as u32;
    Some(number)
}

fn present<'a>(object: &'a Object, member: &str) -> Option<&'a Value> {
    object.get(member).filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_come_in_many_spellings_and_stay_in_range() {
        for (value, want) in [
            (json!(0), Some(0)),
            (json!(128), Some(128)),
            (json!(128.0), Some(128)),
            (json!(65535), Some(65535)),
            (json!(65536), None),
            (json!(-1), None),
            (json!(1.5), None),
            (json!(1e300), None),
            (json!("80"), None),
            (json!(true), None),
        ] {
            assert_eq!(as_port(&value), want, "{value}");
        }
    }

    #[test]
    fn null_is_absent_and_a_wrong_type_names_its_member() {
        let value = json!({"a": null, "b": 5, "c": {}});
        let object = value.as_object().unwrap();
        assert_eq!(text(object, "a"), Ok(None));
        assert_eq!(list(object, "a"), Ok(&[][..]));
        assert_eq!(super::object(object, "c"), Ok(None));
        assert_eq!(text(object, "b").unwrap_err().to_string(), "`b` is no string");
    }
}
