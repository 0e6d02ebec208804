//! The limit of open files: a simulator holds one per listener and client.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, and the hard one to `wanted` where that is allowed; returns what holds then.
///
/// # Errors
/// A sentence for the user when fewer than `wanted` are left.
pub fn raise_open_files(wanted: u64) -> Result<u64, String> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|error| format!("read RLIMIT_NOFILE: {error}"))?;
    let target = hard.max(wanted);
    let reached = match setrlimit(Resource::RLIMIT_NOFILE, target, target) {
        Ok(()) => target,
        Err(_) => {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(|error| format!("set RLIMIT_NOFILE: {error}"))?;
            hard
        }
    };
    if reached < wanted {
        return Err(format!("only {reached} open files allowed, {wanted} wanted: raise `ulimit -n`"));
    }
    Ok(reached)
}
