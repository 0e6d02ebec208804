//! What each event means, from tables and from the recorded streams.

use super::*;

fn read(name: &str, data: &str) -> Meaning {
    meaning(&sse::Event { name: name.to_owned(), data: data.to_owned() })
}

#[test]
fn the_type_in_the_data_decides() {
    for (name, data, kind, hint) in [
        ("", r#"{"x":[{}],"eventType":"status_update_event"}"#, "status_update_event", true),
        ("status_update_event", r#"{"eventType":"pod_created_event"}"#, "pod_created_event", false),
        ("pod_created_event", "{cut", "pod_created_event", false),
        ("status_update_event", "{}", "status_update_event", true),
        ("", r#"{"eventType":5}"#, "other", true),
        ("", r#"{"eventType":"invented_event"}"#, "other", true),
        ("", r#"{"eventType":"status\u005fupdate_event"}"#, "status_update_event", true),
    ] {
        let have = read(name, data);
        assert_eq!((have.kind, have.hint.is_some()), (kind, hint), "{name} {data}");
    }
}

/// What `data` says about `/a`, in short: `now` or `later`, and the task's fate.
fn about_a(data: &str) -> String {
    match read("", data).hint {
        None => "nothing".to_owned(),
        Some(Hint::All(_)) => "all".to_owned(),
        Some(Hint::App(hint)) => {
            assert_eq!(hint.app.as_str(), "/a", "{data}");
            let when = if hint.now { "now" } else { "later" };
            hint.task.map_or_else(|| when.to_owned(), |(id, fate)| format!("{when}, {id} {fate:?}"))
        }
    }
}

#[test]
fn events_about_tasks_name_the_app_and_may_end_the_task() {
    for (status, want) in [
        (r#""TASK_STAGING""#, "later"),
        (r#""TASK_STARTING""#, "later"),
        (r#""TASK_RUNNING""#, "now"),
        (r#""TASK_KILLING""#, "later, t Going"),
        (r#""TASK_KILLED""#, "later, t Ended"),
        (r#""TASK_FINISHED""#, "later, t Ended"),
        (r#""TASK_FAILED""#, "later, t Ended"),
        (r#""TASK_ERROR""#, "later, t Ended"),
        (r#""TASK_DROPPED""#, "later, t Ended"),
        (r#""TASK_GONE""#, "later, t Ended"),
        (r#""TASK_GONE_BY_OPERATOR""#, "later, t Ended"),
        (r#""TASK_LOST""#, "now"),
        (r#""TASK_UNREACHABLE""#, "now"),
        (r#""TASK_UNKNOWN""#, "now"),
        (r#""TASK_INVENTED""#, "now"),
        ("null", "now"),
        ("7", "now"),
    ] {
        let data = format!(r#"{{"eventType":"status_update_event","appId":"/a","taskId":"t","taskStatus":{status}}}"#);
        assert_eq!(about_a(&data), want, "{status}");
    }
    let without = r#"{"eventType":"status_update_event","appId":"/a","taskStatus":"TASK_KILLED"}"#;
    assert_eq!(about_a(without), "now", "whichever task it was");
    let kill = r#"{"eventType":"unhealthy_instance_kill_event","appId":"/a","taskId":"t"}"#;
    assert_eq!(about_a(kill), "later, t Going");
}

#[test]
fn events_about_instances_and_apps_name_the_app() {
    for (condition, want) in
        [("Provisioned", "later"), ("Running", "later"), ("Killed", "later"), ("Unreachable", "now"), ("New", "now")]
    {
        let data = format!(r#"{{"eventType":"instance_changed_event","runSpecId":"/a","condition":"{condition}"}}"#);
        assert_eq!(about_a(&data), want, "{condition}");
    }
    for data in [
        r#"{"eventType":"api_post_event","appDefinition":{"id":"/a"}}"#,
        r#"{"eventType":"app_terminated_event","appId":"a"}"#,
        r#"{"eventType":"health_status_changed_event","appId":"/a","alive":true}"#,
        r#"{"eventType":"instance_health_changed_event","runSpecId":"/a"}"#,
    ] {
        assert_eq!(about_a(data), "now", "{data}");
    }
}

#[test]
fn what_names_no_app_means_all() {
    for data in [
        r#"{"eventType":"group_change_success","groupId":"/a"}"#,
        r#"{"eventType":"deployment_success","id":"x","appId":"/a"}"#,
        r#"{"eventType":"api_post_event"}"#,
        r#"{"eventType":"status_update_event","appId":"/a b"}"#,
        r#"{"eventType":"status_update_event","appId":7}"#,
        r#"{"eventType":"invented_event","appId":"/a"}"#,
    ] {
        assert_eq!(about_a(data), "all", "{data}");
    }
}

#[test]
fn the_filter_names_every_event_that_changes_something() {
    let query = query();
    assert!(query.starts_with("plan-format=light&event_type=api_post_event&"));
    assert_eq!(query.matches("event_type=").count(), CHANGES.len());
}

#[test]
fn every_recorded_event_is_known_and_means_one_app_unless_it_is_a_groups() {
    for name in ["18-events-1.4.sse", "19-events-1.8.sse"] {
        let path = format!("{}/tests/fixtures/marathon/{name}", env!("CARGO_MANIFEST_DIR"));
        let events = sse::Decoder::new(sse::CAP).feed(&std::fs::read(path).unwrap()).unwrap();
        for event in events {
            let have = meaning(&event);
            assert_eq!(have.kind, event.name);
            let groups = event.name.starts_with("deployment_") || event.name.starts_with("group_");
            if let Some(hint) = have.hint {
                assert_eq!(matches!(hint, Hint::All(_)), groups, "{event:?}");
            }
        }
    }
}
