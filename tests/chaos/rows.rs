//! Synthetic rows of agencies, and how a client may cut them into batches, from the protocol's description.

use std::ops::RangeInclusive;

use fastrand::Rng;

use crate::support::WINNING;

/// Most bytes of a batch, and those of its header.
const MAX_PACKET: usize = 8000;
const HEADER: usize = 6;

/// One bet.
pub struct Row {
    /// As it stands in the agency's file, and after the agency's number in `bets.csv`.
    pub text: String,
    pub document: u32,
    pub wins: bool,
    /// Bytes in a batch.
    len: usize,
}

const FIRST: [&str; 8] = ["Ana", "Ñandú", "O'Brien", "Ana \"La\"", "Zoë María", "José", "=cmd()", "Santiago Lionel"];
const LAST: [&str; 8] = ["Paz", "Pérez, Ana", "Lorca", "\"", "Núñez; a:b|c=d", "de la Cruz y Fernández", "Li", ","];

/// Some agencies have none, most have `many`.
pub fn of_agency(many: RangeInclusive<u16>, random: &mut Rng) -> Vec<Row> {
    let rows = match random.u8(..10) {
        0 => 0,
        1 => random.u16(1..=20),
        _ => random.u16(many),
    };
    (0..rows).map(|_| Row::any(random)).collect()
}

impl Row {
    fn any(random: &mut Rng) -> Self {
        let (first, last) = (FIRST[random.usize(..FIRST.len())], LAST[random.usize(..LAST.len())]);
        let document = random.u32(..60_000_000);
        let number = match random.u8(..8) {
            0 => WINNING,
            // Torn after four digits, it would win.
            1..4 => WINNING * 10 + random.u32(..10),
            _ => random.u32(..10_000),
        };
        let birthdate = format!("19{:02}-{:02}-{:02}", random.u8(20..=99), random.u8(1..=12), random.u8(1..=28));
        let text = format!("{},{},{document},{birthdate},{number}", quoted(first), quoted(last));
        let len = first.len() + 1 + last.len() + 1 + 4 + birthdate.len() + 1 + 4;
        Self { text, document, wins: number == WINNING, len }
    }

    /// As it stands in `bets.csv`.
    pub fn stored(&self, agency: usize) -> String {
        format!("{agency},{}\r\n", self.text)
    }
}

/// Quoted as by Python's csv.QUOTE_MINIMAL.
fn quoted(field: &str) -> String {
    if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

/// The file of an agency.
pub fn file(rows: &[Row]) -> String {
    rows.iter().map(|row| format!("{}\n", row.text)).collect()
}

/// The documents that win, in order.
pub fn winners(rows: &[Row]) -> Vec<u32> {
    rows.iter().filter(|row| row.wins).map(|row| row.document).collect()
}

/// The possible numbers of rows after whole batches: the sums of the first 0, 1, 2, … batches.
pub fn batch_ends(rows: &[Row], max_amount: u8) -> Vec<u64> {
    let (mut ends, mut bets, mut bytes) = (vec![0], 0, HEADER);
    for (index, row) in (0..).zip(rows) {
        if bets == u32::from(max_amount) || bytes + row.len > MAX_PACKET {
            ends.push(index);
            (bets, bytes) = (0, HEADER);
        }
        bets += 1;
        bytes += row.len;
    }
    ends.push(rows.len() as u64);
    ends
}
