//! keepalived.conf for one virtual router.
//!
//! Rendered by [`Keepalived`](super::Keepalived) at each start.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use crate::lab::lan::INTERFACE;

/// What keepalived is told, the rest at its defaults: preempting, multicast, v3 at 100 ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// VRRP's version, 2 or 3.
    pub version: u8,
    /// The Advertisement Interval: whole seconds for v2, centiseconds for v3.
    pub interval: Duration,
    /// The virtual router's id.
    pub vrid: u8,
    /// The priority.
    pub priority: u8,
    /// Whether it takes over from a living router of lower priority.
    pub preempt: bool,
    /// The addresses it advertises (`10.77.0.100/24`).
    pub addresses: Vec<String>,
    /// The addresses it holds but does not advertise.
    pub excluded: Vec<String>,
    /// Its own address and its peers', for unicast.
    pub unicast: Option<(IpAddr, Vec<IpAddr>)>,
    /// The password of v2.
    pub auth_pass: Option<String>,
    /// How often a script looks whether HAProxy lives; it never does by default.
    pub check: Option<Duration>,
}

impl Settings {
    /// A router of this priority for these addresses.
    pub fn new(priority: u8, addresses: &[&str]) -> Self {
        Self {
            version: 3,
            interval: Duration::from_millis(100),
            vrid: 51,
            priority,
            preempt: true,
            addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
            excluded: Vec::new(),
            unicast: None,
            auth_pass: None,
            check: None,
        }
    }

    /// The text; `check` is the script.
    pub(super) fn render(&self, name: &str, check: &Path) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, name, check);
        text
    }

    fn write(&self, text: &mut String, name: &str, check: &Path) -> std::fmt::Result {
        let version = self.version;
        writeln!(text, "global_defs {{\n  router_id {name}\n  vrrp_version {version}\n  script_user root\n}}")?;
        if let Some(interval) = self.check {
            let (seconds, script) = (interval.as_secs_f64(), check.display());
            writeln!(text, "vrrp_script haproxy {{\n  script \"{script}\"\n  interval {seconds}\n  weight 0\n}}")?;
        }
        writeln!(text, "vrrp_instance public {{\n  state BACKUP\n  interface {INTERFACE}")?;
        writeln!(text, "  virtual_router_id {}\n  priority {}", self.vrid, self.priority)?;
        writeln!(text, "  advert_int {}", self.interval.as_secs_f64())?;
        if !self.preempt {
            writeln!(text, "  nopreempt")?;
        }
        if let Some((source, peers)) = &self.unicast {
            writeln!(text, "  unicast_src_ip {source}")?;
            block(text, "unicast_peer", peers)?;
        }
        if let Some(password) = &self.auth_pass {
            writeln!(text, "  authentication {{\n    auth_type PASS\n    auth_pass {password}\n  }}")?;
        }
        block(text, "virtual_ipaddress", &self.addresses)?;
        if !self.excluded.is_empty() {
            block(text, "virtual_ipaddress_excluded", &self.excluded)?;
        }
        if self.check.is_some() {
            writeln!(text, "  track_script {{\n    haproxy\n  }}")?;
        }
        writeln!(text, "}}")
    }
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
        let settings = Settings {
            version: 2,
            interval: Duration::from_secs(1),
            preempt: false,
            excluded: vec!["10.77.0.101/24".to_owned()],
            unicast: Some(("10.77.0.11".parse().unwrap(), vec!["10.77.0.12".parse().unwrap()])),
            auth_pass: Some("secret".to_owned()),
            check: Some(Duration::from_secs(1)),
            ..Settings::new(200, &["10.77.0.100/24"])
        };
        let expected = "\
global_defs {
  router_id lb1
  vrrp_version 2
  script_user root
}
vrrp_script haproxy {
  script \"/check\"
  interval 1
  weight 0
}
vrrp_instance public {
  state BACKUP
  interface eth0
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
        assert_eq!(settings.render("lb1", Path::new("/check")), expected);
    }

    #[test]
    fn intervals_of_v3_are_fractions_of_seconds() {
        let settings = Settings { interval: Duration::from_millis(10), ..Settings::new(100, &["fd77::100/64"]) };
        let text = settings.render("lb2", Path::new("/check"));
        assert!(text.contains("  advert_int 0.01\n"), "{text}");
    }
}
