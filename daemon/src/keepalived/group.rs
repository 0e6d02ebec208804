//! `vrrp_sync_group`: instances that move together.
//!
//! Called by `translate` when all instances are known. Baton wants the members of a group to be as
//! preferred and as fit as each other, so what one tracks is written for all.

use super::instance::{Draft, Notify, Track, interfaces, scripts};
use super::known;
use super::notes::{Kind, Ledger};
use super::parse::Statement;

/// Puts the group into the instances that it names.
pub(super) fn group(statement: &Statement, drafts: &mut [Draft], ledger: &mut Ledger) {
    let name = statement.value();
    if name.is_empty() {
        return ledger.list(Kind::Lost, statement, "it has no name");
    }
    ledger.head(statement, 1);
    let mut members: Vec<usize> = Vec::new();
    let mut notify = Notify::default();
    let (mut tracked, mut checks) = (Vec::new(), Vec::new());
    let mut weights = false;
    for inner in statement.inside() {
        let last = statement.inside().iter().rfind(|last| last.keyword() == inner.keyword());
        match (inner.keyword(), last) {
            (keyword, Some(last)) if keyword.starts_with("notify") && !std::ptr::eq(last, inner) => {
                ledger.list(Kind::Lost, inner, format!("{} says it again, and that counts", last.place));
            }
            ("group", _) => {
                ledger.head(inner, 0);
                for line in inner.inside() {
                    // Several names may stand on one line.
                    let mut why = None;
                    for word in &line.words {
                        match drafts.iter().position(|draft| draft.name == *word) {
                            Some(at) if drafts[at].group.is_some() => why = Some(format!("{word} is in another group")),
                            Some(at) if !members.contains(&at) => members.push(at),
                            Some(_) => (),
                            None => why = Some(format!("there is no vrrp_instance {word}")),
                        }
                    }
                    match why {
                        None => ledger.leaf(line, usize::MAX),
                        Some(why) => ledger.list(Kind::Lost, line, why),
                    }
                }
            }
            ("track_interface", _) => {
                ledger.head(inner, 0);
                interfaces(&mut tracked, inner, None, ledger);
            }
            ("track_script", _) => {
                ledger.head(inner, 0);
                scripts(&mut checks, inner, ledger);
            }
            ("sync_group_tracking_weight", _) => {
                weights = true;
                ledger.leaf(inner, 0);
            }
            _ if notify.take(inner, ledger) => (),
            (other, _) => {
                let (kind, why) = known::instance(other);
                ledger.list(kind, inner, why);
            }
        }
    }
    let Some(first) = members.first().copied() else {
        return ledger.list(Kind::Lost, statement, "it has no members");
    };
    let preferred = drafts[first].priority.clone();
    for at in &members {
        let draft = &mut drafts[*at];
        draft.group = Some(name.to_owned());
        union(&mut tracked, &draft.interfaces, weights, ledger);
        union(&mut checks, &draft.scripts, weights, ledger);
        let own = draft.priority.as_ref().map_or(DEFAULT_PRIORITY, |(priority, _)| *priority);
        let all = preferred.as_ref().map_or(DEFAULT_PRIORITY, |(priority, _)| *priority);
        if own != all {
            let place = draft.priority.as_ref().map_or(&draft.place, |(_, place)| place);
            let why = format!("the members of group {name} have one priority, {all}");
            ledger.part(Kind::Changed, place, &format!("priority {own}"), why);
            draft.priority.clone_from(&preferred);
        }
    }
    let own: Vec<_> = members.iter().filter_map(|at| drafts[*at].interface.clone()).collect();
    for track in tracked.extract_if(.., |track| own.contains(&track.name)) {
        ledger.part(Kind::Needless, &track.place, &track.name, "a member's own interface always counts for its group");
    }
    for at in members {
        drafts[at].interfaces.clone_from(&tracked);
        drafts[at].scripts.clone_from(&checks);
    }
    if !notify.is_empty() {
        drafts[first].group_notify = Some((name.to_owned(), notify));
    }
}

/// Adds what one member tracks to what all of them do.
fn union(all: &mut Vec<Track>, own: &[Track], weights: bool, ledger: &mut Ledger) {
    for track in own {
        if all.iter().any(|other| other.name == track.name) {
            continue;
        }
        let mut track = track.clone();
        if !weights {
            if let Some(weight) = track.weight.filter(|weight| *weight != 0) {
                let text = format!("{} weight {weight}", track.name);
                ledger.part(Kind::Changed, &track.place, &text, "in a group it counts as a fault, as in keepalived");
            }
            track.weight = Some(0);
        }
        all.push(track);
    }
}

/// keepalived's.
const DEFAULT_PRIORITY: u8 = 100;
