//! The names of the files of one lottery.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The paths of one lottery's files, all in the directory of `bets.csv`.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The bets. Everything else can be derived from them, or protects them.
    pub bets: PathBuf,
    /// The data lock, which also holds the record of the committed length.
    pub lock: PathBuf,
    /// The agencies that have ended.
    pub ends: PathBuf,
    /// The result of the draw; empty before the draw.
    pub draw: PathBuf,
    /// Locked by the server, and by each of its children, until the last of them is gone.
    pub server_lock: PathBuf,
    /// Bytes past the committed length that a start found and moved here.
    pub rejected: PathBuf,
}

impl Paths {
    /// The paths around the file of the bets.
    pub fn beside(bets: &Path) -> Self {
        let mut rejected = bets.as_os_str().to_owned();
        rejected.push(".rejected");
        Self {
            bets: bets.to_owned(),
            lock: bets.with_extension("lock"),
            ends: bets.with_file_name("ends"),
            draw: bets.with_file_name("draw"),
            server_lock: bets.with_file_name("server.lock"),
            rejected: rejected.into(),
        }
    }

    /// Whether no two paths are the same, which depends on the name of the file of the bets.
    pub fn are_distinct(&self) -> bool {
        let paths = [&self.bets, &self.lock, &self.ends, &self.draw, &self.server_lock, &self.rejected];
        BTreeSet::from(paths).len() == paths.len()
    }
}
