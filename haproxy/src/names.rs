//! Names and numbers that other tools know: backends, servers, server ids, cookie values.
//!
//! Used by `compile`. The rules are marathon-lb's, byte for byte, because dashboards, scripts and
//! clients' cookies depend on them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

use crate::app::AppId;

/// The name of a port's frontend and backend: `/group/app` and 10000 give `group_app_10000`.
pub fn backend(app: &AppId, port: u16) -> String {
    let path = app.as_str().trim_start_matches('/');
    format!("{}_{port}", path.replace('/', "_"))
}

/// The name of a server: `‹host›_‹ip›_‹port›`, the address once where both are the same, and
/// every character outside `A-Z a-z 0-9 -` as `_`.
pub fn server(host: &str, addr: IpAddr, port: u16) -> String {
    let (addr, port) = (addr.to_string(), port.to_string());
    let [before, joint] = if host == addr { ["", ""] } else { [host, "_"] };
    let parts = [before, joint, &addr, "_", &port];
    let mut name = String::with_capacity(parts.iter().map(|part| part.len()).sum());
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    name.extend(parts.iter().flat_map(|part| part.chars()).map(legal));
    name
}

/// The value of a sticky cookie for a server: ten hex digits.
pub fn cookie(server: &str) -> String {
    let mut hex = sha1_smol::Sha1::from(server).digest().to_string();
    hex.truncate(10);
    hex
}

/// The `id` of a server in its backend, 1…32766, which keeps its state over reloads. Depends on
/// the name, and on the names before it only where two names meet on one number.
pub fn server_id(name: &str, taken: &mut BTreeSet<u16>) -> u16 {
    let mut text = name.to_owned();
    loop {
        let digest = Sha256::digest(text.as_bytes());
        let id = digest.chunks(4).fold(0_u64, |rest, word| {
            word.iter().fold(rest, |number, byte| number << 8 | u64::from(*byte)) % ID_MODULUS
        });
        match u16::try_from(id) {
            Ok(id) if id != 0 && taken.insert(id) => return id,
            _ => text = format!("{text} {digest:x}"),
        }
    }
}

const ID_MODULUS: u64 = 32_767;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_marathon_lbs() {
        for (name, id) in [
            ("0", 17068),
            ("1", 25733),
            ("a", 25929),
            ("10_0_6_25_23336", 14676),
            ("agent1_1_1_1_1_1024", 28363),
            ("uudnntiqtd", 26825),
            ("rghtavdepy", 5030),
        ] {
            assert_eq!(server_id(name, &mut BTreeSet::new()), id, "{name}");
        }
    }

    #[test]
    fn ids_that_meet_move_on() {
        let mut taken = BTreeSet::new();
        let chain = [
            ("yftjqzplpu", 28876),
            ("ttccbfrdhi", 7893),
            ("ilvparharq", 22002),
            ("gpagkxfzou", 21805),
            ("dcsfcvfolh", 20892),
            ("tsqkugaath", 25675),
        ];
        for (name, id) in chain {
            assert_eq!(server_id(name, &mut taken), id, "{name}");
        }
    }

    #[test]
    fn names_and_cookies_are_marathon_lbs() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(server("10.0.2.148", ip("10.0.2.148"), 1565), "10_0_2_148_1565");
        assert_eq!(server("agent1", ip("1.1.1.1"), 1024), "agent1_1_1_1_1_1024");
        assert_eq!(server("10.0.0.1", ip("9.0.1.2"), 80), "10_0_0_1_9_0_1_2_80");
        assert_eq!(server("x\n}", ip("fd01::2"), 80), "x___fd01__2_80");
        assert_eq!(cookie("agent1_1_1_1_1_1024"), "d6ad48c81f");
        assert_eq!(backend(&AppId::parse("/a/b.c").unwrap(), 80), "a_b.c_80");
    }
}
