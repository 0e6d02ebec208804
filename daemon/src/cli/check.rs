//! `baton check`: what is wrong with the configuration and this host, and how to mend it.
//!
//! Changes nothing and stops nothing: it can run beside a working daemon.

use std::fmt::Display;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use haproxy::app::Snapshot;
use haproxy::check::Verdict;
use haproxy::features::Features;
use haproxy::master::{Master, Processes};
use haproxy::preflight::{Running, preflight};
use haproxy::render::Renderer;
use ipnet::IpNet;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::SockaddrStorage;

use crate::certs::default_certificate;
use crate::config::origin::Origin;
use crate::config::settings::{
    Abilities, DEFAULT_CERT, MASTER_SOCKET, Purpose, hard_stop_covers_tunnels, needs_default_cert,
};
use crate::config::{Config, Dynamic, Manage, vrrp};
use crate::reconcile::build::Builder;

use super::binary;
use super::flags::Flags;
use super::load::Loader;

/// Arguments of `baton check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    flags: Flags,
}

/// Prints a line for each finding. Exit code 1 if something must be mended.
///
/// # Errors
/// When there is no usable configuration.
pub async fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let loader = Loader::new(args.flags);
    let loaded = loader.load()?;
    let mut findings = Findings::default();
    match loader.files()?.as_slice() {
        [] => findings.good("configuration: flags and environment only"),
        files => {
            let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            findings.good(format!("configuration: {}", names.join(", ")));
            files.iter().for_each(|file| readable(file, &mut findings));
        }
    }
    loaded.remarks.iter().for_each(|remark| findings.odd(remark));
    let config = Arc::new(loaded.config);
    vrrp::remarks(&config.vrrp).iter().for_each(|remark| findings.odd(remark));
    if !hard_stop_covers_tunnels(&config) {
        findings.odd(
            "haproxy.hard_stop_after is shorter than haproxy.timeouts.tunnel: a reload may cut off long connections",
        );
    }
    for cert in &config.haproxy.certs.0 {
        match std::fs::metadata(cert.0.as_str()) {
            Ok(_) => readable(Path::new(cert.0.as_str()), &mut findings),
            Err(why) => {
                findings.bad(format!("haproxy.certs: {}: {why}; name a PEM file or a directory of them", cert.0))
            }
        }
    }
    directories(&config, &mut findings);
    floating(&config, &mut findings);
    let features = haproxy(&config, &mut findings).await;
    let running = tokio::net::UnixStream::connect(&config.admin.socket).await.is_ok();
    let snapshot = apps(&config, &mut findings).await;
    if let Some((path, features)) = features {
        configuration(&config, &path, &features, &snapshot, running, &mut findings).await;
    }
    let mut out = std::io::stdout();
    let _ = out.write_all(findings.text.as_bytes());
    Ok(if findings.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Default)]
struct Findings {
    text: String,
    wrong: usize,
}

impl Findings {
    fn good(&mut self, what: impl Display) {
        self.text.push_str(&format!("ok    {what}\n"));
    }

    fn odd(&mut self, what: impl Display) {
        self.text.push_str(&format!("note  {what}\n"));
    }

    fn bad(&mut self, what: impl Display) {
        self.text.push_str(&format!("WRONG {what}\n"));
        self.wrong += 1;
    }
}

/// Root reads everything; the daemon and HAProxy what is for everybody or for the group that the package makes.
fn readable(file: &Path, findings: &mut Findings) {
    let (true, Ok(Some(group))) = (nix::unistd::geteuid().is_root(), nix::unistd::Group::from_name(GROUP)) else {
        return;
    };
    let Ok(meta) = std::fs::metadata(file) else { return };
    let needed = if meta.is_dir() { 0o5 } else { 0o4 };
    let (for_all, for_group) = (meta.mode() & needed, meta.mode() >> 3 & needed);
    if for_all != needed && (meta.gid() != group.gid.as_raw() || for_group != needed) {
        let file = file.display();
        findings.bad(format!("{file}: user {GROUP} cannot read it; chgrp {GROUP} {file} && chmod g+rX {file}"));
    }
}

/// The directories that `baton` writes to can be made and written to.
fn directories(config: &Config, findings: &mut Findings) {
    let socket_dir = config.admin.socket.parent().unwrap_or_else(|| Path::new("/"));
    for (key, dir) in [
        ("haproxy.state_dir", config.haproxy.state_dir.as_path()),
        ("haproxy.run_dir", config.haproxy.run_dir.as_path()),
        ("admin.socket", socket_dir),
    ] {
        let existing = dir.ancestors().find(|dir| dir.exists()).unwrap_or_else(|| Path::new("/"));
        match nix::unistd::access(existing, nix::unistd::AccessFlags::W_OK) {
            Ok(()) => findings.good(format!("{key}: {}", dir.display())),
            Err(why) => findings
                .bad(format!("{key}: {} cannot be written: {why}; make it, or run as its owner", existing.display())),
        }
    }
}

/// The interfaces of the virtual routers.
fn floating(config: &Config, findings: &mut Findings) {
    let interfaces: Vec<_> = getifaddrs().into_iter().flatten().collect();
    for router in &config.vrrp {
        let (name, interface) = (router.name(), &router.interface.0);
        let mine: Vec<_> = interfaces.iter().filter(|entry| entry.interface_name == *interface).collect();
        if mine.is_empty() {
            findings.odd(format!("[[vrrp]] {name:?}: there is no interface {interface}: its router waits for it"));
            continue;
        }
        let subnets: Vec<_> = mine.iter().filter_map(|entry| subnet(entry)).collect();
        let alien = vrrp::outside(router, &subnets);
        if alien.is_empty() {
            findings.good(format!("[[vrrp]] {name:?}: on {interface}"));
        }
        alien.iter().for_each(|remark| findings.odd(remark));
    }
}

/// The subnet of an address that is no single host's.
fn subnet(entry: &InterfaceAddress) -> Option<IpNet> {
    let ip = |storage: &SockaddrStorage| {
        let v4 = storage.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
    };
    let (address, mask) = (ip(entry.address.as_ref()?)?, ip(entry.netmask.as_ref()?)?);
    IpNet::with_netmask(address, mask).ok().filter(|net| net.prefix_len() < net.max_prefix_len())
}

/// The HAProxy at hand, and whether it will do.
async fn haproxy(config: &Config, findings: &mut Findings) -> Option<(std::path::PathBuf, Features)> {
    let Some(path) = binary(config) else {
        findings.bad("no HAProxy found: install baton-haproxy (or haproxy), or set haproxy.binary");
        return None;
    };
    match Features::probe(&path).await {
        Ok(features) => {
            findings.good(format!("HAProxy {} at {}", features.release, path.display()));
            if features.lua.is_none() {
                findings.odd("this HAProxy is built without Lua: scripts of your own cannot be loaded");
            }
            if !features.prometheus {
                findings.odd("this HAProxy is built without the Prometheus exporter: /metrics is left out");
            }
            Some((path, features))
        }
        Err(why) => {
            findings.bad(format!("{:#}", anyhow::Error::new(why)));
            None
        }
    }
}

/// The apps, if they can be had now.
async fn apps(config: &Config, findings: &mut Findings) -> Snapshot {
    let origin = match Origin::new(config) {
        Ok(origin) => origin,
        Err(why) => {
            findings.bad(why);
            return Snapshot::default();
        }
    };
    match tokio::time::timeout(FETCH, origin.once()).await {
        Ok(Ok(snapshot)) => {
            findings.good(format!("apps: {} read", snapshot.apps.len()));
            snapshot
        }
        Ok(Err(why)) => {
            findings.odd(format!("apps cannot be read now: {why:#}"));
            Snapshot::default()
        }
        Err(_) => {
            findings.odd(format!("apps cannot be read now: no answer within {} s", FETCH.as_secs()));
            Snapshot::default()
        }
    }
}

/// What would be run is accepted by HAProxy, and its listeners are free.
async fn configuration(
    config: &Arc<Config>,
    binary: &Path,
    features: &Features,
    snapshot: &Snapshot,
    running: bool,
    findings: &mut Findings,
) {
    if config.haproxy.dynamic != Dynamic::default() && !features.dynamic_backends() {
        findings.odd(format!("haproxy.dynamic needs HAProxy 3.4, this is {}", features.release));
    }
    let attempt = async {
        let scratch = tempfile::tempdir()?;
        let default_cert = match needs_default_cert(config) {
            true => Some(Arc::from(default_certificate(&scratch.path().join(DEFAULT_CERT))?.0)),
            false => None,
        };
        let builder = Builder {
            renderer: Arc::new(Renderer::new()?),
            config: config.clone(),
            purpose: Purpose::Standalone,
            abilities: Abilities::of(Some(features)),
            default_cert,
            certs: None,
        };
        let built = builder.build(snapshot)?;
        let verdict = haproxy::check::check(binary, &built.bundle, CHECK).await?;
        anyhow::Ok((built, verdict))
    };
    let (built, verdict) = match attempt.await {
        Ok(done) => done,
        Err(why) => return findings.bad(format!("{why:#}")),
    };
    match verdict {
        Verdict::Accepted { warnings } => {
            findings.good(format!("HAProxy accepts the configuration ({} backends)", built.state.backends.len()));
            warnings.iter().for_each(|said| findings.odd(said));
        }
        Verdict::Rejected(rejected) => {
            for said in &rejected.said {
                match &said.owner {
                    Some(owner) => findings.odd(format!("{} would be left out: {said}", owner.app)),
                    None => findings.bad(format!("HAProxy refuses the configuration: {said}")),
                }
            }
        }
    }
    built.issues.iter().for_each(|issue| findings.odd(issue));
    if running {
        return;
    }
    for unbindable in preflight(built.bundle.binds(), &others(config).await) {
        match &unbindable.bind.owner {
            Some(app) => findings.odd(format!("{app}: {unbindable}")),
            None if built.state.dynamic.has(unbindable.bind.port) => {
                findings.odd(format!("haproxy.dynamic.ports: {unbindable}"))
            }
            None => findings.bad(unbindable),
        }
    }
}

/// A HAProxy that runs without `baton`: what it holds is no obstacle.
async fn others(config: &Config) -> Running {
    if config.haproxy.manage != Manage::Systemd {
        return Running::default();
    }
    let processes = Master::new(config.haproxy.run_dir.join(MASTER_SOCKET), ANSWER).processes().await;
    Running { pids: processes.iter().flat_map(Processes::pids).collect(), ..Running::default() }
}

/// The packages' group, of the daemon and of HAProxy; its user has the same name.
const GROUP: &str = "baton";

/// How long the apps may take.
const FETCH: Duration = Duration::from_secs(10);

/// How long HAProxy's master may take.
const ANSWER: Duration = Duration::from_secs(2);

/// How long `haproxy -c` may take.
const CHECK: Duration = Duration::from_secs(60);
