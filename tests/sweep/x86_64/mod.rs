//! The list of faults, the workers that try them, and the summary.

mod judge;
mod play;
mod process;
mod scene;
mod table;
mod tracer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use clap::{Parser, ValueEnum};

use crate::support::{free_port, skipped};
use judge::judge;
use play::{Played, play};
use scene::Scene;
use tracer::{Aim, Fault, Position, Role};

/// Runs at a time. Each is mostly one process that waits for another.
const WORKERS: u16 = 4;
/// Runs that show which calls there are.
const PROFILES: usize = 3;
/// How often a known call is tried again: which one of two processes is first differs from run to run.
const TRIES: u32 = 4;
/// How many of a hundred faults may be missed.
const MISSED_PERCENT: usize = 2;
/// Runs between two lines of progress.
const PROGRESS: usize = 500;

/// Lets each system call of server and client fail in turn, and checks the results
#[derive(Parser)]
struct Options {
    /// Only this story
    #[arg(long)]
    scene: Option<Scene>,
    /// Only calls of this role
    #[arg(long)]
    role: Option<Role>,
    /// Only this system call
    #[arg(long)]
    call: Option<String>,
    /// Only the N-th call of its kind and role
    #[arg(long, value_name = "N")]
    nth: Option<u32>,
    /// Only this fault: kill, short, torn, or an error such as EIO
    #[arg(long)]
    fault: Option<String>,
}

/// A run to be made.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Job {
    scene: Scene,
    aim: Aim,
    /// It aims after the last known call; the next one follows, until a run is not hit.
    beyond: bool,
}

#[derive(Default)]
struct Tally {
    runs: usize,
    /// Runs after the last call of a kind, in which nothing was hit.
    untouched: usize,
    /// Faults in calls that did not come again.
    missed: BTreeSet<String>,
    faults: BTreeMap<String, usize>,
    calls: BTreeSet<(Scene, Role, i64, u32)>,
    failures: Vec<String>,
}

struct Sweep {
    jobs: Mutex<VecDeque<Job>>,
    tally: Mutex<Tally>,
    began: Instant,
}

pub fn main() -> ExitCode {
    let options = Options::parse();
    panic::set_hook(Box::new(|_| {}));
    let mut jobs = VecDeque::new();
    for scene in options.scenes() {
        let profiles: Result<Vec<_>, _> = (0..PROFILES).map(|_| profile(scene)).collect();
        match profiles {
            Ok(profiles) => jobs.extend(jobs_of(scene, profiles.into_iter().flatten()).filter(|job| options.want(job))),
            Err(why) if why.contains("ptrace: EPERM") => {
                skipped("the sweep", &why);
                return ExitCode::SUCCESS;
            }
            Err(why) => {
                eprintln!("without any fault, {scene:?}: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    eprintln!("sweep: {} faults to be tried", jobs.len());
    let sweep = Sweep { jobs: Mutex::new(jobs), tally: Mutex::default(), began: Instant::now() };
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| sweep.work());
        }
    });
    sweep.conclude(&options)
}

impl Options {
    fn scenes(&self) -> impl Iterator<Item = Scene> {
        let scenes = Scene::value_variants().iter().copied();
        scenes.filter(|&scene| self.scene.is_none_or(|only| only == scene))
    }

    fn want(&self, job: &Job) -> bool {
        let Job { scene: _, aim, beyond } = job;
        // A call or fault picked by number is the only one.
        let numbered = self.nth.is_some() || self.fault.is_some();
        !(numbered && *beyond)
            && self.role.is_none_or(|role| role == aim.role)
            && self.call.as_deref().is_none_or(|call| Some(call) == table::name(aim.call))
            && self.nth.is_none_or(|nth| nth == aim.nth)
            && self.fault.as_ref().is_none_or(|fault| fault.eq_ignore_ascii_case(&name_of(aim.fault)))
    }

    /// Whether calls or faults are picked: then there may be none.
    fn pick(&self) -> bool {
        self.call.is_some() || self.nth.is_some() || self.fault.is_some()
    }

    /// All parts that are to be hit.
    fn parts(&self) -> impl Iterator<Item = (Scene, Role)> {
        let parts = self.scenes().flat_map(|scene| scene.roles().iter().map(move |&role| (scene, role)));
        parts.filter(|part| self.role.is_none_or(|only| only == part.1))
    }
}

/// The calls of a run in which nothing is hit, as far as they are to be swept.
fn profile(scene: Scene) -> Result<Vec<Position>, String> {
    let played = play(scene, None, free_port())?;
    judge(scene, None, &played)?;
    let mut positions = played.trace.positions;
    if scene.is_of_start() {
        let start = positions.iter().position(|position| table::name(position.call) == Some("epoll_wait"));
        positions.truncate(start.unwrap_or(positions.len()));
    }
    positions.retain(|position| scene.roles().contains(&position.role));
    Ok(positions)
}

/// The faults of each of `positions`, and of the first call of each kind after them.
fn jobs_of(scene: Scene, positions: impl Iterator<Item = Position>) -> impl Iterator<Item = Job> {
    let positions: BTreeSet<_> = positions.collect();
    let mut counts = BTreeMap::new();
    let mut jobs = Vec::new();
    for Position { role, call, nth, on } in positions {
        for fault in table::faults(role, call, on) {
            let job = Job { scene, aim: Aim { role, call, nth, fault }, beyond: false };
            // The call may have different targets in different runs.
            if !jobs.contains(&job) {
                jobs.push(job);
            }
        }
        counts.insert((role, call), nth);
    }
    let beyond = counts.into_iter().filter(move |_| !scene.is_of_start()).map(move |((role, call), last)| Job {
        scene,
        aim: Aim { role, call, nth: last + 1, fault: Fault::Kill },
        beyond: true,
    });
    jobs.into_iter().chain(beyond)
}

impl Sweep {
    fn work(&self) {
        loop {
            let Some(job) = locked(&self.jobs).pop_front() else { return };
            let mut outcomes = (0..TRIES).map(|_| run(job, free_port()));
            let outcome = outcomes.find(|outcome| *outcome != Ok(false)).unwrap_or(Ok(false));
            if job.beyond && outcome == Ok(true) {
                let aim = Aim { nth: job.aim.nth + 1, ..job.aim };
                locked(&self.jobs).push_back(Job { aim, ..job });
            }
            self.note(job, outcome);
        }
    }

    fn note(&self, job: Job, outcome: Result<bool, String>) {
        let mut tally = locked(&self.tally);
        tally.runs += 1;
        if outcome == Ok(false) {
            match job.beyond {
                true => tally.untouched += 1,
                false => drop(tally.missed.insert(arguments(job))),
            }
        } else {
            *tally.faults.entry(name_of(job.aim.fault)).or_default() += 1;
            tally.calls.insert((job.scene, job.aim.role, job.aim.call, job.aim.nth));
        }
        if let Err(what) = outcome {
            let failure = format!("{}: {}", arguments(job), what.lines().next().unwrap_or_default());
            eprintln!("FAILED {}: {what}", arguments(job));
            tally.failures.push(failure);
        }
        if tally.runs.is_multiple_of(PROGRESS) {
            let (left, seconds) = (locked(&self.jobs).len(), self.began.elapsed().as_secs());
            eprintln!("sweep: {} runs in {seconds} s, {} failed, {left} left", tally.runs, tally.failures.len());
        }
    }

    fn conclude(&self, options: &Options) -> ExitCode {
        let tally = &mut *locked(&self.tally);
        let gaps = tally.gaps(options);
        tally.failures.extend(gaps);
        let hit = tally.hit();
        let Tally { runs: _, untouched, missed, faults, calls, failures } = tally;
        let count = |of: &dyn Fn(Role) -> bool| calls.iter().filter(|call| of(call.1)).count();
        let roles = Role::value_variants().iter().filter(|&&role| count(&|other| other == role) > 0);
        let roles: Vec<_> = roles.map(|&role| format!("{} {}", word(role), count(&|other| other == role))).collect();
        let kinds: BTreeSet<_> = calls.iter().map(|call| call.2).collect();
        let faults: Vec<_> = faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let seconds = self.began.elapsed().as_secs();
        eprintln!("sweep: faults: {}", faults.join(", "));
        eprintln!("sweep: {untouched} kinds of calls swept to their end, {} faults missed, {seconds} s", missed.len());
        missed.iter().for_each(|missed| eprintln!("  missed: {missed}"));
        let verdict = match failures.len() {
            0 => "all invariants held".to_owned(),
            failed => format!("{failed} FAILED:\n  {}", failures.join("\n  ")),
        };
        let (positions, kinds, roles) = (calls.len(), kinds.len(), roles.join(", "));
        eprintln!("sweep: {hit} faults in {positions} calls of {kinds} kinds ({roles}): {verdict}");
        if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Tally {
    fn hit(&self) -> usize {
        self.runs - self.untouched - self.missed.len()
    }

    /// The parts that should have been hit and were not.
    fn gaps(&self, options: &Options) -> Vec<String> {
        let hit = self.hit();
        if hit == 0 {
            return vec!["nothing was hit".to_owned()];
        }
        if options.pick() {
            return Vec::new();
        }
        let is_hit = |part: &_| self.calls.iter().any(|call| (call.0, call.1) == *part);
        let unhit = options.parts().filter(|part| !is_hit(part));
        let unhit = unhit.map(|(scene, role)| format!("nothing of {} was hit in {}", word(role), word(scene)));
        let missed = self.missed.len();
        let too_many = (missed * 100 > hit * MISSED_PERCENT).then(|| format!("{missed} faults missed"));
        unhit.chain(too_many).collect()
    }
}

/// Whether anything was hit.
fn run(job: Job, port: u16) -> Result<bool, String> {
    let run = || {
        let played = play(job.scene, Some(job.aim), port)?;
        judge(job.scene, Some(job.aim), &played).map_err(|what| format!("{what}\n{}", evidence(&played)))?;
        Ok(played.trace.hit.is_some())
    };
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref().copied());
        Err(format!("panicked: {}", message.unwrap_or_default()))
    })
}

fn evidence(played: &Played) -> String {
    let Played { server_log, client_logs: [aimed, other], trace, hit_exit, .. } = played;
    format!(
        "---- {hit_exit:?} {:?} {:?}\n---- server\n{server_log}---- client 1\n{aimed}---- client 2\n{other}",
        trace.hit, trace.ends
    )
}

fn arguments(Job { scene, aim, .. }: Job) -> String {
    let Aim { role, call, nth, fault } = aim;
    let (call, fault) = (table::name(call).unwrap_or("?"), name_of(fault));
    format!("--scene {} --role {} --call {call} --nth {nth} --fault {fault}", word(scene), word(role))
}

fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn name_of(fault: Fault) -> String {
    match fault {
        Fault::Error(errno) => format!("{errno:?}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
