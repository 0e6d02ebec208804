//! What an event means: which app to fetch again, how soon, and whether a task drains or is gone.
//!
//! Called by `stream` for each event; pure. An event alone never adds a server: what it says can
//! only drain or remove a task at once, everything else is asked of Marathon.

use std::borrow::Cow;

use haproxy::app::AppId;
use serde::Deserialize;
use serde_json::Value;

use super::sse;

/// What an event means to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// Its type, as counted.
    pub kind: &'static str,
    /// What it hints at; none when nothing that we serve can have changed.
    pub hint: Option<Hint>,
}

/// What may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Anything: all apps are fetched. Says which event it was.
    All(&'static str),
    /// One app.
    App(AppHint),
}

/// An app that may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppHint {
    /// Which.
    pub app: AppId,
    /// Which event said so.
    pub kind: &'static str,
    /// Fetch it at once; else the trailing fetch is soon enough, because nothing can come into
    /// service by this event.
    pub now: bool,
    /// What it says about a task.
    pub task: Option<(String, Fate)>,
}

/// What an event says about a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is being killed: no new connections.
    Going,
    /// It has ended and never comes back under this id.
    Ended,
}

/// Judges an event by the `eventType` of its data, else by its name. What we cannot read or do not
/// know is taken for a change of anything.
pub fn meaning(event: &sse::Event) -> Meaning {
    let body: Option<Body<'_>> = serde_json::from_str(&event.data).ok();
    let kind = body.as_ref().map_or(event.name.as_str(), |body| &body.event_type);
    let find = |list: &'static [&'static str]| list.iter().copied().find(|known| *known == kind);
    if let Some(kind) = find(CHANGES) {
        let hint = body.as_ref().and_then(|body| body.hint(kind)).map_or(Hint::All(kind), Hint::App);
        return Meaning { kind, hint: Some(hint) };
    }
    match find(NO_CHANGE) {
        Some(kind) => Meaning { kind, hint: None },
        None => Meaning { kind: "other", hint: Some(Hint::All("other")) },
    }
}

/// The query of `/v2/events`.
pub fn query() -> String {
    let mut query = "plan-format=light".to_owned();
    for kind in CHANGES {
        query.push_str("&event_type=");
        query.push_str(kind);
    }
    query
}

/// The members that are read. Any JSON is taken, so that a wrong type costs that member only.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    app_id: Option<Value>,
    run_spec_id: Option<Value>,
    app_definition: Option<Value>,
    task_id: Option<Value>,
    task_status: Option<Value>,
    condition: Option<Value>,
}

impl Body<'_> {
    /// What the event says about one app; none when it names none.
    fn hint(&self, kind: &'static str) -> Option<AppHint> {
        let named = match kind {
            "api_post_event" => self.app_definition.as_ref().and_then(|app| app.get("id")),
            "instance_changed_event" | "instance_health_changed_event" => self.run_spec_id.as_ref(),
            "app_terminated_event"
            | "health_status_changed_event"
            | "status_update_event"
            | "unhealthy_instance_kill_event"
            | "unhealthy_task_kill_event" => self.app_id.as_ref(),
            _ => None,
        };
        let app = AppId::parse(named?.as_str()?).ok()?;
        let (now, fate) = match kind {
            "status_update_event" => status(text(&self.task_status)),
            "instance_changed_event" => (condition(text(&self.condition)), None),
            "unhealthy_instance_kill_event" | "unhealthy_task_kill_event" => (false, Some(Fate::Going)),
            _ => (true, None),
        };
        // Without the task's id the fetch has to find out.
        let task = fate.and_then(|fate| Some((text(&self.task_id)?.to_owned(), fate)));
        let now = now || (fate.is_some() && task.is_none());
        Some(AppHint { app, kind, now, task })
    }
}

fn text(value: &Option<Value>) -> Option<&str> {
    value.as_ref()?.as_str().filter(|text| !text.is_empty())
}

/// Whether to fetch at once, and what becomes of the task. Lost, unreachable and unknown tasks may
/// be well: Marathon's list decides about them.
fn status(status: Option<&str>) -> (bool, Option<Fate>) {
    match status.map(|text| text.strip_prefix("TASK_").unwrap_or(text)) {
        Some("STAGING" | "STARTING") => (false, None),
        Some("KILLING") => (false, Some(Fate::Going)),
        Some("KILLED" | "FINISHED" | "FAILED" | "ERROR" | "DROPPED" | "GONE" | "GONE_BY_OPERATOR") => {
            (false, Some(Fate::Ended))
        }
        Some(_) | None => (true, None),
    }
}

/// Whether to fetch at once. A condition that Mesos reported has its `status_update_event` before
/// it, and an instance may be relaunched under its id, so nothing is concluded for its tasks.
fn condition(condition: Option<&str>) -> bool {
    !matches!(
        condition,
        Some(
            "Created"
                | "Scheduled"
                | "Provisioned"
                | "Staging"
                | "Starting"
                | "Running"
                | "Killing"
                | "Killed"
                | "Finished"
                | "Failed"
                | "Error"
                | "Gone"
                | "Dropped"
                | "Reserved"
        )
    )
}

/// Asked for, and each a reason to fetch.
const CHANGES: &[&str] = &[
    "api_post_event",
    "app_terminated_event",
    "deployment_failed",
    "deployment_info",
    "deployment_step_success",
    "deployment_success",
    "group_change_success",
    "health_status_changed_event",
    "instance_changed_event",
    "instance_health_changed_event",
    "status_update_event",
    "unhealthy_instance_kill_event",
    "unhealthy_task_kill_event",
];

/// Sent unasked by a Marathon before 1.3.7, which knows no filter.
const NO_CHANGE: &[&str] = &[
    "add_health_check_event",
    "deployment_step_failure",
    "event_stream_attached",
    "event_stream_detached",
    "failed_health_check_event",
    "framework_message_event",
    "group_change_failed",
    "pod_created_event",
    "pod_deleted_event",
    "pod_updated_event",
    "remove_health_check_event",
    "scheduler_disconnected_event",
    "scheduler_registered_event",
    "scheduler_reregistered_event",
    "subscribe_event",
    "unknown_instance_terminated_event",
    "unknown_task_terminated_event",
    "unsubscribe_event",
];

#[cfg(test)]
mod tests;
