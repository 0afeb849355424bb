//! A `bets.csv` of many agencies, as Python writes it, and the bets in it.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use loteria::agency::stop::StopSignal;
use loteria::bet::{AgencyId, Bet};
use loteria::row::Rows;

use crate::Result;

/// Rows that are formatted once and then repeated: a multiple of the number of agencies.
const REPEATED: u32 = 100_000;
const NAMES: [[&str; 2]; 4] =
    [["Santiago Lionel", "Lorca"], ["Agustín", "Zambrano"], ["Ana María", "Paz"], ["Zoë", "Núñez"]];

/// Writes about `bytes` bytes of whole rows to `path`, one row of each agency from 1 to `agencies` in turn, and syncs them.
pub fn write(path: &Path, agencies: u32, bytes: usize, stop: &StopSignal) -> Result<()> {
    let rows = (0..REPEATED).map(|n| bet(1 + n % agencies, n)).collect::<Result<Vec<_>>>()?;
    let rows: Rows = rows.iter().collect();
    let rows = rows.bytes();
    let mut file = File::create_new(path)?;
    for _ in 0..bytes / rows.len() {
        stop.check()?;
        file.write_all(rows)?;
    }
    let rest = &rows[..bytes % rows.len()];
    let whole = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    file.write_all(&rest[..whole])?;
    Ok(file.sync_all()?)
}

/// The bet number `n` of `agency`.
pub fn bet(agency: u32, n: u32) -> Result<Bet<'static>> {
    let names = NAMES[n as usize % NAMES.len()].map(str::as_bytes);
    Ok(Bet::new(id(agency)?, names, 10_000_000 + n * 397, b"1999-03-17", n % 10_000)?)
}

/// The id of `agency`.
pub fn id(agency: u32) -> Result<AgencyId> {
    AgencyId::new(agency).ok_or_else(|| "0 is not an agency".into())
}
