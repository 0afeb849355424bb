//! The benchmark of the server: compares the release binary with a floor ([`floor`]), the least that a server of this
//! architecture can do. The same clients ([`traffic`]) use both over 127.0.0.1, in turn (server, floor, server, floor,
//! …).
//!
//! Owns the options and the runs; [`figures`] owns the tables. A machine's speed changes from minute to minute, and
//! other programs disturb it. Only the ratio of two consecutive runs is reliable, so it is computed for each pair. Run
//! by `make bench`. Without the argument `--bench`, which `cargo bench` adds, it does nothing, so `cargo test
//! --all-targets` is not delayed.
//!
//! | part | work | figures |
//! |---|---|---|
//! | ingest | five agencies send the files in `.data`, a batch at a time, then ask for their winners | time to the last acknowledged batch and to the last answer; processor time |
//! | connections | two clients repeatedly open a connection and echo one line | connections a second; processor time |
//! | memory | five agencies have sent everything and wait for a sixth | RSS of the parent, PSS and private memory of a child |
//! | flat | one client of four servers, with 10 or 10,000 agencies and 1 MB or many GB stored | time of a message 6, a batch and an end; processor time of a start |

#![forbid(unsafe_code)]

mod figures;
mod flat;
mod floor;
mod traffic;

use std::error;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use loteria::agency::stop::StopSignal;
use loteria::cli;

use self::figures::{Memory, children_of, median, table};
use self::floor::Work;
use self::traffic::{Agency, Running, Side, Times, all_at_once};

/// An error ends the benchmark. It is printed as one line.
type Result<T> = std::result::Result<T, Box<dyn error::Error + Send + Sync>>;

/// Number of agencies in `.data`.
const AGENCIES: u32 = 5;
/// The servers that are compared, in the heads of the tables.
const SIDES: [&str; 2] = ["server", "floor"];
/// Number of echo clients: enough to keep the server busy on a small machine, where they share the processors with it.
const ECHO_CLIENTS: usize = 2;
/// Time limit of a run, besides the time that the options ask for. A longer run hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// Additional time for each repetition of the files.
const LIMIT_PER_REPETITION: Duration = Duration::from_secs(10);
/// After this time every query has reached its child, and the child waits.
const SETTLE: Duration = Duration::from_millis(300);

/// Compares the server with the least that a server of this architecture can do.
#[derive(Parser)]
#[command(name = "lottery", version)]
struct Options {
    /// Parts to measure [default: all]
    parts: Vec<Part>,
    /// Number of measured pairs of runs, after one that is not measured
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Ingest: number of times that each file is sent
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Connections: duration of a run in seconds
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Flat: GB of bets in a large server; twice as much is written to TMPDIR and removed at the end
    #[arg(long, value_name = "GB", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    stored: u32,
    /// Added by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Ingest,
    Connections,
    Memory,
    Flat,
}

fn main() -> ExitCode {
    if let Some(result) = traffic::run_as_server() {
        return conclude(result);
    }
    if !std::env::args().any(|argument| argument == "--bench") {
        // Run by `cargo test` or a similar command, with other arguments.
        return ExitCode::SUCCESS;
    }
    let options = match cli::arguments() {
        Ok(options) => options,
        Err(code) => return code,
    };
    conclude(StopSignal::subscribe().map_err(Into::into).and_then(|stop| Bench { options, stop }.run()))
}

fn conclude(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // If standard error is closed, the exit code is still there.
            let _ = writeln!(io::stderr(), "lottery: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The benchmark.
struct Bench {
    options: Options,
    stop: StopSignal,
}

impl Bench {
    fn run(&self) -> Result<()> {
        let load = fs::read_to_string("/proc/loadavg")?;
        let (load, _) = load.split_once(' ').unwrap_or_default();
        let (processors, runs) = (thread::available_parallelism()?, self.options.runs);
        writeln!(
            io::stdout(),
            "{processors} processors, load {load}; {runs} measured pairs of runs, after one that is not measured"
        )?;
        for part in [Part::Ingest, Part::Connections, Part::Memory, Part::Flat] {
            if self.options.parts.is_empty() || self.options.parts.contains(&part) {
                write!(io::stdout(), "{}", self.measure(part)?)?;
            }
        }
        Ok(())
    }

    /// Measures `part`, and returns its table.
    fn measure(&self, part: Part) -> Result<String> {
        match part {
            Part::Ingest => self.ingest(),
            Part::Connections => self.connections(),
            Part::Memory => self.memory(),
            Part::Flat => flat::measure(&self.stop, self.options.runs, self.options.stored),
        }
    }

    /// Runs server and floor in turn. Returns the figures of the measured pairs.
    fn pairs<const N: usize>(&self, once: impl Fn(Side) -> Result<[f64; N]>) -> Result<Vec<[[f64; N]; 2]>> {
        let mut pairs = Vec::new();
        for _ in 0..=self.options.runs {
            self.stop.check()?;
            pairs.push([once(Side::Server)?, once(Side::Floor)?]);
        }
        pairs.remove(0);
        Ok(pairs)
    }

    // ---- ingest ----

    fn ingest(&self) -> Result<String> {
        let agencies = self.agencies()?;
        let repeat = self.options.repeat as usize;
        let bets = total(&agencies, |agency| agency.bets) * repeat;
        let batches = total(&agencies, Agency::batches) * repeat;
        let pairs = self.pairs(|side| self.ingest_once(side, &agencies, batches))?;
        let title = format!("ingest: {AGENCIES} agencies, {bets} bets in {batches} batches");
        Ok(table(
            &title,
            SIDES,
            ["bets stored, ms", "per batch, µs", "winners known, ms", "processor time, ms"],
            &pairs,
        ))
    }

    fn agencies(&self) -> Result<Vec<Agency>> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join(".data");
        (1..=AGENCIES).map(|id| Agency::load(id, &data.join(format!("agency-{id}.csv")), &self.stop)).collect()
    }

    fn ingest_once(&self, side: Side, agencies: &[Agency], batches: usize) -> Result<[f64; 4]> {
        let repeat = self.options.repeat;
        let mut server = Running::start(side, Work::Bets(AGENCIES), &self.stop)?;
        let limit = (&self.stop, LIMIT + LIMIT_PER_REPETITION * repeat);
        let times = all_at_once(&mut server, limit, agencies, |port, agency| agency.play(port, side, repeat))?;
        check_stored(&server, side, agencies, repeat as usize)?;
        let [stored, answered] = spans_ms(&times);
        Ok([stored, stored * 1e3 / batches as f64, answered, server.stop()?])
    }

    // ---- connections ----

    fn connections(&self) -> Result<String> {
        let pairs = self.pairs(|side| self.connections_once(side))?;
        let title = format!("connections: {ECHO_CLIENTS} clients, one line per connection");
        Ok(table(&title, SIDES, ["connections per second", "processor time per connection, µs"], &pairs))
    }

    fn connections_once(&self, side: Side) -> Result<[f64; 2]> {
        let length = Duration::from_secs(self.options.seconds);
        let mut server = Running::start(side, Work::Echo, &self.stop)?;
        let limit = (&self.stop, LIMIT + length);
        let start = Instant::now();
        let counts = all_at_once(&mut server, limit, &[(); ECHO_CLIENTS], |port, ()| traffic::echo(port, length))?;
        let took = start.elapsed().as_secs_f64();
        let count = counts.iter().sum::<u64>() as f64;
        Ok([count / took, server.stop()? * 1e3 / count])
    }

    // ---- memory ----

    fn memory(&self) -> Result<String> {
        let agencies = self.agencies()?;
        let pairs = self.pairs(|side| self.memory_once(side, &agencies))?;
        let title = format!("memory: {AGENCIES} children wait for the draw");
        Ok(table(&title, SIDES, ["parent, RSS, kB", "a child, PSS, kB", "a child, private, kB"], &pairs))
    }

    fn memory_once(&self, side: Side, agencies: &[Agency]) -> Result<[f64; 3]> {
        // The server expects one agency more, so that it holds no draw.
        let mut server = Running::start(side, Work::Bets(AGENCIES + 1), &self.stop)?;
        let limit = (&self.stop, LIMIT);
        let waiting = all_at_once(&mut server, limit, agencies, |port, agency| agency.play_and_wait(port, side))?;
        self.stop.pause(SETTLE)?;
        let children: Vec<_> = children_of(server.pid())?.into_iter().map(Memory::of).collect::<Result<_>>()?;
        if children.len() != waiting.len() {
            return Err(format!("{} children serve {} agencies", children.len(), waiting.len()).into());
        }
        let of_child = |figure: fn(&Memory) -> f64| median(children.iter().map(figure));
        let figures = [Memory::of(server.pid())?.resident, of_child(|m| m.proportional), of_child(|m| m.private)];
        drop(waiting);
        server.stop()?;
        Ok(figures)
    }
}

/// Checks that no acknowledged batch is missing. Counts the server's rows, and the floor's bytes.
fn check_stored(server: &Running, side: Side, agencies: &[Agency], repeat: usize) -> Result<()> {
    let file = File::open(server.file())?;
    let (stored, sent) = match side {
        Side::Server => (count_lines(file)?, total(agencies, |agency| agency.bets)),
        Side::Floor => (file.metadata()?.len().try_into()?, total(agencies, Agency::bytes)),
    };
    let sent = sent * repeat;
    if stored == sent { Ok(()) } else { Err(format!("{side:?}: {sent} were sent, but {stored} are stored").into()) }
}

fn count_lines(file: File) -> io::Result<usize> {
    let mut file = BufReader::new(file);
    let mut lines = 0;
    while file.skip_until(b'\n')? > 0 {
        lines += 1;
    }
    Ok(lines)
}

fn total(agencies: &[Agency], number: impl Fn(&Agency) -> usize) -> usize {
    agencies.iter().map(number).sum()
}

/// The time from the first connection to the last acknowledged batch, and to the last answer.
fn spans_ms(times: &[Times]) -> [f64; 2] {
    let start = times.iter().map(|times| times.start).min();
    let until = |point: fn(&Times) -> Instant| {
        let last = times.iter().map(point).max();
        last.zip(start).map_or(0.0, |(last, start)| (last - start).as_secs_f64() * 1e3)
    };
    [until(|times| times.stored), until(|times| times.answered)]
}
