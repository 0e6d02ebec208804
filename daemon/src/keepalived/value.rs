//! Numbers and times as keepalived writes them.
//!
//! Pure; used by all parts of the translation.

use serde::de::{DeserializeOwned, IntoDeserializer as _, value};

/// Seconds with a fraction, in microseconds; nothing for what is no such number.
pub(super) fn micros(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { digits(whole)? };
    let mut parts: u64 = 0;
    for at in 0..6 {
        parts = parts * 10 + u64::from(fraction.as_bytes().get(at).map_or(0, |digit| digit - b'0'));
    }
    whole.checked_mul(1_000_000)?.checked_add(parts)
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `text` as the value that Baton's configuration would make of it, or what it has against it.
pub(super) fn checked<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let deserializer = text.into_deserializer();
    T::deserialize(deserializer).map_err(|why: value::Error| why.to_string())
}

/// The same of a whole number.
pub(super) fn checked_number<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let number: i64 = text.parse().map_err(|_| format!("{text:?} is no whole number"))?;
    T::deserialize(number.into_deserializer()).map_err(|why: value::Error| why.to_string())
}

/// Milliseconds as Baton's times are written.
pub(super) fn time(millis: u64) -> String {
    match millis % 1_000 {
        0 => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

/// `text` as a string of TOML.
pub(super) fn string(text: &str) -> String {
    let mut made = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => made.extend(['\\', c]),
            c if c.is_control() => made.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => made.push(c),
        }
    }
    made.push('"');
    made
}

/// `items` as a list of strings of TOML.
pub(super) fn list(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|item| string(item)).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, expected) in [("1", 1_000_000), ("0.1", 100_000), (".5", 500_000), ("2.71828", 2_718_280)] {
            assert_eq!(micros(text), Some(expected), "{text}");
        }
        for bad in ["", ".", "-1", "+1", "1.x", "1s", "99999999999999999999", "18446744073710"] {
            assert_eq!(micros(bad), None, "{bad}");
        }
        assert_eq!((time(1_500), time(60_000)), ("1500ms".to_owned(), "60s".to_owned()));
        assert_eq!(string("a\"b\\\n"), "\"a\\\"b\\\\\\u000A\"");
    }
}
