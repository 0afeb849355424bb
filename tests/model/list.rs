//! Values of fixed size for the state, so that it is copied and hashed fast: a list, a set of agencies, the numbers of
//! rows. Knows nothing of files or processes.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};

/// At most `N` values. Pushing one more is an error of the model.
#[derive(Debug, Clone, Copy)]
pub struct List<T, const N: usize> {
    len: u8,
    items: [T; N],
}

impl<T: Copy + Default, const N: usize> List<T, N> {
    pub fn of(items: &[T]) -> Self {
        let mut list = Self::default();
        items.iter().for_each(|&item| list.push(item));
        list
    }

    pub fn push(&mut self, item: T) {
        self.items[usize::from(self.len)] = item;
        self.len += 1;
    }

    pub fn remove(&mut self, at: usize) -> T {
        let item = self[at];
        self.items.copy_within(at + 1..usize::from(self.len), at);
        self.len -= 1;
        item
    }

    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len as u8);
    }
}

impl<T: Copy + Default, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self { len: 0, items: [T::default(); N] }
    }
}

impl<T, const N: usize> Deref for List<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items[..usize::from(self.len)]
    }
}

impl<T, const N: usize> DerefMut for List<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items[..usize::from(self.len)]
    }
}

impl<T: PartialEq, const N: usize> PartialEq for List<T, N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq, const N: usize> Eq for List<T, N> {}

impl<T: Ord, const N: usize> PartialOrd for List<T, N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord, const N: usize> Ord for List<T, N> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl<T: Hash, const N: usize> Hash for List<T, N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

/// 0, 1 and 2; printed as 1, 2 and 3.
pub type Agency = u8;
pub const MOST_AGENCIES: usize = 3;

/// One value for each agency.
pub type Each<T> = [T; MOST_AGENCIES];

/// A set of small numbers: agencies, or the numbers of an agency's rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set(u16);

impl Set {
    pub const EMPTY: Self = Self(0);

    pub fn contains(self, number: u8) -> bool {
        self.0 & (1 << number) != 0
    }

    pub fn insert(&mut self, number: u8) {
        self.0 |= 1 << number;
    }

    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }
}

impl FromIterator<u8> for Set {
    fn from_iter<I: IntoIterator<Item = u8>>(numbers: I) -> Self {
        let mut set = Self::default();
        numbers.into_iter().for_each(|number| set.insert(number));
        set
    }
}

/// The number of a row among the bets of its agency, from 1.
pub type Number = u8;
/// The row of the first untyped sender; typed bets have smaller numbers.
pub const UNTYPED: Number = 5;
/// Added to the number of a row that a damage has changed to another valid row.
pub const CHANGED: Number = 8;

/// The numbers of an agency's rows in their order. It stands for a count and a CRC-32, and is a perfect checksum: four
/// bits a row, at most eight rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rows(u32);

impl Rows {
    pub fn len(self) -> u8 {
        (u32::BITS - self.0.leading_zeros()).div_ceil(4) as u8
    }

    pub fn push(&mut self, number: Number) {
        let len = self.len();
        assert!(len < 8, "the model has no room for a ninth row");
        self.0 |= u32::from(number) << (4 * len);
    }

    pub fn iter(self) -> impl Iterator<Item = Number> {
        (0..self.len()).map(move |at| (self.0 >> (4 * at)) as u8 & 15)
    }

    pub fn numbers(self) -> Set {
        self.iter().collect()
    }

    pub fn starts_with(self, front: Self) -> bool {
        self.iter().take(front.len().into()).eq(front.iter())
    }

    /// The typed bets, unchanged.
    pub fn typed(self) -> Self {
        self.iter().filter(|&number| number < UNTYPED).collect()
    }

    /// Whether they are the first bets of the agency in their order: the meaning of the CRC-32 in message 7.
    pub fn is_front(self) -> bool {
        self.iter().eq(1..=self.len())
    }

    pub fn followed_by(self, more: impl Iterator<Item = Number>) -> Self {
        self.iter().chain(more).collect()
    }
}

impl FromIterator<Number> for Rows {
    fn from_iter<I: IntoIterator<Item = Number>>(numbers: I) -> Self {
        let mut rows = Self::default();
        numbers.into_iter().for_each(|number| rows.push(number));
        rows
    }
}
