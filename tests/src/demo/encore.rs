//! After the last act: everything stays up, and its user is told how to play with it.

use super::cluster::{AGENTS, BALANCER, CONTROL, MARATHON, NGINX, WEB};
use super::host::Host;
use super::screen::Screen;
use crate::lab::baton::binary;

/// Prints addresses and commands that can be pasted into another terminal.
///
/// # Errors
/// When `baton` is not built, which cannot be by now.
pub(super) fn tell(screen: Screen, host: &Host, seconds: Option<u64>) -> anyhow::Result<()> {
    let inside = |name: &str, command: &str| screen.command(name, &format!("ip netns exec {} {command}", host.name()));
    screen.heading("Everything stays up. In another terminal, as root:");
    inside("vhost", &format!("curl -H 'Host: {}' http://{BALANCER}/", WEB.1));
    inside("https", &format!("curl -k --resolve {0}:443:{BALANCER} https://{0}/", NGINX.1));
    inside("port", &format!("curl http://{BALANCER}:11111/"));
    inside("redis", &format!("redis-cli -h {BALANCER} -p 9000 info server"));
    inside("stats", &format!("curl 'http://{BALANCER}:9090/haproxy?stats;csv'"));
    inside("apps", &format!("curl http://{MARATHON}/v2/apps"));
    let scale = r#"curl -X PUT -H 'Content-Type: application/json' -d '{"instances": 4}'"#;
    inside("scale", &format!("{scale} http://{MARATHON}/v2/apps/wordpress/web-app"));
    inside("lose", &format!("curl -X POST http://{CONTROL}/agents/{}/lose", AGENTS[0]));
    inside("return", &format!("curl -X POST http://{CONTROL}/agents/{}/return", AGENTS[0]));
    let baton = binary("baton")?;
    screen.command("status", &format!("{} status --socket {}", baton.display(), host.socket().display()));
    screen.command("log", &format!("tail -f {}", host.log().display()));
    match seconds {
        Some(seconds) => screen.command("stop", &format!("Ctrl-C here, or {seconds} s from now (DEMO_SECONDS)")),
        None => screen.command("stop", "Ctrl-C here"),
    }
    Ok(())
}
