//! From what is known about this host to what a virtual router is told: fit, impaired or unfit.
//!
//! Used by the `vip` task. Pure. Marathon has no say here: how old the apps are, or how many of
//! them are broken, is the same on every host and moves no address.

use std::collections::{BTreeMap, BTreeSet};

use haproxy::liveness::Life;
use vrrp::machine::io::{Fault, Health};

use crate::config::vrrp::{TrackInterface, TrackScript, Vrrp};

/// What is known about this host.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Facts {
    /// HAProxy.
    pub(super) life: Life,
    /// The newest wanted configuration cannot be brought to run here.
    pub(super) impaired: bool,
    /// HAProxy ran a configuration of ours at least once.
    pub(super) ready: bool,
    /// Tracked interfaces and scripts that are well, by name.
    pub(super) well: BTreeMap<Tracked, bool>,
}

/// What may be tracked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tracked {
    /// An interface.
    Interface(String),
    /// A script of a router: the router's name, and its own.
    Script(String, String),
}

/// The health of one router. What is tracked and not known yet counts as well.
pub(super) fn health(facts: &Facts, router: &Vrrp) -> Health {
    let mut faults = BTreeSet::new();
    match facts.life {
        Life::Down => faults.insert(Fault::Down("HAProxy does not run".to_owned())),
        Life::Silent => faults.insert(Fault::Limping("HAProxy does not answer".to_owned())),
        Life::Serves(_) => false,
    };
    let mut delta = if facts.impaired { -i32::from(router.impaired_delta.0) } else { 0 };
    let name = router.name();
    let interfaces = router.track_interface.iter().map(|TrackInterface { name, weight }| {
        (Tracked::Interface(name.0.clone()), format!("interface {}", name.0), weight.0)
    });
    let scripts = router.track_script.iter().map(|TrackScript { name: script, weight, .. }| {
        (Tracked::Script(name.clone(), script.clone()), format!("script {script}"), weight.0)
    });
    for (tracked, what, weight) in interfaces.chain(scripts) {
        let well = facts.well.get(&tracked).copied().unwrap_or(true);
        match (well, i32::from(weight)) {
            // As keepalived: no weight = a fault, above 0 = added while well, below = while not.
            (false, 0) => {
                faults.insert(Fault::Tracked(what));
            }
            (true, weight @ 1..) | (false, weight @ ..0) => delta += weight,
            _ => (),
        }
    }
    let delta = i16::try_from(delta.clamp(-254, 254)).unwrap_or_default();
    Health { faults, delta, ready: facts.ready }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(more: &str) -> Vrrp {
        let base = "interface = \"eth0\"\nvirtual_router_id = 1\naddresses = [\"192.0.2.10/24\"]\nname = \"r\"\n";
        figment::Figment::from(figment::providers::Data::<figment::providers::Toml>::string(&format!("{base}{more}")))
            .extract()
            .unwrap()
    }

    fn facts(life: Life) -> Facts {
        Facts { life, impaired: false, ready: true, well: BTreeMap::new() }
    }

    #[test]
    fn haproxy_decides_between_fit_limping_and_down() {
        let faults = |life| health(&facts(life), &router("")).faults.into_iter().next();
        assert_eq!(faults(Life::Serves(None)), None);
        assert!(matches!(faults(Life::Silent), Some(Fault::Limping(_))));
        assert!(matches!(faults(Life::Down), Some(Fault::Down(_))));
    }

    #[test]
    fn an_impaired_host_is_worth_less() {
        let impaired = Facts { impaired: true, ..facts(Life::Serves(None)) };
        let health = health(&impaired, &router("impaired_delta = 30\n"));
        assert_eq!((health.delta, health.faults.len()), (-30, 0));
    }

    #[test]
    fn tracked_things_weigh_as_in_keepalived() {
        let track = "track_interface = [{ name = \"eth1\", weight = 5 }, { name = \"eth2\", weight = -7 }]\n\
                     [[track_script]]\nname = \"s\"\ncommand = [\"/bin/true\"]\n";
        let router = router(track);
        let mut facts = facts(Life::Serves(None));
        assert_eq!(health(&facts, &router).delta, 5);
        for name in ["eth1", "eth2"] {
            facts.well.insert(Tracked::Interface(name.to_owned()), false);
        }
        assert_eq!(health(&facts, &router).delta, -7);
        assert!(health(&facts, &router).faults.is_empty());
        facts.well.insert(Tracked::Script("r".to_owned(), "s".to_owned()), false);
        assert_eq!(health(&facts, &router).faults, BTreeSet::from([Fault::Tracked("script s".to_owned())]));
    }
}
