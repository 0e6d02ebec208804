//! Which events there are and which of them mean that something may have changed. Pure.
//!
//! An event is only a hint to fetch again; its content is never believed.

use std::borrow::Cow;

use serde::Deserialize;

use super::sse;

/// What an event means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// Its type, as counted.
    pub kind: &'static str,
    /// Whether apps or tasks may have changed.
    pub fetch: bool,
}

/// Judges an event by the `eventType` of its data, else by its name. What we cannot read or do not
/// know is taken for a change.
pub fn meaning(event: &sse::Event) -> Meaning {
    let head: Option<Head<'_>> = serde_json::from_str(&event.data).ok();
    let kind = head.as_ref().map_or(event.name.as_str(), |head| &head.event_type);
    let find = |list: &'static [&'static str]| list.iter().copied().find(|known| *known == kind);
    if let Some(kind) = find(CHANGES) {
        return Meaning { kind, fetch: true };
    }
    match find(NO_CHANGE) {
        Some(kind) => Meaning { kind, fetch: false },
        None => Meaning { kind: "other", fetch: true },
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

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "eventType", borrow)]
    event_type: Cow<'a, str>,
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
mod tests {
    use super::*;

    fn check(name: &str, data: &str, kind: &str, fetch: bool) {
        let event = sse::Event { name: name.to_owned(), data: data.to_owned() };
        let have = meaning(&event);
        assert_eq!((have.kind, have.fetch), (kind, fetch), "{name} {data}");
    }

    #[test]
    fn the_type_in_the_data_decides() {
        check("", r#"{"x":[{}],"eventType":"status_update_event"}"#, "status_update_event", true);
        check("status_update_event", r#"{"eventType":"pod_created_event"}"#, "pod_created_event", false);
        check("pod_created_event", "{cut", "pod_created_event", false);
        check("status_update_event", "{}", "status_update_event", true);
        check("", r#"{"eventType":5}"#, "other", true);
        check("", r#"{"eventType":"invented_event"}"#, "other", true);
        check("", r#"{"eventType":"status\u005fupdate_event"}"#, "status_update_event", true);
    }

    #[test]
    fn the_filter_names_every_event_that_changes_something() {
        let query = query();
        assert!(query.starts_with("plan-format=light&event_type=api_post_event&"));
        assert_eq!(query.matches("event_type=").count(), CHANGES.len());
    }

    #[test]
    fn every_recorded_event_is_known() {
        for name in ["18-events-1.4.sse", "19-events-1.8.sse"] {
            let path = format!("{}/tests/fixtures/marathon/{name}", env!("CARGO_MANIFEST_DIR"));
            let events = sse::Decoder::new(sse::CAP).feed(&std::fs::read(path).unwrap()).unwrap();
            for event in events {
                assert_eq!(meaning(&event).kind, event.name);
            }
        }
    }
}
