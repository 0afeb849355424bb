//! The memory of processes, from /proc.

use std::fs;

use crate::Result;

/// The memory of a process, in kB.
pub struct Memory {
    /// All its resident pages.
    pub resident: f64,
    /// Its private pages, and its share of the pages that it shares with others.
    pub proportional: f64,
    /// Its private pages.
    pub private: f64,
}

impl Memory {
    /// The memory of the process `pid`.
    pub fn of(pid: u32) -> Result<Self> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let field = |name: &str| -> Result<f64> {
            let value = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.strip_suffix("kB"));
            Ok(value.ok_or("smaps_rollup has an unknown form")?.trim().parse()?)
        };
        let private = field("Private_Clean")? + field("Private_Dirty")?;
        Ok(Self { resident: field("Rss")?, proportional: field("Pss")?, private })
    }
}
