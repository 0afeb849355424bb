//! Which slot belongs to which agency.
//!
//! The parent makes the table at start, and a child inherits it. With CLIENT_AMOUNT=0, the parent adds each agency that
//! it has not seen before. A number stays the same as long as the server runs, and an agency that has ended keeps it for
//! ever, because its unit is at that place.

use std::collections::HashMap;

use crate::bet::AgencyId;

/// Most agencies of a lottery. Their books have 128 MB.
pub const MOST: u32 = 1_000_000;

/// The slot of one agency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The agency.
    pub agency: AgencyId,
    /// The number of its slot in `books`, of its unit in `draw`, and of its entry in the result.
    pub number: u32,
}

/// The slots of all agencies.
#[derive(Debug, Clone, Default)]
pub struct Slots {
    by_agency: HashMap<AgencyId, u32>,
    by_number: Vec<Option<AgencyId>>,
    /// No number below this one is free.
    first_free: usize,
}

impl Slots {
    /// The slot of `agency`; `None` if it has none yet.
    pub fn of(&self, agency: AgencyId) -> Option<Slot> {
        self.by_agency.get(&agency).map(|&number| Slot { agency, number })
    }

    /// The slot of `agency`: its own, or the first free one. `None` if there are already a million agencies.
    pub fn assign(&mut self, agency: AgencyId) -> Option<Slot> {
        if let Some(slot) = self.of(agency) {
            return Some(slot);
        }
        while self.by_number.get(self.first_free).is_some_and(Option::is_some) {
            self.first_free += 1;
        }
        let number = u32::try_from(self.first_free).ok().filter(|&number| number < MOST)?;
        self.keep(Slot { agency, number });
        Some(Slot { agency, number })
    }

    /// Gives `slot` to its agency. Returns false if the number belongs to another agency, or the agency has another
    /// number.
    pub fn keep(&mut self, slot: Slot) -> bool {
        let number = slot.number as usize;
        let owner = self.by_number.get(number).copied().flatten();
        if owner.is_some_and(|owner| owner != slot.agency) || self.of(slot.agency).is_some_and(|own| own != slot) {
            return false;
        }
        if self.by_number.len() <= number {
            self.by_number.resize(number + 1, None);
        }
        self.by_number[number] = Some(slot.agency);
        self.by_agency.insert(slot.agency, slot.number);
        true
    }

    /// One more than the greatest number.
    pub fn count(&self) -> u32 {
        u32::try_from(self.by_number.len()).unwrap_or(u32::MAX)
    }

    /// The agencies in the order of their numbers; `None` for a free number.
    pub fn agencies(&self) -> impl Iterator<Item = Option<AgencyId>> {
        self.by_number.iter().copied()
    }

    /// All slots in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = Slot> {
        (0..).zip(&self.by_number).filter_map(|(number, agency)| agency.map(|agency| Slot { agency, number }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(agency: u32, number: u32) -> Slot {
        Slot { agency: AgencyId::new(agency).unwrap(), number }
    }

    #[test]
    fn new_agencies_fill_the_free_numbers() {
        let mut slots = Slots::default();
        assert!(slots.keep(slot(9, 1)) && slots.keep(slot(4, 3)) && slots.keep(slot(9, 1)));
        assert!(!slots.keep(slot(8, 1)) && !slots.keep(slot(9, 2)));
        let assigned = [1, 9, 2, 3].map(|agency| slots.assign(AgencyId::new(agency).unwrap()).unwrap().number);
        assert_eq!((assigned, slots.count()), ([0, 1, 2, 4], 5));
        assert_eq!(slots.iter().map(|slot| slot.number).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(slots.of(AgencyId::new(3).unwrap()), Some(slot(3, 4)));
        assert_eq!(slots.of(AgencyId::new(5).unwrap()), None);
    }

    #[test]
    fn a_million_agencies_are_the_most() {
        let mut slots = Slots { first_free: MOST as usize, by_number: vec![None; 1], ..Slots::default() };
        assert_eq!(slots.assign(AgencyId::new(7).unwrap()), None);
    }
}
