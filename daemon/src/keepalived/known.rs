//! Keywords that have no counterpart in Baton, and why each needs none or what to do instead.
//!
//! A table, used by `translate` and `instance`. What is translated is not in it.

use super::notes::Kind::{self, Lost, Needless};

/// What becomes of `keyword` of `global_defs`.
pub(super) fn global(keyword: &str) -> (Kind, &'static str) {
    find(GLOBAL, keyword).or_else(|| find(INSTANCE, keyword.trim_start_matches("vrrp_"))).unwrap_or(UNKNOWN)
}

/// What becomes of `keyword` of `vrrp_instance` or `vrrp_sync_group`.
pub(super) fn instance(keyword: &str) -> (Kind, &'static str) {
    find(INSTANCE, keyword).unwrap_or(UNKNOWN)
}

/// What becomes of the block `keyword` of the top level.
pub(super) fn top(keyword: &str) -> (Kind, &'static str) {
    find(TOP, keyword).unwrap_or(UNKNOWN)
}

fn find(table: &[(&str, Kind, &'static str)], keyword: &str) -> Option<(Kind, &'static str)> {
    let fits = |name: &str| match name.strip_suffix('*') {
        Some(start) => keyword.starts_with(start),
        None => keyword == name,
    };
    table.iter().find(|(name, _, _)| fits(name)).map(|(_, kind, why)| (*kind, *why))
}

const UNKNOWN: (Kind, &str) = (Lost, "no keyword that is known here");

const MAIL: &str = "Baton sends no mail: alert on its metrics, or send it from notify";
const ROUTES: &str = "Baton sets no routes or rules: set them always, or from notify";
const ANNOUNCE: &str = "Baton announces six times within 5 s, every 60 s, and whenever another host claims the address";
const PROCESS: &str = "Baton sets scheduling and memory of its VRRP thread by itself";
const IPVS: &str = "IPVS balancing is not Baton's: HAProxy balances the apps that Marathon runs";
const STRICT: &str = "Baton has no strict mode and writes no firewall rules";
const NOT_OURS: &str = "of no concern to floating addresses";
const SCRIPTS: &str = "checks and notify programs run as the user that the unit of baton names";

const GLOBAL: &[(&str, Kind, &str)] = &[
    ("router_id", Needless, "the host's name is used"),
    ("notification_email*", Lost, MAIL),
    ("smtp_*", Lost, MAIL),
    ("no_email_faults", Needless, MAIL),
    ("script_user", Needless, SCRIPTS),
    ("enable_script_security", Needless, SCRIPTS),
    ("max_auto_priority", Needless, PROCESS),
    ("min_auto_priority_delay", Needless, PROCESS),
    ("vrrp_priority", Needless, PROCESS),
    ("vrrp_rt_priority", Needless, PROCESS),
    ("vrrp_rlimit_rt*", Needless, PROCESS),
    ("vrrp_no_swap", Needless, PROCESS),
    ("vrrp_cpu_affinity", Lost, "set CPUAffinity= in a drop-in of baton's unit"),
    ("vrrp_startup_delay", Lost, "a start waits for one Active_Down_Interval only; preempt_delay delays taking back"),
    ("vrrp_mcast_group*", Lost, "the group of RFC 9568 is always used: set the peers to it, or use peers (unicast)"),
    ("vrrp_min_garp", Needless, ANNOUNCE),
    ("vrrp_gna_interval", Needless, ANNOUNCE),
    ("vrrp_lower_prio_no_advert", Lost, "RFC 9568 has a loser answered at once, and so does Baton"),
    ("vrrp_notify_fifo*", Lost, "use notify"),
    ("notify_fifo*", Lost, "use notify"),
    ("dynamic_interfaces", Needless, "Baton waits for an interface that is not there yet"),
    ("default_interface", Needless, "it counts for instances that name no interface"),
    ("vrrp_netlink_*", Needless, "Baton reads everything again when the kernel drops messages"),
    ("vrrp_rx_bufs_*", Needless, "Baton sizes its sockets by itself"),
    ("vrrp_iptables", Needless, STRICT),
    ("vrrp_ipsets", Needless, STRICT),
    ("nftables*", Needless, STRICT),
    ("enable_snmp*", Lost, "Baton has metrics for Prometheus and `baton status --json`, no SNMP"),
    ("snmp_*", Lost, "Baton has metrics for Prometheus and `baton status --json`, no SNMP"),
    ("enable_dbus", Lost, "`baton status --json` has the same"),
    ("dbus_*", Lost, "`baton status --json` has the same"),
    ("lvs_*", Lost, IPVS),
    ("checker_*", Needless, IPVS),
    ("bfd_*", Lost, "BFD is not spoken"),
    ("net_namespace*", Lost, "set NetworkNamespacePath= in a drop-in of baton's unit"),
    ("process_name*", Needless, NOT_OURS),
    ("use_pid_dir", Needless, NOT_OURS),
    ("child_wait_time", Needless, NOT_OURS),
    ("startup_script*", Lost, "use ExecStartPre= in a drop-in of baton's unit"),
    ("shutdown_script*", Lost, "use ExecStopPost= in a drop-in of baton's unit"),
    ("reload_*", Needless, "`baton reload` refuses a bad file and keeps the old configuration"),
    ("json_*", Needless, "`baton status --json`"),
    ("linkbeat_use_polling", Needless, "the kernel tells of every change of a link"),
];

const INSTANCE: &[(&str, Kind, &str)] = &[
    ("garp_extra_if", Lost, "addresses are announced on the router's interface only"),
    ("garp_*", Needless, ANNOUNCE),
    ("smtp_alert*", Lost, MAIL),
    ("virtual_routes*", Lost, ROUTES),
    ("virtual_rules*", Lost, ROUTES),
    ("accept", Needless, "Baton always accepts what is sent to its addresses"),
    ("no_accept", Lost, "Baton always accepts what is sent to its addresses"),
    ("strict*", Lost, STRICT),
    ("native_ipv6", Needless, "the addresses say so"),
    ("lower_prio_no_advert", Lost, "RFC 9568 has a loser answered at once, and so does Baton"),
    ("higher_prio_send_advert", Needless, "the one that stays announces its addresses again by itself"),
    ("skip_check_adv_addr", Needless, "a list of addresses that differs is told, never a reason to drop"),
    ("promote_secondaries", Needless, "Baton sees to it that one address does not take others along"),
    ("down_timer_adverts", Lost, "it is three advertisements, as in the RFC: set advertisement_interval instead"),
    ("unicast_ttl", Lost, "advertisements leave with TTL 255"),
    ("check_unicast_src", Needless, "with peers, nobody else is listened to"),
    ("unicast_fault_no_peer", Needless, "without peers it is multicast"),
    ("old_unicast_checksum", Needless, "both forms of the checksum are accepted"),
    ("track_src_ip", Needless, "a router without its source address waits for it"),
    ("track_process", Lost, "the death of HAProxy is seen without it; for another process use a track_script"),
    ("track_file", Lost, "`baton vip hold` and `release` do this; or use a track_script"),
    ("track_bfd", Lost, "BFD is not spoken"),
    ("dont_track_primary", Lost, "a router whose interface is down cannot hold addresses there"),
    ("mcast_dst_ip", Lost, "the group of RFC 9568 is always used: set the peers to it, or use peers (unicast)"),
    ("vmac_xmit_base", Lost, "advertisements leave where the addresses are"),
    ("use_vmac_addr", Lost, "every address is on the router's own interface"),
    ("vmac_prefix", Needless, "Baton names the interface"),
    ("use_ipvlan", Lost, "there is virtual_mac = true (a macvlan) or the interface itself"),
    ("vrf", Lost, "name an interface of the VRF"),
    ("lvs_sync_daemon*", Lost, IPVS),
    ("linkbeat_use_polling", Needless, "the kernel tells of every change of a link"),
    ("kernel_rx_buf_size", Needless, "Baton sizes its sockets by itself"),
    ("notify_priority_changes", Lost, "notify is told of changes of state only"),
    ("notify_deleted", Lost, "a router that is taken out of the configuration stops: STOP is told"),
    ("notify_master_rx_lower_pri", Lost, "Baton announces the addresses again by itself; the log tells of it"),
    ("timer_expired_backup", Needless, "a router that was held up judges by itself whether it may still be Active"),
    ("auth_hmac", Lost, "not spoken; remove it on the peers, which drop what has no such trailer"),
    ("global_tracking", Needless, "what a group's members track counts for all of them"),
    ("debug", Needless, "log.level = \"debug\""),
    ("no_virtual_ipaddress", Lost, "a router without addresses is none"),
];

const TOP: &[(&str, Kind, &str)] = &[
    ("virtual_server*", Lost, IPVS),
    ("real_server", Lost, IPVS),
    ("SSL", Needless, IPVS),
    ("static_ipaddress", Lost, "set it in the system's network configuration"),
    ("static_routes", Lost, ROUTES),
    ("static_rules", Lost, ROUTES),
    ("track_group", Lost, ROUTES),
    ("garp_group", Needless, ANNOUNCE),
    ("linkbeat_interfaces", Needless, "the kernel tells of every change of a link"),
    ("interface_up_down_delays", Lost, "a link that flaps is not waited for"),
    ("bfd_instance", Lost, "BFD is not spoken"),
    ("vrrp_track_process", Lost, "the death of HAProxy is seen without it; for another process use a track_script"),
    ("vrrp_track_file", Lost, "`baton vip hold` and `release` do this; or use a track_script"),
    ("track_file", Lost, "`baton vip hold` and `release` do this; or use a track_script"),
    ("net_namespace*", Lost, "set NetworkNamespacePath= in a drop-in of baton's unit"),
    ("namespace_with_ipsets", Needless, STRICT),
    ("instance", Needless, NOT_OURS),
    ("use_pid_dir", Needless, NOT_OURS),
    ("linkbeat_use_polling", Needless, "the kernel tells of every change of a link"),
    ("child_wait_time", Needless, NOT_OURS),
    ("include_check", Needless, "an include that finds nothing is told"),
    ("config_test", Needless, NOT_OURS),
];
