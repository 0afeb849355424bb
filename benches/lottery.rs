//! What the server costs beyond what its architecture costs: the release binary against a floor ([`floor`]), both driven
//! by the same clients ([`traffic`]) over 127.0.0.1, in turn (server, floor, server, floor, …).
//!
//! Owns the options, the runs and the tables. Figures of a machine drift from minute to minute, and neighbours are
//! noisy: the ratio of two runs that follow each other is what holds, so it is taken pair by pair. Run by `make bench`;
//! does nothing without the `--bench` that `cargo bench` adds, so that `cargo test --all-targets` is not held up.
//!
//! | part | what happens | figures |
//! |---|---|---|
//! | ingest | five agencies send the files in `.data`, a batch at a time, then ask for their winners | time to the last acknowledged bets, to the last answer; processor time |
//! | connections | two clients echo a line a connection, again and again | connections a second; processor time |
//! | memory | five agencies have sent all and wait for a sixth | RSS of the parent, PSS and private memory of a child |

#![forbid(unsafe_code)]

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

use self::floor::Work;
use self::traffic::{Agency, Running, Side, Times, all_at_once};

/// An error ends the measurement, told in one line.
type Result<T> = std::result::Result<T, Box<dyn error::Error + Send + Sync>>;

/// Agencies in `.data`.
const AGENCIES: u32 = 5;
/// Echo clients: enough to keep the server busy on a small machine, whose processors they share with it.
const ECHO_CLIENTS: usize = 2;
/// What a run may take besides what is asked for, and per repetition of the files: beyond that something hangs.
const LIMIT: Duration = Duration::from_secs(60);
const LIMIT_A_REPETITION: Duration = Duration::from_secs(10);
/// Within this every question has reached its child, which has gone to sleep over it.
const SETTLE: Duration = Duration::from_millis(300);

/// Measures the server against the least that it could be.
#[derive(Parser)]
#[command(name = "lottery", version)]
struct Options {
    /// What to measure [default: everything]
    parts: Vec<Part>,
    /// Pairs of runs that count, after one that does not
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Ingest: how often each file is sent
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Connections: seconds of a run
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Ingest,
    Connections,
    Memory,
}

fn main() -> ExitCode {
    if let Some(ended) = traffic::tied_life() {
        return conclude(ended);
    }
    if !std::env::args().any(|argument| argument == "--bench") {
        // `cargo test` or one of its relatives, whose arguments are not ours.
        return ExitCode::SUCCESS;
    }
    let options = match cli::arguments() {
        Ok(options) => options,
        Err(code) => return code,
    };
    conclude(StopSignal::subscribe().map_err(Into::into).and_then(|stop| Bench { options, stop }.run()))
}

fn conclude(ended: Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // With standard error closed there is nobody left to tell; the exit code still does.
            let _ = writeln!(io::stderr(), "lottery: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The whole measurement.
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
            "{processors} processors, load {load}; {runs} pairs of runs, after one that does not count"
        )?;
        for part in [Part::Ingest, Part::Connections, Part::Memory] {
            if self.options.parts.is_empty() || self.options.parts.contains(&part) {
                write!(io::stdout(), "{}", self.measure(part)?)?;
            }
        }
        Ok(())
    }

    /// The table of `part`.
    fn measure(&self, part: Part) -> Result<String> {
        match part {
            Part::Ingest => self.ingest(),
            Part::Connections => self.connections(),
            Part::Memory => self.memory(),
        }
    }

    /// Runs server and floor in turn; the figures of those runs that count, pair by pair.
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
        Ok(table(&title, ["bets stored, ms", "a batch, µs", "winners known, ms", "processor time, ms"], &pairs))
    }

    fn agencies(&self) -> Result<Vec<Agency>> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join(".data");
        (1..=AGENCIES).map(|id| Agency::load(id, &data.join(format!("agency-{id}.csv")), &self.stop)).collect()
    }

    fn ingest_once(&self, side: Side, agencies: &[Agency], batches: usize) -> Result<[f64; 4]> {
        let repeat = self.options.repeat;
        let mut server = Running::start(side, Work::Bets(AGENCIES))?;
        let limit = (&self.stop, LIMIT + LIMIT_A_REPETITION * repeat);
        let times = all_at_once(&mut server, limit, agencies, |port, agency| agency.play(port, side, repeat))?;
        check_stored(&server, side, agencies, repeat as usize)?;
        let [stored, answered] = spans_ms(&times);
        Ok([stored, stored * 1e3 / batches as f64, answered, server.stop()?])
    }

    // ---- connections ----

    fn connections(&self) -> Result<String> {
        let pairs = self.pairs(|side| self.connections_once(side))?;
        let title = format!("connections: {ECHO_CLIENTS} clients, a line each time");
        Ok(table(&title, ["connections a second", "processor time of one, µs"], &pairs))
    }

    fn connections_once(&self, side: Side) -> Result<[f64; 2]> {
        let length = Duration::from_secs(self.options.seconds);
        let mut server = Running::start(side, Work::Echo)?;
        let limit = (&self.stop, LIMIT + length);
        let began = Instant::now();
        let counts = all_at_once(&mut server, limit, &[(); ECHO_CLIENTS], |port, ()| traffic::echo(port, length))?;
        let took = began.elapsed().as_secs_f64();
        let count = counts.iter().sum::<u64>() as f64;
        Ok([count / took, server.stop()? * 1e3 / count])
    }

    // ---- memory ----

    fn memory(&self) -> Result<String> {
        let agencies = self.agencies()?;
        let pairs = self.pairs(|side| self.memory_once(side, &agencies))?;
        let title = format!("memory: {AGENCIES} children wait for the draw");
        Ok(table(&title, ["parent, RSS, kB", "a child, PSS, kB", "a child, private, kB"], &pairs))
    }

    fn memory_once(&self, side: Side, agencies: &[Agency]) -> Result<[f64; 3]> {
        // One agency more, so that no draw comes.
        let mut server = Running::start(side, Work::Bets(AGENCIES + 1))?;
        let limit = (&self.stop, LIMIT);
        let waiting = all_at_once(&mut server, limit, agencies, |port, agency| agency.play_and_wait(port, side))?;
        self.stop.pause(SETTLE)?;
        let children: Vec<_> = children_of(server.pid())?.into_iter().map(Memory::of).collect::<Result<_>>()?;
        if children.len() != waiting.len() {
            return Err(format!("{} children serve {} agencies", children.len(), waiting.len()).into());
        }
        let of_child = |what: fn(&Memory) -> f64| median(children.iter().map(what));
        let figures = [Memory::of(server.pid())?.resident, of_child(|m| m.proportional), of_child(|m| m.private)];
        drop(waiting);
        server.stop()?;
        Ok(figures)
    }
}

/// That nothing acknowledged is missing: the server's rows, the floor's bytes.
fn check_stored(server: &Running, side: Side, agencies: &[Agency], repeat: usize) -> Result<()> {
    let file = File::open(server.file())?;
    let (stored, sent) = match side {
        Side::Server => (count_lines(file)?, total(agencies, |agency| agency.bets)),
        Side::Floor => (file.metadata()?.len().try_into()?, total(agencies, Agency::bytes)),
    };
    let sent = sent * repeat;
    if stored == sent { Ok(()) } else { Err(format!("{side:?}: {sent} were sent, {stored} are stored").into()) }
}

fn count_lines(file: File) -> io::Result<usize> {
    let mut file = BufReader::new(file);
    let mut lines = 0;
    while file.skip_until(b'\n')? > 0 {
        lines += 1;
    }
    Ok(lines)
}

fn total(agencies: &[Agency], what: impl Fn(&Agency) -> usize) -> usize {
    agencies.iter().map(what).sum()
}

/// From the first connection to the last acknowledged bets, and to the last answer.
fn spans_ms(times: &[Times]) -> [f64; 2] {
    let began = times.iter().map(|times| times.began).min();
    let until = |point: fn(&Times) -> Instant| {
        let last = times.iter().map(point).max();
        last.zip(began).map_or(0.0, |(last, began)| (last - began).as_secs_f64() * 1e3)
    };
    [until(|times| times.stored), until(|times| times.answered)]
}

// ---- /proc ----

/// What a process occupies, in kB.
struct Memory {
    resident: f64,
    /// Its private pages, and its part of those that it shares.
    proportional: f64,
    private: f64,
}

impl Memory {
    fn of(pid: u32) -> Result<Self> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let field = |name: &str| -> Result<f64> {
            let value = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.strip_suffix("kB"));
            Ok(value.ok_or("smaps_rollup has another form")?.trim().parse()?)
        };
        let private = field("Private_Clean")? + field("Private_Dirty")?;
        Ok(Self { resident: field("Rss")?, proportional: field("Pss")?, private })
    }
}

fn children_of(parent: u32) -> Result<Vec<u32>> {
    let entries = fs::read_dir("/proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter(|&pid| parent_of(pid) == Some(parent)).collect())
}

/// The second field behind the name of the program, which may hold anything.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

// ---- tables ----

/// A line a figure: medians, then the ratios of the pairs: their median, lowest and highest.
fn table<const N: usize>(title: &str, figures: [&str; N], pairs: &[[[f64; N]; 2]]) -> String {
    let head = ["median of each", "server", "floor", "ratio", "lowest", "highest"];
    let mut text = format!("\n{title}\n{}", line(head.map(str::to_owned)));
    for (i, figure) in figures.into_iter().enumerate() {
        let [server, floor] = [0, 1].map(|side| median(pairs.iter().map(|pair| pair[side][i])));
        let ratios = || pairs.iter().map(|[server, floor]| server[i] / floor[i]);
        let (lowest, highest) = (ratios().fold(f64::INFINITY, f64::min), ratios().fold(0.0, f64::max));
        let [server, floor] = [server, floor].map(|value| format!("{value:.1}"));
        let [ratio, lowest, highest] = [median(ratios()), lowest, highest].map(|ratio| format!("{ratio:.2}"));
        text += &line([figure.to_owned(), server, floor, ratio, lowest, highest]);
    }
    text
}

fn line([figure, server, floor, ratio, lowest, highest]: [String; 6]) -> String {
    format!("  {figure:<28}{server:>10}{floor:>10}{ratio:>9}{lowest:>9}{highest:>9}\n")
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
