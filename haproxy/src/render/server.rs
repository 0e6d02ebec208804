//! The words that describe a server: on its line in the file, and after `add server`.
//!
//! Used by `render` for the file and by `diff` for the runtime API, so that a server is the same
//! whichever way it came.

use std::fmt::Write as _;

use crate::model::{Admin, Backend, Server, Weight};
use crate::names;

/// The whole line after the word `server`. Text and not values for the template, because in a large
/// configuration nearly all lines are servers and values take three times as long.
pub(crate) fn line(backend: &Backend, server: &Server) -> String {
    match server.admin {
        Admin::Ready => words(backend, server),
        // The file knows no other word for it.
        Admin::Drain => words(backend, &Server { weight: Weight::NONE, ..server.clone() }),
        Admin::Maint => words(backend, server) + " disabled",
    }
}

/// Name, address, id and options, whatever the server is let do.
pub(crate) fn words(backend: &Backend, server: &Server) -> String {
    // Long enough for most, as what grows is copied. Writing to a String cannot fail.
    let mut line = String::with_capacity(server.name.len() + 96);
    let _ = write!(line, "{} {} id {}", server.name, server.addr, server.id);
    if server.weight != Weight::default() {
        let _ = write!(line, " weight {}", server.weight.get());
    }
    if backend.sticky {
        line.push_str(" cookie ");
        line.push_str(&names::cookie(&server.name));
    }
    add_shared(&mut line, backend);
    let port = server.check_port.or_else(|| backend.check.as_ref()?.port).filter(|_| is_checked(backend));
    if let Some(port) = port {
        let _ = write!(line, " port {port}");
    }
    line
}

/// The words that all servers of a backend share.
pub(crate) fn shared(backend: &Backend) -> String {
    let mut words = String::new();
    add_shared(&mut words, backend);
    words
}

fn add_shared(line: &mut String, backend: &Backend) {
    match &backend.check {
        None if backend.sticky => line.push_str(" check"),
        None => (),
        Some(check) => {
            let _ = write!(line, " check inter {}s fall {}", check.interval.as_secs(), check.fall);
            if check.http.as_ref().is_some_and(|http| http.tls) {
                line.push_str(" check-ssl verify none");
            }
        }
    }
}

/// Whether HAProxy checks the servers of `backend` itself.
pub(crate) fn is_checked(backend: &Backend) -> bool {
    backend.check.is_some() || backend.sticky
}
