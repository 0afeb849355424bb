//! Other stores for the same bets: Redis and PostgreSQL, if they are installed. Each has a temporary directory and a port
//! of its own, and is driven by clients over the wire, without a library.
//!
//! | module | owns |
//! |---|---|
//! | `redis` | Redis with an append-only file: one RPUSH per batch |
//! | `postgres` | PostgreSQL: one COPY per batch |

mod postgres;
mod redis;

use std::path::{Path, PathBuf};

pub use self::postgres::{Commit, Postgres};
pub use self::redis::Redis;

/// A program in one of the directories of `PATH`.
fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| is_file(file))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}
