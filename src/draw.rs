//! The draw: which agencies have ended, and which bets have won.
//!
//! Pure. Owns the ledger that the parent keeps, and the winners as a function of the bets. Used by the server and its
//! sessions. Knows neither files nor processes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use memchr::memmem;

use crate::bet::{AgencyId, Bet};
use crate::row;

/// The winning documents of each agency, in the order in which the bets were stored. Agencies without a winner are
/// missing.
pub type Winners = BTreeMap<AgencyId, Vec<u32>>;

/// Whether `bet` has the winning number.
pub fn has_won(bet: &Bet<'_>, winning_number: u32) -> bool {
    bet.number == winning_number
}

/// Adds the winners among `rows`, valid rows of `bets.csv`.
pub fn add_winners(rows: &[u8], winning_number: u32, winners: &mut Winners) {
    let ending = format!("{winning_number}\r\n");
    let ending = memmem::Finder::new(&ending);
    let mut rest = rows;
    // Another program may have quoted any part of a number, so a row with a quote may win whatever its last bytes are.
    while let Some(at) = memchr::memchr(b'"', rest) {
        let row = line_around(rest, at);
        add_unquoted(&rest[..row.start], &ending, winning_number, winners);
        add_if_won(&rest[row.clone()], winning_number, winners);
        rest = &rest[row.end..];
    }
    add_unquoted(rest, &ending, winning_number, winners);
}

/// Adds the winners among rows without quotes. They end with the digits of the winning number.
fn add_unquoted(rows: &[u8], ending: &memmem::Finder<'_>, winning_number: u32, winners: &mut Winners) {
    for at in ending.find_iter(rows) {
        add_if_won(&rows[line_around(rows, at)], winning_number, winners);
    }
}

fn add_if_won(row: &[u8], winning_number: u32, winners: &mut Winners) {
    // For most rows, the last field decides: this saves most of the work.
    if row::number(row).is_some_and(|number| number != winning_number) {
        return;
    }
    if let Some(bet) = row::parse(row).filter(|bet| has_won(bet, winning_number)) {
        winners.entry(bet.agency).or_default().push(bet.document);
    }
}

/// Where the line is that has the byte at `at`, which is not its line feed.
fn line_around(rows: &[u8], at: usize) -> Range<usize> {
    let start = memchr::memrchr(b'\n', &rows[..at]).map_or(0, |before| before + 1);
    let end = memchr::memchr(b'\n', &rows[at..]).map_or(rows.len(), |after| at + after + 1);
    start..end
}

/// The agencies among 1 to N that have ended, and whether the draw has been held.
#[derive(Debug, Clone)]
pub struct Ledger {
    agencies: u32,
    /// Shared with the children, which inherit it: a copy for each would cost more with each agency.
    ended: Rc<BTreeSet<AgencyId>>,
    drawn: bool,
}

impl Ledger {
    /// A ledger of the agencies 1 to `agencies`. With 0, every agency may bet and no draw is ever held.
    pub fn new(agencies: u32) -> Self {
        Self { agencies, ended: Rc::default(), drawn: false }
    }

    /// The agency with number `id`; `None` if it does not take part.
    pub fn knows(&self, id: u32) -> Option<AgencyId> {
        AgencyId::new(id).filter(|_| self.agencies == 0 || id <= self.agencies)
    }

    /// Records that `agency` has ended. A repetition changes nothing, nor does an agency that does not take part.
    pub fn end(&mut self, agency: AgencyId) {
        if self.knows(agency.get()).is_some() {
            // No copy: the parent's clones live only until the fork.
            Rc::make_mut(&mut self.ended).insert(agency);
        }
    }

    /// Records that the draw has been held, which is final.
    pub fn record_draw(&mut self) {
        self.drawn = true;
    }

    /// Whether `agency` has ended.
    pub fn has_ended(&self, agency: AgencyId) -> bool {
        self.ended.contains(&agency)
    }

    /// The number of agencies that have ended.
    pub fn ended(&self) -> usize {
        self.ended.len()
    }

    /// Whether the draw has been held.
    pub fn is_drawn(&self) -> bool {
        self.drawn
    }

    /// Whether the draw is due: every agency has ended, and it has not been held.
    pub fn is_due(&self) -> bool {
        !self.drawn && self.agencies > 0 && self.ended.len() as u64 == u64::from(self.agencies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u32) -> AgencyId {
        AgencyId::new(id).unwrap()
    }

    #[test]
    fn a_draw_is_due_when_n_different_agencies_have_ended() {
        let mut ledger = Ledger::new(2);
        for agency in [1, 1, 1, 3, u32::MAX] {
            ledger.end(id(agency));
            assert!(!ledger.is_due());
        }
        assert_eq!(ledger.ended(), 1);
        ledger.end(id(2));
        assert_eq!(ledger.ended(), 2);
        assert!(ledger.is_due() && ledger.has_ended(id(1)) && !ledger.has_ended(id(3)) && !ledger.is_drawn());
        ledger.record_draw();
        assert!(!ledger.is_due() && ledger.is_drawn());
    }

    #[test]
    fn with_0_agencies_everyone_may_bet_and_no_draw_is_due() {
        let mut ledger = Ledger::new(0);
        assert!(!ledger.is_due());
        ledger.end(id(7));
        assert!(ledger.knows(7).is_some() && ledger.knows(0).is_none() && !ledger.is_due());
        assert!(Ledger::new(5).knows(6).is_none());
    }

    #[test]
    fn agencies_take_part_up_to_their_number() {
        let ledger = Ledger::new(5);
        assert_eq!([0, 1, 5, 6].map(|number| ledger.knows(number)), [None, Some(id(1)), Some(id(5)), None]);
        assert_eq!([1, u32::MAX].map(|number| Ledger::new(0).knows(number)), [1, u32::MAX].map(|n| Some(id(n))));
    }

    #[test]
    fn winners_keep_order_and_repetitions_of_their_bets() {
        let row = |agency, document, number| format!("{agency},Ana,Paz,{document},1999-03-17,{number}\r\n");
        let blocks = [
            [row(2, 9, "7574"), row(1, 5, "7574"), row(1, 4, "757"), row(1, 4, "75741")].concat(),
            [row(2, 3, "07574"), row(2, 9, "\"7574\""), row(3, 9, "17574"), row(3, 9, "\"7575\"")].concat(),
        ];
        let mut winners = Winners::new();
        blocks.iter().for_each(|rows| add_winners(rows.as_bytes(), 7574, &mut winners));
        assert_eq!(winners, Winners::from([(id(1), vec![5]), (id(2), vec![9, 3, 9])]));
    }
}
