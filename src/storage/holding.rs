//! The steps of the draw, in the process that holds it.
//!
//! All agencies have ended, so nothing changes the rows or the ends any more. The process proves that the rows of every
//! agency are those of its end, writes the result, and only then the record that makes the result count.
//!
//! | step | remains if the process dies after this step |
//! |---|---|
//! | make the bets and all ends durable; plan the place of the result | ends |
//! | scan the bets and compare them with the ends | the same |
//! | write and sync the result | a result that does not count; the next process overwrites it |
//! | write and sync the record that the draw is held | a held draw; the next process only repeats the last step |
//! | record it in the head, and sync the books | the same |

use super::books::Entry;
use super::commit;
use super::draw_file::{self, ResultRecord, Unit};
use super::error::{Error, Result};
use super::files::{Files, valid_rows};
use super::record::Found;
use super::results::{self, Terms};
use super::slots::Slots;
use super::store::Store;
use crate::draw::{self, Winners};
use crate::row::Tally;

/// Holds the draw, which is final, unless it has been held.
///
/// # Errors
/// [`Error::Damaged`] if the rows of an agency are not those that it has ended with; [`Error::Sync`] if a sync fails;
/// [`Error::Io`] if another system call fails. Then the draw is not held.
pub fn hold(store: &Store, slots: &Slots, agencies: u32, winning_number: u32) -> Result<()> {
    if store.held()?.is_none() {
        let committed = store.lock()?.recovered_head()?.committed;
        let units = complete_units(store, slots)?;
        let winners = winners(store, slots, &units, committed, winning_number)?;
        write_result(store, slots, Terms { agencies, winning_number, committed }, &winners)?;
    }
    let Files { books, draw, paths, .. } = store.files();
    store.sync(draw, &paths.draw)?;
    store.lock()?.record_draw()?;
    store.sync(books, &paths.books)
}

/// Makes the bets and the ends of all agencies durable, and plans the place of the result. Returns the units by slot.
fn complete_units(store: &Store, slots: &Slots) -> Result<Vec<Found<Unit>>> {
    let Files { bets, draw, paths, .. } = store.files();
    let write = || Error::io("write", &paths.draw);
    store.sync(bets, &paths.bets)?;
    let offset = draw_file::result_offset(slots.count());
    ResultRecord::Planned { offset }.write(draw).map_err(write())?;
    let mut units = draw_file::units(draw, Some(offset)).map_err(Error::io("read", &paths.draw))?;
    units.resize(slots.count() as usize, Found::Blank);
    for slot in slots.iter() {
        let Entry { tally, is_closed, .. } = commit::read_slot(store.files(), slot)?.entry(slot.agency);
        let unit = &mut units[slot.number as usize];
        if is_closed && unit.valid().is_none() {
            let missing = Unit { agency: slot.agency, tally };
            missing.write(draw, slot.number).map_err(write())?;
            *unit = Found::Valid(missing);
        }
    }
    store.sync(draw, &paths.draw)?;
    Ok(units)
}

/// The winners among the first `committed` bytes, all rows of which must be those of `units`, or of agencies that do not
/// take part.
fn winners(store: &Store, slots: &Slots, units: &[Found<Unit>], committed: u64, number: u32) -> Result<Winners> {
    let Files { bets, paths, .. } = store.files();
    let mut winners = Winners::new();
    let mut add = |rows: &[u8]| draw::add_winners(rows, number, &mut winners);
    let tallies = valid_rows((bets, &paths.bets), committed, &|| false, &mut add)?;
    for slot in slots.iter() {
        let recorded = match units[slot.number as usize] {
            Found::Valid(unit) => unit.tally,
            _ => commit::read_slot(store.files(), slot)?.entry(slot.agency).tally,
        };
        tallies.compare(slot.agency, recorded, committed).map_err(|defect| Error::damaged(&paths.bets, defect))?;
    }
    if let Some(unknown) = tallies.agencies().into_iter().find(|&agency| slots.of(agency).is_none()) {
        let defect = tallies.compare(unknown, Tally::default(), committed);
        defect.map_err(|defect| Error::damaged(&paths.bets, defect))?;
    }
    Ok(winners)
}

fn write_result(store: &Store, slots: &Slots, terms: Terms, winners: &Winners) -> Result<()> {
    let Files { draw, paths, .. } = store.files();
    let write = || Error::io("write", &paths.draw);
    let result = results::encode(terms, winners, slots).map_err(write())?;
    let extent = results::write(draw, draw_file::result_offset(slots.count()), &result).map_err(write())?;
    store.sync(draw, &paths.draw)?;
    commit::check_not_doubtful(store.files())?;
    ResultRecord::Held(extent).write(draw).map_err(write())
}
