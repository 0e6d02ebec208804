//! Scalars of `[[vrrp]]` that check themselves while they are read.
//!
//! Used by the keys in `super`; what depends on more than one key is `routers`' affair.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use vrrp::types::{Priority, Version, Vrid};

use crate::config::scalar::{Scalar, deserialize};

deserialize!(Interface Floating Host Password);

/// The name of a network interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface(pub String);

impl Scalar for Interface {
    const EXPECTED: &'static str = "the name of an interface as `ip link` shows it, such as \"eth0\"";

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > 15 {
            return Err("the kernel's names have 1 to 15 bytes".to_owned());
        }
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '/' || c == '@';
        if text.contains(odd) || text == "." || text == ".." {
            return Err("no interface can be called that".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

/// An address that floats, with the prefix length of its subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floating(pub IpNet);

impl Scalar for Floating {
    const EXPECTED: &'static str =
        "an address with the prefix length of its subnet, such as \"192.0.2.10/24\" or \"2001:db8::10/64\"";

    fn read(text: &str) -> Result<Self, String> {
        let net = match text.parse::<IpNet>() {
            Ok(net) => net,
            Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| "no address".to_owned())?),
        };
        host(net.addr())?;
        if let IpNet::V4(net) = net {
            let whole = net.prefix_len() < 31;
            if whole && (net.addr() == net.network() || net.addr() == net.broadcast()) {
                return Err("that is the subnet's own or its broadcast address, not a host's".to_owned());
            }
        }
        Ok(Self(net))
    }
}

/// The address of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host(pub IpAddr);

impl Scalar for Host {
    const EXPECTED: &'static str = "the address of a host, such as \"192.0.2.2\"";

    fn read(text: &str) -> Result<Self, String> {
        let address = text.parse().map_err(|_| "no address".to_owned())?;
        host(address)?;
        Ok(Self(address))
    }
}

fn host(address: IpAddr) -> Result<(), String> {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast {
        return Err("no host on a network has that address".to_owned());
    }
    Ok(())
}

/// RFC 2338 simple text password, padded with NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Password(pub [u8; 8]);

impl Scalar for Password {
    const EXPECTED: &'static str = "1 to 8 bytes: keepalived uses the first 8 of a longer password, write those";
    const SECRET: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        let mut padded = [0; 8];
        let taken = padded.get_mut(..text.len()).filter(|taken| !taken.is_empty());
        taken.ok_or_else(|| format!("{} bytes", text.len()))?.copy_from_slice(text.as_bytes());
        if text.contains('\0') {
            return Err("a NUL in it".to_owned());
        }
        Ok(Self(padded))
    }
}

/// A value that reads itself from a whole number.
trait Number: Sized {
    const EXPECTED: &'static str;
    fn read(number: i64) -> Result<Self, String>;
}

struct NumberReader<T>(std::marker::PhantomData<T>);

impl<T: Number> de::Visitor<'_> for NumberReader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        T::read(number).map_err(|why| E::custom(format!("{number}: {why}; expected {}", T::EXPECTED)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

macro_rules! deserialize_number {
    ($($type:ty)+) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_i64(NumberReader(std::marker::PhantomData))
            }
        }
    )+};
}

deserialize_number!(RouterId BasePriority ProtocolVersion Weight Delta Times);

/// `virtual_router_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouterId(pub Vrid);

impl Number for RouterId {
    const EXPECTED: &'static str = "1 to 255, the same on every host that shares the addresses";

    fn read(number: i64) -> Result<Self, String> {
        u8::try_from(number).ok().and_then(Vrid::new).map(Self).ok_or_else(|| "out of range".to_owned())
    }
}

/// `priority`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BasePriority(pub Priority);

impl Number for BasePriority {
    const EXPECTED: &'static str = "1 to 254, another one on each host; the highest is preferred";

    fn read(number: i64) -> Result<Self, String> {
        match u8::try_from(number) {
            Ok(0) => Err("0 is what a router sends when it resigns".to_owned()),
            Ok(255) => Err("255 claims that the addresses are this host's own, and a floating address is no host's \
                            own: two such hosts never agree"
                .to_owned()),
            Ok(number) => Ok(Self(Priority(number))),
            Err(_) => Err("out of range".to_owned()),
        }
    }
}

/// `version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolVersion(pub Version);

impl Number for ProtocolVersion {
    const EXPECTED: &'static str = "3, or 2 for peers that know nothing newer (keepalived's default is 2)";

    fn read(number: i64) -> Result<Self, String> {
        match number {
            2 => Ok(Self(Version::V2)),
            3 => Ok(Self(Version::V3)),
            _ => Err("no version of VRRP that is in use".to_owned()),
        }
    }
}

/// The `weight` of something tracked: added to the priority while it is well (positive), or while
/// it is not (negative); 0 = it not being well is a fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight(pub i16);

impl Number for Weight {
    const EXPECTED: &'static str = "-253 to 253; 0 = its failure is a fault of the whole router";

    fn read(number: i64) -> Result<Self, String> {
        let weight = i16::try_from(number).ok().filter(|weight| weight.unsigned_abs() <= 253);
        weight.map(Self).ok_or_else(|| "out of range".to_owned())
    }
}

/// `impaired_delta`: what the priority loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delta(pub u8);

impl Number for Delta {
    const EXPECTED: &'static str = "0 to 253, more than the priorities of two hosts differ";

    fn read(number: i64) -> Result<Self, String> {
        let delta = u8::try_from(number).ok().filter(|delta| *delta <= 253);
        delta.map(Self).ok_or_else(|| "out of range".to_owned())
    }
}

/// `rise` and `fall`: results in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times(pub u32);

impl Number for Times {
    const EXPECTED: &'static str = "how many results in a row, 1 to 1000000";

    fn read(number: i64) -> Result<Self, String> {
        let times = u32::try_from(number).ok().filter(|times| (1..=1_000_000).contains(times));
        times.map(Self).ok_or_else(|| "out of range".to_owned())
    }
}
