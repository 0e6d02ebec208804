//! `BIND_OPTIONS`: the keywords of HAProxy's `bind` line that an app may use.
//!
//! A closed list: anything that names a user, a process, a socket or another namespace is refused.
//! TLS versions are folded into one `ssl-min-ver` and `ssl-max-ver`, because HAProxy ignores the
//! `no-tlsv…` forms (with a warning) wherever a default minimum is set, as it always is here.

use std::collections::BTreeSet;

use super::value::{shown, words};
use crate::text::{FilePath, Word};

/// A keyword and what follows it.
#[derive(Debug, Clone, Copy)]
pub struct Keyword {
    /// As written on a bind line.
    pub name: &'static str,
    /// What follows it.
    pub argument: Argument,
}

/// What follows a keyword.
#[derive(Debug, Clone, Copy)]
pub enum Argument {
    /// Nothing.
    Nothing,
    /// An absolute path of a file or directory on the load balancer.
    File,
    /// A whole number from the first to the second.
    Number(i64, i64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Some of these words, each once, with the character between them.
    Some(char, &'static [&'static str]),
    /// A cipher list in OpenSSL's notation.
    Ciphers,
    /// The name of a network interface.
    Interface,
    /// A time such as `30s`; plain numbers are milliseconds.
    Time,
    /// A TLS version, the least allowed.
    Min,
    /// A TLS version, the greatest allowed.
    Max,
    /// Nothing; it stands for these versions, the least and the greatest; none = no limit.
    Versions(Option<Version>, Option<Version>),
}

/// TLS versions that OpenSSL still knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1.0
    Tls10,
    /// 1.1
    Tls11,
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

/// The words for the bind line, or what is wrong with the first bad one.
pub(super) fn parse(text: &str) -> Result<Vec<Word>, String> {
    let mut bind = Vec::new();
    let mut push = |word: &str| match Word::parse(word) {
        Ok(word) => {
            bind.push(word);
            Ok(())
        }
        Err(bad) => Err(format!("{}: {bad}", shown(word))),
    };
    let (mut least, mut greatest) = (None, None);
    let mut verified = false;
    let mut trusts = false;
    let mut rest = words(text);
    while let Some(name) = rest.next() {
        let Some(keyword) = KEYWORDS.iter().find(|keyword| keyword.name == name) else {
            return Err(format!("the keyword {} cannot be used here", shown(name)));
        };
        match keyword.argument {
            Argument::Nothing => push(name)?,
            Argument::Versions(min, max) => {
                least = least.max(min);
                greatest = lower(greatest, max);
            }
            argument => {
                let value = rest.next().ok_or_else(|| format!("{name} needs a value: {}", argument.describe()))?;
                let bad = || format!("{name} {}: needs {}", shown(value), argument.describe());
                match argument {
                    Argument::Min => least = least.max(Some(Version::parse(value).ok_or_else(bad)?)),
                    Argument::Max => greatest = lower(greatest, Some(Version::parse(value).ok_or_else(bad)?)),
                    _ if argument.accepts(value) => {
                        verified |= name == "verify" && value != "none";
                        trusts |= name == "ca-file";
                        push(name)?;
                        push(value)?;
                    }
                    _ => return Err(bad()),
                }
            }
        }
    }
    if verified && !trusts {
        return Err("verify needs ca-file".to_owned());
    }
    // Below the usual minimum the maximum alone would leave HAProxy no version.
    least = least.or_else(|| greatest.filter(|max| *max < Version::Tls12));
    if let (Some(min), Some(max)) = (least, greatest)
        && min > max
    {
        return Err("no TLS version is left".to_owned());
    }
    for (name, version) in [("ssl-min-ver", least), ("ssl-max-ver", greatest)] {
        if let Some(version) = version {
            push(name)?;
            push(version.name())?;
        }
    }
    if bind.len() > MOST_WORDS {
        return Err(format!("{} words, more than the {MOST_WORDS} that fit on the line", bind.len()));
    }
    Ok(bind)
}

/// Whether TLS is asked for without a certificate.
pub(super) fn lacks_certificate(bind: &[Word]) -> bool {
    let has = |name| bind.iter().any(|word| word.as_str() == name);
    has("ssl") && !has("crt")
}

impl Argument {
    /// What it is, in words.
    pub fn describe(self) -> String {
        match self {
            Self::Nothing | Self::Versions(..) => String::new(),
            Self::File => "an absolute path on the load balancer".to_owned(),
            Self::Number(min, max) => format!("a number from {min} to {max}"),
            Self::OneOf(words) => words.join(" or "),
            Self::Some(between, words) => {
                format!("one or more of {}, each once, with {between} between them", words.join(" "))
            }
            Self::Ciphers => "a cipher list such as ECDHE+AESGCM:!aNULL".to_owned(),
            Self::Interface => "a network interface such as eth0".to_owned(),
            Self::Time => "a time up to 24d such as 30s".to_owned(),
            Self::Min | Self::Max => "TLSv1.0, TLSv1.1, TLSv1.2 or TLSv1.3".to_owned(),
        }
    }

    fn accepts(self, text: &str) -> bool {
        let each = |allowed: &[u8]| text.bytes().all(|b| b.is_ascii_alphanumeric() || allowed.contains(&b));
        match self {
            Self::File => FilePath::parse(text).is_ok(),
            Self::Number(min, max) => {
                text.parse().is_ok_and(|n: i64| (min..=max).contains(&n)) && !text.starts_with('+')
            }
            Self::OneOf(words) => words.contains(&text),
            Self::Some(between, words) => {
                let mut seen = BTreeSet::new();
                text.split(between).all(|part| words.contains(&part) && seen.insert(canonical(part)))
            }
            Self::Ciphers => text.len() <= 1000 && each(b"+-!@:=_"),
            Self::Interface => (1..=15).contains(&text.len()) && each(b"._-") && !text.starts_with(['.', '-']),
            Self::Time => milliseconds(text).is_some_and(|ms| ms <= 24 * 86_400_000),
            Self::Nothing | Self::Min | Self::Max | Self::Versions(..) => false,
        }
    }
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        [Self::Tls10, Self::Tls11, Self::Tls12, Self::Tls13].into_iter().find(|version| version.name() == text)
    }

    /// As HAProxy writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls10 => "TLSv1.0",
            Self::Tls11 => "TLSv1.1",
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

/// One of the names of a curve that has two: OpenSSL refuses a list that names it twice.
fn canonical(word: &str) -> &str {
    match word {
        "prime256v1" => "P-256",
        "secp384r1" => "P-384",
        "secp521r1" => "P-521",
        other => other,
    }
}

/// The lower of two limits; none is no limit.
fn lower(a: Option<Version>, b: Option<Version>) -> Option<Version> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let unit = match text.get(digits..)? {
        "us" => return Some(number / 1000),
        "" | "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

const fn keyword(name: &'static str, argument: Argument) -> Keyword {
    Keyword { name, argument }
}

/// Every keyword an app may use, checked with HAProxy 2.6.
pub static KEYWORDS: &[Keyword] = &[
    keyword("accept-proxy", Argument::Nothing),
    keyword("allow-0rtt", Argument::Nothing),
    keyword("alpn", Argument::Some(',', &["h2", "http/1.1", "http/1.0"])),
    keyword("backlog", Argument::Number(0, 65_535)),
    keyword("ca-file", Argument::File),
    keyword("ca-verify-file", Argument::File),
    keyword("ciphers", Argument::Ciphers),
    keyword("ciphersuites", Argument::Some(':', CIPHERSUITES)),
    keyword("crl-file", Argument::File),
    keyword("crt", Argument::File),
    keyword("curves", Argument::Some(':', CURVES)),
    keyword("defer-accept", Argument::Nothing),
    keyword("ecdhe", Argument::OneOf(CURVES)),
    keyword("force-tlsv10", Argument::Versions(Some(Version::Tls10), Some(Version::Tls10))),
    keyword("force-tlsv11", Argument::Versions(Some(Version::Tls11), Some(Version::Tls11))),
    keyword("force-tlsv12", Argument::Versions(Some(Version::Tls12), Some(Version::Tls12))),
    keyword("force-tlsv13", Argument::Versions(Some(Version::Tls13), Some(Version::Tls13))),
    keyword("interface", Argument::Interface),
    keyword("maxconn", Argument::Number(0, i32::MAX as i64)),
    keyword("mss", Argument::Number(88, 32_767)),
    keyword("nice", Argument::Number(-1024, 1024)),
    keyword("no-ca-names", Argument::Nothing),
    keyword("no-sslv3", Argument::Versions(None, None)),
    keyword("no-tls-tickets", Argument::Nothing),
    keyword("no-tlsv10", Argument::Versions(Some(Version::Tls12), None)),
    keyword("no-tlsv11", Argument::Versions(Some(Version::Tls12), None)),
    keyword("no-tlsv12", Argument::Versions(Some(Version::Tls13), None)),
    keyword("no-tlsv13", Argument::Versions(None, Some(Version::Tls12))),
    keyword("prefer-client-ciphers", Argument::Nothing),
    keyword("ssl", Argument::Nothing),
    keyword("ssl-max-ver", Argument::Max),
    keyword("ssl-min-ver", Argument::Min),
    keyword("strict-sni", Argument::Nothing),
    keyword("tcp-ut", Argument::Time),
    keyword("tfo", Argument::Nothing),
    keyword("tls-ticket-keys", Argument::File),
    keyword("transparent", Argument::Nothing),
    keyword("v4v6", Argument::Nothing),
    keyword("v6only", Argument::Nothing),
    keyword("verify", Argument::OneOf(&["none", "optional", "required"])),
];

const CURVES: &[&str] = &["X25519", "X448", "P-256", "P-384", "P-521", "prime256v1", "secp384r1", "secp521r1"];

const CIPHERSUITES: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
];

/// HAProxy reads 64 words on a line; the rest of the bind line needs some of them.
const MOST_WORDS: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        parse(text).map(|words| words.iter().map(Word::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn tls_versions_become_one_range() {
        for (text, want) in [
            ("no-sslv3", ""),
            ("no-sslv3 no-tlsv10 no-tlsv11 tfo", "tfo ssl-min-ver TLSv1.2"),
            ("no-tlsv12", "ssl-min-ver TLSv1.3"),
            ("no-tlsv13", "ssl-max-ver TLSv1.2"),
            ("force-tlsv12", "ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2"),
            ("force-tlsv13 no-tlsv11", "ssl-min-ver TLSv1.3 ssl-max-ver TLSv1.3"),
            ("force-tlsv10", "ssl-min-ver TLSv1.0 ssl-max-ver TLSv1.0"),
            ("ssl-min-ver TLSv1.0", "ssl-min-ver TLSv1.0"),
            ("ssl-max-ver TLSv1.1", "ssl-min-ver TLSv1.1 ssl-max-ver TLSv1.1"),
            ("ssl-max-ver TLSv1.3 ssl-min-ver TLSv1.1", "ssl-min-ver TLSv1.1 ssl-max-ver TLSv1.3"),
            ("ssl-min-ver TLSv1.2 ssl-min-ver TLSv1.1", "ssl-min-ver TLSv1.2"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(want), "{text}");
        }
        for none_left in ["no-tlsv12 no-tlsv13", "force-tlsv12 force-tlsv13", "no-tlsv11 ssl-max-ver TLSv1.1"] {
            assert_eq!(read(none_left).unwrap_err(), "no TLS version is left");
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, why) in [
            ("level admin", "the keyword \"level\" cannot be used here"),
            ("user root", "the keyword \"user\" cannot be used here"),
            ("expose-fd listeners", "the keyword \"expose-fd\" cannot be used here"),
            ("namespace x", "the keyword \"namespace\" cannot be used here"),
            ("name x", "the keyword \"name\" cannot be used here"),
            ("SSL", "the keyword \"SSL\" cannot be used here"),
            ("ssl\ncrt", "the keyword \"ssl\\u{a}crt\" cannot be used here"),
            ("ssl crt", "crt needs a value: an absolute path on the load balancer"),
            ("crt x.pem", "crt \"x.pem\": needs an absolute path on the load balancer"),
            ("ca-file @system-ca", "ca-file \"@system-ca\": needs an absolute path on the load balancer"),
            ("backlog 70000", "backlog \"70000\": needs a number from 0 to 65535"),
            ("backlog +5", "backlog \"+5\": needs a number from 0 to 65535"),
            ("nice x", "nice \"x\": needs a number from -1024 to 1024"),
            ("mss 40000", "mss \"40000\": needs a number from 88 to 32767"),
            ("verify maybe", "verify \"maybe\": needs none or optional or required"),
            ("verify required", "verify needs ca-file"),
            (
                "alpn h2,spdy/3",
                "alpn \"h2,spdy/3\": needs one or more of h2 http/1.1 http/1.0, each once, with , between them",
            ),
            (
                "alpn h2,,http/1.1",
                "alpn \"h2,,http/1.1\": needs one or more of h2 http/1.1 http/1.0, each once, with , between them",
            ),
            (
                "curves P-256:prime256v1",
                "curves \"P-256:prime256v1\": needs one or more of X25519 X448 P-256 P-384 P-521 prime256v1 secp384r1 secp521r1, each once, with : between them",
            ),
            ("ciphers %[env(X)]", "ciphers \"%[env(X)]\": needs a cipher list such as ECDHE+AESGCM:!aNULL"),
            ("interface a/b", "interface \"a/b\": needs a network interface such as eth0"),
            ("tcp-ut 25d", "tcp-ut \"25d\": needs a time up to 24d such as 30s"),
            ("tcp-ut 30 s", "the keyword \"s\" cannot be used here"),
            ("ssl-min-ver SSLv3", "ssl-min-ver \"SSLv3\": needs TLSv1.0, TLSv1.1, TLSv1.2 or TLSv1.3"),
        ] {
            assert_eq!(read(text).unwrap_err(), why, "{text:?}");
        }
        assert_eq!(read(&"tfo ".repeat(49)).unwrap_err(), "49 words, more than the 48 that fit on the line");
    }
}
