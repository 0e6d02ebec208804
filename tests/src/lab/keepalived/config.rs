//! keepalived.conf for some virtual routers.
//!
//! Rendered by [`Keepalived`](super::Keepalived) at each start.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::lab::lan::INTERFACE;
use crate::lab::router::Router;

/// A script, and how often it looks whether HAProxy lives.
pub(super) struct Check<'a> {
    pub(super) script: &'a Path,
    pub(super) interval: Duration,
}

/// The text.
pub(super) fn render(routers: &[Router], name: &str, check: Option<&Check<'_>>, realtime: bool) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = global(&mut text, name, check, realtime);
    for router in routers {
        let _ = instance(router, &mut text, check.is_some());
    }
    text
}

fn global(text: &mut String, name: &str, check: Option<&Check<'_>>, realtime: bool) -> std::fmt::Result {
    writeln!(text, "global_defs {{\n  router_id {name}\n  script_user root")?;
    if realtime {
        writeln!(text, "  vrrp_rt_priority 50")?;
    }
    writeln!(text, "}}")?;
    if let Some(check) = check {
        let (seconds, script) = (check.interval.as_secs_f64(), check.script.display());
        writeln!(text, "vrrp_script haproxy {{\n  script \"{script}\"\n  interval {seconds}\n  weight 0\n}}")?;
    }
    Ok(())
}

fn instance(router: &Router, text: &mut String, checked: bool) -> std::fmt::Result {
    writeln!(text, "vrrp_instance {} {{\n  state BACKUP\n  interface {INTERFACE}", router.name)?;
    writeln!(text, "  version {}", router.version)?;
    writeln!(text, "  virtual_router_id {}\n  priority {}", router.vrid, router.priority)?;
    writeln!(text, "  advert_int {}", router.interval.as_secs_f64())?;
    if !router.preempt {
        writeln!(text, "  nopreempt")?;
    }
    if let Some((source, peers)) = &router.unicast {
        writeln!(text, "  unicast_src_ip {source}")?;
        block(text, "unicast_peer", peers)?;
    }
    if let Some(password) = &router.auth_pass {
        writeln!(text, "  authentication {{\n    auth_type PASS\n    auth_pass {password}\n  }}")?;
    }
    block(text, "virtual_ipaddress", &router.addresses)?;
    if !router.excluded.is_empty() {
        block(text, "virtual_ipaddress_excluded", &router.excluded)?;
    }
    if checked {
        writeln!(text, "  track_script {{\n    haproxy\n  }}")?;
    }
    writeln!(text, "}}")
}

fn block(text: &mut String, keyword: &str, lines: &[impl std::fmt::Display]) -> std::fmt::Result {
    writeln!(text, "  {keyword} {{")?;
    for line in lines {
        writeln!(text, "    {line}")?;
    }
    writeln!(text, "  }}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_written() {
        let router = Router {
            version: 2,
            interval: Duration::from_secs(1),
            preempt: false,
            excluded: vec!["10.77.0.101/24".to_owned()],
            unicast: Some(("10.77.0.11".parse().unwrap(), vec!["10.77.0.12".parse().unwrap()])),
            auth_pass: Some("secret".to_owned()),
            ..Router::new(200, &["10.77.0.100/24"])
        };
        let check = Check { script: Path::new("/check"), interval: Duration::from_secs(1) };
        let expected = "\
global_defs {
  router_id lb1
  script_user root
  vrrp_rt_priority 50
}
vrrp_script haproxy {
  script \"/check\"
  interval 1
  weight 0
}
vrrp_instance public {
  state BACKUP
  interface eth0
  version 2
  virtual_router_id 51
  priority 200
  advert_int 1
  nopreempt
  unicast_src_ip 10.77.0.11
  unicast_peer {
    10.77.0.12
  }
  authentication {
    auth_type PASS
    auth_pass secret
  }
  virtual_ipaddress {
    10.77.0.100/24
  }
  virtual_ipaddress_excluded {
    10.77.0.101/24
  }
  track_script {
    haproxy
  }
}
";
        assert_eq!(render(&[router], "lb1", Some(&check), true), expected);
    }

    #[test]
    fn intervals_of_v3_are_fractions_of_seconds() {
        let router = Router { interval: Duration::from_millis(10), ..Router::new(100, &["fd77::100/64"]) };
        let text = render(&[router], "lb2", None, false);
        assert!(text.contains("  advert_int 0.01\n"), "{text}");
    }
}
