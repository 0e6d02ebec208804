//! Turns the wanted state into haproxy.cfg and its maps.
//!
//! Called by the reconcile loop and by `baton render`; feeds `reload`. Pure: no clock, no files.
//! The sections are the Tera templates beside this module, to be read as HAProxy configuration.

pub(crate) mod maps;
pub(crate) mod profile;
pub(crate) mod server;
pub mod settings;
pub(crate) mod view;

use std::collections::BTreeMap;

use serde::Serialize;
use tera::{Context, Tera};

use crate::bundle::{Bind, Draft, Owner};
use crate::compile::Reserved;
use crate::model::{self, Backend, LbState};
use profile::Profiles;
use settings::{Listen, Settings};
use view::{BackendView, FrontendView, HeadView, PortsView, ProfileView, RuleView, StatsView, VhostView};

/// The built-in templates, compiled once.
pub struct Renderer {
    tera: Tera,
}

/// A template does not fit what it is given: a fault of the template, not of an app.
#[derive(Debug, thiserror::Error)]
#[error("render section {section}")]
pub struct RenderError {
    section: String,
    source: tera::Error,
}

impl Renderer {
    /// Compiles the templates.
    ///
    /// # Errors
    /// When one of them is no template.
    pub fn new() -> Result<Self, RenderError> {
        let mut tera = Tera::new();
        tera.add_raw_templates(TEMPLATES.iter().copied())
            .map_err(|source| RenderError { section: "all".to_owned(), source })?;
        Ok(Self { tera })
    }

    /// The configuration for `state`.
    ///
    /// # Errors
    /// When a template asks for something that it is not given.
    pub fn render(&self, state: &LbState, settings: &Settings) -> Result<Draft, RenderError> {
        let mut page = Page { tera: &self.tera, out: Draft::default(), lines: 0 };
        let head = HeadView::new(settings);
        page.section("global", &head, None)?;
        page.section("defaults", &head, None)?;
        page.section("stats", &StatsView::new(settings), None)?;
        for (id, backend) in &state.backends {
            if let Some(auth) = &backend.auth {
                let (user, hash) = (auth.user.as_str(), auth.hash.as_str());
                let view = BTreeMap::from([("backend", id.as_str()), ("user", user), ("hash", hash)]);
                page.section("userlist", &view, Some(&backend.owner))?;
            }
        }
        page.section("appid_frontend", &BTreeMap::from([("bind", settings.bind(settings.app_id, &[]))]), None)?;
        if let Some(vhosts) = &settings.vhosts {
            let rules = rules(state);
            let certs: Vec<_> = vhosts.certs.iter().map(ToString::to_string).collect();
            let wildcards = state.routes.iter().any(|(host, _)| host.is_wildcard());
            let view =
                |listen| VhostView::new(settings.bind(listen, &[]), &certs, vhosts.alpn.as_str(), &rules, wildcards);
            page.section("http_frontend", &view(vhosts.http), None)?;
            page.section("https_frontend", &view(vhosts.https), None)?;
        }
        let own = reserved(settings).into_iter().map(|own| Listen { addr: own.addr, port: own.port });
        let mut binds: Vec<_> =
            own.flat_map(|listen| Bind::read(&settings.bind(listen, &[])).collect::<Vec<_>>()).collect();
        if let Some(view) = PortsView::new(&state.shared_ports(), settings) {
            page.section("ports_frontend", &view, None)?;
            binds.extend(Bind::read(view.bind()));
        }
        for (id, frontend) in state.frontends.iter().filter(|(_, frontend)| !state.shares(frontend)) {
            let view = FrontendView::new(id, frontend, settings);
            page.section("frontend", &view, Some(&frontend.owner))?;
            let owner = Some(&frontend.owner.app);
            binds.extend(Bind::read(view.bind()).map(|bind| Bind { owner: owner.cloned(), ..bind }));
        }
        let https = settings.vhosts.as_ref().map(|vhosts| vhosts.https);
        for (id, backend) in &state.backends {
            page.section("backend", &BackendView::new(id.as_str(), backend, https), Some(&backend.owner))?;
        }
        // At the end: whatever follows a section of defaults inherits from it.
        for (name, backend) in Profiles::of(state).iter() {
            let bare = Backend { servers: Vec::new(), ..backend.clone() };
            let view = ProfileView::new(&head, BackendView::new(&name, &bare, https));
            page.section("profile", &view, Some(&backend.owner))?;
        }
        let mut out = page.out;
        for map in maps::Map::all(state) {
            out.maps.insert(map.name(), map.text(state));
        }
        for (id, backend) in &state.backends {
            out.owners.own_proxy(id.as_str(), bundle_owner(&backend.owner));
            out.owners.own_proxy(settings.frontend(id), bundle_owner(&backend.owner));
        }
        out.binds = binds;
        Ok(out)
    }
}

/// The listeners that `settings` takes for the load balancer itself.
pub fn reserved(settings: &Settings) -> Vec<Reserved> {
    let listener = |listen: Listen, what| Reserved { addr: listen.addr, port: listen.port, what };
    let mut all = vec![
        listener(settings.stats.listen, "the statistics listener"),
        listener(settings.app_id, "the listener for X-Marathon-App-Id"),
    ];
    if let Some(vhosts) = &settings.vhosts {
        all.push(listener(vhosts.http, "the virtual hosts' http listener"));
        all.push(listener(vhosts.https, "the virtual hosts' https listener"));
    }
    all
}

/// The text so far, and who wrote which line.
struct Page<'a> {
    tera: &'a Tera,
    out: Draft,
    lines: usize,
}

impl Page<'_> {
    fn section<V: Serialize>(&mut self, name: &str, view: &V, owner: Option<&model::Owner>) -> Result<(), RenderError> {
        let failed = |source| RenderError { section: name.to_owned(), source };
        let context = Context::from_serialize(view).map_err(failed)?;
        let start = self.out.config.len();
        let text = self.tera.render(name, &context).map_err(failed)?;
        self.out.config.push_str(&text);
        let first = self.lines + 1;
        self.lines += self.out.config.as_bytes()[start..].iter().filter(|byte| **byte == b'\n').count();
        if let Some(owner) = owner {
            self.out.owners.own(first..=self.lines, bundle_owner(owner));
        }
        Ok(())
    }
}

/// An owner as messages about lines need it.
fn bundle_owner(owner: &model::Owner) -> Owner {
    Owner { app: owner.app.clone(), port: Some(owner.index) }
}

/// The routes that no map can hold.
fn rules(state: &LbState) -> Vec<RuleView> {
    state
        .routes
        .iter()
        .filter(|(_, table)| table.ignore_case)
        .flat_map(|(host, table)| view::rules(host, table))
        .collect()
}

const TEMPLATES: [(&str, &str); 14] = [
    ("global", include_str!("templates/global.tera")),
    ("defaults", include_str!("templates/defaults.tera")),
    ("defaults_options", include_str!("templates/defaults_options.tera")),
    ("stats", include_str!("templates/stats.tera")),
    ("userlist", include_str!("templates/userlist.tera")),
    ("appid_frontend", include_str!("templates/appid_frontend.tera")),
    ("routing", include_str!("templates/routing.tera")),
    ("http_frontend", include_str!("templates/http_frontend.tera")),
    ("https_frontend", include_str!("templates/https_frontend.tera")),
    ("frontend", include_str!("templates/frontend.tera")),
    ("ports_frontend", include_str!("templates/ports_frontend.tera")),
    ("backend", include_str!("templates/backend.tera")),
    ("backend_options", include_str!("templates/backend_options.tera")),
    ("profile", include_str!("templates/profile.tera")),
];
