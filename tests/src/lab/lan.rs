//! The lab's LAN: hosts on the ports of a bridge, in namespaces without names.
//!
//! Used by the VRRP tests, the benchmark and the demo. The switch is a host of its own with the bridge; what happens to
//! cables (unplugged, one way dead) happens at its ports, so a host notices what a real one would. Needs root.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::capture::Capture;
use super::host::Host;
use super::leftover;

/// A LAN; dropping it takes the cables away, the hosts stay.
#[derive(Debug)]
pub struct Lan {
    switch: Host,
}

impl Lan {
    /// An empty LAN. What killed runs left behind is cleared away first.
    ///
    /// # Errors
    /// When not root, or iproute2 or nftables is missing.
    pub fn new() -> anyhow::Result<Self> {
        leftover::sweep();
        let switch = Host::new("switch")?;
        let bridge = ["link", "add", BRIDGE, "type", "bridge", "stp_state", "0", "mcast_snooping", "0"];
        switch.command("ip", &bridge)?;
        switch.command("ip", &["link", "set", BRIDGE, "up"])?;
        let rules = format!("table bridge lab {{ chain {CHAIN} {{ type filter hook forward priority 0; }}; }}");
        switch.command("nft", &[&rules]).context("filter on a bridge (Debian package nftables)")?;
        Ok(Self { switch })
    }

    /// Adds a host, with `eth0` on a port of its own and these addresses (`10.77.0.11/24`, `fd77::11/64`).
    ///
    /// Its MAC address is made of the first of them, see [`mac`].
    ///
    /// # Errors
    /// When a name is taken or too long, or an address is none.
    pub fn host(&self, name: &str, addresses: &[&str]) -> anyhow::Result<Arc<Host>> {
        let host = Host::new(name)?;
        let first: IpAddr = addresses
            .first()
            .and_then(|address| address.split('/').next()?.parse().ok())
            .with_context(|| format!("{name} needs an address, not {addresses:?}"))?;
        let (port, namespace, mac) = (port(name), host.namespace(), mac(first));
        let mut cable = vec!["link", "add", &port, "type", "veth", "peer", "name", INTERFACE];
        cable.extend(["address", &mac, "netns", &namespace]);
        self.switch.command("ip", &cable)?;
        self.switch.command("ip", &["link", "set", &port, "master", BRIDGE, "up"])?;
        host.command("ip", &["link", "set", INTERFACE, "up"])?;
        for address in addresses {
            host.command("ip", &["addr", "add", address, "dev", INTERFACE])?;
        }
        Ok(Arc::new(host))
    }

    /// Pulls the host's cable: it sees its link go.
    ///
    /// # Errors
    /// When the host is not of this LAN.
    pub fn unplug(&self, host: &Host) -> anyhow::Result<()> {
        self.switch.command("ip", &["link", "set", &port(host.name()), "down"]).map(drop)
    }

    /// Puts the cable back.
    ///
    /// # Errors
    /// As `unplug`.
    pub fn plug(&self, host: &Host) -> anyhow::Result<()> {
        self.switch.command("ip", &["link", "set", &port(host.name()), "up"]).map(drop)
    }

    /// The host dies: its cable is dead and every process on it killed, at once.
    ///
    /// `known` are its processes, looked up before the moment that matters: that takes milliseconds.
    ///
    /// # Errors
    /// When a process does not end.
    pub fn kill(&self, host: &Host, known: &[Pid]) -> anyhow::Result<()> {
        for pid in known {
            // None is to notice the cable and say or do something about it.
            let _ = kill(*pid, Signal::SIGSTOP);
        }
        self.unplug(host)?;
        host.kill_all()
    }

    /// From now on nothing from `from` reaches `to`; the other way it does, and nobody's link goes.
    ///
    /// # Errors
    /// When nftables refuses.
    pub fn block(&self, from: &Host, to: &Host) -> anyhow::Result<()> {
        self.rule(&["iifname", &port(from.name()), "oifname", &port(to.name())])
    }

    /// From now on nothing from the host reaches anybody.
    ///
    /// # Errors
    /// When nftables refuses.
    pub fn mute(&self, host: &Host) -> anyhow::Result<()> {
        self.rule(&["iifname", &port(host.name())])
    }

    /// From now on nothing reaches the host.
    ///
    /// # Errors
    /// When nftables refuses.
    pub fn deafen(&self, host: &Host) -> anyhow::Result<()> {
        self.rule(&["oifname", &port(host.name())])
    }

    /// Ends what `block`, `mute` and `deafen` began.
    ///
    /// # Errors
    /// When nftables refuses.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.switch.command("nft", &["flush", "chain", "bridge", "lab", CHAIN]).map(drop)
    }

    fn rule(&self, which: &[&str]) -> anyhow::Result<()> {
        let rule = [&["add", "rule", "bridge", "lab", CHAIN], which, &["drop"]].concat();
        self.switch.command("nft", &rule).map(drop)
    }

    /// Behind which host's port the switch believes each MAC address.
    ///
    /// # Errors
    /// When `bridge` does not tell.
    pub fn mac_table(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let rows: Value = serde_json::from_str(&self.switch.command("bridge", &["-j", "fdb", "show", "br", BRIDGE])?)?;
        let learned = |row: &Value| {
            let host = row["ifname"].as_str()?.strip_prefix(PORT)?.to_owned();
            // The ports' own addresses never age.
            (row["state"] != "permanent").then_some((row["mac"].as_str()?.to_owned(), host))
        };
        Ok(rows.as_array().context("no MAC table")?.iter().filter_map(learned).collect())
    }

    /// Begins to record what passes the host's port, both ways, as `filter` (tcpdump's language) wants it.
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn capture(&self, host: &Host, filter: &str) -> anyhow::Result<Capture> {
        Capture::start(&self.switch, &port(host.name()), filter)
    }

    /// The switch itself, for a test that looks closer.
    pub fn switch(&self) -> &Host {
        &self.switch
    }
}

/// The MAC address of the host with this first address: `02:77:` and its last four bytes.
pub fn mac(address: IpAddr) -> String {
    let last = match address {
        IpAddr::V4(four) => four.octets(),
        IpAddr::V6(six) => six.octets().last_chunk().copied().unwrap_or_default(),
    };
    let bytes = [&[0x02, 0x77][..], &last].concat();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// Waits until `done`; false after `patience`.
pub fn until(patience: std::time::Duration, mut done: impl FnMut() -> bool) -> bool {
    let step = std::time::Duration::from_millis(5);
    let steps = patience.as_millis() / step.as_millis();
    for _ in 0..steps {
        if done() {
            return true;
        }
        std::thread::sleep(step);
    }
    done()
}

/// As `until`, with an error that says what did not come.
///
/// # Errors
/// When it did not come.
pub fn wait_for(what: &str, patience: std::time::Duration, done: impl FnMut() -> bool) -> anyhow::Result<()> {
    if !until(patience, done) {
        bail!("not within {} ms: {what}", patience.as_millis());
    }
    Ok(())
}

/// The switch's end of a host's cable.
fn port(name: &str) -> String {
    format!("{PORT}{name}")
}

/// Each host's interface on the LAN.
pub const INTERFACE: &str = "eth0";

const BRIDGE: &str = "br0";
const PORT: &str = "p-";
const CHAIN: &str = "cables";
