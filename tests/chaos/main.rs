//! Chaos: whole lotteries under random faults, with checks at the end of each. `make chaos RUNS=200 SEED=1`.
//!
//! A run has a server, one client per agency, and a plan that is a pure function of the run's seed. It runs in a
//! process of its own with its own mount namespace, which reaps all processes of the run. Run `n` of seed `s` equals
//! the only run of seed `s + n - 1`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a run fails by the one and reports by the other")]

#[path = "../support/mod.rs"]
mod support;

mod agency;
mod damage;
mod faults;
mod judge;
mod lottery;
mod plan;
mod processes;
mod rows;
mod run;
mod spoil;
mod tally;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use clap::Parser;

use plan::Plan;
use run::{Run, end_all_in};
use support::disk::{Disk, Medium, Outcome};
use tally::{Tally, grouped};

/// Whole lotteries under random faults.
#[derive(Parser, Clone)]
struct Arguments {
    /// Number of runs
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// The seed of the first run; each later run has the next number [default: random]
    #[arg(long)]
    seed: Option<u64>,
    /// Runs at a time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Makes one run in this process and this directory
    #[arg(long, hide = true)]
    within: Option<PathBuf>,
    /// Without power cuts
    #[arg(long, hide = true)]
    no_disk: bool,
    /// Tests in this directory whether the power of a disk can be cut
    #[arg(long, hide = true)]
    probe: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    match (&arguments.probe, &arguments.within) {
        (Some(dir), _) => probe(dir),
        (_, Some(dir)) => run(Plan::of(seed), dir, !arguments.no_disk),
        _ => supervise(&Arguments { seed: Some(seed), ..arguments }, seed),
    }
}

// ---- one run, in a process of its own ---------------------------------------------------------------------------

fn run(plan: Plan, dir: &Path, may_have_disk: bool) -> ExitCode {
    let disk = plan.disk.filter(|_| may_have_disk).map(|medium| disk_at(dir, medium)).transpose();
    let mut run = match disk.and_then(|disk| Run::new(plan, dir, disk)) {
        Ok(run) => run,
        Err(failure) => {
            println!("{failure}");
            return ExitCode::FAILURE;
        }
    };
    match run.execute() {
        Ok(()) => run.judge(),
        Err(failure) => run.failures.push(failure),
    }
    if !run.failures.is_empty() && run.disk.is_some() {
        let _ = Command::new("cp").arg("-r").arg(dir.join("store")).arg(dir.join("store.kept")).status();
    }
    run.clean_up();
    print!("{}", run.tally);
    run.failures.iter().for_each(|failure| println!("{failure}"));
    if run.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn disk_at(dir: &Path, medium: Medium) -> Outcome<Disk> {
    let disk = Disk::at(dir, medium)?;
    disk.another_boot()?;
    Ok(disk)
}

fn probe(dir: &Path) -> ExitCode {
    let tried = disk_at(dir, Medium::LazyExt4).and_then(|disk| {
        disk.cut_power()?;
        disk.mount_again()?;
        disk.another_boot()
    });
    match tried {
        Ok(()) => ExitCode::SUCCESS,
        Err(obstacle) => {
            println!("{obstacle}");
            ExitCode::FAILURE
        }
    }
}

// ---- all runs -----------------------------------------------------------------------------------------------------

/// After so many runs, each interesting moment must have been hit.
const ENOUGH: u64 = 50;
/// These moments, by group and name in the tally, and the one that needs a disk whose power can be cut.
const POINTS: [(&str, &str); 13] = [
    ("moments", "growth"),
    ("moments", "the draw's child"),
    ("hits", "tail cut off"),
    ("hits", "draw begun again"),
    ("hits", "start with all ends and no draw"),
    ("hits", "batch stored, not acknowledged"),
    ("hits", "damage overcome by a start"),
    ("hits", "start refused"),
    ("hits", "file restored"),
    ("hits", "files repaired"),
    ("hits", "agency opened by a repair"),
    ("faults", "books removed from a server"),
    ("faults", "bets.csv a symlink"),
];
const POINT_OF_DISKS: (&str, &str) = ("faults", "power cut");

/// The results of the runs so far.
struct Progress {
    next: u64,
    done: u64,
    tally: Tally,
    failed: Vec<u64>,
}

fn supervise(arguments: &Arguments, seed: u64) -> ExitCode {
    let began = Instant::now();
    println!("chaos: {} runs, SEED={seed}", arguments.runs);
    let cuts = can_cut_power();
    let progress = Mutex::new(Progress { next: 0, done: 0, tally: Tally::default(), failed: Vec::new() });
    thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| while supervise_next(&progress, arguments.runs, seed, cuts) {});
        }
    });
    let progress = progress.into_inner().unwrap();
    println!("{}", summary(&progress, seed, began.elapsed().as_secs()));
    let missed = if arguments.runs < ENOUGH { Vec::new() } else { points_missed(&progress.tally, cuts) };
    missed.iter().for_each(|point| println!("FAILED: in {} runs not hit once: {point}", progress.done));
    let done = progress.failed.is_empty() && progress.done == arguments.runs;
    if done && missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn points_missed(tally: &Tally, cuts: bool) -> Vec<&'static str> {
    let points = POINTS.into_iter().chain(cuts.then_some(POINT_OF_DISKS));
    points.filter(|(group, name)| tally.count(group, name) == 0).map(|(_, name)| name).collect()
}

/// Makes the next run; false if no run is left, or one has failed.
fn supervise_next(progress: &Mutex<Progress>, runs: u64, first: u64, cuts: bool) -> bool {
    let number = {
        let mut progress = progress.lock().unwrap();
        progress.next += 1;
        progress.next - 1
    };
    if number >= runs || !progress.lock().unwrap().failed.is_empty() {
        return false;
    }
    let seed = first + number;
    let dir = std::env::temp_dir().join(format!("loteria-chaos-{}-{seed}", std::process::id()));
    let output = start_run(seed, &dir, cuts);
    let output_text = String::from_utf8_lossy(&output.stdout);
    let mut progress = progress.lock().unwrap();
    progress.done += 1;
    progress.tally.take(&output_text);
    if output.status.success() {
        let _ = std::fs::remove_dir_all(&dir);
    } else {
        progress.failed.push(seed);
        report_failure(seed, &dir, &output);
    }
    true
}

fn start_run(seed: u64, dir: &Path, cuts: bool) -> Output {
    std::fs::create_dir_all(dir).unwrap();
    let mut command = itself(cuts);
    command.args(["--seed", &seed.to_string(), "--within"]).arg(dir);
    if !cuts {
        command.arg("--no-disk");
    }
    let output = command.output().unwrap();
    // A run that did not finish leaves its processes.
    end_all_in(dir);
    output
}

/// A command that starts this program again, if wanted with mounts of its own.
fn itself(own_mounts: bool) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(if own_mounts { Path::new("unshare") } else { &program });
    if own_mounts {
        command.arg("-m").arg(&program);
    }
    command.stdin(Stdio::null());
    command
}

fn can_cut_power() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let obstacle = match itself(true).arg("--probe").arg(dir.path()).output() {
        Ok(tried) if tried.status.success() => return true,
        Ok(tried) => String::from_utf8_lossy(&[tried.stdout, tried.stderr].concat()).trim().replace('\n', "; "),
        Err(e) => format!("unshare: {e}"),
    };
    support::skipped("power cuts", &obstacle);
    false
}

fn report_failure(seed: u64, dir: &Path, output: &Output) {
    let output_text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("FAILED: {}", Plan::of(seed));
    let failures = output_text.lines().filter(|line| !line.starts_with("tally\t")).chain(errors.lines());
    failures.for_each(|line| println!("  {line}"));
    println!("  ({}) again: make chaos RUNS=1 SEED={seed}; its files: {}", output.status, dir.display());
}

fn summary(progress: &Progress, seed: u64, seconds: u64) -> String {
    let Progress { tally, failed, done, .. } = progress;
    let state = if failed.is_empty() { "ok".to_owned() } else { format!("of which failed: {failed:?}") };
    let last = seed + done.max(&1) - 1;
    let faults = grouped(tally.of("faults"));
    format!(
        "chaos: {done} runs {state} (seeds {seed}..{last}, {seconds} s)\n  \
         {faults} faults: {}\n  by DURABILITY: {} (runs: {})\n  at: {}\n  hit: {}\n  without a victim: {}",
        tally.listed("faults"),
        tally.listed("faults by level"),
        tally.listed("runs"),
        tally.listed("moments"),
        tally.listed("hits"),
        tally.listed("missed"),
    )
}
