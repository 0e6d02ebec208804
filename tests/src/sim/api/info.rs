//! `/ping`, `/v2/info`, `/v2/leader`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::config::Personality;
use super::super::http::{Request, Response};
use super::super::rejection::Rejection;
use super::super::shared::Shared;
use super::Answer;

/// `pong`: a leader is reachable through this member.
pub(super) fn ping(request: &Request) -> Response {
    match request.header("accept").unwrap_or("*/*") {
        accept if accept.contains("application/json") => Response::new(200, "application/json", "\"pong\""),
        accept if accept.contains("*/*") || accept.contains("text/") => Response::new(200, "text/plain", "pong"),
        _ => Response { status: 204, headers: Vec::new(), body: bytes::Bytes::new() },
    }
}

pub(super) fn info(shared: &Shared) -> Response {
    let leader = shared.cluster.leadership().leader.map(|member| shared.cluster.name(member));
    let (host, port) = leader.as_deref().and_then(|name| name.rsplit_once(':')).unwrap_or(("", "0"));
    let newer = shared.config.personality >= Personality::V1_8;
    let features: &[&str] = if shared.config.task_killing { &["task_killing"] } else { &[] };
    let mut doc = json!({
        "name": "marathon",
        "version": shared.config.personality.version(),
        "buildref": "unknown",
        "elected": true,
        "leader": leader,
        "frameworkId": "96d7da70-b731-4cfb-96a7-0ee877af615d-0000",
        "marathon_config": {
            "access_control_allow_origin": null, "checkpoint": true, "decline_offer_duration": 120_000,
            "default_network_name": shared.config.default_network, "env_vars_prefix": null, "executor": "//cmd",
            "failover_timeout": 604_800, "features": features, "framework_name": "marathon", "ha": true,
            "hostname": host, "leader_proxy_connection_timeout_ms": 5000, "leader_proxy_read_timeout_ms": 10_000,
            "local_port_max": u32::from(*shared.config.service_ports.end()) + u32::from(!newer),
            "local_port_min": shared.config.service_ports.start(), "master": "zk://localhost:2181/mesos",
            "max_instances_per_offer": 5, "mesos_bridge_name": "mesos-bridge",
            "mesos_leader_ui_url": "http://localhost:5050/", "mesos_role": null, "mesos_user": "root",
            "task_launch_confirm_timeout": 300_000, "task_launch_timeout": 300_000, "webui_url": null,
        },
        "zookeeper_config": {
            "zk": "zk://localhost:2181/marathon", "zk_compression": true, "zk_compression_threshold": 65_536,
            "zk_connection_timeout": 10_000, "zk_max_node_size": 1_024_000, "zk_max_versions": 50,
            "zk_session_timeout": 10_000, "zk_timeout": 10_000,
        },
        "http_config": {"http_port": port.parse::<u16>().unwrap_or(0), "https_port": 8443},
    });
    if !newer {
        doc["event_subscriber"] = Value::Null;
    }
    Response::json(200, &doc)
}

pub(super) fn leader(shared: &Shared) -> Answer {
    match shared.cluster.leadership().leader {
        Some(member) => Ok(Response::json(200, &json!({"leader": shared.cluster.name(member)}))),
        None => Err(Rejection::NotFound("There is no leader".to_owned())),
    }
}

/// Answers, then steps down.
pub(super) fn abdicate(shared: &Arc<Shared>) -> Answer {
    let next = Arc::clone(shared);
    shared.tasks.spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        super::super::flip(&next, None);
    });
    Ok(Response::json(200, &json!({"message": "Leadership abdicated"})))
}
