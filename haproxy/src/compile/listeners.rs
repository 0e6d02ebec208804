//! The listeners of service ports, and who gets a port that two want.
//!
//! Part of `compile`. The lower app id, then the lower index wins; the loser keeps its routes by
//! host and loses only its own listener.

use std::collections::BTreeMap;

use crate::bundle::BindAddr;
use crate::issue::Issue;
use crate::model::{Backend, BackendId, Frontend, Owner};

use super::ports::ServicePort;
use super::{Policy, owns};

/// A frontend for each port that gets its listener.
pub(super) fn frontends(
    ports: &[ServicePort<'_>],
    backends: &BTreeMap<BackendId, Backend>,
    policy: &Policy,
    issues: &mut Vec<Issue>,
) -> BTreeMap<BackendId, Frontend> {
    let mut taken: BTreeMap<u16, Vec<(BindAddr, String)>> = BTreeMap::new();
    for reserved in &policy.reserved {
        let addrs = BindAddr::of(reserved.addr, &[], policy.ipv6);
        let held = addrs.into_iter().map(|addr| (addr, reserved.what.to_owned()));
        taken.entry(reserved.port).or_default().extend(held);
    }
    let mut frontends = BTreeMap::new();
    for port in ports {
        let Some(backend) = backends.get(&port.backend).filter(|backend| owns(port, Some(backend))) else {
            continue;
        };
        let options = &port.options;
        let listeners = taken.entry(port.port).or_default();
        let wanted = BindAddr::of(options.bind_addr, &options.bind_options, policy.ipv6);
        let holder = listeners.iter().find(|(held, _)| wanted.iter().any(|addr| addr.meets(held)));
        if let Some((_, holder)) = holder {
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
        let holder = format!("{} (port {})", port.app.id, port.index);
        listeners.extend(wanted.into_iter().map(|addr| (addr, holder.clone())));
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
    frontends
}
