//! The repair of a lottery whose draw is held.
//!
//! The result is final. So it is drawn again from the rows, and only if its CRC-32 is that of the held record, the files
//! are repaired from it. Otherwise nothing is changed.

use super::adoption::OnDisk;
use super::draw_file::{Extent, Unit};
use super::error::{Error, Result};
use super::evidence::Evidence;
use super::files::{StopCheck, valid_rows};
use super::plan::{Content, Plan, Rows};
use super::record::Found;
use super::results::{self, Terms};
use super::slots::{Slot, Slots};
use super::survey::Survey;
use crate::bet::AgencyId;
use crate::draw::{self, Winners};

/// The conditions of a draw, as far as the settings have them.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// CLIENT_AMOUNT.
    pub agencies: u32,
    /// LOTTERY_WINNER_NUMBER.
    pub winning_number: u32,
}

/// The plan, if the rows and the held record are undamaged. Otherwise returns `refusal`, the reason why a start refuses the
/// files.
///
/// # Errors
/// `refusal`; [`Error::Stopped`] if `stop` returns true; [`Error::Io`] if a system call fails.
pub fn plan(
    on_disk: &OnDisk<'_>,
    evidence: &Evidence<'_>,
    extent: Extent,
    settings: Settings,
    refusal: Error,
    stop: StopCheck<'_>,
) -> Result<Plan> {
    let OnDisk { paths, bets, draw, len, .. } = *on_disk;
    let Some(draw) = draw else { return Err(refusal) };
    let read = || Error::io("read", &paths.draw);
    let Settings { agencies, winning_number } = settings;
    let recorded = results::terms(draw, extent).map_err(read())?;
    let limit = recorded.map_or(evidence.limit, |terms| terms.committed).min(len);
    let survey = Survey::take(bets, &paths.bets, [len, limit], stop)?;
    let committed = limit.min(survey.front);
    let terms = recorded.unwrap_or(Terms { agencies, winning_number, committed });
    if committed < terms.committed || !rows_are_those_of_the_ends(evidence, &survey) {
        return Err(refusal);
    }
    let slots = all_slots(evidence, &survey, terms.agencies);
    let mut winners = Winners::new();
    let mut add = |rows: &[u8]| draw::add_winners(rows, terms.winning_number, &mut winners);
    valid_rows((bets, &paths.bets), committed, stop, &mut add)?;
    let result = results::encode(terms, &winners, &slots).map_err(Error::io("encode", &paths.draw))?;
    if (crc32fast::hash(&result), result.len() as u64) != (extent.crc, extent.len) {
        return Err(refusal);
    }
    let is_whole = results::verify(draw, extent).map_err(read())?.is_some()
        && evidence.began.is_some()
        && !evidence.units.contains(&Found::Damaged)
        && slots.iter().all(|slot| evidence.units.get(slot.number as usize).is_some_and(|unit| unit.valid().is_some()));
    let content = || {
        let unit = |slot: Slot| (slot.number, Unit { agency: slot.agency, tally: survey.of(slot.agency).front });
        let units = slots.iter().map(unit).collect();
        Content { began: evidence.began, units, result: Some((extent.offset, result)) }
    };
    Ok(Plan {
        rows: (committed < len).then_some(Rows::Cut(committed)),
        draw: (!is_whole).then(content),
        removes_books: true,
        ..Plan::default()
    })
}

/// Whether the rows that took part in the draw are those of every end that can be read.
fn rows_are_those_of_the_ends(evidence: &Evidence<'_>, survey: &Survey) -> bool {
    evidence.valid_units().all(|(_, Unit { agency, tally })| survey.of(agency).front == tally)
}

/// The slots that the draw has used: those of the ends and of the books, and then as a start gives them.
fn all_slots(evidence: &Evidence<'_>, survey: &Survey, agencies: u32) -> Slots {
    let mut slots = Slots::default();
    for (number, unit) in evidence.valid_units() {
        slots.keep(Slot { agency: unit.agency, number });
    }
    for (number, entry) in evidence.entries() {
        slots.keep(Slot { agency: entry.agency, number });
    }
    let mut with_rows: Vec<_> = survey.agencies().filter(|&agency| survey.of(agency).front.count > 0).collect();
    with_rows.sort_unstable();
    let known = (1..=agencies).map_while(AgencyId::new).chain(with_rows);
    let _ = known.map(|agency| slots.assign(agency)).find(Option::is_none);
    slots
}
