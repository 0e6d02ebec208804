//! The limit of open files, which HAProxy inherits and needs about twice per connection.

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The limit could not be raised as far as wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "open files are limited to {have}, wanted {wanted}: raise LimitNOFILE= (or ulimit -n), or lower haproxy.maxconn"
)]
pub struct NofileShort {
    /// What was asked for.
    pub wanted: u64,
    /// What it is now: as much as was allowed.
    pub have: u64,
    /// Why not more.
    pub source: Errno,
}

/// Raises this process's limit of open files to `wanted`, the hard one too where permitted; never
/// lowers it. Call before HAProxy is started as a child.
///
/// # Errors
/// When less was allowed; as much as possible has been raised then.
pub fn raise_nofile(wanted: u64) -> Result<u64, NofileShort> {
    let short = |have| move |source| NofileShort { wanted, have, source };
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(short(0))?;
    if soft >= wanted {
        return Ok(soft);
    }
    if let Err(source) = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)) {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(short(soft))?;
        return Err(NofileShort { wanted, have: hard, source });
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_never_lowered() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let wanted = (soft + 1).min(hard);
        assert_eq!(raise_nofile(wanted), Ok(wanted));
        assert_eq!(raise_nofile(10), Ok(wanted));
        // fs.nr_open is below this, so not even root may.
        let short = raise_nofile(1 << 40).unwrap_err();
        assert_eq!((short.wanted, short.have), (1 << 40, hard));
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, hard);
    }
}
