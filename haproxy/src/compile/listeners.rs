//! The listeners of service ports, and who gets a port that two want.
//!
//! Part of `compile`. The lower app id, then the lower index wins; the loser keeps its routes by
//! host and loses only its own listener. Before that, an address that somebody names goes before the
//! IPv6 half of `*`: what is served without IPv6 is served with it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use crate::bundle::BindAddr;
use crate::issue::Issue;
use crate::model::{BackendId, Frontend, Owner};
use crate::text;

use super::Policy;
use super::cache::Served;
use super::ports::ServicePort;

/// A frontend for each port that gets its listener.
pub(super) fn frontends(ports: &[&Served], policy: &Policy, issues: &mut Vec<Issue>) -> BTreeMap<BackendId, Frontend> {
    let mut taken = Taken::new();
    for reserved in &policy.reserved {
        let addrs = BindAddr::of(reserved.addr, &[], policy.ipv6);
        let held = addrs.into_iter().map(|addr| (addr, Holder::Ourselves(reserved.what)));
        taken.entry(reserved.port).or_default().extend(held);
    }
    let mut frontends = BTreeMap::new();
    for Served { port, backend, .. } in ports {
        let options = &port.options;
        let listeners = taken.entry(port.port).or_default();
        let wanted = BindAddr::of(options.bind_addr, &options.bind_options, false);
        if let Some(holder) = wanted.iter().find_map(|addr| met(listeners, addr)) {
            issues.push(Issue::app(
                &port.app.id,
                format!(
                    "service port {} is already taken by {holder}; port {} has no listener of its own: give it another \
                     HAPROXY_{}_PORT",
                    port.port, port.index, port.index
                ),
            ));
            continue;
        }
        listeners.extend(wanted.into_iter().map(|addr| (addr, Holder::App(port))));
        frontends.insert(
            port.backend.clone(),
            Frontend {
                owner: Owner { app: port.app.id.clone(), index: port.index },
                addr: options.bind_addr,
                port: port.port,
                mode: backend.mode,
                cert: options.ssl_cert.clone(),
                options: options.bind_options.clone(),
            },
        );
    }
    if policy.ipv6 {
        for frontend in frontends.values_mut().filter(|frontend| frontend.addr == text::BindAddr::Any) {
            keep_off(frontend, &taken, issues);
        }
    }
    frontends
}

/// Who has which addresses of a port.
type Taken<'a> = BTreeMap<u16, Vec<(BindAddr, Holder<'a>)>>;

/// Who has an address.
#[derive(Clone, Copy)]
enum Holder<'a> {
    /// The load balancer itself, for this.
    Ourselves(&'static str),
    App(&'a ServicePort),
}

impl fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ourselves(what) => f.write_str(what),
            Self::App(port) => write!(f, "{} (port {})", port.app.id, port.index),
        }
    }
}

/// Who has an address that would meet `wanted`.
fn met<'a>(listeners: &[(BindAddr, Holder<'a>)], wanted: &BindAddr) -> Option<Holder<'a>> {
    listeners.iter().find(|(held, _)| held.meets(wanted)).map(|(_, holder)| *holder)
}

/// Leaves a listener on every address with IPv4 alone, if somebody has an IPv6 address of its port.
fn keep_off(frontend: &mut Frontend, taken: &Taken<'_>, issues: &mut Vec<Issue>) {
    let listeners = taken.get(&frontend.port).map(Vec::as_slice).unwrap_or_default();
    let addrs = BindAddr::of(frontend.addr, &frontend.options, true);
    let six = addrs.iter().filter(|addr| addr.ip.is_ipv6());
    let Some(holder) = six.into_iter().find_map(|addr| met(listeners, addr)) else { return };
    let Owner { app, index } = &frontend.owner;
    issues.push(Issue::app(
        app,
        format!(
            "service port {} is taken on IPv6 by {holder}; port {index} listens on IPv4 only: give it another \
             HAPROXY_{index}_PORT, or HAPROXY_{index}_BIND_ADDR 0.0.0.0",
            frontend.port
        ),
    ));
    frontend.addr = text::BindAddr::Ip(Ipv4Addr::UNSPECIFIED.into());
}
