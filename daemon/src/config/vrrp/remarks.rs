//! What is allowed in `[[vrrp]]` and still worth a line.
//!
//! Called at start, on reload and by `baton check`. Pure: the subnets of an interface are told by
//! whoever asked the kernel.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::Vrrp;

/// What is odd about the keys alone.
pub fn remarks(routers: &[Vrrp]) -> Vec<String> {
    let mut found = Vec::new();
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for router in routers {
        let name = router.name();
        if router.auth_pass.is_some() {
            found.push(format!(
                "[[vrrp]] {name:?}: auth_pass goes over the wire in clear text: it keeps out mistakes, no attacker"
            ));
        }
        if let Some(group) = &router.group {
            groups.entry(group).or_default().push(name);
        }
    }
    for (group, members) in groups {
        if let [only] = members.as_slice() {
            found.push(format!("[[vrrp]] {only:?}: nobody else is in group {group:?}, so it has no effect"));
        }
    }
    found
}

/// The floating addresses of `router` that lie in none of `subnets`, which are those of its
/// interface. Hosts there reach such an address only by a route of their own.
pub fn outside(router: &Vrrp, subnets: &[IpNet]) -> Vec<String> {
    let both = [("addresses", &router.addresses), ("excluded_addresses", &router.excluded_addresses)];
    let mut found = Vec::new();
    for (key, addresses) in both {
        let alien = addresses.iter().filter(|net| !subnets.iter().any(|subnet| subnet.contains(&net.0.addr())));
        found.extend(alien.map(|net| {
            let known: Vec<_> = subnets.iter().map(|subnet| subnet.trunc().to_string()).collect();
            let known = if known.is_empty() { "it has none".to_owned() } else { known.join(", ") };
            format!(
                "[[vrrp]] {:?}: {key}: {} is in no subnet of {} ({known}): its neighbours need a route to it",
                router.name(),
                net.0.addr(),
                router.interface.0,
            )
        }));
    }
    found
}
