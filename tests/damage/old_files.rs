//! Writes the files of the older version: `bets.lock`, `ends` and `draw`.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::books::seal;
use crate::support::*;

/// The files of the older version beside a `bets.csv`.
pub struct Old {
    lock: Vec<u8>,
    ends: Vec<u8>,
    draw: Vec<u8>,
}

impl Old {
    /// The record of the committed length names this boot and all bytes of `bets.csv`. No agency has ended.
    pub fn of_this_boot(setup: &Setup) -> Self {
        let bets = fs::metadata(setup.path("bets.csv")).unwrap();
        let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap();
        let numbers = [bets.dev(), bets.ino(), bets.len()].map(u64::to_be_bytes).concat();
        let mut lock = [b"LOTBETS1", &boot[..36], &numbers, &[0; 4]].concat();
        seal(&mut lock);
        Self { lock, ends: Vec::new(), draw: Vec::new() }
    }

    /// The record is of another boot.
    pub fn of_another_boot(mut self) -> Self {
        self.lock[8..44].copy_from_slice(crate::support::books::ANOTHER_BOOT.as_bytes());
        seal(&mut self.lock);
        self
    }

    /// These agencies have ended.
    pub fn ended(mut self, agencies: &[u32]) -> Self {
        for agency in agencies {
            let mut record = [&b"FIN1"[..], &agency.to_be_bytes(), &[0; 4]].concat();
            seal(&mut record);
            self.ends.extend(record);
        }
        self
    }

    /// The draw is held, among `agencies` agencies on `number`, with these winners.
    pub fn drawn(mut self, agencies: u32, number: u32, committed: u64, winners: &[(u32, Vec<u32>)]) -> Self {
        let entries = u32::try_from(winners.len()).unwrap().to_be_bytes();
        let terms = [agencies.to_be_bytes(), number.to_be_bytes()].concat();
        let mut index = [b"LOTDRAW1", &terms[..], &committed.to_be_bytes(), &entries].concat();
        let mut documents = Vec::new();
        for (agency, own) in winners {
            let bytes: Vec<u8> = own.iter().copied().flat_map(u32::to_be_bytes).collect();
            let count = u32::try_from(own.len()).unwrap();
            index.extend([*agency, count, crc32fast::hash(&bytes)].map(u32::to_be_bytes).concat());
            documents.extend(bytes);
        }
        index.extend([0; 4]);
        seal(&mut index);
        self.draw = [index, documents].concat();
        self
    }

    /// Writes the files, and the empty `server.lock` of a server that was stopped.
    pub fn write(&self, setup: &Setup) {
        for (name, bytes) in [("bets.lock", &self.lock), ("ends", &self.ends), ("draw", &self.draw)] {
            fs::write(setup.path(name), bytes).unwrap();
        }
        fs::write(setup.path("server.lock"), "4711\n").unwrap();
    }
}
