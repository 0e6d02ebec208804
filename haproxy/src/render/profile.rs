//! The options that backends have, as named sections of defaults: what new backends are made from while HAProxy runs.
//!
//! Rendered at the end of the file and remembered by `diff`, both from the same state, so that a section is there
//! when it is asked for. HAProxy 3.4 and newer, where the operator wants it; else there are none.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Backend, LbState};
use crate::render::view::BackendView;

/// The sections of one configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Profiles(Vec<(BackendView, Arc<Backend>)>);

impl Profiles {
    /// The options that the most backends of `state` have.
    pub(crate) fn of(state: &LbState) -> Self {
        let mut found: BTreeMap<BackendView, (usize, &Arc<Backend>)> = BTreeMap::new();
        // A list of users has the name of its backend.
        let fitting = state.backends.values().filter(|backend| state.dynamic.backends && backend.auth.is_none());
        for backend in fitting {
            found.entry(BackendView::options(backend)).or_insert((0, backend)).0 += 1;
        }
        let mut all: Vec<_> = found.into_iter().collect();
        all.sort_by_key(|(_, (count, _))| Reverse(*count));
        Self(all.into_iter().take(MOST).map(|(options, (_, first))| (options, Arc::clone(first))).collect())
    }

    /// The names, each with a backend that has the options.
    pub(super) fn iter(&self) -> impl Iterator<Item = (String, &Backend)> {
        self.0.iter().enumerate().map(|(number, (_, backend))| (name(number), backend.as_ref()))
    }

    /// The section with the options of `backend`.
    pub(crate) fn find(&self, backend: &Backend) -> Option<String> {
        if self.0.is_empty() || backend.auth.is_some() {
            return None;
        }
        let options = BackendView::options(backend);
        self.0.iter().position(|(have, _)| *have == options).map(name)
    }
}

fn name(number: usize) -> String {
    format!("profile_{number}")
}

/// A section costs HAProxy some memory and a line in each of its listings.
const MOST: usize = 64;
