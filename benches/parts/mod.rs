//! The parts of the benchmark.
//!
//! Owns what is measured, and in which order. A machine's speed changes from minute to minute, and other programs disturb
//! it. Only the ratio of two consecutive runs is reliable, so the subjects of a group run in turn, round after round.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `bench` | the extent of a run; what a part returns |
//! | `rounds`, `servers` | subjects in turn; the commands of the servers |
//! | `load` | one run of the agencies' files |
//! | `ingest`, `batch`, `distance` | bets a second by client and durability; by size of the batch; through a relay |
//! | `connections`, `memory` | connections a second by live children; memory of parent and children |
//! | `draw` | thousands of agencies in one draw |
//! | `flat` | the cost of a message by agencies and stored bets |
//! | `security` | the cost of the sandbox and of TLS |

mod batch;
mod bench;
mod connections;
mod distance;
mod draw;
mod flat;
mod ingest;
mod load;
mod memory;
mod rounds;
mod security;
mod servers;

use clap::ValueEnum;

pub use self::bench::{Bench, Extent, Outcome};
use crate::Result;

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Bets a second, clients and servers compared
    Ingest,
    /// The same if each batch must be durable
    Durable,
    /// Bets a second by the number of bets in a batch
    Batch,
    /// Connections a second by the number of live children
    Connections,
    /// Memory of the parent and of idle children
    Memory,
    /// One draw of up to 10,000 agencies
    Draw,
    /// The cost of a message, a start and a draw by stored bets
    Flat,
    /// Bets a second through a relay with a round trip of 10 ms
    Distance,
    /// The cost of the sandbox for a connection, and of TLS for bets a second
    Security,
}

impl Part {
    /// The name in the results, which is also the one on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Durable => "durable",
            Self::Batch => "batch",
            Self::Connections => "connections",
            Self::Memory => "memory",
            Self::Draw => "draw",
            Self::Flat => "flat",
            Self::Distance => "distance",
            Self::Security => "security",
        }
    }

    /// Measures the part.
    pub fn measure(self, bench: &Bench) -> Result<Outcome> {
        match self {
            Self::Ingest => ingest::measure(bench),
            Self::Durable => ingest::measure_durable(bench),
            Self::Batch => batch::measure(bench),
            Self::Connections => connections::measure(bench),
            Self::Memory => memory::measure(bench),
            Self::Draw => draw::measure(bench),
            Self::Flat => flat::measure(bench),
            Self::Distance => distance::measure(bench),
            Self::Security => security::measure(bench),
        }
    }
}
