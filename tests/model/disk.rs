//! Files with respect to power cuts: the content that processes read (the page cache), and the contents that may be on
//! the disk if the power fails now. The kernel writes blocks back at any time and in any order.
//!
//! Used by the world for `bets.csv` (block by block: a block holds one row) and for the records of `draw`. Knows
//! nothing of the processes.

use std::hash::{Hash, Hasher};

use super::list::{Agency, List, Number, Rows};

/// One row of `bets.csv`, or a part of one, or a hole.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell(u8);

impl Cell {
    /// Past the end of the file.
    const ABSENT: Self = Self(0);
    /// A part of a row.
    pub const TORN: Self = Self(16);
    /// A block that was never written, before one that was.
    const HOLE: Self = Self(32);

    pub fn row(agency: Agency, number: Number) -> Self {
        Self(agency << 4 | number)
    }

    pub fn is_valid(self) -> bool {
        self.0 & 15 != 0
    }

    pub fn number_of(self, agency: Agency) -> Option<Number> {
        (self.is_valid() && self.0 >> 4 == agency).then_some(self.0 & 15)
    }

    /// The agency of a valid row.
    pub fn agency(self) -> Agency {
        self.0 >> 4
    }

    pub fn number(self) -> Number {
        self.0 & 15
    }

    fn bit(self) -> u64 {
        1 << self.0
    }
}

pub const MOST_ROWS: usize = 12;

/// `bets.csv`. The most states are those of this file, so sets of cells are bits.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Bets {
    pub cells: List<Cell, MOST_ROWS>,
    perhaps: List<u64, MOST_ROWS>,
    /// A sync has failed, and the kernel has dropped the data: the cache still shows them, later syncs write nothing.
    pub deaf: bool,
}

impl Bets {
    pub fn of(cells: &[Cell]) -> Self {
        let mut bets = Self { cells: List::of(cells), ..Self::default() };
        bets.sync();
        bets
    }

    pub fn len(&self) -> usize {
        self.cells.len()
    }

    pub fn append(&mut self, cells: impl Iterator<Item = Cell>) {
        for cell in cells {
            match self.perhaps.get_mut(self.cells.len()) {
                Some(perhaps) => *perhaps |= cell.bit(),
                None => self.perhaps.push(Cell::ABSENT.bit() | cell.bit()),
            }
            self.cells.push(cell);
        }
    }

    /// `ftruncate`.
    pub fn cut(&mut self, len: usize) {
        self.cells.truncate(len);
        self.perhaps.iter_mut().skip(len).for_each(|perhaps| *perhaps |= Cell::ABSENT.bit());
    }

    pub fn sync(&mut self) {
        if self.deaf {
            return;
        }
        self.perhaps = List::default();
        self.cells.iter().for_each(|cell| self.perhaps.push(cell.bit()));
    }

    /// A row is changed on the disk and in the cache.
    pub fn damage(&mut self, at: usize, cell: Cell) {
        self.cells[at] = cell;
        self.perhaps[at] = cell.bit();
    }

    /// The number of valid rows at the front.
    pub fn valid_run(&self) -> usize {
        self.cells.iter().take_while(|cell| cell.is_valid()).count()
    }

    /// The rows of an agency among the first `len`.
    pub fn rows_of(&self, agency: Agency, len: usize) -> Rows {
        self.cells.iter().take(len).filter_map(|cell| cell.number_of(agency)).collect()
    }

    /// Every content after a power cut: each block has one of its contents since the last sync.
    pub fn after_power_cut(&self) -> Vec<Self> {
        let mut all = vec![List::<Cell, MOST_ROWS>::default()];
        for perhaps in self.perhaps.iter() {
            let mut longer = Vec::new();
            for cells in all {
                for cell in (0..u64::BITS as u8).filter(|bit| perhaps & (1 << bit) != 0) {
                    let mut cells = cells;
                    cells.push(Cell(cell));
                    longer.push(cells);
                }
            }
            all = longer;
        }
        let mut all: Vec<_> = all.iter().map(|cells| with_holes(cells)).collect();
        all.sort_unstable();
        all.dedup();
        all.iter().map(|cells| Self::of(cells)).collect()
    }
}

/// The file ends with its last block; blocks that are absent before it are holes.
fn with_holes(cells: &[Cell]) -> List<Cell, MOST_ROWS> {
    let len = cells.iter().rposition(|cell| *cell != Cell::ABSENT).map_or(0, |last| last + 1);
    let mut cells: List<Cell, MOST_ROWS> = List::of(&cells[..len]);
    cells.iter_mut().filter(|cell| **cell == Cell::ABSENT).for_each(|cell| *cell = Cell::HOLE);
    cells
}

impl Hash for Bets {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for &Cell(cell) in self.cells.iter() {
            state.write_u8(cell);
        }
        state.write_usize(self.cells.len() << 1 | usize::from(self.deaf));
        self.perhaps.hash(state);
    }
}

/// A record with a checksum.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Record<T> {
    /// Never written.
    #[default]
    Zeros,
    /// Neither zeros nor valid.
    Damaged,
    Whole(T),
}

impl<T: Copy> Record<T> {
    pub fn whole(self) -> Option<T> {
        match self {
            Self::Whole(value) => Some(value),
            Self::Zeros | Self::Damaged => None,
        }
    }

    pub fn is_whole(self) -> bool {
        self.whole().is_some()
    }
}

/// A record of `draw`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stored<T> {
    pub now: Record<T>,
    perhaps: List<Record<T>, 4>,
}

impl<T: Copy + Default + Ord> Stored<T> {
    pub fn of(now: Record<T>) -> Self {
        Self { now, perhaps: List::of(&[now]) }
    }

    pub fn write(&mut self, record: Record<T>) {
        self.now = record;
        if !self.perhaps.contains(&record) {
            self.perhaps.push(record);
            self.perhaps.sort_unstable();
        }
    }

    pub fn sync(&mut self) {
        *self = Self::of(self.now);
    }

    pub fn after_power_cut(&self) -> Vec<Self> {
        self.perhaps.iter().map(|&record| Self::of(record)).collect()
    }
}

impl<T: Copy + Default + Ord> Default for Stored<T> {
    fn default() -> Self {
        Self::of(Record::Zeros)
    }
}
