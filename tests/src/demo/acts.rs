//! What happens to apps, agents and labels in the demo, act by act.
//!
//! Everything is asked of the load balancers' virtual address. What happens to that is told by `moves`.

use anyhow::{Context as _, anyhow, ensure};
use reqwest::Method;
use serde_json::json;

use super::cluster::{BALANCER, MYSQL, NGINX, REDIS, TOMCAT, UNSERVED, WEB, nginx};
use super::probe;
use super::screen::Mark;
use super::stage::Stage;

/// Looks at every app from outside.
///
/// # Errors
/// When an app does not run; whatever else is wrong is told and counted.
pub(super) async fn requests(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.act("Requests by host name, by service port and by app id");
    for (app, host, _) in [WEB, NGINX] {
        for scheme in ["http", "https"] {
            tasks_answer(stage, "host", &format!("{scheme}://{host}/"), app).await;
        }
    }
    for (app, port) in [(WEB.0, WEB.2), (NGINX.0, NGINX.2), TOMCAT] {
        tasks_answer(stage, "port", &probe::url(BALANCER, port), app).await;
    }
    let found = probe::greeting(MYSQL.1, MYSQL.0).await;
    stage.check("port", about(&format!("{BALANCER}:{}", MYSQL.1), found));
    redis(stage).await;
    let place = stage.cluster.place(TOMCAT.0).context("tomcat does not run")?;
    tasks_answer(stage, "fixed", &format!("http://{place}/"), TOMCAT.0).await;
    let found = unserved(stage).await;
    stage.check("app id", about(UNSERVED, found));
    stage.ask_client(0).await;
    Ok(())
}

/// More tasks of the web app, or fewer.
///
/// # Errors
/// When Marathon refuses, or `baton` does not follow.
pub(super) async fn scale(stage: &mut Stage<'_>, from: usize, to: usize) -> anyhow::Result<()> {
    stage.act(&format!("Scale {} from {from} to {to}", WEB.0));
    let change = json!({"instances": to});
    let asked = stage.cluster.ask(Method::PUT, "/v2/apps/wordpress/web-app", Some(&change)).await?;
    stage.asked(&asked);
    stage.follow(|_| true).await?;
    stage.ask_client(0).await;
    Ok(())
}

/// An agent dies; Marathon starts its tasks elsewhere.
///
/// # Errors
/// When `baton` does not follow.
pub(super) async fn lose_agent(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let place = stage.cluster.place(REDIS.0).context("redis does not run")?.ip();
    let instances = stage.cluster.sim.instances(WEB.0);
    let lost = instances.iter().filter(|instance| instance.address == place).count();
    stage.act(&format!("Agent {place} dies, with redis and {} of {}", probe::counted(lost, "task"), WEB.0));
    let asked = stage.cluster.command(&format!("/agents/{place}/lose")).await?;
    stage.asked(&format!("{asked} (of the simulator)"));
    stage.follow(|_| true).await?;
    stage.ask_client(AT_ONCE).await;
    redis(stage).await;
    stage.cluster.command(&format!("/agents/{place}/return")).await?;
    Ok(())
}

/// An app goes, and its port with it.
///
/// # Errors
/// When Marathon refuses, or `baton` does not follow.
pub(super) async fn delete(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.act(&format!("Delete {}", TOMCAT.0));
    let asked = stage.cluster.ask(Method::DELETE, "/v2/apps/tomcat", None).await?;
    stage.asked(&asked);
    stage.follow(|_| true).await?;
    let found = probe::emptied(TOMCAT.1).await;
    stage.check("port", about(&probe::url(BALANCER, TOMCAT.1), found));
    stage.ask_client(0).await;
    Ok(())
}

/// A label that cannot be meant.
///
/// # Errors
/// When Marathon refuses, or `baton` does not follow.
pub(super) async fn break_label(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.act("Break a label of /nginx");
    label(stage, "http://nginx.example.com/").await?;
    let report = stage.follow(|report| report.issues.iter().any(|issue| issue.app == NGINX.0)).await?;
    for issue in &report.issues {
        let label = issue.label.as_deref().map(|label| format!("{label}: ")).unwrap_or_default();
        stage.screen.row(Mark::None, "issue", &format!("{}: {label}{}", issue.app, issue.problem));
    }
    let url = format!("http://{}/", NGINX.1);
    let found = probe::status(&url, &[], 503).await;
    stage.check("host", about(&url, found.map(|()| "503, no app has this host name now".to_owned())));
    tasks_answer(stage, "port", &probe::url(BALANCER, NGINX.2), NGINX.0).await;
    stage.ask_client(0).await;
    Ok(())
}

/// The label as it was.
///
/// # Errors
/// When Marathon refuses, or `baton` does not follow.
pub(super) async fn mend_label(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.act("Mend the label");
    label(stage, NGINX.1).await?;
    stage.follow(|report| report.issues.is_empty()).await?;
    for scheme in ["http", "https"] {
        tasks_answer(stage, "host", &format!("{scheme}://{}/", NGINX.1), NGINX.0).await;
    }
    stage.ask_client(0).await;
    Ok(())
}

async fn label(stage: &Stage<'_>, vhost: &str) -> anyhow::Result<()> {
    let labels = json!({"labels": nginx(vhost)["labels"]});
    let asked = stage.cluster.ask(Method::PUT, "/v2/apps/nginx", Some(&labels)).await?;
    stage.asked(&asked);
    Ok(())
}

async fn tasks_answer(stage: &mut Stage<'_>, name: &str, url: &str, app: &str) {
    let found = probe::answered_by(url, &stage.cluster.tasks(app)).await;
    stage.check(name, about(url, found.map(|tasks| format!("200 from {tasks} of {app}"))));
}

async fn redis(stage: &mut Stage<'_>) {
    let agent = stage.cluster.place(REDIS.0).map(|place| place.ip().to_string()).unwrap_or_default();
    let found = probe::redis(REDIS.1).await;
    let told = found.map(|version| format!("PONG from redis {version} on {agent}"));
    stage.check("port", about(&format!("{BALANCER}:{}", REDIS.1), told));
}

/// The app without a group runs, and is not served.
async fn unserved(stage: &Stage<'_>) -> anyhow::Result<String> {
    let tasks = stage.cluster.tasks(UNSERVED).len();
    ensure!(tasks > 0, "it does not run");
    probe::status(&probe::url(BALANCER, 9091), &[("X-Marathon-App-Id", UNSERVED)], 503).await?;
    Ok(format!("503, not served: no HAPROXY_GROUP ({} run)", probe::counted(tasks, "task")))
}

/// `found`, after what it is about.
fn about(what: &str, found: anyhow::Result<String>) -> anyhow::Result<String> {
    match found {
        Ok(text) => Ok(format!("{what:<38} {text}")),
        Err(why) => Err(anyhow!("{what:<38} {why:#}")),
    }
}

/// The client's requests that are under way at any moment: those inside a task that dies are lost, whoever balances.
const AT_ONCE: u64 = 2;
