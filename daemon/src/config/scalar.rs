//! Scalars of the configuration that check themselves while they are read.
//!
//! Thin serde shells around the `haproxy` crate's text types, so that an error names the key it
//! stands in and what would be accepted.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use haproxy::render::settings::{Line, Listen};
use haproxy::text::{BindAddr, CryptHash, Word};
use ipnet::IpNet;
use serde::{Deserialize, de};

/// A value that reads itself from a string.
pub(super) trait Scalar: Sized {
    const EXPECTED: &'static str;
    /// Whether a message must not show the value.
    const SECRET: bool = false;
    fn read(text: &str) -> Result<Self, String>;
}

/// Reads a [`Scalar`] for serde.
pub(super) struct Reader<T>(pub(super) std::marker::PhantomData<T>);

impl<T: Scalar> de::Visitor<'_> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        let shown = if T::SECRET { String::new() } else { format!("{text:?}: ") };
        T::read(text).map_err(|why| E::custom(format!("{shown}{why}; expected {}", T::EXPECTED)))
    }
}

/// Makes each [`Scalar`] readable by serde.
macro_rules! deserialize {
    ($($type:ty)+) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::config::scalar::Reader(std::marker::PhantomData))
            }
        }
    )+};
}
pub(super) use deserialize;

deserialize!(Address LogLine Network Ports StatsAuth Token);

/// One word of a configuration line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token(pub Word);

impl Token {
    /// A word of this program's own.
    pub(super) fn known(text: &'static str) -> Self {
        Self(Word::parse(text).expect("a built-in default is one word"))
    }
}

impl Scalar for Token {
    const EXPECTED: &'static str = "one word without blanks, quotes or any of \\ # $ { }";

    fn read(text: &str) -> Result<Self, String> {
        Word::parse(text).map(Self).map_err(|why| why.to_string())
    }
}

/// The words of a `log` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine(pub Line);

impl Scalar for LogLine {
    const EXPECTED: &'static str = "the words after HAProxy's `log`, such as \"/dev/log local0\"";

    fn read(text: &str) -> Result<Self, String> {
        Line::parse(text).map(Self).map_err(|why| why.to_string())
    }
}

/// `address:port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub Listen);

impl Address {
    /// Every address.
    pub(super) const fn port(port: u16) -> Self {
        Self(Listen { addr: BindAddr::Any, port })
    }
}

impl Scalar for Address {
    const EXPECTED: &'static str = "ADDRESS:PORT such as \"*:80\", \"192.0.2.1:80\" or \"[::]:80\"";

    fn read(text: &str) -> Result<Self, String> {
        let (addr, port) = text.rsplit_once(':').ok_or("no port")?;
        let addr = BindAddr::parse(addr).map_err(|why| why.to_string())?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or("the port is not 1 to 65535")?;
        Ok(Self(Listen { addr, port }))
    }
}

/// `haproxy.dynamic.ports`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(pub RangeInclusive<u16>);

impl Scalar for Ports {
    const EXPECTED: &'static str = "FIRST-LAST such as \"10000-10999\"";

    fn read(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').ok_or("no dash")?;
        let port = |text: &str| text.trim().parse().ok().filter(|port| *port != 0);
        let (first, last) = port(first).zip(port(last)).ok_or("a port is 1 to 65535")?;
        if first > last { Err("the first is greater than the last".to_owned()) } else { Ok(Self(first..=last)) }
    }
}

/// `haproxy.ipv6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6 {
    /// Where the kernel has it.
    Auto,
    /// Yes or no.
    Use(bool),
}

impl<'de> Deserialize<'de> for Ipv6 {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Ipv6Reader)
    }
}

/// Reads [`Ipv6`] for serde.
struct Ipv6Reader;

impl de::Visitor<'_> for Ipv6Reader {
    type Value = Ipv6;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"auto\", true or false")
    }

    fn visit_bool<E: de::Error>(self, used: bool) -> Result<Ipv6, E> {
        Ok(Ipv6::Use(used))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Ipv6, E> {
        match text {
            "auto" => Ok(Ipv6::Auto),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

/// An address or network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl Scalar for Network {
    const EXPECTED: &'static str = "an address or network such as \"192.0.2.0/24\"";

    fn read(text: &str) -> Result<Self, String> {
        IpNet::from_str(text)
            .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
            .map(Self)
            .map_err(|why| why.to_string())
    }
}

/// `user:hash`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsAuth {
    /// The user.
    pub user: Word,
    /// The hash of the password.
    pub hash: CryptHash,
}

impl Scalar for StatsAuth {
    const EXPECTED: &'static str = "USER:HASH, the hash as `openssl passwd -6` prints it";
    const SECRET: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        let (user, hash) = text.split_once(':').ok_or("no colon")?;
        Ok(Self {
            user: Word::parse(user).map_err(|why| why.to_string())?,
            hash: CryptHash::parse(hash).map_err(|why| why.to_string())?,
        })
    }
}

/// `haproxy.certs`: paths as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Certificates(pub Vec<Token>);
