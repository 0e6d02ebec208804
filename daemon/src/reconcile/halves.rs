//! Finds out by halves whose fault it is that HAProxy refuses a configuration and names nobody.
//!
//! Pure: says which apps to try beside those that are accepted, and is told what came of it. One
//! culprit among n takes about log2 n tries. Where two fail only together, the one with the higher id
//! is blamed, because the lower ids are tried first.

use std::collections::BTreeSet;

use haproxy::app::AppId;

/// The apps that are not settled, in groups.
#[derive(Debug, Clone)]
pub(super) struct Halves {
    /// The last one is tried next.
    groups: Vec<Group>,
}

/// Apps between which nothing tells yet.
#[derive(Debug, Clone)]
struct Group {
    /// In order of their ids.
    apps: Vec<AppId>,
    /// They are refused beside what is accepted.
    refused: bool,
    /// They and the group after them are refused, so they are if that group is not.
    or_else: bool,
    /// What HAProxy said of them, or of a group that they were part of.
    said: String,
}

/// An app that is to blame, and why.
pub(super) type Blamed = (AppId, String);

impl Halves {
    /// `apps` are refused together beside what is accepted, and without them it is accepted.
    pub(super) fn new(apps: BTreeSet<AppId>, said: String) -> Self {
        let apps = apps.into_iter().collect();
        Self { groups: vec![Group { apps, refused: true, or_else: false, said }] }
    }

    /// The apps to be tried next, beside all that is accepted; none when all are settled.
    /// Whoever is to blame by now is added to `blamed`.
    pub(super) fn next(&mut self, blamed: &mut Vec<Blamed>) -> Option<BTreeSet<AppId>> {
        loop {
            let group = self.groups.pop_if(|group| group.refused || group.apps.is_empty());
            let Some(mut group) = group else {
                return self.groups.last().map(|group| group.apps.iter().cloned().collect());
            };
            match group.apps.len() {
                0 => (),
                1 => blamed.extend(group.apps.into_iter().map(|app| (app, group.said.clone()))),
                n => {
                    let upper = group.apps.split_off(n / 2);
                    let said = group.said.clone();
                    self.groups.push(Group { apps: upper, refused: false, or_else: true, said });
                    self.groups.push(Group { refused: false, or_else: false, ..group });
                }
            }
        }
    }

    /// Every app that is not settled.
    pub(super) fn apps(&self) -> impl Iterator<Item = &AppId> {
        self.groups.iter().flat_map(|group| &group.apps)
    }

    /// HAProxy accepts the group that was tried.
    pub(super) fn accepted(&mut self) {
        self.groups.pop();
        if let Some(group) = self.groups.last_mut() {
            group.refused = std::mem::take(&mut group.or_else);
        }
    }

    /// HAProxy refuses the group that was tried, and blames `named` of it, if anybody.
    pub(super) fn refused(&mut self, named: &BTreeSet<AppId>, said: &str) {
        let Some(mut tried) = self.groups.pop() else { return };
        if let Some(group) = self.groups.last_mut() {
            group.or_else = false;
        }
        let before = tried.apps.len();
        tried.apps.retain(|app| !named.contains(app));
        tried.refused = tried.apps.len() == before;
        said.clone_into(&mut tried.said);
        self.groups.push(tried);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<AppId> {
        numbers.into_iter().map(|n| AppId::parse(&format!("/app-{n:04}")).unwrap()).collect()
    }

    /// Searches `0..n`, where HAProxy refuses whatever holds one of `bad` as a whole; who is blamed
    /// and how many tries it took.
    fn search(n: usize, bad: &[BTreeSet<AppId>]) -> (BTreeSet<AppId>, usize) {
        let mut halves = Halves::new(ids(0..n), String::new());
        let (mut accepted, mut blamed, mut tries) = (BTreeSet::new(), Vec::new(), 0);
        while let Some(group) = halves.next(&mut blamed) {
            tries += 1;
            assert!(tries <= 2 * n, "it ends");
            let tried = accepted.union(&group).cloned().collect();
            if bad.iter().any(|set: &BTreeSet<_>| set.is_subset(&tried)) {
                halves.refused(&BTreeSet::new(), "");
            } else {
                accepted = tried;
                halves.accepted();
            }
        }
        let blamed: BTreeSet<_> = blamed.into_iter().map(|(app, _)| app).collect();
        assert_eq!(accepted.len() + blamed.len(), n, "everybody is settled");
        assert!(bad.iter().all(|set| !set.is_subset(&accepted)));
        (blamed, tries)
    }

    #[test]
    fn one_culprit_takes_as_many_tries_as_there_are_halves() {
        for culprit in [0, 1, 499, 500, 998, 999] {
            let (blamed, tries) = search(1_000, &[ids([culprit])]);
            assert_eq!(blamed, ids([culprit]));
            assert!(tries <= 20, "{tries}");
        }
        assert_eq!(search(1, &[ids([0])]), (ids([0]), 0), "a single suspect needs no try");
    }

    #[test]
    fn of_two_that_fail_only_together_the_higher_id_is_blamed() {
        for (a, b) in [(0, 1), (0, 999), (499, 500), (7, 600)] {
            let (blamed, tries) = search(1_000, &[ids([a, b])]);
            assert_eq!(blamed, ids([b]), "{a} {b}");
            assert!(tries <= 20, "{tries}");
        }
    }

    #[test]
    fn who_is_named_is_not_searched_for() {
        let mut halves = Halves::new(ids(0..4), String::new());
        let mut blamed = Vec::new();
        assert_eq!(halves.next(&mut blamed), Some(ids(0..2)));
        halves.refused(&ids([1]), "");
        assert_eq!(halves.next(&mut blamed), Some(ids([0])), "the rest of the group again");
        halves.accepted();
        assert_eq!(halves.next(&mut blamed), Some(ids(2..4)), "nothing is known of the others now");
        halves.accepted();
        assert_eq!((halves.next(&mut blamed), blamed), (None, Vec::new()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whoever_is_blamed_is_part_of_a_fault(
            bad in proptest::collection::vec(proptest::collection::btree_set(0_usize..40, 1..4), 1..5),
        ) {
            let bad: Vec<_> = bad.into_iter().map(ids).collect();
            let (blamed, _) = search(40, &bad);
            for app in &blamed {
                prop_assert!(bad.iter().any(|set| set.last() == Some(app)), "{app} is the highest of a fault");
            }
        }
    }
}
