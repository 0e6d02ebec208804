//! From `[[vrrp]]` to what the `vrrp` crate asks for, or why that cannot be.
//!
//! Called when the configuration is read and by whoever starts the routers, so that both mean the
//! same. Pure. An error names the router, the key and the remedy.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vrrp::config::{Delivery, Preempt, RouterConfig};
use vrrp::types::{Centiseconds, Family, Version};

use super::{Checksum, Vrrp};
use crate::config::load::ConfigError;
use crate::config::time::Time;

/// The routers as the protocol sees them, in the order they are written.
///
/// # Errors
/// With the first thing that does not fit together, and its remedy.
pub fn routers(written: &[Vrrp]) -> Result<Vec<RouterConfig>, ConfigError> {
    let made: Result<Vec<_>, _> = written.iter().map(|keys| Keys(keys).router()).collect();
    let made = made?;
    distinct(&made)?;
    groups(written)?;
    Ok(made)
}

/// The keys of one router.
struct Keys<'a>(&'a Vrrp);

impl Keys<'_> {
    fn router(&self) -> Result<RouterConfig, ConfigError> {
        let keys = self.0;
        self.name()?;
        let family = self.addresses()?;
        self.version(family)?;
        self.peers(family)?;
        self.tracks()?;
        let nets = |list: &[super::Floating]| list.iter().map(|net| net.0).collect();
        Ok(RouterConfig {
            name: keys.name(),
            interface: keys.interface.0.clone(),
            vrid: keys.virtual_router_id.0,
            version: keys.version.0,
            priority: keys.priority.0,
            interval: self.interval()?,
            addresses: nets(&keys.addresses),
            excluded: nets(&keys.excluded_addresses),
            preempt: self.preempt()?,
            delivery: match keys.peers.as_slice() {
                [] => Delivery::Multicast,
                peers => Delivery::Unicast(peers.iter().map(|peer| peer.0).collect()),
            },
            source: keys.source_address.map(|source| source.0),
            checksum: keys.checksum.into(),
            auth_pass: keys.auth_pass.map(|password| password.0),
            virtual_mac: keys.virtual_mac,
            group: keys.group.clone(),
        })
    }

    fn wrong<T>(&self, text: impl std::fmt::Display) -> Result<T, ConfigError> {
        Err(wrong(&self.0.name(), text))
    }

    fn name(&self) -> Result<(), ConfigError> {
        let named = [("name", &self.0.name), ("group", &self.0.group)];
        for (key, name) in named.iter().filter_map(|(key, name)| name.as_ref().map(|name| (key, name))) {
            // Names reach logs, notify programs and the command line.
            if name.is_empty() || name.len() > 64 || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
                return self.wrong(format!("{key} = {name:?}: expected 1 to 64 bytes without blanks"));
            }
        }
        Ok(())
    }

    /// The family of the advertisements, if the addresses agree about it.
    fn addresses(&self) -> Result<Family, ConfigError> {
        let keys = self.0;
        let Some(first) = keys.addresses.first() else {
            return self.wrong("addresses is empty: name the address that floats, such as [\"192.0.2.10/24\"]");
        };
        let family = Family::of(first.0.addr());
        if let Some(other) = keys.addresses.iter().find(|net| Family::of(net.0.addr()) != family) {
            return self.wrong(format!(
                "addresses mixes {first} and {other}: one router carries one family; move the other to \
                 excluded_addresses, or to a router of its own in the same group",
                first = first.0,
                other = other.0
            ));
        }
        let most = match family {
            Family::V4 => 255,
            Family::V6 => 90,
        };
        if keys.addresses.len() > most {
            return self.wrong(format!(
                "addresses has {} entries and an advertisement has room for {most}: move some to excluded_addresses",
                keys.addresses.len()
            ));
        }
        Ok(family)
    }

    /// What one version has and the other has not.
    fn version(&self, family: Family) -> Result<(), ConfigError> {
        let keys = self.0;
        match keys.version.0 {
            Version::V2 if family == Family::V6 => {
                return self.wrong("version = 2 knows no IPv6: set version = 3, on the peers too");
            }
            Version::V3 if keys.auth_pass.is_some() => {
                return self
                    .wrong("auth_pass is of version 2, version 3 has no password: remove it or set version = 2");
            }
            _ => (),
        }
        if keys.checksum == Checksum::Message && (keys.version.0, family) != (Version::V3, Family::V4) {
            return self.wrong("checksum = \"message\" is a choice of version 3 over IPv4 only: remove it");
        }
        Ok(())
    }

    fn interval(&self) -> Result<Centiseconds, ConfigError> {
        let Time(interval) = self.0.advertisement_interval;
        let millis = interval.as_millis();
        let (unit, expected) = match self.0.version.0 {
            Version::V2 => (1_000, "version 2 has whole seconds, 1s to 255s; version = 3 has shorter intervals"),
            Version::V3 => (10, "expected 10ms to 40950ms in steps of 10ms"),
        };
        let units = (millis % unit == 0).then_some(millis / unit);
        let made = units.and_then(|units| match self.0.version.0 {
            Version::V2 => u8::try_from(units).ok().and_then(Centiseconds::from_seconds),
            Version::V3 => u16::try_from(units).ok().and_then(Centiseconds::new),
        });
        made.map_or_else(|| self.wrong(format!("advertisement_interval = {interval:?}: {expected}")), Ok)
    }

    fn preempt(&self) -> Result<Preempt, ConfigError> {
        match (self.0.preempt, self.0.preempt_delay) {
            (true, delay) => Ok(Preempt::After(delay.map_or(Duration::ZERO, Duration::from))),
            (false, None) => Ok(Preempt::Never),
            (false, Some(_)) => {
                self.wrong("preempt_delay without preempt: nothing is taken back; set preempt = true or remove it")
            }
        }
    }

    fn peers(&self, family: Family) -> Result<(), ConfigError> {
        let keys = self.0;
        let source = keys.source_address.map(|source| source.0);
        let floating =
            |address: IpAddr| keys.addresses.iter().chain(&keys.excluded_addresses).any(|net| net.0.addr() == address);
        if let Some(source) = source {
            if Family::of(source) != family {
                return self.wrong(format!("source_address = {source} is of another family than addresses"));
            }
            if floating(source) {
                return self.wrong(format!(
                    "source_address = {source} is one of the floating addresses: name one that stays on this host"
                ));
            }
        }
        for (number, peer) in keys.peers.iter().map(|peer| peer.0).enumerate() {
            if Family::of(peer) != family {
                return self.wrong(format!(
                    "peers: {peer} is of another family than addresses: name the peer's address of that family"
                ));
            }
            if Some(peer) == source {
                return self.wrong(format!("peers: {peer} is source_address, this host itself: name the other hosts"));
            }
            if floating(peer) {
                return self.wrong(format!("peers: {peer} is one of the floating addresses: name the peer's own"));
            }
            if keys.peers[..number].iter().any(|other| other.0 == peer) {
                return self.wrong(format!("peers: {peer} stands there twice: remove one"));
            }
        }
        Ok(())
    }

    fn tracks(&self) -> Result<(), ConfigError> {
        let keys = self.0;
        for (number, track) in keys.track_interface.iter().enumerate() {
            let name = &track.name.0;
            if *name == keys.interface.0 {
                return self.wrong(format!("track_interface: {name:?} is the router's own, always tracked: remove it"));
            }
            if keys.track_interface[..number].iter().any(|other| other.name == track.name) {
                return self.wrong(format!("track_interface: {name:?} stands there twice: remove one"));
            }
        }
        for (number, script) in keys.track_script.iter().enumerate() {
            let name = &script.name;
            if keys.track_script[..number].iter().any(|other| other.name == *name) {
                return self.wrong(format!("track_script: {name:?} stands there twice: rename one"));
            }
            self.command(&format!("track_script {name:?}: command"), &script.command)?;
            if script.interval < SHORTEST_SCRIPT {
                return self.wrong(format!("track_script {name:?}: interval must be at least 100ms"));
            }
            if script.timeout() < SHORTEST_SCRIPT {
                return self.wrong(format!("track_script {name:?}: timeout must be at least 100ms"));
            }
        }
        if !keys.notify.is_empty() {
            self.command("notify", &keys.notify)?;
        }
        if keys.notify_timeout < SHORTEST_SCRIPT {
            return self.wrong("notify_timeout must be at least 100ms");
        }
        Ok(())
    }

    fn command(&self, key: &str, command: &[String]) -> Result<(), ConfigError> {
        let program = command.first().map_or("", String::as_str);
        if !program.starts_with('/') {
            return self.wrong(format!(
                "{key} = {command:?}: expected a list whose first word is the program's full path, such as \
                 [\"/usr/local/bin/check\", \"argument\"]"
            ));
        }
        if command.iter().any(|word| word.contains('\0')) {
            return self.wrong(format!("{key}: no argument can hold a NUL"));
        }
        Ok(())
    }
}

/// What two routers must not share.
fn distinct(routers: &[RouterConfig]) -> Result<(), ConfigError> {
    let mut names = BTreeMap::new();
    let mut ids = BTreeMap::new();
    let mut addresses: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for router in routers {
        let name = router.name.as_str();
        if names.insert(name, ()).is_some() {
            return Err(wrong(name, "name: two routers are called that: give one another name"));
        }
        let id = router.vrid.get();
        if let Some(other) = ids.insert((router.interface.as_str(), router.family(), id), name) {
            return Err(wrong(
                name,
                format!(
                    "virtual_router_id = {id} is {other:?}'s on {} already: take another one, on all hosts",
                    router.interface
                ),
            ));
        }
        let advertised = router.addresses.iter().map(|net| ("addresses", net));
        let excluded = router.excluded.iter().map(|net| ("excluded_addresses", net));
        for (key, address) in advertised.chain(excluded).map(|(key, net)| (key, net.addr())) {
            if let Some(other) = addresses.insert(address, name) {
                let whose = if other == name { "stands there twice".to_owned() } else { format!("is {other:?}'s too") };
                return Err(wrong(name, format!("{key}: {address} {whose}: keep it in one place")));
            }
        }
    }
    Ok(())
}

/// The members of a group are one: as fit and as preferred as each other.
fn groups(routers: &[Vrrp]) -> Result<(), ConfigError> {
    let mut first: BTreeMap<&str, &Vrrp> = BTreeMap::new();
    for router in routers {
        let Some(group) = router.group.as_deref() else { continue };
        let leader = *first.entry(group).or_insert(router);
        let differs = [
            ("priority", router.priority != leader.priority),
            ("impaired_delta", router.impaired_delta != leader.impaired_delta),
            ("track_interface", router.track_interface != leader.track_interface),
            ("track_script", router.track_script != leader.track_script),
        ];
        if let Some((key, _)) = differs.into_iter().find(|(_, differs)| *differs) {
            return Err(wrong(
                &router.name(),
                format!(
                    "{key} differs from {:?}'s in the same group {group:?}: members move together, write the same for \
                     all of them",
                    leader.name()
                ),
            ));
        }
    }
    Ok(())
}

fn wrong(name: &str, text: impl std::fmt::Display) -> ConfigError {
    ConfigError::Meaning(format!("[[vrrp]] {name:?}: {text}"))
}

/// Nothing that forks runs more often.
const SHORTEST_SCRIPT: Time = Time::millis(100);
