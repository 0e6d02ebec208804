//! From a snapshot to a sealed bundle: compile, leave out, render.
//!
//! Called by the reconcile loop on a blocking thread, and by `baton render` and `check`. Reads nothing
//! but what kind of files the apps name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use haproxy::app::{AppId, Snapshot};
use haproxy::bundle::{Bundle, FileName};
use haproxy::compile::Cache;
use haproxy::issue::Issue;
use haproxy::model::{BackendId, Frontend, LbState};
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

/// What one build leaves for the next: a change costs what it changes.
#[derive(Debug, Default)]
pub(super) struct Kept {
    compiled: Cache,
    looked: Option<Looked>,
}

/// A look at the files that listeners name.
#[derive(Debug)]
struct Looked {
    listeners: Arc<BTreeMap<BackendId, Frontend>>,
    /// The apps of those whose files would block HAProxy.
    blocking: BTreeMap<AppId, PathBuf>,
}

impl Kept {
    /// HAProxy is about to open the files that listeners name: they may be others than before.
    fn look_again(&mut self) {
        self.looked = None;
    }

    /// Whose files would block HAProxy, by the last look at the files of these listeners.
    fn blocking(&mut self, state: &LbState) -> &BTreeMap<AppId, PathBuf> {
        let known = self.looked.take().filter(|looked| Arc::ptr_eq(&looked.listeners, &state.frontends));
        let look = || Looked { listeners: Arc::clone(&state.frontends), blocking: files::blocking(state) };
        &self.looked.insert(known.unwrap_or_else(look)).blocking
    }
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
        self.build_without(snapshot, &LeftOut::default(), &mut Kept::default())
    }

    /// Everything the apps want and that is not left out.
    ///
    /// # Errors
    /// When a template fails: no app can cause that.
    pub(super) fn build_without(
        &self,
        snapshot: &Snapshot,
        left_out: &LeftOut,
        kept: &mut Kept,
    ) -> anyhow::Result<Built> {
        kept.look_again();
        let Wanted { state, issues } = self.state(snapshot, left_out, kept);
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
    pub(super) fn state(&self, snapshot: &Snapshot, left_out: &LeftOut, kept: &mut Kept) -> Wanted {
        let settings = settings(&self.config, self.purpose, self.abilities);
        let (state, mut issues) = kept.compiled.compile(snapshot, &policy(&self.config, &settings));
        let mut state = left_out.apply(state, settings.ipv6, &mut issues);
        let blocking = kept.blocking(&state);
        if !blocking.is_empty() {
            for (app, path) in blocking {
                issues.push(Issue::app(app, format!("out of service: {} is no plain file", path.display())));
            }
            issues.sort();
            state = state.without(&blocking.keys().cloned().collect());
        }
        Wanted { state, issues }
    }
}
