//! The small files beside `bets.csv`, as the heads of `ends.rs`, `results.rs` and `record.rs` describe them: read at once,
//! and mended so that their checksums fit.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use loteria::bet::AgencyId;
use loteria::storage::Terms;

use super::{crc32, number};

const END_LEN: usize = 12;
const DRAW_HEADER: usize = 8 + 4 + 4 + 8 + 4;
const DRAW_ENTRY: usize = 12;

/// The agencies in `ends`: every record of twelve bytes that checks.
pub fn ended(ends: &[u8]) -> BTreeSet<AgencyId> {
    let whole = ends.chunks(END_LEN).filter(|record| record.len() == END_LEN);
    whole
        .filter(|record| record.starts_with(b"FIN1") && number(&record[8..]) == u64::from(crc32(&record[..8])))
        .filter_map(|record| AgencyId::new(u32_of(&record[4..8])))
        .collect()
}

/// Gives every whole record its magic and its checksum.
pub fn mend_ends(ends: &mut [u8]) {
    for record in ends.chunks_mut(END_LEN).filter(|record| record.len() == END_LEN) {
        record[..4].copy_from_slice(b"FIN1");
        let checksum = crc32(&record[..8]);
        record[8..].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// A draw in which everything checks.
#[derive(Debug)]
pub struct Drawn {
    /// On what.
    pub terms: Terms,
    /// The documents of every agency that has an entry; of two entries the first one.
    pub winners: BTreeMap<u32, Vec<u32>>,
}

/// What `draw` holds: all of it checks, or it is none.
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
        // Only the first entry of an agency is ever looked at.
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

/// Gives a draw its magic and its checksums, as far as it goes.
pub fn mend_draw(draw: &mut [u8]) {
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

/// Where the index of a draw ends, if it is all there.
fn index(draw: &[u8]) -> Option<usize> {
    let index = DRAW_HEADER + DRAW_ENTRY * number(draw.get(DRAW_HEADER - 4..DRAW_HEADER)?) as usize;
    (index <= draw.len()).then_some(index)
}

/// The record that a server of this boot leaves in `bets.lock` for `bets`.
pub fn committed(bets: &Path, len: u64) -> std::io::Result<Vec<u8>> {
    let found = fs::metadata(bets)?;
    let boot = fs::read("/proc/sys/kernel/random/boot_id")?;
    let mut record = [b"LOTBETS1", &boot[..36]].concat();
    record.extend([found.dev(), found.ino(), len].into_iter().flat_map(u64::to_be_bytes));
    record.extend(crc32(&record).to_be_bytes());
    Ok(record)
}

fn u32_of(bytes: &[u8]) -> u32 {
    u32::try_from(number(bytes)).unwrap_or_default()
}
