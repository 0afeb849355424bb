//! The scope of a search: the bets to send, the promised level, the mechanisms that work, and the faults.

/// `DURABILITY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Process,
    End,
    Batch,
}

pub const LEVELS: [Level; 3] = [Level::Process, Level::End, Level::Batch];

/// The mechanisms that keep the promises. All of them work unless a test removes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// flock on `bets.lock` around a batch.
    DataLock,
    /// Readers stop at the committed length. Without it, they read the whole file.
    CommittedLength,
    /// A process that takes the data lock cuts off all bytes past the committed length.
    CutTail,
    /// One connection at a time sends batches of an agency, until its process has been reaped.
    AgencyClaim,
    /// Message 6: a client asks first. Without it, it continues after the bets acknowledged since its start.
    ResumeQuery,
    /// A server waits until every child of the previous one has ended.
    ServerLock,
    /// PR_SET_PDEATHSIG.
    DieWithParent,
    /// `ends` is read and written in one go under the data lock.
    EndsUnderLock,
    /// The parent reads `ends` when a child has died unasked.
    AdoptEnds,
    /// An end syncs `bets.csv` before it is recorded.
    SyncBeforeEnd,
    /// An end syncs `ends` before it is acknowledged.
    SyncEnd,
    /// A session that acknowledges an end recorded by another process also syncs `ends` first.
    SyncAdoptedEnd,
    /// At `batch`, a batch is synced before it is acknowledged.
    SyncBatch,
    /// The process that holds the draw syncs the bets before it writes the result.
    DrawSyncsBets,
    /// It also syncs `ends`.
    DrawSyncsEnds,
    /// The result is synced before it is reported to the parent.
    SyncResult,
    /// A start syncs the files that it finds, drops the cache, and reads them: everything that it reports is durable.
    ReadFromDisk,
    /// A process whose sync fails marks the record: until the next start, no process relies on the committed rows.
    DoubtRecord,
    /// Checksums of `ends` and `draw`.
    Checksums,
    /// The record in `bets.lock` names its boot.
    BootId,
    /// The process whose write failed cuts off its remains.
    TakeBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    KillChild,
    KillParent,
    KillDraw,
    /// Killed and started again: it has no memory of before.
    KillClient,
    /// Killed for good.
    LoseClient,
    /// The connection is cut; what has arrived is still served.
    CutConnection,
    NoRoom,
    SyncFails,
    PowerCut,
}

pub const FAULTS: [Fault; 9] = [
    Fault::KillChild,
    Fault::KillParent,
    Fault::KillDraw,
    Fault::KillClient,
    Fault::LoseClient,
    Fault::CutConnection,
    Fault::NoRoom,
    Fault::SyncFails,
    Fault::PowerCut,
];

/// The bets of an agency, and how it sends them.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub bets: u8,
    pub batch: u8,
    pub window: u8,
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub level: Level,
    /// The level whose promise is checked: the same, unless a test shows that a lower level does not keep it.
    pub promised: Level,
    pub plans: [Plan; 2],
    pub without: Vec<Mechanism>,
    pub faults: u8,
    pub kinds: Vec<Fault>,
    /// Whether a failed sync also drops the data that it should have written.
    pub sync_lies: bool,
}

impl Settings {
    pub fn has(&self, mechanism: Mechanism) -> bool {
        !self.without.contains(&mechanism)
    }
}
