//! The part `flat`: whether the cost of a message depends on the number of agencies or on the bytes stored.
//!
//! Owns four servers, which run at the same time and are measured in turn, and the comparison of each with the smallest.
//! Each server adopts a `bets.csv` that was written for it, so it scans all rows at its start.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `stored` | the file of the bets |
//! | `messages` | the messages of a round, and their times |

mod messages;
mod stored;

use std::io::{self, Write};
use std::time::Duration;

use loteria::agency::stop::StopSignal;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Pid;

use self::messages::{BETS, Messages, REPETITIONS};
use crate::figures::{processor_time, table};
use crate::floor::{self, Work};
use crate::traffic::{Running, Side, all_at_once};
use crate::{LIMIT, Result};

/// Number of agencies of a small server and of a large one.
const AGENCIES: [u32; 2] = [10, 10_000];
/// MB of bets of a small server.
const SMALL: u32 = 1;
const MB: usize = 1_000_000;
/// The agency that sends queries and batches to each server: the same bytes to all of them. It never ends, so that no
/// draw is held.
const SENDER: u32 = AGENCIES[0];
/// Most rounds: in each, one more of the agencies before [`SENDER`] ends.
const MOST_ROUNDS: u32 = SENDER - 1;
/// Descriptors that a server needs in addition to those for its agencies: for its own files and for more connections.
const SPARE_DESCRIPTORS: u32 = 64;
/// How long a start may take for each 1000 MB of bets, in addition to [`LIMIT`].
const PATIENCE_PER_GB: Duration = Duration::from_secs(60);

/// Measures at most `runs` rounds, after one that is not measured. A large server stores `gb` GB of bets. Prints the
/// figures of each start, and returns the tables of the messages.
///
/// This thread, its clients and its servers stay on one processor from now on: a message to another processor
/// takes longer, so the place that the scheduler chooses for a child would change the figures.
pub fn measure(stop: &StopSignal, runs: u32, gb: u32) -> Result<String> {
    stay_on_one_processor()?;
    let rounds = runs.min(MOST_ROUNDS - 1);
    writeln!(
        io::stdout(),
        "\nflat: {REPETITIONS} queries and batches of {BETS} bets and an end a round; {rounds} rounds"
    )?;
    let mut servers = Vec::new();
    for agencies in AGENCIES {
        match descriptors_missing_for(agencies)? {
            Some(missing) => writeln!(io::stdout(), "  SKIPPED: {missing}")?,
            None => {
                for mb in [SMALL, gb * 1000] {
                    servers.push(Server::start(agencies, mb, stop)?);
                }
            }
        }
    }
    for round in 0..=rounds {
        for server in &mut servers {
            server.play(round, stop)?;
        }
    }
    let text = servers.iter().skip(1).map(|server| server.compared_with(&servers[0])).collect();
    servers.into_iter().try_for_each(|server| server.running.stop().map(drop))?;
    Ok(text)
}

fn stay_on_one_processor() -> Result<()> {
    let this_thread = Pid::from_raw(0);
    let allowed = sched_getaffinity(this_thread)?;
    let mut one = CpuSet::new();
    one.set((0..CpuSet::count()).find(|&n| allowed.is_set(n) == Ok(true)).ok_or("no processor may be used")?)?;
    Ok(sched_setaffinity(this_thread, &one)?)
}

/// Why the hard limit of descriptors is too low for a server of `agencies` agencies; `None` if it is not.
fn descriptors_missing_for(agencies: u32) -> Result<Option<String>> {
    let (_, limit) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let needed = agencies + SPARE_DESCRIPTORS;
    let missing = || format!("{agencies} agencies need {needed} descriptors, and the hard limit is {limit}");
    Ok((limit < needed.into()).then(missing))
}

/// A running server, and its figures.
struct Server {
    running: Running,
    agencies: u32,
    mb: u32,
    /// The figures of each round, as [`Messages::times`] returns them.
    rounds: Vec<[f64; 4]>,
}

impl Server {
    /// Starts a server that stores `mb` MB of bets, and prints the processor time of its start.
    fn start(agencies: u32, mb: u32, stop: &StopSignal) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        stored::write(&dir.path().join(floor::FILE), agencies, mb as usize * MB, stop)?;
        let patience = LIMIT + PATIENCE_PER_GB * mb / 1000;
        let running = Running::start_in(dir, (Side::Server, Work::Bets(agencies)), (stop, patience))?;
        let server = Self { running, agencies, mb, rounds: Vec::new() };
        let seconds = processor_time(server.running.pid())?.as_secs_f64();
        let (title, rate) = (server.title(), f64::from(mb) / seconds);
        writeln!(io::stdout(), "  start, {title}: {seconds:.3} s of processor time, {rate:.0} MB a second")?;
        Ok(server)
    }

    fn title(&self) -> String {
        format!("{} agencies, {} MB", self.agencies, self.mb)
    }

    /// Adds the times of a round.
    fn play(&mut self, round: u32, stop: &StopSignal) -> Result<()> {
        let (file, pid) = (self.running.file(), self.running.pid());
        let messages = Messages::of(SENDER, SENDER - 1 - round)?;
        let times = all_at_once(&mut self.running, (stop, LIMIT), &[messages], |port, messages| {
            messages.times((port, pid), &file)
        })?;
        self.rounds.extend(times);
        Ok(())
    }

    /// The table of both servers, without the first round.
    fn compared_with(&self, smallest: &Self) -> String {
        let pairs: Vec<_> =
            self.rounds.iter().zip(&smallest.rounds).skip(1).map(|(own, other)| [*own, *other]).collect();
        let title = format!("{} / {}", self.title(), smallest.title());
        let figures = ["message 6, µs", "batch, µs", "end, µs", "processor time of an end, µs"];
        table(&title, ["this", "smallest"], figures, &pairs)
    }
}
