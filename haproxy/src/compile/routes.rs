//! Who gets which host and path on 80 and 443.
//!
//! Part of `compile`. Precedence: BACKEND_WEIGHT descending, then the exact host before a wildcard
//! and the narrower wildcard before the wider, then the longer path, then app id and port. Each
//! host gets a whole table of its own, with the routes of the wildcards above it worked in, and
//! without the routes that can never match: what remains is decided by the longest prefix alone,
//! which is what `map_beg` finds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::app::AppId;
use crate::issue::Issue;
use crate::labels::options::{Mode, Paths};
use crate::model::{HostTable, Route};
use crate::text::{Host, PathPrefix};

use super::cache::Served;
use super::ports::ServicePort;

/// The table of every host that somebody claims.
pub(super) fn tables(ports: &[&Served], issues: &mut Vec<Issue>) -> BTreeMap<Host, HostTable> {
    let claims = claims(ports, issues);
    let wildcards = claims.keys().any(|host| host.is_wildcard());
    let table_of = |(host, own): (&&Host, &Vec<Claim<'_>>)| {
        let mut all: Vec<&Claim<'_>> = own.iter().collect();
        for wider in wildcards_above(host).filter(|_| wildcards) {
            all.extend(claims.get(&wider).into_iter().flatten());
        }
        all.sort_by_key(|claim| claim.rank());
        ((*host).clone(), table(host, &all, issues))
    };
    claims.iter().map(table_of).collect()
}

/// One port's wish for one host and path.
struct Claim<'a> {
    port: &'a ServicePort,
    host: &'a Host,
    path: Option<&'a PathPrefix>,
    ignore_case: bool,
    weight: i32,
}

impl Claim<'_> {
    /// Smaller goes first.
    fn rank(&self) -> impl Ord + use<> {
        let length = self.path.map_or(0, |path| path.as_str().len());
        (
            Reverse(self.weight),
            (self.host.is_wildcard(), Reverse(self.host.name().len())),
            Reverse(length),
            self.port.app.id.clone(),
            self.port.port,
            self.port.index,
        )
    }
}

/// By host, what each port wishes; `ports` of one app follow each other.
fn claims<'a>(ports: &[&'a Served], issues: &mut Vec<Issue>) -> BTreeMap<&'a Host, Vec<Claim<'a>>> {
    let mut claims: BTreeMap<&Host, Vec<Claim<'_>>> = BTreeMap::new();
    let mut spender: Option<&AppId> = None;
    let mut budget = Budget::default();
    for Served { port, backend, .. } in ports {
        if port.options.hosts.is_empty() {
            continue;
        }
        if backend.mode == Mode::Tcp {
            let mode =
                format!("hosts are routed in mode http only; remove HAPROXY_{}_MODE tcp or the host", port.index);
            issues.push(port.issue("VHOST", mode));
            continue;
        }
        if spender.replace(&port.app.id) != Some(&port.app.id) {
            budget = Budget::default();
        }
        let paths = &port.options.paths;
        if let Err(why) = budget.spend(&port.options.hosts, paths) {
            issues.push(port.issue("VHOST", why));
            continue;
        }
        if paths.ignore_case && port.options.hosts.iter().any(Host::is_wildcard) {
            issues.push(
                port.issue("PATH", "on a wildcard host upper and lower case are different: -i is for exact hosts"),
            );
        }
        let weight = port.options.weight.unwrap_or_else(|| i32::from(!paths.prefixes.is_empty()));
        for host in &port.options.hosts {
            let ignore_case = paths.ignore_case && !host.is_wildcard();
            let claim = |path| Claim { port, host, path, ignore_case, weight };
            let entry = claims.entry(host).or_default();
            if paths.prefixes.is_empty() {
                entry.push(Claim { ignore_case: false, ..claim(None) });
            } else {
                entry.extend(paths.prefixes.iter().map(|path| claim(Some(path))));
            }
        }
    }
    claims
}

/// What one app may ask of everybody's routing: each route takes memory, and each that no map can
/// hold is a rule that every request passes.
#[derive(Default)]
struct Budget {
    routes: usize,
    rules: usize,
}

impl Budget {
    /// Takes what these hosts and paths need; nothing where it is too much.
    fn spend(&mut self, hosts: &[Host], paths: &Paths) -> Result<(), String> {
        let exact = hosts.iter().filter(|host| !host.is_wildcard()).count();
        let rules = self.rules + if paths.ignore_case { exact.saturating_mul(paths.prefixes.len()) } else { 0 };
        let routes = self.routes + hosts.len().saturating_mul(paths.prefixes.len().max(1));
        if rules > MAX_RULES {
            return Err(format!("with -i at most {MAX_RULES} pairs of host and path for an app; not routed by host"));
        }
        if routes > MAX_ROUTES {
            return Err(format!("at most {MAX_ROUTES} pairs of host and path for an app; not routed by host"));
        }
        *self = Self { routes, rules };
        Ok(())
    }
}

/// The wildcards that cover `host`, nearest first.
fn wildcards_above(host: &Host) -> impl Iterator<Item = Host> {
    let name = host.name();
    name.match_indices('.').filter_map(move |(dot, _)| name.get(dot + 1..)).map(Host::wildcard)
}

/// The reachable claims, given all that concern `host` in order of precedence.
fn table(host: &Host, claims: &[&Claim<'_>], issues: &mut Vec<Issue>) -> HostTable {
    let mut kept = Kept::default();
    let mut routes = Vec::new();
    for claim in claims {
        if let Some(by) = kept.shadows(claim) {
            // A wildcard's claim lost on a narrower host is no mistake of anybody.
            if claim.host == host {
                issues.push(never_matches(claim, by));
            }
            continue;
        }
        kept.add(claim);
        routes.push(Route {
            path: claim.path.cloned(),
            ignore_case: claim.ignore_case,
            backend: claim.port.backend.clone(),
        });
    }
    HostTable { routes, ignore_case: claims.iter().any(|claim| claim.ignore_case) }
}

/// The prefixes already given away, for a quick answer to "does one of them begin this path?".
#[derive(Default)]
struct Kept<'a> {
    exact: BTreeMap<String, &'a ServicePort>,
    folded: BTreeMap<String, &'a ServicePort>,
    lengths: BTreeSet<usize>,
}

impl<'a> Kept<'a> {
    fn add(&mut self, claim: &Claim<'a>) {
        let path = prefix(claim);
        self.lengths.insert(path.len());
        if claim.ignore_case {
            self.folded.insert(path.to_ascii_lowercase(), claim.port);
        } else {
            self.exact.insert(path.to_owned(), claim.port);
        }
    }

    /// Who already takes every request that `claim` could match.
    fn shadows(&self, claim: &Claim<'_>) -> Option<&'a ServicePort> {
        let path = prefix(claim);
        let lower = path.to_ascii_lowercase();
        self.lengths.range(..=path.len()).find_map(|length| {
            let folded = self.folded.get(lower.get(..*length)?);
            // A prefix that minds case covers one that does not only if it is empty.
            let exact = self.exact.get(path.get(..*length)?).filter(|_| !claim.ignore_case || *length == 0);
            folded.or(exact).copied()
        })
    }
}

/// What a path must begin with. Every path begins with `/`, so that much is no condition.
fn prefix<'a>(claim: &Claim<'a>) -> &'a str {
    match claim.path.map(PathPrefix::as_str) {
        None | Some("/") => "",
        Some(path) => path,
    }
}

fn never_matches(claim: &Claim<'_>, by: &ServicePort) -> Issue {
    let path = claim.path.map_or("", PathPrefix::as_str);
    claim.port.issue(
        "VHOST",
        format!(
            "{}{path} never gets a request here: {} (port {}) comes first by weight or app id; change the host, the path \
             or HAPROXY_{}_BACKEND_WEIGHT",
            claim.host, by.app.id, by.index, claim.port.index
        ),
    )
}

/// Routes of one app that are map entries: some hundred kilobytes.
const MAX_ROUTES: usize = 4_096;

/// Routes of one app that are rules.
const MAX_RULES: usize = 64;
