//! What Wireshark says about a capture: VRRP advertisements and announcements as typed rows.
//!
//! Runs tshark on a file of [`capture`](super::capture); an independent reading of what is on the wire. Judges nothing
//! but whether the dissector found a packet malformed or its checksum bad.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};

/// Which checksum a v3 advertisement over IPv4 is expected to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// Over pseudo-header and message, as RFC 5798 is read by most.
    PseudoHeader,
    /// Over the message only: RFC 9568, section 5.2.8.
    MessageOnly,
}

/// A VRRP advertisement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// When it passed, since the Unix epoch.
    pub at: Duration,
    /// The sender's MAC address.
    pub mac: String,
    /// The sender.
    pub from: IpAddr,
    /// The group or the peer.
    pub to: IpAddr,
    /// The TTL or hop limit.
    pub ttl: u8,
    /// VRRP's version.
    pub version: u8,
    /// The virtual router's id.
    pub vrid: u8,
    /// The sender's priority; 0 resigns.
    pub priority: u8,
    /// The interval it tells.
    pub interval: Duration,
    /// The addresses it tells.
    pub addresses: Vec<IpAddr>,
    /// Whether the checksum is right.
    pub checksum_good: bool,
    /// Of v2: the authentication type.
    pub auth_type: Option<u8>,
}

/// A gratuitous ARP or an unsolicited neighbour advertisement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// When it passed, since the Unix epoch.
    pub at: Duration,
    /// Whose link-layer address is announced.
    pub address: IpAddr,
    /// That link-layer address.
    pub mac: String,
    /// Of ARP: whether it has the form of a request.
    pub request: bool,
}

/// A capture, dissected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dissected {
    /// The advertisements in their order.
    pub adverts: Vec<Advert>,
    /// The announcements in their order.
    pub announcements: Vec<Announcement>,
    /// The numbers of malformed packets, counted from 1.
    pub malformed: Vec<u32>,
    /// How many packets there are in all.
    pub packets: usize,
}

impl Dissected {
    /// What is wrong with the packets themselves: malformed, checksum bad, TTL not 255.
    pub fn faults(&self) -> Vec<String> {
        let malformed = self.malformed.iter().map(|number| format!("packet {number} is malformed"));
        let checksum = self.adverts.iter().filter(|advert| !advert.checksum_good);
        let checksum = checksum.map(|advert| format!("the checksum is bad: {advert:?}"));
        let ttl = self.adverts.iter().filter(|advert| advert.ttl != 255).map(|advert| format!("not 255: {advert:?}"));
        malformed.chain(checksum).chain(ttl).collect()
    }

    /// The advertisements of one sender.
    pub fn adverts_from(&self, sender: IpAddr) -> impl Iterator<Item = &Advert> {
        self.adverts.iter().filter(move |advert| advert.from == sender)
    }
}

/// Dissects a capture file.
///
/// # Errors
/// When tshark cannot be run or the file is none.
pub fn dissect(file: &Path, checksum: Checksum) -> anyhow::Result<Dissected> {
    let like_v2 = format!("vrrp.v3_checksum_as_in_v2:{}", checksum == Checksum::MessageOnly);
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-n", "-o", &like_v2, "-T", "fields", "-E", "separator=|", "-E", "aggregator=,"]);
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let output = command.output().context("run tshark (Debian package tshark)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tshark on {}: {}", file.display(), said.trim());
    let text = String::from_utf8(output.stdout)?;
    let mut dissected = Dissected::default();
    for line in text.lines() {
        let row = Row(line.split('|').collect());
        row.sort_into(&mut dissected).with_context(|| format!("tshark says {line:?} of {}", file.display()))?;
    }
    Ok(dissected)
}

/// The fields of a packet, in the order of [`FIELDS`].
struct Row<'a>(Vec<&'a str>);

impl Row<'_> {
    fn sort_into(&self, dissected: &mut Dissected) -> anyhow::Result<()> {
        dissected.packets += 1;
        let at = Duration::from_secs_f64(self.text("frame.time_epoch").parse()?);
        if !self.text("_ws.malformed").is_empty() {
            dissected.malformed.push(self.text("frame.number").parse()?);
        }
        // An ICMP error quotes the packet that it complains about; such a row has the addresses of both.
        let quoted = self.either("ip.src", "ipv6.src").contains(',');
        if !self.text("vrrp.version").is_empty() && !quoted {
            dissected.adverts.push(self.advert(at)?);
        } else if self.truth("arp.isgratuitous") {
            dissected.announcements.push(Announcement {
                at,
                address: self.text("arp.src.proto_ipv4").parse()?,
                mac: self.text("arp.src.hw_mac").to_owned(),
                request: self.text("arp.opcode") == "1",
            });
        } else if self.text("icmpv6.type") == "136" && !self.truth("icmpv6.nd.na.flag.s") {
            let target = self.text("icmpv6.nd.na.target_address").parse()?;
            let mac = self.text("icmpv6.opt.linkaddr").to_owned();
            dissected.announcements.push(Announcement { at, address: target, mac, request: false });
        }
        Ok(())
    }

    fn advert(&self, at: Duration) -> anyhow::Result<Advert> {
        let version: u8 = self.text("vrrp.version").parse()?;
        let interval = match version {
            2 => Duration::from_secs(self.text("vrrp.adver_int").parse()?),
            _ => Duration::from_millis(self.text("vrrp.short_adver_int").parse::<u64>()? * 10),
        };
        let addresses = self.either("vrrp.ip_addr", "vrrp.ipv6_addr").split(',').filter(|text| !text.is_empty());
        Ok(Advert {
            at,
            mac: self.text("eth.src").to_owned(),
            from: self.either("ip.src", "ipv6.src").parse()?,
            to: self.either("ip.dst", "ipv6.dst").parse()?,
            ttl: self.either("ip.ttl", "ipv6.hlim").parse()?,
            version,
            vrid: self.text("vrrp.virt_rtr_id").parse()?,
            priority: self.text("vrrp.prio").parse()?,
            interval,
            addresses: addresses.map(str::parse).collect::<Result<_, _>>()?,
            checksum_good: ["1", "Good"].contains(&self.text("vrrp.checksum.status")),
            auth_type: self.text("vrrp.auth_type").parse().ok(),
        })
    }

    fn text(&self, field: &str) -> &str {
        let place = FIELDS.iter().position(|name| *name == field);
        place.and_then(|place| self.0.get(place)).copied().unwrap_or_default()
    }

    fn either(&self, one: &str, other: &str) -> &str {
        let text = self.text(one);
        if text.is_empty() { self.text(other) } else { text }
    }

    fn truth(&self, field: &str) -> bool {
        ["1", "True"].contains(&self.text(field))
    }
}

/// What tshark is asked for.
const FIELDS: [&str; 29] = [
    "frame.number",
    "frame.time_epoch",
    "eth.src",
    "ip.src",
    "ipv6.src",
    "ip.dst",
    "ipv6.dst",
    "ip.ttl",
    "ipv6.hlim",
    "vrrp.version",
    "vrrp.virt_rtr_id",
    "vrrp.prio",
    "vrrp.adver_int",
    "vrrp.short_adver_int",
    "vrrp.checksum.status",
    "vrrp.ip_addr",
    "vrrp.ipv6_addr",
    "vrrp.auth_type",
    "arp.opcode",
    "arp.isgratuitous",
    "arp.src.hw_mac",
    "arp.src.proto_ipv4",
    "icmpv6.type",
    "icmpv6.nd.na.target_address",
    "icmpv6.nd.na.flag.s",
    "icmpv6.nd.na.flag.o",
    "icmpv6.opt.linkaddr",
    "ip.dsfield",
    "_ws.malformed",
];
