//! Statements to routers: the order in which things are settled.
//!
//! Called by `import`. Defaults and checks first, then instances, then groups; at the end each
//! router is shown to Baton's own configuration, and one that it would refuse is commented out.

use figment::Figment;
use figment::providers::{Format as _, Toml};

use super::group::group;
use super::instance::{Defaults, Draft, instance, switched_on};
use super::known;
use super::notes::{Kind, Ledger};
use super::parse::Statement;
use super::print::Router;
use super::script::{Script, script};
use crate::config::Config;
use crate::config::vrrp::{Vrrp, routers};

/// The routers that `statements` describe.
pub(super) fn translate(statements: &[Statement], ledger: &mut Ledger) -> Vec<Router> {
    let mut defaults = Defaults::default();
    let mut scripts: Vec<(Script, &Statement)> = Vec::new();
    for statement in statements {
        match statement.keyword() {
            "global_defs" => globals(statement, &mut defaults, ledger),
            "vrrp_script" if scripts.iter().any(|(script, _)| script.name == statement.value()) => {
                ledger.list(Kind::Lost, statement, "another one has that name");
            }
            "vrrp_script" => scripts.extend(script(statement, ledger).map(|script| (script, statement))),
            "vrrp_instance" | "vrrp_sync_group" => (),
            other => {
                let (kind, why) = known::top(other);
                ledger.list(kind, statement, why);
            }
        }
    }
    let of = |keyword: &'static str| statements.iter().filter(move |statement| statement.keyword() == keyword);
    let mut drafts: Vec<Draft> = of("vrrp_instance").map(|statement| instance(statement, &defaults, ledger)).collect();
    of("vrrp_sync_group").for_each(|statement| group(statement, &mut drafts, ledger));

    for (script, statement) in &scripts {
        let tracks = || drafts.iter().flat_map(|draft| &draft.scripts).filter(|track| track.name == script.name);
        if tracks().next().is_none() && !script.haproxy {
            ledger.list(Kind::Needless, statement, "no instance tracks it");
        } else if let Some(place) =
            script.weight_place.as_ref().filter(|_| tracks().all(|track| track.weight.is_some()))
        {
            let why = "each track_script has a weight of its own, or its instance is in a group, where a failure is a \
                       fault";
            ledger.part(Kind::Changed, place, &format!("weight {}", script.weight), why);
        }
    }
    let scripts: Vec<_> = scripts.into_iter().map(|(script, _)| script).collect();
    let mut accepted = Vec::new();
    drafts.iter().map(|draft| router(draft, &scripts, &mut accepted, ledger)).collect()
}

/// The router of `draft`, commented out if Baton would refuse it beside those in `accepted`.
fn router(draft: &Draft, scripts: &[Script], accepted: &mut Vec<Vrrp>, ledger: &mut Ledger) -> Router {
    let mut router = Router::new(draft, scripts);
    for track in &draft.scripts {
        match scripts.iter().find(|script| script.name == track.name) {
            None => ledger.part(Kind::Lost, &track.place, &track.name, "there is no such vrrp_script that can be run"),
            Some(script) if script.haproxy => {
                let why = "Baton sees by itself, and sooner, whether HAProxy runs and answers";
                ledger.part(Kind::Needless, &track.place, &track.name, why);
            }
            Some(_) => (),
        }
    }
    let missing = [
        ("interface", draft.interface.is_none()),
        ("virtual_router_id", draft.vrid.is_none()),
        ("virtual_ipaddress that can float", draft.addresses.is_empty()),
        // Without them it would become multicast.
        ("unicast_peer that can be used", draft.unicast && draft.peers.is_empty()),
    ];
    let missing: Vec<_> = missing.into_iter().filter(|(_, missing)| *missing).map(|(key, _)| key).collect();
    let verdict = match missing.as_slice() {
        [] => read(&router.text()).and_then(|made| {
            let all: Vec<_> = accepted.iter().chain(&made).cloned().collect();
            routers(&all).map_err(|why| why.to_string())?;
            accepted.extend(made);
            Ok(())
        }),
        missing => Err(format!("it has no {}", missing.join(" and no "))),
    };
    if let Err(why) = verdict {
        let text = format!("vrrp_instance {}", draft.name);
        ledger.part(Kind::Lost, &draft.place, &text, format!("{why}; what there is of it is commented out"));
        router.off = Some(why);
    }
    router
}

fn read(text: &str) -> Result<Vec<Vrrp>, String> {
    let config: Config = Figment::from(Toml::string(text)).extract().map_err(|why| why.to_string())?;
    Ok(config.vrrp)
}

fn globals(statement: &Statement, defaults: &mut Defaults, ledger: &mut Ledger) {
    ledger.head(statement, 0);
    for inner in statement.inside() {
        match (inner.keyword(), inner.value()) {
            ("vrrp_version", "2") => defaults.version = Some(2),
            ("vrrp_version", "3") => defaults.version = Some(3),
            ("vrrp_version", _) => {
                ledger.list(Kind::Lost, inner, "there are versions 2 and 3");
                continue;
            }
            ("v3_checksum_as_v2", value) => defaults.message_checksum = switched_on(value),
            (keyword, value) => {
                if keyword == "default_interface" {
                    defaults.interface = Some(value.to_owned());
                }
                if keyword == "vrrp_strict" {
                    defaults.strict = switched_on(value);
                }
                let (kind, why) = known::global(keyword);
                ledger.list(kind, inner, why);
                continue;
            }
        }
        ledger.leaf(inner, 1);
    }
}
