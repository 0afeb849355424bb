//! What is searched: how much there is to do, what is promised, which mechanisms work, which faults happen.

/// `DURABILITY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Process,
    End,
    Batch,
}

pub const LEVELS: [Level; 3] = [Level::Process, Level::End, Level::Batch];

/// What keeps the promises. All of them work unless a test takes one away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// flock on `bets.lock` around a batch.
    DataLock,
    /// Readers stop at the committed length. Without: they read what is there.
    CommittedLength,
    /// Who takes the data lock cuts off what is behind the committed length.
    CutTail,
    /// One connection at a time sends batches of an agency, until its process has been reaped.
    AgencyClaim,
    /// Message 6: a client asks first. Without: it goes on behind what was acknowledged to it in this life.
    ResumeQuery,
    /// A server waits until every child of the one before is gone.
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
    /// So does who acknowledges an end that another process recorded.
    SyncAdoptedEnd,
    /// At `batch`, a batch is synced before it is acknowledged.
    SyncBatch,
    /// The process that holds the draw syncs the bets before it writes the result.
    DrawSyncsBets,
    /// And `ends`.
    DrawSyncsEnds,
    /// The result is synced before the parent hears of it.
    SyncResult,
    /// A start syncs the files that it finds, drops the cache, and reads them: what it tells is durable.
    ReadFromDisk,
    /// Who meets a failed sync marks the record: nobody counts on what is committed until the next start.
    DoubtRecord,
    /// Checksums of `ends` and `draw`.
    Checksums,
    /// The record in `bets.lock` names its boot.
    BootId,
    /// What a failed write has left is cut off by the process that wrote.
    TakeBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    KillChild,
    KillParent,
    KillDraw,
    /// Killed and started again: it knows nothing.
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

/// What an agency has to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub bets: u8,
    pub batch: u8,
    pub window: u8,
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub level: Level,
    /// The level whose promise is judged: the same, but where a test shows what a lower one does not keep.
    pub promised: Level,
    pub plans: [Plan; 2],
    pub without: Vec<Mechanism>,
    pub faults: u8,
    pub kinds: Vec<Fault>,
    /// Whether a failed sync also drops what it should have written.
    pub sync_lies: bool,
}

impl Settings {
    pub fn has(&self, mechanism: Mechanism) -> bool {
        !self.without.contains(&mechanism)
    }
}
