//! The plan of one run: agencies and their rows, settings, and a list of faults. A pure function of the seed; it knows
//! no process and no file.

use std::fmt::{self, Display, Formatter};
use std::ops::RangeInclusive;
use std::time::Duration;

use fastrand::Rng;

use crate::rows::{self, Row};
use crate::support::disk::Medium;

/// Everything that chance decides before the run begins. The timing of the processes stays random.
pub struct Plan {
    pub seed: u64,
    /// The rows of agency 1, 2, …
    pub agencies: Vec<Vec<Row>>,
    /// Before which step each agency's client is started.
    pub begins: Vec<usize>,
    pub max_amount: u8,
    pub window: u8,
    pub durability: Durability,
    pub log_level: &'static str,
    /// The disk of its own on which the store lies, if any: its power can be cut.
    pub disk: Option<Medium>,
    pub steps: Vec<Step>,
    /// The last fault, after which another server answers the last queries.
    pub last: Option<Fault>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    Process,
    End,
    Batch,
}

/// A fault, and when it happens.
pub struct Step {
    pub moment: Moment,
    pub after: Duration,
    pub fault: Fault,
    /// Selects the victim among the candidates.
    pub pick: usize,
}

/// The event that is awaited before a fault, unless it can no longer happen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Now,
    /// `bets.csv` has just grown: a session is writing a batch.
    Growth,
    /// Another end is recorded.
    End,
    /// All ends are recorded.
    AllEnded,
    /// The child that holds the draw exists.
    Drawing,
    /// A result is being written, or has been.
    Drawn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// kill -9 of the parent, restarted at once.
    Parent { frozen: bool, again: Option<Duration> },
    /// kill -9 of a child, or of all of them.
    Children { all: bool },
    /// SIGSTOP of a child, which then continues or is killed.
    Stall { time: Duration, kill: bool },
    /// SIGSTOP of all children; meanwhile a client is killed and started again, while its old connection still has
    /// batches.
    Swap { time: Duration, kill: bool },
    /// kill -9 of a client, started again at once.
    Client,
    /// SIGTERM of the parent, which must end in order, and a restart.
    Term { frozen: bool },
    /// The disk writes this file by itself; then the power fails.
    PowerCut { written: Option<&'static str> },
    /// The server is stopped, a file is damaged, and the server is started.
    Damage(Incident),
    /// A file is moved or removed under a running server.
    Replacement { of: Replaced, time: Duration },
}

/// A damage to a file of a stopped server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incident {
    pub damage: Damage,
    /// Whether the server is killed, or stopped in order.
    pub kill: bool,
    /// Whether the kernel starts again meanwhile, if the run has its own mounts.
    pub another_boot: bool,
    /// What the operator does when the server does not start.
    pub way: Way,
}

/// What is damaged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// `bets.csv` is cut to a front part.
    BetsCut,
    /// A digit of a row is another one.
    BetsDigit,
    /// A row is removed.
    BetsRow,
    /// A byte in the middle is zero.
    BetsByte,
    /// A bit of an end is flipped.
    DrawUnit,
    DrawRemoved,
    /// `draw` is what it was earlier in the run.
    DrawOlder,
    /// A bit of a record is flipped.
    BooksBit,
    BooksRemoved,
}

/// How an operator makes damaged files usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Restore,
    Repair,
}

/// A file of a running server, and what happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// `bets.csv` is renamed, and renamed back.
    BetsAway,
    /// `bets.csv` becomes a symbolic link to the file with the bets; or the file again, if it is a link already.
    BetsLinked,
    /// `books` is removed; the server is stopped and started later.
    BooksRemoved,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let load = *one_of(&mut random, &[Load::Light, Load::Heavy]);
        let disk = load.disk(&mut random);
        let on_disk = disk.is_some();
        let agencies: Vec<_> = (0..agencies(&mut random)).map(|_| rows::of_agency(load.rows(), &mut random)).collect();
        let (max_amount, window) = (load.max_amount(&mut random), load.window(&mut random));
        let durability = *one_of(&mut random, &[Durability::Process, Durability::End, Durability::Batch]);
        let log_level = if load == Load::Light && random.bool() { "DEBUG" } else { "INFO" };
        let early = random.bool().then(|| Step::swap(&mut random));
        let amid = (0..load.steps(&mut random)).map(|_| Step::amid(load, on_disk, &mut random));
        let amid: Vec<_> = early.into_iter().chain(amid).collect();
        let late = (0..random.u8(1..=3)).map(|_| Step::late(on_disk, &mut random)).collect::<Vec<_>>();
        // An end outlives its rows only if nothing is synced, and if the disk may write the one without the other.
        let may_lose_rows = durability == Durability::Process && disk == Some(Medium::LazyExt4);
        let lost_rows = may_lose_rows.then_some(Step::END_WITHOUT_ROWS);
        let begins =
            (0..agencies.len()).map(|index| random.usize(..=index * (amid.len() - 1) / agencies.len())).collect();
        let steps = amid.into_iter().chain(lost_rows).chain(late).collect();
        let last = *one_of(&mut random, &[None, Some(Fault::Term { frozen: false }), Some(Fault::PARENT)]);
        Self { seed, agencies, begins, max_amount, window, durability, log_level, disk, steps, last }
    }
}

/// The number of agencies: mostly several.
fn agencies(random: &mut Rng) -> u8 {
    random.u8(1..=5).max(random.u8(1..=5))
}

/// The amount of bets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    /// Few rows, often in small batches, many of which can be sent before an acknowledgement.
    Light,
    /// Many rows in large batches, which a kill tears.
    Heavy,
}

impl Load {
    /// Rows of an agency that has many.
    fn rows(self) -> RangeInclusive<u16> {
        match self {
            Self::Light => 150..=400,
            Self::Heavy => 1500..=4000,
        }
    }

    fn disk(self, random: &mut Rng) -> Option<Medium> {
        match self {
            Self::Light => (random.u8(..4) == 0).then_some(Medium::LazyExt4),
            Self::Heavy => (random.u8(..4) > 0).then_some(Medium::SlowExt4),
        }
    }

    /// Number of faults while the agencies send.
    fn steps(self, random: &mut Rng) -> u8 {
        match self {
            Self::Light => random.u8(6..=14),
            Self::Heavy => random.u8(12..=20),
        }
    }

    fn window(self, random: &mut Rng) -> u8 {
        match self {
            Self::Light => random.u8(1..=8),
            Self::Heavy => random.u8(1..=3),
        }
    }

    fn max_amount(self, random: &mut Rng) -> u8 {
        match self {
            Self::Light => random.u8(1..=6) * random.u8(1..=10),
            Self::Heavy => random.u8(80..=255),
        }
    }
}

impl Step {
    const END_WITHOUT_ROWS: Self =
        Self { moment: Moment::End, after: Duration::ZERO, fault: Fault::PowerCut { written: Some("draw") }, pick: 0 };

    /// A step while the agencies send.
    fn amid(load: Load, on_disk: bool, random: &mut Rng) -> Self {
        if load == Load::Heavy && random.u8(..4) > 0 {
            return Self::strike(random);
        }
        use Moment::{End, Growth, Now};
        let moment = *one_of(random, &[Growth, Growth, Growth, Growth, Growth, Now, Now, End]);
        let fault = Fault::amid(on_disk, random);
        Self { moment, after: pause(moment, random), fault, pick: random.usize(..) }
    }

    /// A swap when the first agencies have just begun; later, few have bets left.
    fn swap(random: &mut Rng) -> Self {
        Self { moment: Moment::Growth, after: Duration::ZERO, fault: Fault::swap(random), pick: random.usize(..) }
    }

    /// A kill at the moment of a write.
    fn strike(random: &mut Rng) -> Self {
        let fault = if random.u8(..6) == 0 { Fault::parent(random) } else { Fault::Children { all: true } };
        Self { moment: Moment::Growth, after: Duration::ZERO, fault, pick: 0 }
    }

    /// A step around the ends and the draw.
    fn late(on_disk: bool, random: &mut Rng) -> Self {
        use Moment::{AllEnded, Drawing, Drawn, End};
        let moment = *one_of(random, &[End, AllEnded, AllEnded, Drawing, Drawing, Drawing, Drawn, Drawn]);
        let fault = Fault::late(on_disk, random);
        Self { moment, after: pause(moment, random), fault, pick: random.usize(..) }
    }
}

/// A pause, mostly short; after a moment that was awaited, mostly none.
fn pause(moment: Moment, random: &mut Rng) -> Duration {
    match (moment, random.u8(..4)) {
        (Moment::Now, 0) => Duration::from_millis(random.u64(8..=40)),
        (Moment::Now, _) => Duration::from_micros(random.u64(..8000)),
        (_, 0) => Duration::from_micros(random.u64(..3000)),
        (_, 1) => Duration::from_micros(random.u64(..300)),
        _ => Duration::ZERO,
    }
}

impl Fault {
    const PARENT: Self = Self::Parent { frozen: false, again: None };

    fn amid(on_disk: bool, random: &mut Rng) -> Self {
        match random.u8(..if on_disk { 32 } else { 28 }) {
            0..4 => Self::parent(random),
            4..10 => Self::Children { all: random.bool() },
            10..12 => Self::Stall { time: stall(random), kill: random.bool() },
            12..17 => Self::swap(random),
            17..20 => Self::Client,
            20..22 => Self::Term { frozen: random.bool() },
            22..26 => Self::damage(random),
            26..28 => Self::replacement(random),
            _ => Self::PowerCut { written: *one_of(random, &[None, Some("bets.csv"), Some("draw")]) },
        }
    }

    fn late(on_disk: bool, random: &mut Rng) -> Self {
        match random.u8(..if on_disk { 15 } else { 11 }) {
            0..3 => Self::parent(random),
            3..6 => Self::Children { all: random.u8(..4) == 0 },
            6 => Self::Client,
            7 => Self::Term { frozen: false },
            8..10 => Self::damage(random),
            10 => Self::replacement(random),
            _ => {
                Self::PowerCut { written: *one_of(random, &[None, None, Some("bets.csv"), Some("draw"), Some("draw")]) }
            }
        }
    }

    fn damage(random: &mut Rng) -> Self {
        let damage = *one_of(random, &Damage::ALL);
        let way = *one_of(random, &[Way::Restore, Way::Repair]);
        Self::Damage(Incident { damage, kill: random.bool(), another_boot: random.bool(), way })
    }

    fn replacement(random: &mut Rng) -> Self {
        let of = *one_of(random, &[Replaced::BetsAway, Replaced::BetsLinked, Replaced::BooksRemoved]);
        Self::Replacement { of, time: stall(random) }
    }

    fn swap(random: &mut Rng) -> Self {
        Self::Swap { time: stall(random), kill: random.u8(..4) == 0 }
    }

    fn parent(random: &mut Rng) -> Self {
        let again = (random.u8(..5) == 0).then(|| Duration::from_micros(random.u64(..15_000)));
        Self::Parent { frozen: random.u8(..4) == 0, again }
    }

    /// Its name in summaries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parent { frozen: false, .. } => "parent",
            Self::Parent { frozen: true, .. } => "parent of stopped children",
            Self::Children { all: false } => "child",
            Self::Children { all: true } => "all children",
            Self::Stall { .. } => "stopped child",
            Self::Swap { .. } => "client beside stopped children",
            Self::Client => "client",
            Self::Term { .. } => "SIGTERM",
            Self::PowerCut { .. } => "power cut",
            Self::Damage(Incident { damage, .. }) => damage.name(),
            Self::Replacement { of: Replaced::BetsAway, .. } => "bets.csv away and back",
            Self::Replacement { of: Replaced::BetsLinked, .. } => "bets.csv a symlink",
            Self::Replacement { of: Replaced::BooksRemoved, .. } => "books removed from a server",
        }
    }
}

impl Damage {
    const ALL: [Self; 9] = [
        Self::BetsCut,
        Self::BetsDigit,
        Self::BetsRow,
        Self::BetsByte,
        Self::DrawUnit,
        Self::DrawRemoved,
        Self::DrawOlder,
        Self::BooksBit,
        Self::BooksRemoved,
    ];

    /// The name of the damaged file.
    pub fn file(self) -> &'static str {
        match self {
            Self::BetsCut | Self::BetsDigit | Self::BetsRow | Self::BetsByte => "bets.csv",
            Self::DrawUnit | Self::DrawRemoved | Self::DrawOlder => "draw",
            Self::BooksBit | Self::BooksRemoved => "books",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::BetsCut => "bets.csv cut",
            Self::BetsDigit => "bets.csv with another digit",
            Self::BetsRow => "bets.csv without a row",
            Self::BetsByte => "bets.csv with a zero byte",
            Self::DrawUnit => "draw with a damaged end",
            Self::DrawRemoved => "draw removed",
            Self::DrawOlder => "an older draw",
            Self::BooksBit => "books with a flipped bit",
            Self::BooksRemoved => "books removed",
        }
    }
}

fn stall(random: &mut Rng) -> Duration {
    Duration::from_millis(random.u64(3..=40))
}

fn one_of<'a, T>(random: &mut Rng, choices: &'a [T]) -> &'a T {
    &choices[random.usize(..choices.len())]
}

// ---- one line -----------------------------------------------------------------------------------------------------

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let agencies = self.agencies.iter().zip(&self.begins);
        let agencies: Vec<_> = agencies.map(|(rows, step)| format!("{} from step {step}", rows.len())).collect();
        write!(f, "seed {}: rows {}, ", self.seed, agencies.join("/"))?;
        write!(f, "maxAmount {}, window {}, ", self.max_amount, self.window)?;
        write!(f, "DURABILITY={}, {}, ", self.durability.name(), self.log_level)?;
        let disk = self.disk.map_or("no", |kind| if kind == Medium::LazyExt4 { "lazy" } else { "slow" });
        write!(f, "{disk} disk")?;
        self.steps.iter().try_for_each(|step| write!(f, "; {step}"))?;
        self.last.map_or(Ok(()), |fault| write!(f, "; at last: {}", fault.name()))
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { moment, after, fault, pick } = self;
        write!(f, "{} +{after:?} {} #{}", moment.name(), fault.name(), pick % 10)?;
        match fault {
            Fault::Parent { again: Some(pause), .. } => write!(f, " and again in {pause:?}"),
            Fault::Stall { time, kill } | Fault::Swap { time, kill } => {
                write!(f, " for {time:?}{}", if *kill { ", then killed" } else { "" })
            }
            Fault::Term { frozen: true } => write!(f, " with stopped children"),
            Fault::PowerCut { written: Some(file) } => write!(f, " after a write-back of {file}"),
            Fault::Damage(Incident { kill, another_boot, way, .. }) => {
                let stop = if *kill { "SIGKILL" } else { "SIGTERM" };
                let boot = if *another_boot { "another" } else { "this" };
                write!(f, " after {stop}, {boot} boot, {way:?}")
            }
            Fault::Replacement { time, .. } => write!(f, " for {time:?}"),
            _ => Ok(()),
        }
    }
}

impl Moment {
    pub fn name(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Growth => "growth",
            Self::End => "an end",
            Self::AllEnded => "all ended",
            Self::Drawing => "the draw's child",
            Self::Drawn => "a result",
        }
    }
}

impl Durability {
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::End => "end",
            Self::Batch => "batch",
        }
    }
}
