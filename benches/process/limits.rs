//! The limit of open descriptors, which this process and the servers that it starts share.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::Result;

/// Most descriptors that the benchmark asks for: two for each of 10,000 agencies, and some more.
const WISHED: u64 = 24_000;

/// Raises the limit as far as it is allowed, at most to what the largest part needs. Returns the limit.
pub fn raise_descriptors() -> Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Only a privileged process may raise the hard limit. The others use the one that they have.
    if setrlimit(Resource::RLIMIT_NOFILE, soft.max(WISHED), hard.max(WISHED)).is_err() {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}
