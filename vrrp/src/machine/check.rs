//! What is wrong with a set of routers before any of them starts.
//!
//! Called by [`Node::new`](super::Node::new). Looks at values only; whether an interface exists or
//! an address fits its subnet is for those who can look.

use std::collections::BTreeMap;
use std::net::IpAddr;

use thiserror::Error;

use crate::config::{Delivery, RouterConfig};
use crate::types::{Family, Priority, Version};

/// The address count is one byte (RFC 9568 §5.2.5).
const MAX_ADDRESSES: usize = 255;

/// A set of routers that cannot run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Two routers have one name.
    #[error("two routers are called {name:?}")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// Two routers would take each other for peers.
    #[error(
        "routers {first:?} and {second:?} both have virtual_router_id {vrid} on {interface} for one address family"
    )]
    VridClash {
        /// One of them.
        first: String,
        /// The other one.
        second: String,
        /// The identifier.
        vrid: u8,
        /// The interface.
        interface: String,
    },
    /// An address is floated twice.
    #[error("address {address} is in router {first:?} and again in {second:?}")]
    DuplicateAddress {
        /// The address.
        address: IpAddr,
        /// One router.
        first: String,
        /// The other one, or the same.
        second: String,
    },
    /// Nothing to advertise.
    #[error("router {router:?} has no addresses")]
    NoAddress {
        /// The router.
        router: String,
    },
    /// More addresses than an advertisement can hold.
    #[error(
        "router {router:?} has {count} addresses, an advertisement holds 255 at most: move the rest to excluded_addresses"
    )]
    TooManyAddresses {
        /// The router.
        router: String,
        /// How many there are.
        count: usize,
    },
    /// An advertisement holds one family only (RFC 9568 §5.2.9).
    #[error(
        "router {router:?} mixes IPv4 and IPv6 in addresses: make one router for each, or move one family to excluded_addresses"
    )]
    MixedFamilies {
        /// The router.
        router: String,
    },
    /// Not an address that a host can have.
    #[error("router {router:?}: {address} is not an address of one host")]
    NotAHost {
        /// The router.
        router: String,
        /// The address.
        address: IpAddr,
    },
    /// 0 resigns, and 255 owns the address for ever.
    #[error("router {router:?} has priority {priority}, a floating address takes 1 to 254")]
    Priority {
        /// The router.
        router: String,
        /// The priority.
        priority: u8,
    },
    /// RFC 3768 is for IPv4.
    #[error("router {router:?} is version 2, which has no IPv6")]
    Version2Ipv6 {
        /// The router.
        router: String,
    },
    /// RFC 3768 counts seconds.
    #[error("router {router:?} is version 2, whose advertisement interval is in whole seconds")]
    Version2Interval {
        /// The router.
        router: String,
    },
    /// Only version 2 has passwords.
    #[error("router {router:?} has a password, which version 3 does not know")]
    Version3Password {
        /// The router.
        router: String,
    },
    /// Advertisements could not be sent.
    #[error("router {router:?}: {address} is not of the family of its addresses")]
    WrongFamily {
        /// The router.
        router: String,
        /// Its source address, or a peer.
        address: IpAddr,
    },
    /// Unicast to nobody.
    #[error("router {router:?} is unicast and has no peers")]
    NoPeers {
        /// The router.
        router: String,
    },
    /// Members of a group are outranked together or not at all.
    #[error("routers {first:?} and {second:?} are in group {group:?} and differ in priority")]
    GroupPriority {
        /// One member.
        first: String,
        /// The other one.
        second: String,
        /// The group.
        group: String,
    },
}

/// The first thing wrong with `configs`, if anything is.
pub(super) fn check(configs: &[RouterConfig]) -> Result<(), ConfigError> {
    let mut names = BTreeMap::new();
    let mut vrids = BTreeMap::new();
    let mut owners: BTreeMap<IpAddr, &str> = BTreeMap::new();
    let mut groups: BTreeMap<&str, &RouterConfig> = BTreeMap::new();
    for config in configs {
        let name = config.name.clone();
        if names.insert(config.name.as_str(), ()).is_some() {
            return Err(ConfigError::DuplicateName { name });
        }
        check_one(config)?;
        let key = (config.interface.as_str(), config.family(), config.vrid);
        if let Some(first) = vrids.insert(key, config.name.clone()) {
            let (vrid, interface) = (config.vrid.get(), config.interface.clone());
            return Err(ConfigError::VridClash { first, second: name, vrid, interface });
        }
        for address in config.addresses.iter().chain(&config.excluded).map(|net| net.addr()) {
            if let Some(first) = owners.insert(address, &config.name) {
                return Err(ConfigError::DuplicateAddress { address, first: first.to_owned(), second: name });
            }
        }
        let Some(group) = &config.group else { continue };
        let first = *groups.entry(group).or_insert(config);
        if first.priority != config.priority {
            let first = first.name.clone();
            return Err(ConfigError::GroupPriority { first, second: name, group: group.clone() });
        }
    }
    Ok(())
}

fn check_one(config: &RouterConfig) -> Result<(), ConfigError> {
    let router = config.name.clone();
    let family = config.family();
    if config.addresses.is_empty() {
        return Err(ConfigError::NoAddress { router });
    }
    if config.addresses.len() > MAX_ADDRESSES {
        return Err(ConfigError::TooManyAddresses { router, count: config.addresses.len() });
    }
    if config.addresses.iter().any(|net| Family::of(net.addr()) != family) {
        return Err(ConfigError::MixedFamilies { router });
    }
    let mut all = config.addresses.iter().chain(&config.excluded).map(|net| net.addr());
    if let Some(address) = all.find(|address| !is_host(*address)) {
        return Err(ConfigError::NotAHost { router, address });
    }
    if config.priority == Priority::RESIGN || config.priority == Priority::OWNER {
        return Err(ConfigError::Priority { router, priority: config.priority.0 });
    }
    if config.version == Version::V2 && family == Family::V6 {
        return Err(ConfigError::Version2Ipv6 { router });
    }
    if config.version == Version::V2 && !config.interval.get().is_multiple_of(100) {
        return Err(ConfigError::Version2Interval { router });
    }
    if config.version == Version::V3 && config.auth_pass.is_some() {
        return Err(ConfigError::Version3Password { router });
    }
    let peers: &[IpAddr] = match &config.delivery {
        Delivery::Multicast => &[],
        Delivery::Unicast(peers) if peers.is_empty() => return Err(ConfigError::NoPeers { router }),
        Delivery::Unicast(peers) => peers,
    };
    if let Some(&address) = config.source.iter().chain(peers).find(|address| Family::of(**address) != family) {
        return Err(ConfigError::WrongFamily { router, address });
    }
    Ok(())
}

fn is_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast)
}
