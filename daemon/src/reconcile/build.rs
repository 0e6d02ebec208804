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
use haproxy::certs::Certificates;
use haproxy::compile::Cache;
use haproxy::issue::Issue;
use haproxy::model::{BackendId, Frontend, LbState};
use haproxy::render::Renderer;

use crate::certs::keeper::Deployed;
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
    /// What HAProxy gets of the certificates, where it is driven; else it reads the files themselves.
    pub certs: Option<Arc<Deployed>>,
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
    blocking: Option<Blocking>,
}

/// The apps whose files would block HAProxy, by the listeners that were looked at.
#[derive(Debug)]
struct Blocking {
    of: Arc<BTreeMap<BackendId, Frontend>>,
    apps: BTreeMap<AppId, PathBuf>,
}

impl Kept {
    /// HAProxy is about to open the files that listeners name: they may be others than before.
    fn look_again(&mut self) {
        self.blocking = None;
    }

    /// Whose files would block HAProxy, by the last look at the files of these listeners.
    fn blocking(&mut self, state: &LbState) -> &BTreeMap<AppId, PathBuf> {
        let known = self.blocking.take().filter(|known| Arc::ptr_eq(&known.of, &state.frontends));
        let look = || Blocking { of: Arc::clone(&state.frontends), apps: files::blocking(state) };
        &self.blocking.insert(known.unwrap_or_else(look)).apps
    }
}

/// What HAProxy is to do.
pub(super) struct Wanted {
    pub(super) state: LbState,
    /// What is wrong with whom.
    pub(super) issues: Vec<Issue>,
}

impl Builder {
    /// What HAProxy gets of the certificates.
    pub(super) fn certificates(&self) -> Option<&Arc<Certificates>> {
        self.certs.as_ref().map(|deployed| &deployed.certificates)
    }

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
        let wanted = self.state(snapshot, left_out, kept);
        self.render(wanted)
    }

    /// The text that says what HAProxy is to do.
    ///
    /// # Errors
    /// When a template fails: no app can cause that.
    pub(super) fn render(&self, wanted: Wanted) -> anyhow::Result<Built> {
        let Wanted { state, issues } = wanted;
        let mut settings = settings(&self.config, self.purpose, self.abilities);
        if let Some(deployed) = &self.certs {
            settings.certs.clone_from(&deployed.apps);
            if let (Some(vhosts), Some(list)) = (&mut settings.vhosts, &deployed.hosts) {
                vhosts.certs = vec![list.clone()];
            }
        }
        let mut draft = self.renderer.render(&state, &settings)?;
        draft.certs = self.certs.as_ref().map(|deployed| Arc::clone(&deployed.certificates));
        if let (Some(pem), None) = (&self.default_cert, &self.certs) {
            let name = FileName::parse(DEFAULT_CERT).context("name the default certificate")?;
            draft.files.insert(name, pem.to_string());
        }
        let bundle = Arc::new(Bundle::seal(draft).context("seal the configuration")?);
        Ok(Built { bundle, state, issues })
    }

    /// What HAProxy is to do, without the text that says so.
    pub(super) fn state(&self, snapshot: &Snapshot, left_out: &LeftOut, kept: &mut Kept) -> Wanted {
        let settings = settings(&self.config, self.purpose, self.abilities);
        let snapshot = left_out.apps.definitions(snapshot);
        let (state, mut issues) = kept.compiled.compile(&snapshot, &policy(&self.config, &settings));
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

/// Everything that the apps want and that is not left out, built where it keeps nobody waiting.
///
/// # Errors
/// When a template fails: no app can cause that.
pub(super) async fn whole(
    builder: &Builder,
    snapshot: &Arc<Snapshot>,
    left_out: &mut LeftOut,
    kept: &mut Kept,
) -> anyhow::Result<Built> {
    let snapshot = Arc::clone(snapshot);
    aside(builder, left_out, kept, move |builder, out, kept| builder.build_without(&snapshot, out, kept)).await?
}

/// As [`whole`], without the text.
pub(super) async fn state(
    builder: &Builder,
    snapshot: &Arc<Snapshot>,
    left_out: &mut LeftOut,
    kept: &mut Kept,
) -> anyhow::Result<Wanted> {
    let snapshot = Arc::clone(snapshot);
    aside(builder, left_out, kept, move |builder, out, kept| builder.state(&snapshot, out, kept)).await
}

/// The text for a state, whatever the apps want.
///
/// # Errors
/// When a template fails: no app can cause that.
pub(super) async fn text(builder: &Builder, state: LbState) -> anyhow::Result<Built> {
    let builder = builder.clone();
    let built = tokio::task::spawn_blocking(move || builder.render(Wanted { state, issues: Vec::new() })).await;
    built.context("render the configuration")?
}

/// Compiling and rendering thousands of apps takes tens of milliseconds: not on this thread.
async fn aside<T: Send + 'static>(
    builder: &Builder,
    left_out: &mut LeftOut,
    kept: &mut Kept,
    work: impl FnOnce(&Builder, &LeftOut, &mut Kept) -> T + Send + 'static,
) -> anyhow::Result<T> {
    let builder = builder.clone();
    // Lent; whoever stops waiting ends the loop.
    let (lent, mut lent_kept) = (std::mem::take(left_out), std::mem::take(kept));
    let done = tokio::task::spawn_blocking(move || {
        let done = work(&builder, &lent, &mut lent_kept);
        (done, lent, lent_kept)
    });
    let (done, lent, lent_kept) = done.await.context("build the configuration")?;
    (*left_out, *kept) = (lent, lent_kept);
    Ok(done)
}
