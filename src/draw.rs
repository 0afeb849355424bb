//! The draw: who has ended, and who has won.
//!
//! Pure. Owns the ledger that the parent keeps, and winners as a function of bets. Used by the server; knows neither
//! files nor processes.

use std::collections::{BTreeMap, BTreeSet};

use crate::bet::{AgencyId, Bet};

/// The documents that won at each agency, in the order in which their bets were stored; agencies without any are not
/// in it.
pub type Winners = BTreeMap<AgencyId, Vec<u32>>;

/// Whether `bet` is on the winning number.
pub fn has_won(bet: &Bet, winning_number: u32) -> bool {
    bet.number == winning_number
}

/// The winners among `bets`.
///
/// # Errors
/// The first error among them.
pub fn winners<E>(bets: impl IntoIterator<Item = Result<Bet, E>>, winning_number: u32) -> Result<Winners, E> {
    let mut winners = Winners::new();
    for bet in bets {
        let bet = bet?;
        if has_won(&bet, winning_number) {
            winners.entry(bet.agency).or_default().push(bet.document);
        }
    }
    Ok(winners)
}

/// Which of the agencies 1 to N have ended, each once; and whether the draw has been held.
#[derive(Debug, Clone)]
pub struct Ledger {
    agencies: u32,
    ended: BTreeSet<AgencyId>,
    drawn: bool,
}

impl Ledger {
    /// For agencies 1 to `agencies`; with 0, every agency may bet and no draw is ever held.
    pub fn new(agencies: u32) -> Self {
        Self { agencies, ended: BTreeSet::new(), drawn: false }
    }

    /// Whether `id` takes part.
    pub fn knows(&self, id: u32) -> Option<AgencyId> {
        AgencyId::new(id).filter(|_| self.agencies == 0 || id <= self.agencies)
    }

    /// Notes that `agency` has ended; again, or of an agency that takes no part, changes nothing.
    pub fn end(&mut self, agency: AgencyId) {
        if self.knows(agency.get()).is_some() {
            self.ended.insert(agency);
        }
    }

    /// Notes that the draw has been held: final.
    pub fn hold_draw(&mut self) {
        self.drawn = true;
    }

    /// Whether `agency` has ended.
    pub fn has_ended(&self, agency: AgencyId) -> bool {
        self.ended.contains(&agency)
    }

    /// How many agencies have ended.
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
    fn the_draw_is_due_once_n_different_agencies_have_ended() {
        let mut ledger = Ledger::new(2);
        for agency in [1, 1, 1, 3, u32::MAX] {
            ledger.end(id(agency));
            assert!(!ledger.is_due());
        }
        ledger.end(id(2));
        assert!(ledger.is_due() && ledger.has_ended(id(1)) && !ledger.has_ended(id(3)));
        ledger.hold_draw();
        assert!(!ledger.is_due() && ledger.is_drawn());
    }

    #[test]
    fn without_agencies_everybody_may_bet_and_no_draw_is_due() {
        let mut ledger = Ledger::new(0);
        ledger.end(id(7));
        assert!(ledger.knows(7).is_some() && ledger.knows(0).is_none() && !ledger.is_due());
        assert!(Ledger::new(5).knows(6).is_none());
    }

    #[test]
    fn winners_keep_the_order_of_the_bets_and_their_repetitions() {
        let bet = |agency, document, number| {
            Bet::new(id(agency), [b"Ana", b"Paz"], document, b"1999-03-17", number).map_err(|_| ())
        };
        let bets = [bet(2, 9, 7574), bet(1, 5, 7574), bet(1, 4, 757), bet(2, 3, 7574), bet(2, 9, 7574)];
        let winners = winners(bets, 7574).unwrap();
        assert_eq!(winners, Winners::from([(id(1), vec![5]), (id(2), vec![9, 3, 9])]));
        assert!(!winners.contains_key(&id(3)));
    }
}
