//! From a snapshot to a sealed bundle: compile, leave out, render.
//!
//! Called by the reconcile loop on a blocking thread, and by `baton render` and `check`. Reads nothing
//! but what kind of files the apps name.

use std::sync::Arc;

use anyhow::Context as _;
use haproxy::app::Snapshot;
use haproxy::bundle::{Bundle, FileName};
use haproxy::compile::compile;
use haproxy::issue::Issue;
use haproxy::model::LbState;
use haproxy::render::Renderer;

use crate::config::Config;
use crate::config::settings::{Abilities, DEFAULT_CERT, Purpose, policy, settings};

use super::files;
use super::left_out::LeftOut;

/// What a build needs besides the snapshot.
#[derive(Clone)]
pub struct Builder {
    /// The templates.
    pub renderer: Arc<Renderer>,
    /// The configuration.
    pub config: Arc<Config>,
    /// What it is for.
    pub purpose: Purpose,
    /// What HAProxy and the kernel can do.
    pub abilities: Abilities,
    /// The self-signed certificate, where it is needed.
    pub default_cert: Option<Arc<str>>,
}

/// A build's result.
pub struct Built {
    /// What HAProxy is to run.
    pub bundle: Arc<Bundle>,
    /// The state it was rendered from.
    pub state: LbState,
    /// What is wrong with whom.
    pub issues: Vec<Issue>,
}

/// What HAProxy is to do.
pub(super) struct Wanted {
    pub(super) state: LbState,
    /// What is wrong with whom.
    pub(super) issues: Vec<Issue>,
}

impl Builder {
    /// Everything the apps want.
    ///
    /// # Errors
    /// When a template fails: no app can cause that.
    pub fn build(&self, snapshot: &Snapshot) -> anyhow::Result<Built> {
        self.build_without(snapshot, &LeftOut::default())
    }

    /// Everything the apps want and that is not left out.
    ///
    /// # Errors
    /// When a template fails: no app can cause that.
    pub(super) fn build_without(&self, snapshot: &Snapshot, left_out: &LeftOut) -> anyhow::Result<Built> {
        self.render(self.state(snapshot, left_out))
    }

    /// The text that says what HAProxy is to do.
    ///
    /// # Errors
    /// When a template fails: no app can cause that.
    pub(super) fn render(&self, wanted: Wanted) -> anyhow::Result<Built> {
        let Wanted { state, issues } = wanted;
        let settings = settings(&self.config, self.purpose, self.abilities);
        let mut draft = self.renderer.render(&state, &settings)?;
        if let Some(pem) = &self.default_cert {
            let name = FileName::parse(DEFAULT_CERT).context("name the default certificate")?;
            draft.files.insert(name, pem.to_string());
        }
        let bundle = Arc::new(Bundle::seal(draft).context("seal the configuration")?);
        Ok(Built { bundle, state, issues })
    }

    /// What HAProxy is to do, without the text that says so.
    pub(super) fn state(&self, snapshot: &Snapshot, left_out: &LeftOut) -> Wanted {
        let settings = settings(&self.config, self.purpose, self.abilities);
        let (state, mut issues) = compile(snapshot, &policy(&self.config, &settings));
        let mut state = left_out.apply(state, settings.ipv6, &mut issues);
        let blocking = files::blocking(&state);
        if !blocking.is_empty() {
            for (app, path) in &blocking {
                issues.push(Issue::app(app, format!("out of service: {} is no plain file", path.display())));
            }
            issues.sort();
            state = state.without(&blocking.into_keys().collect());
        }
        Wanted { state, issues }
    }
}
