//! `BALANCE`: HAProxy's algorithms with checked arguments.

use super::options::Balance;
use super::value::shown;
use crate::text::Word;

/// Reads an algorithm as one writes it after `balance` in HAProxy's own configuration.
pub(super) fn parse(text: &str) -> Result<Balance, String> {
    let words: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    let (name, arguments) = words.split_first().ok_or_else(|| format!("{} is no algorithm", shown(text)))?;
    let (name, inner) = match name.strip_suffix(')').and_then(|open| open.split_once('(')) {
        Some((name, inner)) => (name, Some(inner)),
        None => (*name, None),
    };
    let unknown = || format!("{} is no algorithm that can be used here", shown(text));
    // Only these three can grow while HAProxy runs besides `first` and `random`.
    let (dynamic, http_only) = match name {
        "roundrobin" | "leastconn" | "first" | "random" => (true, false),
        "static-rr" | "source" | "rdp-cookie" => (false, false),
        "uri" | "url_param" | "hdr" => (false, true),
        _ => return Err(unknown()),
    };
    let good = match (name, inner, arguments) {
        ("roundrobin" | "leastconn" | "first" | "random" | "static-rr" | "source" | "rdp-cookie", None, []) => true,
        ("random", Some(draws), []) => number(draws, 1000),
        ("rdp-cookie", Some(cookie), []) => is_name(cookie),
        ("uri", None, options) => are_uri_options(options),
        ("url_param", None, [parameter] | [parameter, "check_post"]) => is_name(parameter),
        ("hdr", Some(header), [] | ["use_domain_only"]) => is_name(header),
        _ => false,
    };
    if !good {
        return Err(unknown());
    }
    let checked: Result<Vec<Word>, _> = words.iter().map(|word| Word::parse(word)).collect();
    checked.map(|words| Balance::new(words, dynamic, http_only)).map_err(|bad| format!("{}: {bad}", shown(text)))
}

fn are_uri_options(options: &[&str]) -> bool {
    match options {
        [] => true,
        ["whole" | "path-only", rest @ ..] => are_uri_options(rest),
        ["len" | "depth", n, rest @ ..] => number(n, 65_535) && are_uri_options(rest),
        _ => false,
    }
}

fn number(text: &str, max: u32) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse().is_ok_and(|n: u32| (1..=max).contains(&n))
}

/// A header, parameter or cookie name.
fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms() {
        for (text, dynamic, http_only) in [
            ("roundrobin", true, false),
            ("leastconn", true, false),
            ("first", true, false),
            ("random", true, false),
            ("random(3)", true, false),
            ("static-rr", false, false),
            ("source", false, false),
            ("rdp-cookie", false, false),
            ("rdp-cookie(mstshash)", false, false),
            ("uri", false, true),
            ("uri whole len 10 depth 2 path-only", false, true),
            ("url_param userid", false, true),
            ("url_param userid check_post", false, true),
            ("hdr(X-User)", false, true),
            ("hdr(host) use_domain_only", false, true),
        ] {
            let balance = parse(text).unwrap();
            assert_eq!((balance.to_string().as_str(), balance.dynamic, balance.http_only), (text, dynamic, http_only));
        }
        assert_eq!(parse("uri   depth\t2").unwrap().to_string(), "uri depth 2");
    }

    #[test]
    fn what_is_no_algorithm() {
        for bad in [
            "",
            "RoundRobin",
            "round robin",
            "roundrobin x",
            "roundrobin()",
            "random(0)",
            "random(x)",
            "random(1001)",
            "random()",
            "random(+3)",
            "uri len",
            "uri len 0",
            "uri len x",
            "uri deep 3",
            "url_param",
            "url_param a b",
            "url_param %[env(HOME)]",
            "hdr",
            "hdr()",
            "hdr(host",
            "hdr(a b)",
            "hdr(x)y",
            "hash req.hdr(x)",
            "source\nmode tcp",
            "source\u{a0}",
            "rdp-cookie()",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
