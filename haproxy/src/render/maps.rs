//! The entries of the maps: as text for the file, as keys and values for the runtime API.
//!
//! Used by `render` and `diff`, so that a map in the file and one changed in a running HAProxy
//! cannot differ.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::bundle::MapName;
use crate::model::LbState;

/// The maps there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Map {
    /// `‹host›/‹path› ‹backend›` for every route whose host a map can hold.
    Routes,
    /// `‹app id› ‹backend›` for every app that speaks HTTP.
    Apps,
    /// `‹service port› ‹backend›` for every dynamic port that is in use.
    Ports,
}

impl Map {
    /// Those that a configuration for `state` names.
    pub(crate) fn all(state: &LbState) -> impl Iterator<Item = Self> + use<> {
        [Self::Routes, Self::Apps].into_iter().chain(state.dynamic.ports.is_some().then_some(Self::Ports))
    }

    /// Its file, and how the runtime API calls it.
    pub(crate) fn name(self) -> MapName {
        let name = match self {
            Self::Routes => "routes.map",
            Self::Apps => "apps.map",
            Self::Ports => "ports.map",
        };
        MapName::parse(name).expect("a built-in name is a map's")
    }

    /// Its file.
    pub(crate) fn text(self, state: &LbState) -> String {
        let mut text = String::new();
        self.each(state, |key, value| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{key} {value}");
        });
        text
    }

    /// What a lookup finds: of two entries with one key the first.
    pub(crate) fn entries(self, state: &LbState) -> BTreeMap<String, String> {
        let mut entries = BTreeMap::new();
        self.each(state, |key, value| {
            entries.entry(key).or_insert_with(|| value.to_owned());
        });
        entries
    }

    fn each(self, state: &LbState, mut entry: impl FnMut(String, &str)) {
        match self {
            Self::Routes => {
                for (host, table) in state.routes.iter().filter(|(_, table)| !table.ignore_case) {
                    for route in &table.routes {
                        let path = route.path.as_ref().map_or("/", |path| path.as_str());
                        entry(format!("{host}{path}"), route.backend.as_str());
                    }
                }
            }
            Self::Apps => {
                for (app, backend) in state.app_ids.iter() {
                    entry(app.as_str().to_ascii_lowercase(), backend.as_str());
                }
            }
            Self::Ports => {
                for (id, frontend) in state.frontends.iter().filter(|(_, frontend)| state.shares(frontend)) {
                    entry(frontend.port.to_string(), id.as_str());
                }
            }
        }
    }
}
