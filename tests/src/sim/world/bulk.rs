//! Filling the cluster at once, for benchmarks: running tasks without deployments and events.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::def::{AppDef, Doc};
use super::super::instance::{Backing, Condition, Findings, Instance};
use super::super::path::PathId;
use super::super::rejection::Rejection;
use super::super::stamp::Stamp;
use super::{Out, Runtime, World};

/// What stands behind the ports of bulk tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkBacking {
    /// Each task listens.
    Real,
    /// Nothing listens.
    Nothing,
    /// All tasks name the address and ports of one listener.
    Shared(std::net::SocketAddrV4),
}

/// How much to create.
#[derive(Clone)]
pub struct Bulk {
    /// Apps, numbered from 0.
    pub apps: usize,
    /// Running tasks of each.
    pub tasks: usize,
    /// What stands behind them.
    pub backing: BulkBacking,
    /// The definition of app `n`; must have an `id`.
    pub app: fn(usize) -> Value,
}

impl std::fmt::Debug for Bulk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bulk({} apps of {} tasks, {:?})", self.apps, self.tasks, self.backing)
    }
}

impl Bulk {
    /// `apps` × `tasks` of a bridge app with a vhost, group `external` and service port 10000 + n, nothing behind.
    #[must_use]
    pub fn new(apps: usize, tasks: usize) -> Self {
        Self { apps, tasks, backing: BulkBacking::Nothing, app: vhost_app }
    }
}

/// `/bench/app-<n>`, vhost `app-<n>.bench.test`.
fn vhost_app(n: usize) -> Value {
    json!({
        "id": format!("/bench/app-{n}"),
        "cmd": "serve",
        "container": {"type": "DOCKER", "docker": {"image": "bench"},
            "portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": 10_000 + n, "protocol": "tcp"}]},
        "networks": [{"mode": "container/bridge"}],
        "healthChecks": [{"protocol": "HTTP", "path": "/", "portIndex": 0}],
        "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": format!("app-{n}.bench.test")},
    })
}

impl World {
    /// Creates `bulk`'s apps with all tasks running and healthy.
    ///
    /// # Errors
    /// When a definition is refused or no agent has room.
    pub fn load(&mut self, bulk: &Bulk, now: Stamp) -> Result<(), Rejection> {
        let version = now.max(self.root.version.plus(1));
        let rules = self.rules();
        for n in 0..bulk.apps {
            let doc: Doc = match (bulk.app)(n) {
                Value::Object(mut doc) => {
                    doc.insert("instances".to_owned(), bulk.tasks.into());
                    doc
                }
                _ => return Err(Rejection::Syntax("bulk app is no object".to_owned())),
            };
            let id = PathId::from_url(doc.get("id").and_then(Value::as_str).unwrap_or_default());
            let mut def = AppDef::build(&id, &doc, None, &rules).map_err(Rejection::Invalid)?;
            let mut next = *self.config.service_ports.start();
            let free = || {
                next = next.checked_add(1)?;
                Some(next)
            };
            def.assign_ports(None, rules.personality, free)
                .ok_or_else(|| Rejection::Internal("no service port".to_owned()))?;
            (def.version, def.last_scaling, def.last_config, def.generation) = (version, version, version, version);
            self.insert_running(Arc::new(def), bulk, now)?;
        }
        self.root.version = version;
        Ok(())
    }

    fn insert_running(&mut self, def: Arc<AppDef>, bulk: &Bulk, now: Stamp) -> Result<(), Rejection> {
        let newer = self.config.personality >= super::Personality::V1_8;
        let prefix = def.id.task_prefix();
        let mut instances = BTreeSet::new();
        for _ in 0..bulk.tasks {
            let Some((host, mut ports)) = self.allocate(&def) else {
                return Err(Rejection::Internal(format!("no agent has room for {}", def.id)));
            };
            let Some((mut address, agent_id)) = self.agents.get(&host).map(|a| (a.address, a.id.clone())) else {
                continue;
            };
            let mut reported = host.clone();
            if let BulkBacking::Shared(shared) = bulk.backing {
                if let Some(agent) = self.agents.get_mut(&host) {
                    agent.release(&ports);
                }
                ports.fill(shared.port());
                (address, reported) = (*shared.ip(), shared.ip().to_string());
            }
            let uuid = self.rng.instance_uuid();
            let (id, task_id) = if newer {
                (format!("{prefix}.instance-{uuid}"), format!("{prefix}.instance-{uuid}._app.1"))
            } else {
                (format!("{prefix}.marathon-{uuid}"), format!("{prefix}.{uuid}"))
            };
            let well =
                Findings { reported: true, first_success: Some(now), last_success: Some(now), ..Findings::default() };
            let instance = Instance {
                id: id.clone(),
                task_id,
                incarnation: 1,
                findings: vec![well; def.facts.checks.len()],
                def: def.clone(),
                host: reported,
                address,
                agent_id,
                ports,
                container_address: Some(std::net::Ipv4Addr::new(172, 17, 0, 2)),
                condition: Condition::Running,
                staged_at: now,
                started_at: Some(now),
                unreachable_since: None,
                backing: if bulk.backing == BulkBacking::Real { Backing::Real } else { Backing::Assumed },
            };
            if bulk.backing == BulkBacking::Real {
                self.out.push_back(Out::Start(Box::new(instance.clone())));
                self.instances.insert(id.clone(), instance);
                self.first_checks(&id, now);
            } else {
                self.instances.insert(id.clone(), instance);
            }
            instances.insert(id);
        }
        let runtime = Runtime { applied: Some(def.clone()), instances, ..Runtime::default() };
        self.runtimes.insert(def.id.clone(), runtime);
        self.root.ensure_parents(&def.id, def.version);
        self.root.apps.insert(def.id.clone(), def);
        Ok(())
    }
}
