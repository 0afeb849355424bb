//! The conversion of a lottery that an older version of this server left.
//!
//! The older ends have no tallies. So their units are computed from the rows that the older version would have counted: in
//! the same boot those up to the committed length, otherwise the longest run of valid rows.

use super::adoption::OnDisk;
use super::commit::LARGEST_GROUP;
use super::draw_file::{Unit, result_offset};
use super::error::{Defect, Error, Result};
use super::files::{StopCheck, valid_rows};
use super::identity::Identity;
use super::older::{Committed, Lottery};
use super::plan::{Content, Loss, Plan, Rows};
use super::results::{self, Terms};
use super::slots::{Slot, Slots};
use super::tallies::Tallies;
use crate::bet::AgencyId;
use crate::draw::{self, Winners};

const ROWS_ARE_LOST: &str =
    "committed rows are lost, so no end counts: the client must send the rest and the end again";

/// The plan of a conversion. `agencies` is CLIENT_AMOUNT.
///
/// # Errors
/// [`Error::Damaged`] if `draw` is neither empty nor a valid result, or if the rows are not those of the result;
/// [`Error::NotAStore`] if `bets.csv` or `ends` belongs to another program; [`Error::Stopped`] if `stop` returns true;
/// [`Error::Io`] if a system call fails.
pub fn plan(on_disk: &OnDisk<'_>, agencies: u32, stop: StopCheck<'_>) -> Result<Plan> {
    let OnDisk { paths, bets, len, boot, .. } = *on_disk;
    let identity = Identity::of(&bets.metadata().map_err(Error::io("stat", &paths.bets))?);
    let lottery = Lottery::read(paths, identity, boot)?;
    let (tallies, winners) = count(on_disk, &lottery, stop)?;
    if tallies.len() == 0 && len > LARGEST_GROUP {
        return Err(Error::NotAStore { path: paths.bets.clone() });
    }
    let content = match &lottery.drawn {
        Some((terms, drawn)) => {
            let found = tallies.len();
            if found < terms.committed {
                let defect = Defect::Short { len: found, committed: terms.committed };
                return Err(Error::damaged(&paths.bets, defect));
            }
            if winners != *drawn {
                return Err(Error::damaged(&paths.draw, Defect::Result));
            }
            held(*terms, &winners, &lottery, &tallies).map_err(Error::io("encode", &paths.draw))?
        }
        None => open(&lottery, &tallies, agencies),
    };
    Ok(Plan {
        rows: (tallies.len() < len).then_some(Rows::Cut(tallies.len())),
        losses: losses(&lottery, &content, &tallies),
        draw: Some(content),
        renames_older: true,
        ..Plan::default()
    })
}

/// The rows that count, and the winners among them if the draw is held.
fn count(on_disk: &OnDisk<'_>, lottery: &Lottery, stop: StopCheck<'_>) -> Result<(Tallies, Winners)> {
    let OnDisk { paths, bets, len, .. } = *on_disk;
    let committed = match lottery.committed {
        Committed::At(offset) | Committed::AtMost(offset) => offset,
        Committed::Unknown => len,
    };
    let terms = lottery.drawn.as_ref().map(|(terms, _)| *terms);
    let to = terms.map_or(committed, |terms| terms.committed).min(len);
    let mut winners = Winners::new();
    let mut add =
        |rows: &[u8]| terms.iter().for_each(|terms| draw::add_winners(rows, terms.winning_number, &mut winners));
    let tallies = valid_rows((bets, &paths.bets), to, stop, &mut add)?;
    Ok((tallies, winners))
}

/// A held draw. Nobody can bet any more, so all agencies have ended.
fn held(terms: Terms, winners: &Winners, lottery: &Lottery, tallies: &Tallies) -> std::io::Result<Content> {
    let mut slots = slots(terms.agencies, lottery);
    tallies.agencies().into_iter().for_each(|agency| _ = slots.assign(agency));
    let result = results::encode(terms, winners, &slots)?;
    let units = units(slots.iter(), tallies);
    Ok(Content { began: None, units, result: Some((result_offset(slots.count()), result)) })
}

/// A draw that is not held: the agencies that have ended have all their rows, unless committed rows are lost.
fn open(lottery: &Lottery, tallies: &Tallies, agencies: u32) -> Content {
    let are_lost = matches!(lottery.committed, Committed::At(committed) if tallies.len() < committed);
    let slots = slots(agencies, lottery);
    let ended = slots.iter().filter(|slot| !are_lost && lottery.ended.contains(&slot.agency));
    Content { began: None, units: units(ended, tallies), result: None }
}

/// The slots of agencies 1 to `agencies`, and of those that have ended.
fn slots(agencies: u32, lottery: &Lottery) -> Slots {
    let mut slots = Slots::default();
    let known = (1..=agencies).map_while(AgencyId::new).chain(lottery.ended.iter().copied());
    let _ = known.map(|agency| slots.assign(agency)).find(Option::is_none);
    slots
}

fn units(slots: impl Iterator<Item = Slot>, tallies: &Tallies) -> Vec<(u32, Unit)> {
    slots.map(|Slot { agency, number }| (number, Unit { agency, tally: tallies.of(agency) })).collect()
}

/// The agencies whose ends do not count.
fn losses(lottery: &Lottery, content: &Content, tallies: &Tallies) -> Vec<Loss> {
    if !content.units.is_empty() {
        return Vec::new();
    }
    let loss = |&agency| Loss { agency: Some(agency), kept: tallies.of(agency).count, reason: ROWS_ARE_LOST };
    lottery.ended.iter().map(loss).collect()
}
