//! Text that may reach haproxy.cfg or a map: types that cannot hold a newline, a blank or a quote.
//!
//! Made by `labels` from what app owners write and by the daemon's configuration; rendered by
//! `render` without any escaping. The check is in the constructor, so a template cannot forget it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// One token of a configuration line: printable ASCII without blank, quote, `\`, `#`, `$`, `{`, `}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(String);

impl Word {
    /// The token, or what is wrong with it.
    ///
    /// # Errors
    /// When it is empty, longer than 1,024 bytes or holds a character that HAProxy treats specially.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        check(text, 1024, |b| b.is_ascii_graphic() && !b"\"'\\#${}`".contains(&b))?;
        Ok(Self(text.to_owned()))
    }

    /// The token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A virtual host: `www.example.com` or `*.example.com`, lower case, at most 253 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host {
    wildcard: bool,
    name: String,
}

impl Host {
    /// Reads one host name. International names become their ASCII form (IDNA).
    ///
    /// # Errors
    /// When a label is empty, longer than 63 bytes or holds anything but letters, digits, `-`
    /// and `_`, or when the name is longer than 253 bytes.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        if let Some(bad) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            return Err(BadText::Character(bad));
        }
        let lower = text.to_ascii_lowercase();
        let (wildcard, name) = match lower.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, lower.as_str()),
        };
        let name = if name.is_ascii() {
            name.to_owned()
        } else {
            idna::domain_to_ascii_strict(name).map_err(|_| BadText::Idna)?
        };
        if name.is_empty() || name.len() > 253 {
            return Err(BadText::Length { have: name.len(), max: 253 });
        }
        for label in name.split('.') {
            if label.is_empty() {
                return Err(BadText::EmptyPart);
            }
            check(label, 63, |b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')?;
            if label.starts_with('-') || label.ends_with('-') {
                return Err(BadText::Character('-'));
            }
        }
        Ok(Self { wildcard, name })
    }

    /// The wildcard above a part of a valid host's name.
    pub(crate) fn wildcard(name: &str) -> Self {
        Self { wildcard: true, name: name.to_owned() }
    }

    /// Whether it stands for every name below `name`.
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// The name without the leading `*.` of a wildcard.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `self` is a wildcard and `other` (an exact or wildcard host) lies below it.
    pub fn covers(&self, other: &Self) -> bool {
        self.wildcard && other.name.strip_suffix(&self.name).is_some_and(|front| front.ends_with('.'))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wildcard {
            f.write_str("*.")?;
        }
        f.write_str(&self.name)
    }
}

/// The beginning of a URL path: starts with `/`, characters of RFC 3986 paths, at most 1,024 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPrefix(String);

impl PathPrefix {
    /// Reads one prefix.
    ///
    /// # Errors
    /// When it does not start with `/`, is too long or holds another character.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        check(text, 1024, |b| b.is_ascii_alphanumeric() || b"._~!&()*+,=:@%/;-".contains(&b))?;
        if !text.starts_with('/') {
            return Err(BadText::NoSlash);
        }
        Ok(Self(text.to_owned()))
    }

    /// The prefix with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A URI for `option httpchk`: as [`PathPrefix`], and a query may follow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckUri(String);

impl CheckUri {
    /// Reads a request target.
    ///
    /// # Errors
    /// When it does not start with `/`, is too long or holds another character.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        check(text, 2048, |b| b.is_ascii_alphanumeric() || b"._~!&()*+,=:@%/;?-".contains(&b))?;
        if !text.starts_with('/') {
            return Err(BadText::NoSlash);
        }
        Ok(Self(text.to_owned()))
    }

    /// The request target.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name in a log-in dialogue: printable ASCII, blanks allowed, no quote, `\`, `%`, `$`; at most
/// 128 bytes. Rendered inside double quotes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Realm(String);

impl Realm {
    /// Reads a realm.
    ///
    /// # Errors
    /// When it is empty, too long or holds another character.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        check(text, 128, |b| (b.is_ascii_graphic() || b == b' ') && !b"\"'\\%$`".contains(&b))?;
        Ok(Self(text.to_owned()))
    }

    /// The realm without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A password hash as crypt(3) makes them; plain text does not fit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CryptHash(String);

impl CryptHash {
    /// Reads `$id$…` (MD5, bcrypt, SHA-256, SHA-512, yescrypt) or a 13-character DES hash.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        let body = |b: u8| b.is_ascii_alphanumeric() || b"./$=,-".contains(&b);
        check(text, 256, body)?;
        let modular = ["$1$", "$2a$", "$2b$", "$2y$", "$5$", "$6$", "$y$"];
        // The last digit of a DES hash has 4 bits; those of a plain password usually have 6.
        let des = text.len() == 13 && !text.contains(['$', '=', ',', '-']) && text.ends_with(DES_ENDS);
        if !des && (text.len() <= 20 || !modular.iter().any(|id| text.starts_with(id))) {
            return Err(BadText::NoHash);
        }
        if !affordable(text) {
            return Err(BadText::Costly);
        }
        Ok(Self(text.to_owned()))
    }

    /// The hash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An absolute path of a file on the load balancer, without `..`; one token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(String);

impl FilePath {
    /// Reads a path.
    ///
    /// # Errors
    /// When it is relative, climbs with `..` or is no [`Word`].
    pub fn parse(text: &str) -> Result<Self, BadText> {
        check(text, 1024, |b| b.is_ascii_alphanumeric() || b"._~+,=:@%/-".contains(&b))?;
        if !text.starts_with('/') {
            return Err(BadText::NoSlash);
        }
        if text.split('/').any(|part| part == "..") {
            return Err(BadText::Climbs);
        }
        let top = text.split('/').find(|part| !part.is_empty() && *part != ".");
        if matches!(top, Some("dev" | "proc" | "sys")) {
            return Err(BadText::NoPlainFile);
        }
        Ok(Self(text.to_owned()))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a frontend listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum BindAddr {
    /// Every address of this host: HAProxy's `*`, and `::` beside it where IPv6 is in use.
    #[default]
    Any,
    /// One address, or every address of its family when unspecified.
    Ip(IpAddr),
}

impl BindAddr {
    /// Reads `*`, an IPv4 address or an IPv6 address with or without brackets.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            return inner.parse::<Ipv6Addr>().map(|ip| Self::Ip(ip.into())).map_err(|_| BadText::NoAddress);
        }
        text.parse().map(Self::Ip).map_err(|_| BadText::NoAddress)
    }
}

impl fmt::Display for BindAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

macro_rules! display_as_str {
    ($($type:ident)+) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

display_as_str!(Word PathPrefix CheckUri Realm CryptHash FilePath);

/// Why a text was refused. The message says what would be accepted; the caller says where it stood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// Too long, or nothing at all.
    #[error("{have} bytes long, allowed are 1 to {max}")]
    Length {
        /// Its length in bytes.
        have: usize,
        /// The most allowed.
        max: usize,
    },
    /// Two dots in a row, or one at an end.
    #[error("there is nothing between two dots, or before or after one")]
    EmptyPart,
    /// A character that is not allowed here.
    #[error("the character {0:?} is not allowed")]
    Character(char),
    /// A path that is relative.
    #[error("must start with /")]
    NoSlash,
    /// A path with `..`.
    #[error("must not climb with ..")]
    Climbs,
    /// Not a hash of crypt(3).
    #[error("not a crypt(3) hash such as `openssl passwd -6` prints (plain text is refused)")]
    NoHash,
    /// A hash that takes HAProxy too long for each request, with everybody waiting.
    #[error("takes too long to verify: at most rounds=100000, bcrypt cost 12 or yescrypt j9T")]
    Costly,
    /// A place where files are not plain files.
    #[error("must not lie in /dev, /proc or /sys")]
    NoPlainFile,
    /// Not an address.
    #[error("not * or an IP address of this host")]
    NoAddress,
    /// Not an international domain name.
    #[error("not a valid international domain name")]
    Idna,
}

/// Every fourth digit of crypt(3)'s base 64.
const DES_ENDS: &[char] = &['.', '2', '6', 'A', 'E', 'I', 'M', 'Q', 'U', 'Y', 'c', 'g', 'k', 'o', 's', 'w'];

/// Whether one verification is a matter of milliseconds: it blocks a thread of HAProxy.
fn affordable(hash: &str) -> bool {
    let fields: Vec<_> = hash.split('$').collect();
    match fields.as_slice() {
        ["", "5" | "6", parameter, ..] => match parameter.strip_prefix("rounds=") {
            Some(rounds) => rounds.parse::<u32>().is_ok_and(|rounds| rounds <= 100_000),
            None => true,
        },
        ["", "2a" | "2b" | "2y", cost, ..] => cost.parse::<u8>().is_ok_and(|cost| cost <= 12),
        ["", "y", parameter, ..] => matches!(*parameter, "j9T" | "j8T" | "j7T" | "j75" | "j65"),
        _ => true,
    }
}

/// Every byte allowed, length from 1 to `max`.
fn check(text: &str, max: usize, allowed: impl Fn(u8) -> bool) -> Result<(), BadText> {
    if text.is_empty() || text.len() > max {
        return Err(BadText::Length { have: text.len(), max });
    }
    match text.chars().find(|c| !u8::try_from(*c).is_ok_and(|b| b.is_ascii() && allowed(b))) {
        Some(bad) => Err(BadText::Character(bad)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (text, want) in [
            ("WWW.Example.com", "www.example.com"),
            ("*.apps.example.com", "*.apps.example.com"),
            ("a_b.c", "a_b.c"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(Host::parse(text).unwrap().to_string(), want);
        }
        for bad in ["", "a..b", "a b", "a\u{a0}b", "-m found", "a.com:80", "https://a.com/x", "*", "*.", "a.*.b", "x\n"]
        {
            assert!(Host::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Host::parse(&format!("{}.com", "a".repeat(64))).is_err());
    }

    #[test]
    fn a_wildcard_covers_what_lies_below_it() {
        let host = |text| Host::parse(text).unwrap();
        assert!(host("*.x.com").covers(&host("a.x.com")));
        assert!(host("*.x.com").covers(&host("a.b.x.com")));
        assert!(host("*.x.com").covers(&host("*.b.x.com")));
        assert!(!host("*.x.com").covers(&host("x.com")));
        assert!(!host("*.x.com").covers(&host("ax.com")));
        assert!(!host("*.x.com").covers(&host("*.x.com")));
        assert!(!host("x.com").covers(&host("a.x.com")));
    }

    #[test]
    fn hashes_are_hashes() {
        for good in [
            "$6$kH/6.4hBwLPbFU$7/y.tLoAr2tMkOAxv.OvXe.RzUY5sZgtCX4X4fKAnyD3NXzZoQ4zQ8mDPiPv6iBAYL3Y2mDPL0eXHdj/wFZ.1.",
            "$5$rounds=5000$usesomesillystri$KqJWpanXZHKq2BOB43TSaYhEWsQ1Lr5QNyPCDH/Tp.6",
            "$1$abcdefgh$irWbblnpmw.5z7wgBnprh0",
            "$2y$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234",
            "abJnggxhB/yWI",
        ] {
            assert!(CryptHash::parse(good).is_ok(), "{good}");
        }
        for costly in [
            "$6$rounds=999999999$abcdefgh$abcdefghabcdefgh",
            "$2y$31$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234",
            "$y$jFT$abcdefghabcdefgh$abcdefgh",
        ] {
            assert_eq!(CryptHash::parse(costly), Err(BadText::Costly), "{costly}");
        }
        // Eleven digits of a DES hash after the salt are 64 bits, the last two of 66 are none.
        for bad in [
            "",
            "secret",
            "correcthorse1",
            "Passw0rd12345",
            "abJnggxhB/yWJ",
            "$6$",
            "$9$abcdefghabcdefghabcdefgh",
            "$6$abcdefghabcdefgh abcdefgh",
        ] {
            assert!(CryptHash::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_with_and_without_brackets() {
        let addr = |text| BindAddr::parse(text).unwrap();
        assert_eq!(addr("[::1]"), addr("::1"));
        assert_eq!(addr("::1").to_string(), "[::1]");
        assert!(BindAddr::parse("eth0").is_err());
    }

    #[test]
    fn file_paths_stay_where_they_point() {
        assert!(FilePath::parse("/etc/ssl/a.pem").is_ok());
        for bad in ["/dev/zero", "//proc/kmsg", "/./sys/x", "a.pem", "/etc/../root/x", "/a b", "/a\nb", "/a$HOME"] {
            assert!(FilePath::parse(bad).is_err(), "{bad:?}");
        }
    }
}
