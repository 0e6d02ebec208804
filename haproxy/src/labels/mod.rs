//! What app owners ask for: `HAPROXY_*` labels to typed options.
//!
//! [`parse`] is called by `compile` for every app. It is total and pure. One bad label costs that
//! label only and becomes an [`Issue`]; the labels whose loss would open something up fail closed
//! instead: their port is `refused`. What each label accepts stands in [`table`]; here is only how
//! labels meet ports, and the few rules that span two labels.

pub mod bind;
pub mod docs;
pub mod options;
pub mod table;
pub mod templates;

mod balance;
mod key;
mod report;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::app::AppId;
use crate::issue::Issue;
use key::Key;
use options::{AppOptions, Paths, PortOptions};
use report::Report;
use table::{Empty, Label, Setter};

/// Reads all labels of the app `id`, which has `ports` ports. The result has exactly that many
/// entries in its `ports`.
pub fn parse(id: &AppId, labels: &BTreeMap<String, String>, ports: usize) -> (AppOptions, Vec<Issue>) {
    let mut report = Report::new(id);
    let mut app_wide = Vec::new();
    let mut by_port: BTreeMap<usize, Vec<Given<'_>>> = BTreeMap::new();
    for (key, value) in labels {
        let Some(parsed) = Key::parse(key) else { continue };
        match parsed.resolve(ports) {
            Ok((label, None)) => app_wide.push(Given { key, label, value }),
            Ok((label, Some(port))) => by_port.entry(port).or_default().push(Given { key, label, value }),
            Err(unusable) => report.minor(key, unusable),
        }
    }

    let mut options = AppOptions { ports: vec![PortOptions::default(); ports], ..AppOptions::default() };
    for given in &app_wide {
        if let Setter::App(set) = given.label.set {
            let good = given.apply(&mut report, |text| set(&mut options, text));
            if !good && given.label.fails_closed() {
                options.ports.iter_mut().for_each(|port| given.refuse(port));
            }
        }
    }
    for (index, given) in &by_port {
        if let Some(port) = options.ports.get_mut(*index) {
            read_port(port, given, &mut report);
        }
    }
    (options, report.finish())
}

/// Applies the labels of one port, in the order of their names.
fn read_port(port: &mut PortOptions, labels: &[Given<'_>], report: &mut Report<'_>) {
    let find = |name: &str| labels.iter().find(|given| given.label.name == name);
    if find(table::GROUP).is_some() {
        // It alone decides, whatever HAPROXY_GROUP says.
        port.groups.clear();
        port.refused = None;
    }
    for given in labels {
        if let Setter::Port(set) = given.label.set {
            let good = given.apply(report, |text| set(port, text));
            if !good && given.label.fails_closed() {
                given.refuse(port);
            }
        }
    }
    if let Some(path) = find(table::PATH).filter(|given| !given.is_blank()) {
        confine(port, path, find(table::VHOST).is_some_and(|given| !given.is_blank()), report);
    }
    if let Some(bind) = find(table::BIND_OPTIONS)
        && bind::lacks_certificate(&port.bind_options)
        && find(table::SSL_CERT).is_none_or(Given::is_blank)
    {
        report.grave(
            bind.key,
            "ssl needs a certificate: add crt FILE or the label SSL_CERT; out of service until mended",
        );
        port.bind_options.clear();
        bind.refuse(port);
    }
}

/// The rules between PATH and VHOST: neither may widen what the other asks for.
fn confine(port: &mut PortOptions, path: &Given<'_>, vhost_given: bool, report: &mut Report<'_>) {
    if port.paths.prefixes.is_empty() {
        port.paths = Paths::default();
        if !port.hosts.is_empty() {
            // No prefix would mean every path.
            port.hosts.clear();
            report.minor(
                path.key,
                "no prefix is left, so the virtual hosts of this port are not routed until it is mended",
            );
        }
    } else if port.hosts.is_empty() {
        port.paths = Paths::default();
        if !vhost_given {
            report.minor(path.key, "needs VHOST on the same port; ignored");
        }
    }
}

/// A label of the table as the app gives it.
#[derive(Debug, Clone, Copy)]
struct Given<'a> {
    key: &'a str,
    label: &'static Label,
    value: &'a str,
}

impl Given<'_> {
    /// Sets the value and reports what is wrong with it. True: nothing was.
    fn apply(&self, report: &mut Report<'_>, set: impl FnOnce(&str) -> Vec<String>) -> bool {
        let problems = match (self.is_blank(), self.label.empty) {
            (true, Empty::Absent) => return true,
            (true, Empty::Bad) => vec!["the value is empty".to_owned()],
            _ => set(value::trim(self.value)),
        };
        for problem in &problems {
            let text = format_args!("{problem}; accepted: {}; {}", self.label.accepts, self.label.cost());
            if self.label.fails_closed() {
                report.grave(self.key, text);
            } else {
                report.minor(self.key, text);
            }
        }
        problems.is_empty()
    }

    /// Takes the port out of service on this label's account.
    fn refuse(&self, port: &mut PortOptions) {
        port.refused.get_or_insert_with(|| self.key.to_owned());
    }

    fn is_blank(&self) -> bool {
        value::trim(self.value).is_empty()
    }
}
