//! After the last act: everything stays up, and its user is told how to play with it.

use super::cluster::{AGENTS, BALANCER, CONTROL, MARATHON, NGINX, WEB};
use super::stage::Stage;
use crate::lab::baton::binary;

/// Prints addresses and commands that can be pasted into another terminal.
///
/// # Errors
/// When `baton` is not built, which cannot be by now, or nobody has the virtual address.
pub(super) fn tell(stage: &Stage<'_>, seconds: Option<u64>) -> anyhow::Result<()> {
    let (screen, site) = (stage.screen, stage.site());
    let client = site.namespace(&site.client);
    let inside = |name: &str, command: &str| screen.command(name, &format!("ip netns exec {client} {command}"));
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
    let active = stage.balancers.active()?;
    let baton = binary("baton")?;
    for number in [active, 1 - active] {
        let socket = site.socket(&site.balancers[number]);
        screen.command("status", &format!("{} status --socket {}", baton.display(), socket.display()));
    }
    let (from, to) = (&site.balancers[active], &site.balancers[1 - active]);
    let socket = site.socket(from);
    screen.command("vip", &format!("{} vip handover --socket {}", baton.display(), socket.display()));
    let capture = "tcpdump -ni eth0 'ip proto 112 or arp'";
    screen.command("wire", &format!("ip netns exec {} {capture}", site.namespace(to)));
    screen.command("logs", &format!("tail -f {}", site.logs()));
    match seconds {
        Some(seconds) => screen.command("stop", &format!("Ctrl-C here, or {seconds} s from now (DEMO_SECONDS)")),
        None => screen.command("stop", "Ctrl-C here"),
    }
    Ok(())
}
