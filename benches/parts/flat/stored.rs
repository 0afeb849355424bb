//! A `bets.csv` of many agencies, as Python writes it.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::Result;
use crate::stop::Stop;
use crate::traffic::wire;

/// Rows that follow each other and belong to one agency, as after a batch.
const RUN: u32 = 100;
/// Least rows that are formatted once and then repeated.
const REPEATED: u32 = 100_000;

/// Writes `bets` rows to `path`, [`RUN`] of each agency from 1 to `agencies` in turn, and syncs them. None of them wins.
pub fn write(path: &Path, agencies: u32, bets: u32, stop: &Stop) -> Result<()> {
    let row = |n| wire::made_up(n % REPEATED).row(1 + n / RUN % agencies);
    // A multiple of all agencies' runs, so that the repetitions continue each other.
    let cycle = (agencies * RUN).max(REPEATED);
    let rows: Vec<String> = (0..cycle.min(bets)).map(row).collect();
    let text = rows.concat();
    let mut file = File::create_new(path)?;
    for _ in 0..bets / cycle {
        stop.check()?;
        file.write_all(text.as_bytes())?;
    }
    file.write_all(rows[..(bets % cycle) as usize].concat().as_bytes())?;
    Ok(file.sync_all()?)
}
