//! Real sockets on the loopback interface.

use std::net::{IpAddr, TcpListener};

use super::*;

fn bind(ip: &str, port: u16) -> Bind {
    Bind { addr: ip.parse::<IpAddr>().unwrap().into(), port, owner: None }
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn errno(wanted: &Bind) -> Option<Errno> {
    preflight(std::slice::from_ref(wanted), &Running::default()).first().map(|u| u.errno)
}

#[test]
fn a_held_port_names_its_holder_and_a_released_one_passes() {
    let (held, port) = listener();
    let wanted = [bind("127.0.0.1", port), bind("127.0.0.1", port)];
    let unbindable = preflight(&wanted, &Running::default());
    assert_eq!(unbindable.len(), 1, "the same address is tried once");
    assert_eq!(unbindable[0].errno, Errno::EADDRINUSE);
    assert_eq!(unbindable[0].holder.as_ref().unwrap().pid, Some(std::process::id()));
    assert!(unbindable[0].to_string().contains("has the port"), "{}", unbindable[0]);
    drop(held);
    assert_eq!(preflight(&wanted, &Running::default()), []);
}

#[test]
fn a_stranger_that_would_share_the_port_is_found() {
    let stranger = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    stranger.set_reuse_port(true).unwrap();
    stranger.set_reuse_address(true).unwrap();
    stranger.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    stranger.listen(1).unwrap();
    let port = stranger.local_addr().unwrap().as_socket().unwrap().port();
    assert_eq!(errno(&bind("127.0.0.1", port)), Some(Errno::EADDRINUSE));
    assert_eq!(errno(&bind("0.0.0.0", port)), Some(Errno::EADDRINUSE));
}

#[test]
fn what_runs_already_is_not_tried_whoever_its_owner_is_now() {
    let (_held, port) = listener();
    let mut wanted = bind("127.0.0.1", port);
    let running = Running { binds: vec![wanted.clone()], ..Running::default() };
    wanted.owner = crate::app::AppId::parse("/new").ok();
    assert_eq!(preflight(&[wanted], &running), []);
}

#[test]
fn our_own_haproxy_is_not_in_its_own_way() {
    let (_held, port) = listener();
    let running = Running { pids: BTreeSet::from([std::process::id()]), ..Running::default() };
    assert_eq!(preflight(&[bind("0.0.0.0", port)], &running), []);
}

#[test]
fn an_address_of_another_host_needs_transparent() {
    let mut wanted = bind("192.0.2.77", 18_099);
    let unbindable = preflight(&[wanted.clone()], &Running::default());
    assert_eq!(unbindable[0].errno, Errno::EADDRNOTAVAIL);
    assert!(unbindable[0].to_string().contains("does not own 192.0.2.77"), "{}", unbindable[0]);
    wanted.addr.transparent = true;
    assert_eq!(errno(&wanted), None);
}

#[test]
fn an_ipv6_wildcard_takes_ipv4_along_unless_told_otherwise() {
    let (_held, port) = listener();
    let mut wanted = bind("::", port);
    assert_eq!(errno(&wanted), Some(Errno::EADDRINUSE));
    wanted.addr.v6only = true;
    assert_eq!(errno(&wanted), None);
}

#[test]
fn a_port_taken_on_one_family_is_named_with_it() {
    let (held, port) = listener();
    let both: Vec<_> = Bind::read(&format!("*:{port},[::]:{port} v6only")).collect();
    let said = |held: &str| {
        let refused: Vec<_> = preflight(&both, &Running::default()).iter().map(ToString::to_string).collect();
        assert_eq!(refused.len(), 1, "{held}: {refused:?}");
        refused.into_iter().next().unwrap()
    };
    let four = said("127.0.0.1");
    assert!(four.starts_with(&format!("cannot listen on 0.0.0.0:{port} (IPv4): ")), "{four}");
    drop(held);
    let _six = TcpListener::bind(("::1", port)).unwrap();
    let six = said("::1");
    assert!(six.starts_with(&format!("cannot listen on [::]:{port} (IPv6): ")), "{six}");
    assert!(six.contains(&format!("(pid {})", std::process::id())), "{six}");
    assert!(has_ipv6());
}

#[test]
fn a_missing_interface_is_named() {
    let mut wanted = bind("0.0.0.0", 18_098);
    wanted.addr.device = Some("nosuch0".into());
    let unbindable = preflight(&[wanted], &Running::default());
    assert_eq!(unbindable[0].errno, Errno::ENODEV);
    assert!(unbindable[0].to_string().contains("nosuch0"));
}

#[test]
fn missing_permission_says_which() {
    let denied = |errno| Unbindable { bind: bind("0.0.0.0", 80), errno, holder: None }.to_string();
    assert!(denied(Errno::EACCES).contains("CAP_NET_BIND_SERVICE"));
    assert!(denied(Errno::EPERM).contains("CAP_NET_ADMIN"));
    assert!(denied(Errno::EADDRINUSE).contains("ss -ltnp"));
}
