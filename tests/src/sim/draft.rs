//! A change in the making: edits on a copy of the root, all under one version.
//!
//! Knows nothing of tasks or deployments; `World::change` takes the finished draft over.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde_json::Value;

use super::def::{AppDef, Doc, Rules, check};
use super::path::{PathId, SEGMENT_RULE};
use super::rejection::Rejection;
use super::root::Root;
use super::stamp::Stamp;

/// The copy that is edited.
#[derive(Debug)]
pub struct Draft {
    /// As it will be.
    pub root: Root,
    /// Of this change.
    pub version: Stamp,
    rules: Rules,
    service_ports: RangeInclusive<u16>,
}

impl Draft {
    /// A draft on top of `current`.
    #[must_use]
    pub fn new(current: &Root, version: Stamp, rules: Rules, service_ports: RangeInclusive<u16>) -> Self {
        let mut root = current.clone();
        root.version = version;
        Self { root, version, rules, service_ports }
    }

    /// Adds an app.
    ///
    /// # Errors
    /// 409 when it exists, 400 or 422 when it is wrong.
    pub fn create(&mut self, id: &PathId, doc: &Doc) -> Result<(), Rejection> {
        // As in Marathon, what is wrong in itself is said before what is there already.
        let before = self.root.apps.remove(id);
        self.put(id, doc, false)?;
        match before {
            Some(_) => Err(Rejection::Exists(format!("An app with id [{id}] already exists."))),
            None => Ok(()),
        }
    }

    /// Stores `doc` as app `id`: over what is there (`partial`) or in its place.
    ///
    /// # Errors
    /// 400 or 422 when the result is wrong, 409 when a group has that id.
    pub fn put(&mut self, id: &PathId, doc: &Doc, partial: bool) -> Result<(), Rejection> {
        let wrong = check::shape(doc);
        if !wrong.is_empty() {
            return Err(Rejection::Shape(wrong));
        }
        if self.root.groups.contains_key(id) {
            return Err(Rejection::Exists(format!("An app with the path {id} already exists.")));
        }
        if id.ancestors().iter().any(|group| self.root.apps.contains_key(group)) {
            return Err(Rejection::Exists(format!("An app with the path {} already exists.", id.parent())));
        }
        let old = self.root.apps.get(id).cloned();
        let base = old.as_deref().filter(|_| partial);
        let def = AppDef::build(id, doc, base, &self.rules).map_err(Rejection::Invalid)?;
        self.store(def, old.as_deref())
    }

    /// Changes the number of instances only.
    ///
    /// # Errors
    /// 404 for an unknown app.
    pub fn scale(&mut self, id: &PathId, instances: u32) -> Result<(), Rejection> {
        let old = self.app(id)?;
        let mut def = (*old).clone();
        def.scale(instances);
        self.store(def, Some(&old))
    }

    /// Gives the app a new generation, so that every task is replaced.
    ///
    /// # Errors
    /// 404 for an unknown app.
    pub fn restart(&mut self, id: &PathId) -> Result<(), Rejection> {
        let mut def = (*self.app(id)?).clone();
        def.version = self.version;
        def.last_scaling = self.version;
        def.generation = self.version;
        self.root.apps.insert(id.clone(), Arc::new(def));
        Ok(())
    }

    /// Puts an earlier definition back, under the new version.
    ///
    /// # Errors
    /// When no service port is free.
    pub fn revert(&mut self, id: &PathId, earlier: Option<&AppDef>) -> Result<(), Rejection> {
        match earlier {
            Some(earlier) => {
                let old = self.root.apps.get(id).cloned();
                self.store(earlier.clone(), old.as_deref())
            }
            None => {
                self.root.apps.remove(id);
                Ok(())
            }
        }
    }

    /// Removes an app.
    ///
    /// # Errors
    /// 404 for an unknown app.
    pub fn remove(&mut self, id: &PathId) -> Result<(), Rejection> {
        self.app(id)?;
        self.root.apps.remove(id);
        self.root.ensure_parents(id, self.version);
        Ok(())
    }

    /// Removes a group and everything below it.
    ///
    /// # Errors
    /// 404 for an unknown group.
    pub fn remove_group(&mut self, id: &PathId) -> Result<(), Rejection> {
        if !self.root.has_group(id) {
            return Err(Rejection::NotFound(format!("Group '{id}' does not exist")));
        }
        self.root.apps.retain(|app, _| !app.is_below(id));
        self.root.groups.retain(|group, _| group != id && !group.is_below(id));
        Ok(())
    }

    /// Multiplies the instances of every app below `id`, rounding up.
    ///
    /// # Errors
    /// As [`Draft::scale`].
    pub fn scale_by(&mut self, id: &PathId, factor: f64) -> Result<(), Rejection> {
        let apps: Vec<(PathId, u32)> =
            self.root.apps_below(id).map(|def| (def.id.clone(), def.facts.instances)).collect();
        for (app, instances) in apps {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by clamp")]
            let scaled = (f64::from(instances) * factor).ceil().clamp(0.0, f64::from(u32::MAX)) as u32;
            self.scale(&app, scaled)?;
        }
        Ok(())
    }

    /// Applies a group update: given apps and groups are stored; of a *given* list what is missing goes.
    ///
    /// # Errors
    /// 422 and 409 as for apps.
    pub fn update_group(&mut self, id: &PathId, update: &Doc) -> Result<(), Rejection> {
        if !id.is_valid() {
            return Err(Rejection::invalid("/id", SEGMENT_RULE));
        }
        if self.root.apps.contains_key(id) {
            return Err(Rejection::Exists(format!("An app with the path {id} already exists.")));
        }
        if !id.is_root() {
            self.root.ensure_parents(id, self.version);
            self.root.groups.entry(id.clone()).or_default().version = self.version;
        }
        if let (Some(list), Some(group)) =
            (update.get("dependencies").and_then(Value::as_array), self.root.groups.get_mut(id))
        {
            let ids = list.iter().filter_map(Value::as_str);
            group.dependencies = ids.map(|dependency| PathId::resolve(dependency, id)).collect();
        }
        if let Some(apps) = members(update, "apps")? {
            let mut kept = BTreeSet::new();
            for app in apps {
                let app_id = member_id(app, id)?;
                kept.insert(app_id.clone());
                self.put(&app_id, app, false)?;
            }
            self.root.apps.retain(|app, _| app.parent() != *id || kept.contains(app));
        }
        if let Some(groups) = members(update, "groups")? {
            let mut kept = BTreeSet::new();
            for group in groups {
                let group_id = member_id(group, id)?;
                kept.insert(group_id.clone());
                self.update_group(&group_id, group)?;
            }
            let gone = self.root.groups.keys().filter(|group| group.parent() == *id && !kept.contains(*group));
            for group in gone.cloned().collect::<Vec<_>>() {
                self.remove_group(&group)?;
            }
        }
        Ok(())
    }

    fn app(&self, id: &PathId) -> Result<Arc<AppDef>, Rejection> {
        self.root.apps.get(id).cloned().ok_or_else(|| Rejection::NotFound(format!("App '{id}' does not exist")))
    }

    /// Service ports, then versions by what differs from `old`.
    fn store(&mut self, mut def: AppDef, old: Option<&AppDef>) -> Result<(), Rejection> {
        let range = self.service_ports.clone();
        if def.facts.ports.iter().any(|port| port.service == 0) {
            let mut used: BTreeSet<u16> =
                self.root.apps.values().flat_map(|def| &def.facts.ports).map(|port| port.service).collect();
            used.extend(def.facts.ports.iter().map(|port| port.service));
            let mut next = *range.start();
            let personality = self.rules.personality;
            def.assign_ports(old, personality, || {
                while used.contains(&next) {
                    next = next.checked_add(1)?;
                }
                used.insert(next);
                range.contains(&next).then_some(next)
            })
            .ok_or_else(|| {
                let end = u32::from(*range.end()) + 1;
                Rejection::Internal(format!("All ports in the range [{}-{end}) are already in use", range.start()))
            })?;
        }
        let now = self.version;
        let (scaling, config, generation) = match old {
            Some(old) if !old.is_upgrade(&def) && old.facts.instances == def.facts.instances => return Ok(()),
            Some(old) if !old.is_upgrade(&def) => (now, old.last_config, old.generation),
            _ => (now, now, now),
        };
        (def.version, def.last_scaling, def.last_config, def.generation) = (now, scaling, config, generation);
        self.root.ensure_parents(&def.id, now);
        self.root.apps.insert(def.id.clone(), Arc::new(def));
        Ok(())
    }
}

/// The id of a member of `group`, resolved.
///
/// # Errors
/// 422 when it has none.
pub fn member_id(member: &Doc, group: &PathId) -> Result<PathId, Rejection> {
    match member.get("id").and_then(Value::as_str) {
        Some(id) if !id.is_empty() => Ok(PathId::resolve(id, group)),
        _ => Err(Rejection::invalid("/id", "error.path.missing")),
    }
}

fn members<'a>(update: &'a Doc, key: &str) -> Result<Option<Vec<&'a Doc>>, Rejection> {
    let Some(value) = update.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    let wrong = || Rejection::Shape(vec![check::Violation::new(format!("/{key}"), "error.expected.jsarray")]);
    let list = value.as_array().ok_or_else(wrong)?;
    list.iter().map(|member| member.as_object().ok_or_else(wrong)).collect::<Result<_, _>>().map(Some)
}
