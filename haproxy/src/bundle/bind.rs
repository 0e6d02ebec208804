//! The listening addresses of a configuration, as the kernel will be asked for them.
//!
//! `render` lists them in the draft, or they are read back from a configuration of ours; `preflight`
//! tries them. Nothing here opens a socket.

use std::fmt;
use std::net::IpAddr;

use crate::app::AppId;

/// One listening TCP address of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bind {
    /// Where.
    pub addr: BindAddr,
    /// The port.
    pub port: u16,
    /// The app that asked for it; none for the appliance's own listeners (80, 443, 9090).
    pub owner: Option<AppId>,
}

impl Bind {
    /// The TCP listeners of a configuration of ours, without their owners.
    pub(crate) fn read_all(config: &str) -> Vec<Self> {
        let read = |line: &str| {
            let mut words = line.trim().strip_prefix("bind ")?.split(' ');
            let (ip, port) = words.next()?.rsplit_once(':')?;
            let ip = if ip == "*" { "0.0.0.0" } else { ip.trim_matches(['[', ']']) };
            let addr = BindAddr::from(ip.parse::<IpAddr>().ok()?).with_options(words);
            Some(Self { addr, port: port.parse().ok()?, owner: None })
        };
        config.lines().filter_map(read).collect()
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", std::net::SocketAddr::new(self.addr.ip, self.port))
    }
}

/// The address of a `bind` line and the options that decide whether the kernel grants it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindAddr {
    /// The address; `*` is `0.0.0.0`.
    pub ip: IpAddr,
    /// `v6only`: an IPv6 wildcard that leaves IPv4 alone.
    pub v6only: bool,
    /// `transparent`: an address that this host need not own.
    pub transparent: bool,
    /// `interface`: listens on this device only.
    pub device: Option<String>,
}

impl From<IpAddr> for BindAddr {
    fn from(ip: IpAddr) -> Self {
        Self { ip, v6only: false, transparent: false, device: None }
    }
}

impl BindAddr {
    /// The address with what the further words of its `bind` line say; other words mean nothing here.
    pub(crate) fn with_options<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word {
                "v6only" => self.v6only = true,
                "transparent" => self.transparent = true,
                "interface" => self.device = words.next().map(str::to_owned),
                _ => (),
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_back() {
        let config = "frontend a\n  bind *:80\n  bind [fd01::2]:443 ssl crt /a.pem v6only interface eth0 transparent\n\
                      listen b\n  bind abns@x\n  mode tcp\n";
        let binds = Bind::read_all(config);
        let shown: Vec<_> = binds.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["0.0.0.0:80", "[fd01::2]:443"]);
        assert!(binds[1].addr.v6only && binds[1].addr.transparent);
        assert_eq!(binds[1].addr.device.as_deref(), Some("eth0"));
    }
}
