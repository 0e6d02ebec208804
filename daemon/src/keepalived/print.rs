//! Routers and notes as Baton's TOML.
//!
//! The end of a translation. Every value passes through `value::string`, every comment through
//! `notes::plain`, so that nothing in keepalived's file can become a key.

use std::fmt::Display;

use super::command::shell;
use super::instance::{Draft, Notify};
use super::notes::{Kind, Note, plain};
use super::script::Script;
use super::value::{list, string, time};

/// A router as it is written.
#[derive(Debug)]
pub(super) struct Router {
    /// Where it comes from.
    title: String,
    lines: Vec<String>,
    /// Why it is commented out, if it is.
    pub(super) off: Option<String>,
}

impl Router {
    /// The lines of `draft`.
    pub(super) fn new(draft: &Draft, scripts: &[Script]) -> Self {
        let mut router = Self {
            title: plain(&format!("vrrp_instance {}, {}", draft.name, draft.place)),
            lines: Vec::new(),
            off: None,
        };
        router.line("[[vrrp]]");
        if !draft.name.is_empty() {
            router.key("name", string(&draft.name), None);
        }
        if let Some(interface) = &draft.interface {
            router.key("interface", string(interface), None);
        }
        if let Some(id) = draft.vrid {
            router.key("virtual_router_id", id, None);
        }
        match &draft.priority {
            Some((priority, _)) => router.key("priority", priority, None),
            None => router.key("priority", 100, Some(DEFAULT)),
        }
        router.key("version", draft.version, draft.version_because);
        match draft.interval {
            Some(centiseconds) => router.key("advertisement_interval", string(&time(centiseconds * 10)), None),
            None => router.key("advertisement_interval", string("1s"), Some(DEFAULT)),
        }
        router.strings("addresses", draft.addresses.iter().map(|(net, _)| net));
        if !draft.excluded.is_empty() {
            router.strings("excluded_addresses", draft.excluded.iter().map(|(net, _)| net));
        }
        if !draft.peers.is_empty() {
            router.strings("peers", draft.peers.iter().map(|(peer, _)| peer));
        }
        if let Some((source, _)) = draft.source {
            router.key("source_address", string(&source.to_string()), None);
        }
        router.key("preempt", draft.preempt, (!draft.preempt_said).then_some(DEFAULT));
        if let Some(millis) = draft.preempt_delay {
            router.key("preempt_delay", string(&time(millis)), None);
        }
        if let Some(group) = &draft.group {
            router.key("group", string(group), None);
        }
        if draft.virtual_mac {
            router.key("virtual_mac", true, None);
        }
        let four = draft.addresses.first().is_some_and(|(net, _)| net.addr().is_ipv4());
        if draft.message_checksum && draft.version == 3 && four {
            router.key("checksum", string("message"), None);
        }
        if let Some(password) = &draft.auth_pass {
            router.key("auth_pass", string(password), None);
        }
        if let Some(command) = notify(draft) {
            router.key("notify", list(&command), None);
        }
        router.tracks(draft, scripts);
        router
    }

    fn tracks(&mut self, draft: &Draft, scripts: &[Script]) {
        for track in &draft.interfaces {
            self.line("");
            self.line("[[vrrp.track_interface]]");
            self.key("name", string(&track.name), None);
            if let Some(weight) = track.weight.filter(|weight| *weight != 0) {
                self.key("weight", weight, None);
            }
        }
        for track in &draft.scripts {
            let Some(script) = scripts.iter().find(|script| script.name == track.name) else { continue };
            self.line("");
            if script.haproxy {
                self.line(format!("# {}: Baton's own health of HAProxy takes its place", plain(&script.name)));
                continue;
            }
            if script.command.iter().any(|word| word.contains("haproxy")) {
                self.line("# If it only looks whether HAProxy runs, leave it out: Baton sees that by itself.");
            }
            self.line("[[vrrp.track_script]]");
            self.key("name", string(&script.name), None);
            self.key("command", list(&script.command), None);
            self.key("interval", string(&time(script.interval)), None);
            if let Some(timeout) = script.timeout {
                self.key("timeout", string(&time(timeout)), None);
            }
            if script.rise != 1 {
                self.key("rise", script.rise, None);
            }
            if script.fall != 1 {
                self.key("fall", script.fall, None);
            }
            let weight = track.weight.unwrap_or(script.weight);
            if weight != 0 {
                self.key("weight", weight, None);
            }
        }
    }

    /// The router as TOML, whether or not it is commented out.
    pub(super) fn text(&self) -> String {
        self.lines.join("\n") + "\n"
    }

    fn line(&mut self, text: impl Into<String>) {
        self.lines.push(text.into());
    }

    fn key(&mut self, key: &str, value: impl Display, comment: Option<&str>) {
        let comment = comment.map(|text| format!("  # {text}")).unwrap_or_default();
        self.line(format!("{key} = {value}{comment}"));
    }

    fn strings(&mut self, key: &str, values: impl Iterator<Item = impl Display>) {
        let values: Vec<_> = values.map(|value| value.to_string()).collect();
        self.key(key, list(&values), None);
    }
}

/// The whole answer.
pub(super) fn print(file: &str, routers: &[Router], notes: &[Note]) -> String {
    let mut made = format!(
        "# From {} by `baton import keepalived`: a file for /etc/baton/conf.d, beside a baton.toml\n\
         # with [marathon]. Read the notes at the end.\n",
        plain(file)
    );
    if routers.is_empty() {
        made.push_str("\n# There is no vrrp_instance in it.\n");
    }
    for router in routers {
        made.push_str(&format!("\n# {}\n", router.title));
        match &router.off {
            None => made.push_str(&router.text()),
            Some(why) => {
                made.push_str(&format!("# Commented out: {}\n", plain(why)));
                for line in &router.lines {
                    made.push_str(format!("# {line}").trim_end());
                    made.push('\n');
                }
            }
        }
    }
    for (kind, title) in [
        (Kind::Lost, "Not translated: see whether you need it."),
        (Kind::Changed, "Changed: see whether it is right for you."),
        (Kind::Needless, "Not needed."),
    ] {
        let of: Vec<_> = notes.iter().filter(|note| note.kind == kind).collect();
        if !of.is_empty() {
            made.push_str(&format!("\n# {title}\n"));
        }
        for note in of {
            made.push_str(&format!("#   {}\n", plain(&note.to_string())));
        }
    }
    made
}

/// One command for all that keepalived would tell of a change.
fn notify(draft: &Draft) -> Option<Vec<String>> {
    let plain = draft.notify.states.is_empty() && draft.group_notify.is_none();
    if plain {
        return draft.notify.all.clone();
    }
    // Baton calls it with INSTANCE, name, state and priority as $1 to $4.
    let mut lines = told(&draft.notify, "\"$1\" \"$2\"");
    if let Some((name, notify)) = &draft.group_notify {
        lines.extend(told(notify, &format!("GROUP {}", shell(std::slice::from_ref(name)))));
    }
    (!lines.is_empty()).then(|| ["/bin/sh", "-c", &lines.join("; "), "notify"].map(str::to_owned).to_vec())
}

/// keepalived tells the program of a state first, then the one of all.
fn told(notify: &Notify, whom: &str) -> Vec<String> {
    let cases: Vec<_> =
        notify.states.iter().map(|(state, command)| format!("{state}) {} ;;", shell(command))).collect();
    let mut lines = Vec::new();
    if !cases.is_empty() {
        lines.push(format!("case $3 in {} esac", cases.join(" ")));
    }
    lines.extend(notify.all.as_ref().map(|command| format!("{} {whom} \"$3\" \"$4\"", shell(command))));
    lines
}

const DEFAULT: &str = "keepalived's default";
