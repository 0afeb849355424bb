//! The content of a damaged file, as a pure function of the sound one.

use std::ops::Range;

use crate::plan::Damage;
use crate::support::books::{BOOKS_HEADER, Books, Draw, HEADS};

/// The sound files.
pub struct Found<'a> {
    /// The file that is to be damaged.
    pub bytes: Option<&'a [u8]>,
    pub draw: Option<Draw>,
    /// Whether `books` proves the rows of all agencies; otherwise only ends prove their own.
    pub is_proved: bool,
    /// An earlier content of `draw`.
    pub older: &'a Option<Vec<u8>>,
}

/// The damaged content, `Some(None)` for a removed file; `None` if there is nothing to be damaged. `pick` selects the place.
pub fn spoiled(damage: Damage, found: Found<'_>, pick: usize) -> Option<Option<Vec<u8>>> {
    let sound = found.bytes?;
    let bytes = match damage {
        Damage::BetsCut => sound[..pick.checked_rem(sound.len())?].to_vec(),
        Damage::BetsDigit => {
            let row = one_of(proved_rows(sound, &found), pick)?;
            // Not the agency's number: nothing would prove the row's new agency.
            let begin = row.start + sound[row.clone()].iter().position(|&byte| byte == b',')?;
            let digit = one_of((begin..row.end).filter(|&at| sound[at].is_ascii_digit()).collect(), pick / 7)?;
            changed(sound, digit, if sound[digit] == b'9' { b'0' } else { sound[digit] + 1 })
        }
        Damage::BetsRow => {
            let row = one_of(proved_rows(sound, &found), pick)?;
            [&sound[..row.start], &sound[row.end..]].concat()
        }
        // The last digit of the number.
        Damage::BetsByte => changed(sound, one_of(rows(sound), pick)?.end - 3, 0),
        Damage::DrawUnit => {
            let draw = found.draw?;
            let units = (0..sound.len() / 32).filter(|&n| draw.unit(n).is_some()).map(Draw::unit_range);
            flipped(sound, one_of(units.collect(), pick)?, pick / 7)
        }
        Damage::DrawOlder => found.older.clone()?,
        Damage::BooksBit => {
            let books = Books(sound.to_vec());
            let slots = (0..books.slots()).flat_map(Books::slot_halves).filter(|half| half.end <= sound.len());
            let records = [BOOKS_HEADER].into_iter().chain(HEADS).chain(slots);
            flipped(sound, one_of(records.collect(), pick)?, pick / 7)
        }
        Damage::DrawRemoved | Damage::BooksRemoved => return Some(None),
    };
    (bytes != sound).then_some(Some(bytes))
}

/// The whole rows.
fn rows(bets: &[u8]) -> Vec<Range<usize>> {
    let ends = bets.windows(2).enumerate().filter(|(_, pair)| *pair == b"\r\n").map(|(at, _)| at + 2);
    let mut begin = 0;
    ends.map(|end| std::mem::replace(&mut begin, end)..end).collect()
}

/// The whole rows whose change is noticed: those of agencies that are proved.
fn proved_rows(bets: &[u8], found: &Found<'_>) -> Vec<Range<usize>> {
    let units = found.draw.iter().flat_map(|draw| (0..draw.0.len() / 32).filter_map(|n| draw.unit(n)));
    let ended: Vec<_> = units.map(|unit| format!("{},", unit.agency)).collect();
    let is_proved =
        |row: &Range<usize>| found.is_proved || ended.iter().any(|own| bets[row.clone()].starts_with(own.as_bytes()));
    rows(bets).into_iter().filter(is_proved).collect()
}

fn one_of<T: Clone>(all: Vec<T>, pick: usize) -> Option<T> {
    all.get(pick.checked_rem(all.len())?).cloned()
}

fn changed(bytes: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at] = byte;
    changed
}

/// With another bit in a record.
fn flipped(bytes: &[u8], record: Range<usize>, pick: usize) -> Vec<u8> {
    let bit = pick % (8 * record.len());
    changed(bytes, record.start + bit / 8, bytes[record.start + bit / 8] ^ (1 << (bit % 8)))
}
