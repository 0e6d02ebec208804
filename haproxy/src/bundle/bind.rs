//! The listening addresses of a configuration, as the kernel will be asked for them.
//!
//! Read from the `bind` lines that `render` writes, or back from a configuration of ours; `compile`
//! asks which would meet, `preflight` tries them. Nothing here opens a socket.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::app::AppId;
use crate::text::{self, Word};

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
        config.lines().filter_map(|line| line.trim().strip_prefix("bind ")).flat_map(Self::read).collect()
    }

    /// The TCP listeners of the words after `bind`: each address of its list has all its options.
    pub(crate) fn read(words: &str) -> impl Iterator<Item = Self> {
        let (list, options) = words.split_once(' ').unwrap_or((words, ""));
        let ranges = list.split(',').filter_map(|address| {
            let (ip, ports) = address.rsplit_once(':')?;
            let ip = if ip == "*" { "0.0.0.0" } else { ip.trim_matches(['[', ']']) };
            let addr = BindAddr::from(ip.parse::<IpAddr>().ok()?).with_options(options.split(' '));
            let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
            Some((addr, first.parse::<u16>().ok()?..=last.parse().ok()?))
        });
        ranges.flat_map(|(addr, ports)| ports.map(move |port| Self { addr: addr.clone(), port, owner: None }))
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
    /// The address; `*` on a `bind` line is `0.0.0.0`.
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
    /// The addresses that `written` stands for, with the further words of its `bind` line. `*` is
    /// every IPv4 address and, where `ipv6` is in use, every IPv6 address beside it.
    pub(crate) fn of(written: text::BindAddr, options: &[Word], ipv6: bool) -> Vec<Self> {
        let with_options = |ip: IpAddr| Self::from(ip).with_options(options.iter().map(Word::as_str));
        match written {
            text::BindAddr::Ip(ip) => vec![with_options(ip)],
            text::BindAddr::Any => {
                let four = with_options(Ipv4Addr::UNSPECIFIED.into());
                let six = Self { v6only: true, ..with_options(Ipv6Addr::UNSPECIFIED.into()) };
                if ipv6 { vec![four, six] } else { vec![four] }
            }
        }
    }

    /// Whether two listeners on the same port would meet. `::` takes IPv4 along unless it is told not to.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        match (self.ip, other.ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
            (IpAddr::V6(a), IpAddr::V6(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
            (IpAddr::V4(_), IpAddr::V6(six)) => six.is_unspecified() && !other.v6only,
            (IpAddr::V6(six), IpAddr::V4(_)) => six.is_unspecified() && !self.v6only,
        }
    }

    /// The one family that a listener on every address serves; none if it serves both, or has an
    /// address that shows its family.
    pub(crate) fn family(&self) -> Option<&'static str> {
        match self.ip {
            IpAddr::V4(ip) if ip.is_unspecified() => Some("IPv4"),
            IpAddr::V6(ip) if ip.is_unspecified() && self.v6only => Some("IPv6"),
            _ => None,
        }
    }

    /// The address with what the further words of its `bind` line say; other words mean nothing here.
    pub(crate) fn with_options<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word {
                "v6only" => self.v6only = self.ip.is_ipv6(),
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
                      listen b\n  bind abns@x\n  mode tcp\nlisten c\n  bind *:81,[::]:81 v6only accept-proxy\n\
                      frontend d\n  bind *:90-91,*:93\n";
        let binds = Bind::read_all(config);
        let shown: Vec<_> = binds.iter().map(ToString::to_string).collect();
        let ports = ["0.0.0.0:90", "0.0.0.0:91", "0.0.0.0:93"];
        assert_eq!(shown, [&["0.0.0.0:80", "[fd01::2]:443", "0.0.0.0:81", "[::]:81"][..], &ports].concat());
        assert!(binds[1].addr.v6only && binds[1].addr.transparent);
        assert_eq!(binds[1].addr.device.as_deref(), Some("eth0"));
        let both = BindAddr::of(text::BindAddr::Any, &[], true);
        assert_eq!(both, [binds[2].addr.clone(), binds[3].addr.clone()], "the line says what compile takes it for");
    }

    #[test]
    fn addresses_meet_when_they_would_share_the_port() {
        let of = |text: &str, options: &[&str]| {
            let options: Vec<_> = options.iter().map(|word| Word::parse(word).unwrap()).collect();
            BindAddr::of(text::BindAddr::parse(text).unwrap(), &options, false).remove(0)
        };
        let addr = |text| of(text, &[]);
        assert!(addr("*").meets(&addr("10.0.0.1")));
        assert!(addr("0.0.0.0").meets(&addr("10.0.0.1")));
        assert!(!addr("10.0.0.2").meets(&addr("10.0.0.1")));
        assert!(addr("::").meets(&addr("::1")) && addr("::").meets(&addr("10.0.0.1")) && addr("*").meets(&addr("::")));
        assert!(!addr("*").meets(&addr("::1")) && !addr("10.0.0.1").meets(&addr("::1")));
        let six = of("::", &["accept-proxy", "v6only"]);
        assert!(six.meets(&addr("::1")) && addr("::").meets(&six));
        assert!(!six.meets(&addr("*")) && !addr("10.0.0.1").meets(&six));
        // v6only says nothing about IPv4.
        assert_eq!(of("*", &["v6only"]), addr("*"));
    }
}
