//! The label table: every value label, what it accepts, what it does and what a mistake costs.
//!
//! The one source for the parser, for `docs/labels.md` and for the tests. Values are read by
//! `value`, `balance` and `bind`; the rules that span two labels stand in `parse`.

use super::options::{AppOptions, PortOptions};
use super::{balance, bind, value};
use crate::text::{BindAddr, FilePath, PathPrefix, Word};

/// One value label.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// Its name without `HAPROXY_` or `HAPROXY_{n}_`.
    pub name: &'static str,
    /// The type of its value, in a word or two.
    pub kind: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// What is accepted, for messages and the manual.
    pub accepts: &'static str,
    /// A value as one would write it.
    pub example: &'static str,
    /// What it does.
    pub effect: &'static str,
    /// What an empty or blank value means.
    pub empty: Empty,
    /// What a bad value costs.
    pub bad: Bad,
    /// How it gets into the options.
    pub(super) set: Setter,
}

/// What an empty or blank value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Empty {
    /// As if the label were not there, as in marathon-lb.
    Absent,
    /// False, as in marathon-lb.
    False,
    /// A mistake: the label restricts who is served, and a template that lost its value must not
    /// open the port.
    Bad,
}

/// What a bad value costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// The port, because serving it without this label would open something up.
    FailsClosed,
    /// Only this.
    Costs(&'static str),
}

/// What a label is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `HAPROXY_NAME`: the app as a whole.
    App,
    /// `HAPROXY_{n}_NAME`: its port n.
    Port,
}

/// Sets a value, and says what was wrong with it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Setter {
    App(fn(&mut AppOptions, &str) -> Vec<String>),
    Port(fn(&mut PortOptions, &str) -> Vec<String>),
}

impl Label {
    /// What it is for.
    pub fn scope(&self) -> Scope {
        match self.set {
            Setter::App(_) => Scope::App,
            Setter::Port(_) => Scope::Port,
        }
    }

    /// Whether a bad value takes the port out of service.
    pub fn fails_closed(&self) -> bool {
        self.bad == Bad::FailsClosed
    }

    /// What a bad value costs.
    pub fn cost(&self) -> &'static str {
        match self.bad {
            Bad::FailsClosed => "out of service until mended",
            Bad::Costs(what) => what,
        }
    }
}

/// The labels with rules that span two of them.
pub(super) const BIND_OPTIONS: &str = "BIND_OPTIONS";
pub(super) const GROUP: &str = "GROUP";
pub(super) const PATH: &str = "PATH";
pub(super) const SSL_CERT: &str = "SSL_CERT";
pub(super) const VHOST: &str = "VHOST";

const BOOLEAN: &str = "true t yes y, or false f no n 0 off";
const FALSE_IS_USED: Bad = Bad::Costs("false is used");
const IGNORED: Bad = Bad::Costs("ignored");
const ONE_PREFIX: &str = "one path that starts with / and holds A-Z a-z 0-9 . _ ~ ! & ( ) * + , = : @ % ; / -";

/// All value labels, app-wide ones first, each group in the order of the manual.
pub static TABLE: &[Label] = &[
    Label {
        name: GROUP,
        kind: "list of names",
        default: "no group: served only where the load balancer serves `*`",
        accepts: "group names between commas, without blanks or control characters inside, none of them empty",
        example: "external,internal",
        effect: "The groups of load balancers that serve this app: those that name at least one of them, and those \
                 that serve `*`. It holds for every port that has no `GROUP` of its own.",
        empty: Empty::Bad,
        bad: Bad::FailsClosed,
        set: Setter::App(|app, text| match value::groups(text) {
            Ok(groups) => {
                app.ports.iter_mut().for_each(|port| port.groups.clone_from(&groups));
                Vec::new()
            }
            Err(problem) => vec![problem],
        }),
    },
    Label {
        name: "DEPLOYMENT_GROUP",
        kind: "app path",
        default: "the app stands alone",
        accepts: "a path of segments of A-Z a-z 0-9 . _ -",
        example: "shop/web",
        effect: "Blue/green: apps with the same value are one service by that name.",
        empty: Empty::Absent,
        bad: IGNORED,
        set: Setter::App(|app, text| put_some(&mut app.deployment.group, value::app_path(text))),
    },
    Label {
        name: "DEPLOYMENT_STARTED_AT",
        kind: "text",
        default: "the earliest",
        accepts: "one word without quotes, \\ # $ { }",
        example: "2026-11-21T05:15:26.000Z",
        effect: "Blue/green: when the deployment of this app began. The later app is the new one.",
        empty: Empty::Absent,
        bad: IGNORED,
        set: Setter::App(|app, text| put_some(&mut app.deployment.started_at, value::text(Word::parse, text))),
    },
    Label {
        name: "DEPLOYMENT_TARGET_INSTANCES",
        kind: "number",
        default: "none",
        accepts: "a whole number, 0 or more",
        example: "5",
        effect: "Blue/green: how many instances the new app shall have in the end.",
        empty: Empty::Absent,
        bad: IGNORED,
        set: Setter::App(|app, text| put_some(&mut app.deployment.target_instances, value::number(text))),
    },
    Label {
        name: "DEPLOYMENT_NEW_INSTANCES",
        kind: "number",
        default: "none",
        accepts: "a whole number, 0 or more",
        example: "2",
        effect: "Blue/green: how many instances of the new app serve beside the old one in a hybrid deployment.",
        empty: Empty::Absent,
        bad: IGNORED,
        set: Setter::App(|app, text| put_some(&mut app.deployment.new_instances, value::number(text))),
    },
    Label {
        name: "DEPLOYMENT_ALT_PORT",
        kind: "port",
        default: "none",
        accepts: "a port from 1 to 65535",
        example: "10001",
        effect: "Blue/green: the service port of the second colour.",
        empty: Empty::Absent,
        bad: IGNORED,
        set: Setter::App(|app, text| put_some(&mut app.deployment.alt_port, value::port(text))),
    },
    Label {
        name: "DEPLOYMENT_COLOUR",
        kind: "text",
        default: "none",
        accepts: "one word without quotes, \\ # $ { }",
        example: "blue",
        effect: "Blue/green: which of the two this app is.",
        empty: Empty::Absent,
        bad: IGNORED,
        set: Setter::App(|app, text| put_some(&mut app.deployment.colour, value::text(Word::parse, text))),
    },
    Label {
        name: "APP_ID",
        kind: "app path",
        default: "none",
        accepts: "a path of segments of A-Z a-z 0-9 . _ -",
        example: "/shop/web",
        effect: "Blue/green: the id of the app before its colour was appended.",
        empty: Empty::Absent,
        bad: IGNORED,
        set: Setter::App(|app, text| put_some(&mut app.deployment.app_id, value::app_path(text))),
    },
    Label {
        name: "ENABLED",
        kind: "boolean",
        default: "true, or false where the load balancer runs in strict mode",
        accepts: BOOLEAN,
        example: "true",
        effect: "Whether the port is served at all.",
        empty: Empty::False,
        bad: Bad::FailsClosed,
        set: Setter::Port(|port, text| put_some(&mut port.enabled, value::boolean(text))),
    },
    Label {
        name: GROUP,
        kind: "list of names",
        default: "that of `HAPROXY_GROUP`",
        accepts: "group names between commas, without blanks or control characters inside, none of them empty",
        example: "internal",
        effect: "The groups of load balancers that serve this port. It replaces `HAPROXY_GROUP` for this port.",
        empty: Empty::Bad,
        bad: Bad::FailsClosed,
        set: Setter::Port(|port, text| put(&mut port.groups, value::groups(text))),
    },
    Label {
        name: VHOST,
        kind: "list of host names",
        default: "none: the port is not routed on 80 and 443",
        accepts: "host names between commas: letters, digits, - and _ in parts of 1 to 63 between dots, *. in front for \
                  all names below",
        example: "www.example.com, *.apps.example.com",
        effect: "The virtual hosts under which the port is reached on 80 and 443. It makes the mode http unless `MODE` \
                 says otherwise. Upper and lower case are the same, international names are taken in their ASCII form.",
        empty: Empty::Absent,
        bad: Bad::Costs("this host is left out"),
        set: Setter::Port(|port, text| {
            let (hosts, problems) = value::hosts(text);
            port.hosts = hosts;
            problems
        }),
    },
    Label {
        name: PATH,
        kind: "list of path prefixes",
        default: "every path",
        accepts: "prefixes between blanks, led by -i where case does not matter; each starts with / and holds A-Z a-z \
                  0-9 . _ ~ ! & ( ) * + , = : @ % ; / -",
        example: "/api /static",
        effect: "On a wildcard host case always matters. An app may ask for 4,096 pairs of host and path, 64 of them with -i. Only requests whose path begins with one of the prefixes are routed to the virtual hosts of this port. \
                 It needs `VHOST` and is ignored without it. When no prefix is good the virtual hosts are not routed at \
                 all: without prefixes they would get every path.",
        empty: Empty::Absent,
        bad: Bad::Costs("this prefix is left out"),
        set: Setter::Port(|port, text| {
            let (paths, problems) = value::paths(text);
            port.paths = paths;
            problems
        }),
    },
    Label {
        name: "BACKEND_WEIGHT",
        kind: "number",
        default: "0, or 1 with `PATH`",
        accepts: "a whole number from -2147483648 to 2147483647",
        example: "10",
        effect: "Which of several ports with the same virtual host is asked first: the larger number. It is no weight \
                 among servers. An explicit 0 stays 0.",
        empty: Empty::Absent,
        bad: Bad::Costs("the default is used"),
        set: Setter::Port(|port, text| put_some(&mut port.weight, value::number(text))),
    },
    Label {
        name: "MODE",
        kind: "tcp or http",
        default: "http with a health check of protocol HTTP or with `VHOST`, else tcp",
        accepts: "tcp or http",
        example: "http",
        effect: "Whether bytes or requests are balanced.",
        empty: Empty::Absent,
        bad: Bad::Costs("the default is used"),
        set: Setter::Port(|port, text| put_some(&mut port.mode, value::mode(text))),
    },
    Label {
        name: "PORT",
        kind: "port",
        default: "the service port that Marathon gave",
        accepts: "a port from 1 to 65535",
        example: "8080",
        effect: "The port on which the load balancer listens for this port of the app; also part of the backend's name.",
        empty: Empty::Absent,
        bad: Bad::Costs("the default is used"),
        set: Setter::Port(|port, text| put_some(&mut port.port, value::port(text))),
    },
    Label {
        name: "BIND_ADDR",
        kind: "address",
        default: "`*`, every address",
        accepts: "* or an IPv4 or IPv6 address",
        example: "10.0.0.10",
        effect: "The address on which the service port listens. `*` is every IPv4 address and, where the load balancer \
                 uses IPv6, every IPv6 address; `0.0.0.0` is IPv4 alone, `::` with the bind option `v6only` IPv6 alone.",
        empty: Empty::Absent,
        bad: Bad::FailsClosed,
        set: Setter::Port(|port, text| put(&mut port.bind_addr, value::text(BindAddr::parse, text))),
    },
    Label {
        name: BIND_OPTIONS,
        kind: "bind keywords",
        default: "none",
        accepts: "keywords of HAProxy's bind line that docs/labels.md lists, each with its value",
        example: "ciphers ECDHE+AESGCM:!aNULL ssl-min-ver TLSv1.2",
        effect: "Appended to the bind line of the service port, for both families. TLS versions are folded into one range, the tightest of \
                 what is asked. `ssl` needs `crt` or the label `SSL_CERT`.",
        empty: Empty::Absent,
        bad: Bad::FailsClosed,
        set: Setter::Port(|port, text| put(&mut port.bind_options, bind::parse(text))),
    },
    Label {
        name: SSL_CERT,
        kind: "file",
        default: "none: no TLS on the service port",
        accepts: "an absolute path without .. and blanks",
        example: "/etc/baton/certs/shop.pem",
        effect: "TLS on the service port, with the certificate and key in this file (or all in this directory) on the \
                 load balancer. The shared port 443 has its own certificates.",
        empty: Empty::Absent,
        bad: Bad::FailsClosed,
        set: Setter::Port(|port, text| put_some(&mut port.ssl_cert, value::text(FilePath::parse, text))),
    },
    Label {
        name: "AUTH",
        kind: "realm:user:hash",
        default: "none",
        accepts: "realm:user:hash with a crypt(3) hash as `openssl passwd -6` prints it",
        example: "Shop:anna:$6$kH/6.4hBwLPbFU$7/y.tLoAr2tMkOAxv.OvXe.RzUY5sZgtCX4X4fKAnyD3NXzZoQ4zQ8mDPiPv6iBAYL3Y2mDPL0eXHdj/wFZ.1.",
        effect: "HTTP basic authentication for requests that come by virtual host, on 80 and 443. The service port and \
                 9091 stay open, as in marathon-lb: keep them from the outside by firewall or BACKEND_NETWORK_ALLOWED_ACL. \
                 Messages never show the value, for it may hold a password.",
        empty: Empty::Bad,
        bad: Bad::FailsClosed,
        set: Setter::Port(|port, text| put_some(&mut port.auth, value::auth(text))),
    },
    Label {
        name: "REDIRECT_TO_HTTPS",
        kind: "boolean",
        default: "false",
        accepts: BOOLEAN,
        example: "true",
        effect: "Requests on port 80 for the virtual hosts of this port are sent to https (301).",
        empty: Empty::False,
        bad: FALSE_IS_USED,
        set: Setter::Port(|port, text| put(&mut port.redirect_to_https, value::boolean(text))),
    },
    Label {
        name: "USE_HSTS",
        kind: "boolean",
        default: "false",
        accepts: BOOLEAN,
        example: "true",
        effect: "Answers carry `Strict-Transport-Security` (mode http).",
        empty: Empty::False,
        bad: FALSE_IS_USED,
        set: Setter::Port(|port, text| put(&mut port.use_hsts, value::boolean(text))),
    },
    Label {
        name: "STICKY",
        kind: "boolean",
        default: "false",
        accepts: BOOLEAN,
        example: "true",
        effect: "A cookie keeps each client on the server it first met.",
        empty: Empty::False,
        bad: FALSE_IS_USED,
        set: Setter::Port(|port, text| put(&mut port.sticky, value::boolean(text))),
    },
    Label {
        name: "BALANCE",
        kind: "algorithm",
        default: "roundrobin",
        accepts: "roundrobin, static-rr, leastconn, first, random[(n)], source, rdp-cookie[(name)], uri [whole] [len n] \
                  [depth n] [path-only], url_param NAME [check_post], hdr(NAME) [use_domain_only]",
        example: "leastconn",
        effect: "How requests are spread over the servers. uri, url_param and hdr need mode http. With static-rr, source, \
                 rdp-cookie, uri, url_param and hdr every added server is a reload.",
        empty: Empty::Absent,
        bad: Bad::Costs("roundrobin is used"),
        set: Setter::Port(|port, text| put(&mut port.balance, balance::parse(text))),
    },
    Label {
        name: "BACKEND_NETWORK_ALLOWED_ACL",
        kind: "list of networks",
        default: "everybody",
        accepts: "IPv4 and IPv6 addresses and networks between blanks",
        example: "10.0.0.0/8 192.168.1.7 fd00::/8",
        effect: "Only clients from these networks are served. Remove the label to let everybody in.",
        empty: Empty::Bad,
        bad: Bad::FailsClosed,
        set: Setter::Port(|port, text| put(&mut port.network_allowed, value::networks(text))),
    },
    Label {
        name: "HTTP_BACKEND_PROXYPASS_PATH",
        kind: "path prefix",
        default: "none",
        accepts: ONE_PREFIX,
        example: "/shop",
        effect: "The prefix is cut off each request's path, and Host becomes the first virtual host (mode http).",
        empty: Empty::Absent,
        bad: IGNORED,
        set: Setter::Port(|port, text| put_some(&mut port.proxypass_path, value::text(PathPrefix::parse, text))),
    },
    Label {
        name: "HTTP_BACKEND_REVPROXY_PATH",
        kind: "path prefix",
        default: "none",
        accepts: ONE_PREFIX,
        example: "/shop",
        effect: "`Location` in answers is put below this prefix (mode http).",
        empty: Empty::Absent,
        bad: IGNORED,
        set: Setter::Port(|port, text| put_some(&mut port.revproxy_path, value::text(PathPrefix::parse, text))),
    },
    Label {
        name: "HTTP_BACKEND_REDIR",
        kind: "path",
        default: "none",
        accepts: ONE_PREFIX,
        example: "/shop/index.html",
        effect: "Requests for `/` on the virtual hosts of this port are sent to this path (301, mode http).",
        empty: Empty::Absent,
        bad: IGNORED,
        set: Setter::Port(|port, text| put_some(&mut port.redirect_root, value::text(PathPrefix::parse, text))),
    },
    Label {
        name: "BACKEND_HEALTHCHECK_PORT_INDEX",
        kind: "number",
        default: "the port itself",
        accepts: "the index of a port of the app, 0 or more",
        example: "1",
        effect: "The servers of this port are probed on that other port of the app, by its health check.",
        empty: Empty::Absent,
        bad: Bad::Costs("the default is used"),
        set: Setter::Port(|port, text| put_some(&mut port.check_port_index, value::number(text))),
    },
];

fn put<T>(slot: &mut T, value: Result<T, String>) -> Vec<String> {
    match value {
        Ok(value) => {
            *slot = value;
            Vec::new()
        }
        Err(problem) => vec![problem],
    }
}

fn put_some<T>(slot: &mut Option<T>, value: Result<T, String>) -> Vec<String> {
    put(slot, value.map(Some))
}
