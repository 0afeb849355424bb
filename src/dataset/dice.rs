//! The random numbers of one agency.
//!
//! Used by [`super::people`] and [`super::agency_file`]. Knows no names. ChaCha8 returns the same numbers on every
//! machine and in every version, so the files stay the same.

use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A sequence of random numbers.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The sequence of `agency` for `seed`. It does not depend on other agencies.
    pub(super) fn new(seed: u64, agency: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(agency));
        Self(rng)
    }

    /// A number of `0..bound`. The bias of the remainder is below 2⁻³⁸ for the bounds in use.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    /// True in `share` of 100 cases.
    pub(super) fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    /// An element of `urn`, which is not empty.
    pub(super) fn pick(&mut self, urn: &[&'static str]) -> &'static str {
        urn[self.below(urn.len() as u64) as usize]
    }

    /// `amount` different numbers of `0..bound`; `amount` is at most `bound`.
    pub(super) fn distinct(&mut self, amount: u32, bound: u32) -> BTreeSet<u32> {
        let mut numbers = BTreeSet::new();
        while numbers.len() < amount as usize {
            numbers.insert(self.below(u64::from(bound)) as u32);
        }
        numbers
    }
}
