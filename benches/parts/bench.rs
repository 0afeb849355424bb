//! The extent of a run, and what a part returns.

use crate::report::Figure;
use crate::stop::Stop;
use crate::traffic::Files;

/// Descriptors that a process needs in addition to one for each connection.
const SPARE_DESCRIPTORS: u64 = 100;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// A few minutes.
    Quick,
    /// About half an hour.
    Full,
}

impl Extent {
    /// The value of this extent.
    pub fn of<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// What every part needs.
pub struct Bench {
    /// The request to stop.
    pub stop: Stop,
    /// How much is measured.
    pub extent: Extent,
    /// Number of rounds, if the command line gives it.
    pub rounds: Option<u32>,
    /// Millions of bets in a large file of the part `flat`, if the command line gives it.
    pub millions: Option<u32>,
    /// The agencies' files.
    pub files: Files,
    /// The limit of descriptors of this process and its servers.
    pub descriptors: u64,
}

impl Bench {
    /// Number of rounds of a part.
    pub fn rounds(&self, quick: u32, full: u32) -> u32 {
        self.rounds.unwrap_or(self.extent.of(quick, full))
    }

    /// Why the limit of descriptors is too low for so many connections; `None` if it is not.
    pub fn too_many(&self, connections: u32) -> Option<String> {
        let needed = u64::from(connections) + SPARE_DESCRIPTORS;
        let limit = self.descriptors;
        (limit < needed)
            .then(|| format!("{connections} connections need {needed} descriptors, and the limit is {limit}"))
    }
}

/// What a part returns.
#[derive(Default)]
pub struct Outcome {
    /// The figures, in the order of the tables.
    pub figures: Vec<Figure>,
    /// What was not measured, and why.
    pub skipped: Vec<String>,
    /// What went wrong; the benchmark then fails after its report.
    pub failures: Vec<String>,
}
