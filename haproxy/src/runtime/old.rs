//! Sessions that go on in an old worker.
//!
//! Through the master only, because the stats socket leads to the current one. An old worker takes
//! no orders about servers ("Proxy is disabled."), but ends sessions one by one.

use std::collections::BTreeSet;

use super::{Client, RuntimeError};
use crate::diff::Place;

impl Client {
    /// Ends the sessions that workers which reloads replaced have with these servers; how many there
    /// were, or none if there is no such worker.
    ///
    /// # Errors
    /// See [`RuntimeError`].
    pub async fn end_sessions(&self, places: &BTreeSet<Place>) -> Result<Option<usize>, RuntimeError> {
        let old = self.master.processes().await.map_err(RuntimeError::Master)?.old_workers;
        let mut ended = 0;
        for worker in &old {
            let table =
                self.master.table(&format!("@!{} show sess", worker.pid)).await.map_err(RuntimeError::Master)?;
            for session in with(&table, places) {
                let command = format!("@!{} shutdown session {session}", worker.pid);
                // One that has ended meanwhile is what was asked for.
                self.master.ask(&command, self.limit).await.map_err(RuntimeError::Master)?;
                ended += 1;
            }
        }
        Ok((!old.is_empty()).then_some(ended))
    }
}

/// The ids of sessions with one of `places`, from `show sess`.
fn with<'a>(table: &'a str, places: &BTreeSet<Place>) -> Vec<&'a str> {
    let session = |line: &'a str| {
        let (id, rest) = line.split_once(": ").filter(|(id, _)| id.starts_with("0x"))?;
        let value = |key| rest.split_ascii_whitespace().find_map(|field| field.strip_prefix(key));
        let (backend, server) = (value("be=")?, value("srv=")?);
        places.iter().any(|place| place.backend.as_str() == backend && place.server == server).then_some(id)
    };
    table.lines().filter_map(session).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::AppId;
    use crate::model::BackendId;

    #[test]
    fn sessions_are_found_by_backend_and_server() {
        let table = "0x55a9: proto=tcpv4 src=127.0.0.1:5 fe=f be=a_80 srv=s1 ts=00 epoch=0 age=1s calls=2\n\
                     0x55aa: proto=tcpv4 src=127.0.0.1:6 fe=f be=a_80 srv=s10 ts=00\n\
                     0x55ab: proto=tcpv4 src=127.0.0.1:7 fe=f be=b_80 srv=s1 ts=00\n\
                     0x55ac: proto=sockpair src=unix:2 fe=GLOBAL be=<NONE> srv=<none> ts=00\n\
                     odd: be=a_80 srv=s1\n\n";
        let backend = BackendId::new(&AppId::parse("/a").unwrap(), 80);
        let places = BTreeSet::from([Place { backend, server: "s1".to_owned() }]);
        assert_eq!(with(table, &places), ["0x55a9"]);
        assert!(with("Can't find the target PID\n", &places).is_empty());
    }
}
