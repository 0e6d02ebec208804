//! What the operators asked for: all apps and groups at one moment.
//!
//! A [`Root`] is a value; a change is made on a copy (`draft`), compared with the current one (`plan`) and then takes
//! its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::config::Personality;
use super::def::{AppDef, Doc, render};
use super::path::PathId;
use super::stamp::Stamp;

/// A group, apart from its members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// Groups or apps that must be up first.
    pub dependencies: Vec<PathId>,
    /// Of the last change below it.
    pub version: Stamp,
}

/// The root group.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Root {
    /// All apps.
    pub apps: BTreeMap<PathId, Arc<AppDef>>,
    /// All groups but the root.
    pub groups: BTreeMap<PathId, Group>,
    /// Of the last change.
    pub version: Stamp,
}

impl Root {
    /// Apps at any depth below `group`.
    pub fn apps_below<'a>(&'a self, group: &'a PathId) -> impl Iterator<Item = &'a Arc<AppDef>> {
        self.apps.values().filter(move |def| def.id.is_below(group))
    }

    /// Whether `id` names a group.
    #[must_use]
    pub fn has_group(&self, id: &PathId) -> bool {
        id.is_root() || self.groups.contains_key(id)
    }

    /// Makes sure that the groups around `id` exist.
    pub fn ensure_parents(&mut self, id: &PathId, version: Stamp) {
        for group in id.ancestors() {
            self.groups.entry(group).or_default().version = version;
        }
    }

    /// The apps that must be up before `id`: its own dependencies and those of its groups, groups spelled out.
    #[must_use]
    pub fn needs(&self, id: &PathId) -> BTreeSet<PathId> {
        let mut wanted: Vec<&PathId> = self.apps.get(id).into_iter().flat_map(|def| &def.facts.dependencies).collect();
        let ancestors = id.ancestors();
        wanted
            .extend(ancestors.iter().filter_map(|group| self.groups.get(group)).flat_map(|group| &group.dependencies));
        let mut found = BTreeSet::new();
        for target in wanted {
            if self.apps.contains_key(target) {
                found.insert(target.clone());
            }
            found.extend(self.apps_below(target).map(|def| def.id.clone()));
        }
        found.remove(id);
        found
    }

    /// The longest chain of dependencies below each app, or `None` when they form a circle.
    #[must_use]
    pub fn depths(&self) -> Option<BTreeMap<PathId, usize>> {
        let has_any = self.apps.values().any(|def| !def.facts.dependencies.is_empty())
            || self.groups.values().any(|group| !group.dependencies.is_empty());
        if !has_any {
            return Some(self.apps.keys().map(|id| (id.clone(), 0)).collect());
        }
        let needs: BTreeMap<&PathId, BTreeSet<PathId>> = self.apps.keys().map(|id| (id, self.needs(id))).collect();
        let mut depths = BTreeMap::new();
        while depths.len() < self.apps.len() {
            let settled: Vec<(PathId, usize)> = needs
                .iter()
                .filter(|(id, needs)| !depths.contains_key(**id) && needs.iter().all(|need| depths.contains_key(need)))
                .map(|(id, needs)| {
                    let depth = needs.iter().filter_map(|need| depths.get(need)).map(|depth| depth + 1).max();
                    ((*id).clone(), depth.unwrap_or(0))
                })
                .collect();
            if settled.is_empty() {
                return None;
            }
            depths.extend(settled);
        }
        Some(depths)
    }

    /// The group tree below `id` with bare apps.
    #[must_use]
    pub fn to_json(&self, id: &PathId, personality: Personality, app: &dyn Fn(&AppDef) -> Doc) -> Value {
        let own = self.groups.get(id);
        let version = own.map_or(self.version, |group| group.version);
        let apps: Vec<Value> =
            self.apps.values().filter(|def| def.id.parent() == *id).map(|def| app(def).into()).collect();
        let groups: Vec<Value> = self
            .groups
            .keys()
            .filter(|group| group.parent() == *id)
            .map(|group| self.to_json(group, personality, app))
            .collect();
        let dependencies: Vec<&str> =
            own.into_iter().flat_map(|group| &group.dependencies).map(PathId::as_str).collect();
        json!({
            "id": id.as_str(),
            "apps": apps,
            "groups": groups,
            "pods": [],
            "dependencies": dependencies,
            "version": match personality {
                Personality::V1_4 => version.full(),
                Personality::V1_8 => version.trimmed(),
            },
        })
    }

    /// As embedded in the heavy deployment events of 1.4.
    #[must_use]
    pub fn heavy(&self, personality: Personality) -> Value {
        self.to_json(&PathId::root(), personality, &|def| render::app(def, personality))
    }
}
