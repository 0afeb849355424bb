//! `books`: the head and the slots, each in two halves, and the data lock's repair (R1 to R4).
//!
//! Used by sessions, by the draw child and by a start. Knows nothing of clients and of `draw`.

use std::hash::{Hash, Hasher};

use super::disk::{Bets, Record};
use super::list::{Agency, Each, Rows, Set};
use super::settings::{Mechanism, Settings};

/// A slot: the tally of one agency.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    pub seq: u8,
    /// The number of rows in `bets.csv` up to the end of its last group.
    pub end: u8,
    pub rows: Rows,
    pub closed: bool,
    /// Its end is durable.
    pub durable: bool,
}

impl Hash for Tally {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let flags = u32::from(self.closed) | u32::from(self.durable) << 1;
        state.write_u32(u32::from(self.seq) << 16 | u32::from(self.end) << 8 | flags);
        self.rows.hash(state);
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    pub seq: u8,
    /// The committed length, in rows.
    pub len: u8,
    /// The draw is held.
    pub drawn: bool,
    /// A cut is not synced.
    pub cut: bool,
    /// A sync has failed.
    pub doubtful: bool,
}

impl Hash for Head {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let flags = u32::from(self.drawn) | u32::from(self.cut) << 1 | u32::from(self.doubtful) << 2;
        state.write_u32(u32::from(self.seq) << 16 | u32::from(self.len) << 8 | flags);
    }
}

pub type Halves<T> = [Record<T>; 2];

/// Which file lies at the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    Removed,
    Ours,
    /// Its header does not check.
    Foreign,
}

/// The evidence that the books of another boot still give.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// The agencies whose end is durable.
    pub ends: Set,
    pub drawn: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Books {
    pub slots: Each<Halves<Tally>>,
    pub head: Halves<Head>,
    pub presence: Presence,
    /// Whether it names this boot.
    pub same_boot: bool,
    pub evidence: Evidence,
}

/// The work that a process finds when it has the lock. It does one step after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Repair {
    RollForward,
    SetCutFlag,
    Cut,
    SyncCut,
}

/// Committed rows are gone, or may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

impl Books {
    /// Books that a start makes: each agency has these rows.
    pub fn made(tallies: Each<Tally>, head: Head) -> Self {
        Self {
            slots: tallies.map(|tally| [Record::Whole(tally), Record::Zeros]),
            head: [Record::Whole(head), Record::Zeros],
            presence: Presence::Ours,
            same_boot: true,
            evidence: Evidence::default(),
        }
    }

    pub fn head(&self) -> Option<Head> {
        // `seq` comes first; then any order will do, since flags only grow.
        newest(&self.head, |head| *head)
    }

    pub fn slot(&self, agency: Agency) -> Option<Tally> {
        newest(&self.slots[usize::from(agency)], |tally| (tally.seq, tally.closed, tally.durable))
    }

    pub fn rows_of(&self, agency: Agency) -> Rows {
        self.slot(agency).map_or(Rows::default(), |slot| slot.rows)
    }

    pub fn is_closed(&self, agency: Agency) -> bool {
        self.slot(agency).is_some_and(|slot| slot.closed)
    }

    pub fn is_doubtful(&self) -> bool {
        self.head().is_some_and(|head| head.doubtful)
    }

    pub fn write_head(&mut self, record: Record<Head>, settings: &Settings) {
        let place = place(&self.head, self.head(), settings);
        self.head[place] = record;
    }

    pub fn write_slot(&mut self, agency: Agency, record: Record<Tally>, settings: &Settings) {
        let (newest, halves) = (self.slot(agency), &mut self.slots[usize::from(agency)]);
        halves[place(halves, newest, settings)] = record;
    }

    /// A slot half of the commit after `seq`: its writer died before it could write the head.
    pub fn commit_after(&self, seq: u8) -> Option<Tally> {
        self.tallies().find(|tally| tally.seq == seq + 1)
    }

    /// All valid halves of all slots.
    pub fn tallies(&self) -> impl Iterator<Item = Tally> {
        self.slots.iter().flatten().filter_map(|half| half.whole())
    }

    /// The number of rows that count.
    pub fn committed(&self, bets: &Bets, settings: &Settings) -> usize {
        let Some(head) = self.head() else { return bets.valid_run() };
        let unfinished = self.commit_after(head.seq).filter(|_| settings.has(Mechanism::RollForward));
        unfinished.map_or(head.len, |tally| tally.end).into()
    }

    /// The evidence after a power cut, if `books` has reached the disk.
    pub fn as_evidence(&self) -> Evidence {
        let durable = |halves: &Halves<Tally>| halves.iter().filter_map(|half| half.whole()).any(|tally| tally.durable);
        let ends = (0u8..).zip(&self.slots).filter(|(_, halves)| durable(halves)).map(|(agency, _)| agency).collect();
        let drawn = self.head.iter().filter_map(|half| half.whole()).any(|head| head.drawn);
        Evidence { ends, drawn }
    }

    /// The first step of a repair that is due; `None` if there is none.
    pub fn due(&self, bets: &Bets, settings: &Settings) -> Result<Option<Repair>, Refused> {
        let head = self.head().filter(|head| usize::from(head.len) <= bets.len()).ok_or(Refused)?;
        if head.doubtful && settings.has(Mechanism::Doubt) {
            return Err(Refused);
        }
        let unfinished = self.commit_after(head.seq).filter(|tally| usize::from(tally.end) <= bets.len());
        let longer = bets.len() > usize::from(head.len);
        Ok(match () {
            () if unfinished.is_some() && settings.has(Mechanism::RollForward) => Some(Repair::RollForward),
            () if longer && !settings.has(Mechanism::CutTail) => None,
            () if longer && settings.has(Mechanism::CutFlag) => Some(Repair::SetCutFlag),
            () if longer => Some(Repair::Cut),
            () if head.cut && settings.has(Mechanism::SyncCut) => Some(Repair::SyncCut),
            () => None,
        })
    }

    /// Does one step of a repair and returns the next one.
    pub fn repair(&mut self, bets: &mut Bets, step: Repair, settings: &Settings) -> Option<Repair> {
        let head = self.head().unwrap_or_default();
        match step {
            Repair::RollForward => {
                if let Some(Tally { seq, end, .. }) = self.commit_after(head.seq) {
                    self.write_head(Record::Whole(Head { seq, len: end, ..head }), settings);
                }
                self.due(bets, settings).ok().flatten()
            }
            Repair::SetCutFlag => {
                self.write_head(Record::Whole(Head { cut: true, ..head }), settings);
                Some(Repair::Cut)
            }
            Repair::Cut => {
                bets.cut(head.len.into());
                settings.has(Mechanism::SyncCut).then_some(Repair::SyncCut)
            }
            Repair::SyncCut => {
                bets.sync();
                None
            }
        }
    }
}

impl Repair {
    pub fn label(self) -> &'static str {
        match self {
            Self::RollForward => "writes the head from the slot of a dead writer",
            Self::SetCutFlag => "marks the head: a cut is not synced",
            Self::Cut => "cuts the tail",
            Self::SyncCut => "syncs the cut",
        }
    }
}

/// The first half with the greatest key.
fn newest<T: Copy, K: Ord>(halves: &Halves<T>, key: impl Fn(&T) -> K) -> Option<T> {
    match (halves[0].whole(), halves[1].whole()) {
        (Some(first), Some(second)) => Some(if key(&second) > key(&first) { second } else { first }),
        (first, second) => first.or(second),
    }
}

/// The half to overwrite: never the newest one.
fn place<T: Copy + PartialEq>(halves: &Halves<T>, newest: Option<T>, settings: &Settings) -> usize {
    let second_is_newest = newest.is_none_or(|newest| halves[1] == Record::Whole(newest));
    usize::from(settings.has(Mechanism::Halves) && !second_is_newest)
}
