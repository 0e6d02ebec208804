//! What systemd is told: that baton is ready, how it does, that it lives.
//!
//! [`run`] is a task of the supervisor: it answers the watchdog, so a runtime that hangs is ended and
//! started again, and keeps the line of `systemctl status`. Without a service manager nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Views};
use crate::status::Report;

/// Tells it once.
pub fn notify(states: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(states) {
        log::warn!("systemd cannot be told: {why}");
    }
}

/// Until `stop`. A failure of systemd's socket is said by the first call alone.
pub async fn run(views: Views, stop: CancellationToken) {
    let watchdog = sd_notify::watchdog_enabled();
    // Half of what systemd waits: one may be late.
    let every = watchdog.map_or(STATUS, |limit| STATUS.min(limit / 2));
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = String::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => (),
        }
        let mut states = Vec::new();
        if watchdog.is_some() {
            states.push(NotifyState::Watchdog);
        }
        let line = line(&admin::report(&views));
        if line != said {
            states.push(NotifyState::Status(&line));
        }
        if !states.is_empty() && sd_notify::notify(&states).is_err() {
            continue;
        }
        said = line;
    }
}

/// What is served, from where, and who has the floating addresses.
fn line(report: &Report) -> String {
    let (source, applied) = (&report.source, &report.applied);
    let mut parts = Vec::new();
    parts.push(match (&source.trouble, &source.restored_from, &source.origin) {
        (Some(trouble), _, _) => format!("{} apps as last known: {}", source.apps, trouble.text),
        (None, Some(_), _) => format!("{} apps as remembered", source.apps),
        (None, None, Some(origin)) => format!("{} apps from {origin}", source.apps),
        (None, None, None) => "waiting for the apps".to_owned(),
    });
    match (&report.haproxy.trouble, &applied.trouble) {
        (Some(trouble), _) => parts.push(format!("HAProxy: {}", trouble.text)),
        (None, Some(trouble)) => parts.push(trouble.text.clone()),
        (None, None) => parts.push(format!("{} servers", applied.servers)),
    }
    parts.extend(report.vrrp.routers.iter().map(|router| format!("{} {}", router.name, router.state)));
    parts.join("; ")
}

/// How often the line is looked at.
const STATUS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ha::report::RouterReport;
    use crate::status::TroubleReport;

    #[test]
    fn the_line_says_what_is_served_and_what_is_wrong() {
        let mut report = Report::default();
        assert_eq!(line(&report), "waiting for the apps; 0 servers");
        report.source.origin = Some("http://m1:8080".to_owned());
        report.source.apps = 12;
        report.applied.servers = 30;
        let router = RouterReport { name: "public".to_owned(), state: "backup".to_owned(), ..RouterReport::default() };
        report.vrrp.routers.push(router);
        assert_eq!(line(&report), "12 apps from http://m1:8080; 30 servers; public backup");
        report.source.trouble = Some(TroubleReport { since: 0.0, text: "connection refused".to_owned() });
        assert_eq!(line(&report), "12 apps as last known: connection refused; 30 servers; public backup");
    }
}
