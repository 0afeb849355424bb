//! The small files next to `bets.csv`, as the module comments of `ends.rs`, `results.rs` and `record.rs` describe them.
//! Reads each file at once. Can also repair the checksums of a file.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use loteria::bet::AgencyId;
use loteria::storage::Terms;

use super::numbers::{crc32, number};

const END_LEN: usize = 12;
const DRAW_HEADER: usize = 8 + 4 + 4 + 8 + 4;
const DRAW_ENTRY: usize = 12;

/// The agencies in `ends`: those of every record of twelve bytes with a valid checksum.
pub fn ended(ends: &[u8]) -> BTreeSet<AgencyId> {
    let whole = ends.chunks(END_LEN).filter(|record| record.len() == END_LEN);
    whole
        .filter(|record| record.starts_with(b"FIN1") && number(&record[8..]) == u64::from(crc32(&record[..8])))
        .filter_map(|record| AgencyId::new(u32_of(&record[4..8])))
        .collect()
}

/// Writes the magic and the checksum into every whole record.
pub fn repair_ends(ends: &mut [u8]) {
    for record in ends.chunks_mut(END_LEN).filter(|record| record.len() == END_LEN) {
        record[..4].copy_from_slice(b"FIN1");
        let checksum = crc32(&record[..8]);
        record[8..].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// A draw whose checksums are all valid.
#[derive(Debug)]
pub struct Drawn {
    /// The terms of the draw.
    pub terms: Terms,
    /// The documents for every agency that has an entry. If an agency has two entries, its first one.
    pub winners: BTreeMap<u32, Vec<u32>>,
}

/// The draw in `draw`. `None` if one of its checksums is wrong.
pub fn drawn(draw: &[u8]) -> Option<Drawn> {
    let index = index(draw)?;
    let checksum = draw.get(index..index + 4)?;
    if !draw.starts_with(b"LOTDRAW1") || number(checksum) != u64::from(crc32(&draw[..index])) {
        return None;
    }
    let mut winners = BTreeMap::new();
    let mut at = index + 4;
    for entry in draw[DRAW_HEADER..index].chunks(DRAW_ENTRY) {
        let len = 4 * u32_of(&entry[4..8]) as usize;
        // The server reads only the first entry of an agency.
        if let Entry::Vacant(place) = winners.entry(u32_of(&entry[..4])) {
            let documents = draw.get(at..at + len).filter(|documents| crc32(documents) == u32_of(&entry[8..]))?;
            place.insert(documents.chunks(4).map(u32_of).collect());
        }
        at += len;
    }
    let terms = Terms {
        agencies: u32_of(&draw[8..12]),
        winning_number: u32_of(&draw[12..16]),
        committed: number(&draw[16..24]),
    };
    Some(Drawn { terms, winners })
}

/// Writes the magic and the checksums into a draw, as far as it is complete.
pub fn repair_draw(draw: &mut [u8]) {
    let Some(index) = index(draw) else { return };
    draw[..8].copy_from_slice(b"LOTDRAW1");
    let mut at = index + 4;
    for entry in (DRAW_HEADER..index).step_by(DRAW_ENTRY) {
        let len = 4 * u32_of(&draw[entry + 4..entry + 8]) as usize;
        let Some(checksum) = draw.get(at..at + len).map(crc32) else { break };
        draw[entry + 8..entry + 12].copy_from_slice(&checksum.to_be_bytes());
        at += len;
    }
    let checksum = crc32(&draw[..index]);
    if let Some(place) = draw.get_mut(index..index + 4) {
        place.copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The end of the index of a draw; `None` if the index is incomplete.
fn index(draw: &[u8]) -> Option<usize> {
    let index = DRAW_HEADER + DRAW_ENTRY * number(draw.get(DRAW_HEADER - 4..DRAW_HEADER)?) as usize;
    (index <= draw.len()).then_some(index)
}

/// The record that a server writes into `bets.lock` for `bets` since the last boot.
pub fn committed(bets: &Path, len: u64) -> std::io::Result<Vec<u8>> {
    let found = fs::metadata(bets)?;
    let boot = fs::read("/proc/sys/kernel/random/boot_id")?;
    let mut record = [b"LOTBETS1", &boot[..36]].concat();
    record.extend([found.dev(), found.ino(), len].into_iter().flat_map(u64::to_be_bytes));
    record.extend(crc32(&record).to_be_bytes());
    Ok(record)
}

fn u32_of(bytes: &[u8]) -> u32 {
    u32::try_from(number(bytes)).unwrap()
}
