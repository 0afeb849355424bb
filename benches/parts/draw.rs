//! The part `draw`: one draw of few or many agencies, all connected at once.

use std::cell::RefCell;
use std::fs::File;
use std::time::{Duration, Instant};

use super::bench::{Bench, Outcome};
use super::load::count_lines;
use super::rounds::{Group, Sample};
use super::servers::Server;
use crate::Result;
use crate::floor::{self, Floor, Sync};
use crate::process::children_of;
use crate::report::names;
use crate::traffic::Crowd;
use crate::traffic::wire;

/// Numbers of agencies.
const AGENCIES: [u32; 5] = [1, 10, 100, 1000, 10_000];
/// Bets of each agency.
const BETS: u32 = 100;
/// How long the last child may take to end after its client has left.
const PATIENCE: Duration = Duration::from_secs(60);

const QUANTITIES: [(&str, &str); 5] = [
    (names::ACKNOWLEDGED, "s"),
    ("first winners, after it", "s"),
    (names::WINNERS, "s"),
    (names::LEFT, "s"),
    (names::ERRORS, ""),
];
const OWN: &str = "server";
const FLOOR: &str = "floor";

/// Measures the project's server and the floor, which knows no winners.
pub fn measure(bench: &Bench) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let failures = RefCell::new(Vec::new());
    for agencies in AGENCIES {
        if let Some(reason) = bench.too_many(agencies) {
            outcome.skipped.push(reason);
            continue;
        }
        let title = format!("{agencies} agencies with {BETS} bets each, one client process");
        let mut group = Group::new(title, QUANTITIES).compared_with(&names::with_agencies(FLOOR, agencies));
        let crowd = |winners| Crowd { agencies, bets: wire::made_up_bets(BETS), winners: Some(winners) };
        let floor = Server::Floor(Floor::Store(agencies, Sync::AtEnd));
        for (name, server, crowd) in [(OWN, Server::own(agencies), crowd(1)), (FLOOR, floor, crowd(0))] {
            let failures = &failures;
            let run = move || {
                let (sample, failure) = run(bench, server, &crowd)?;
                failures.borrow_mut().extend(failure);
                Ok(sample)
            };
            group.add_point(names::with_agencies(name, agencies), (name, agencies), run);
        }
        let rounds = if agencies == AGENCIES[4] { bench.rounds(2, 5) } else { bench.rounds(5, 11) };
        match group.measure(rounds, &bench.stop) {
            Ok(figures) => outcome.figures.extend(figures),
            Err(e) => failures.borrow_mut().push(e.to_string()),
        }
        bench.stop.check()?;
    }
    outcome.failures = failures.into_inner();
    Ok(outcome)
}

/// Returns the figures, and the first failure of an agency.
fn run(bench: &Bench, server: Server, crowd: &Crowd) -> Result<(Sample<5>, Option<String>)> {
    let running = server.start(&bench.stop)?;
    let draw = crowd.play((running.port(), server.framing()), &bench.stop)?;
    let leaving = Instant::now();
    drop(draw.connections);
    let empty = || Ok(children_of(running.pid())?.is_empty().then(Instant::now));
    // A floor holds no draw. It reaps only after its next connection, so its children stay.
    let left = match server {
        Server::Own { .. } => bench.stop.until(PATIENCE, empty)?.ok_or("children are left")? - leaving,
        Server::Floor(_) => Duration::ZERO,
    };
    if let (Server::Own { .. }, 0) = (server, draw.errors) {
        let (stored, sent) = (count_lines(File::open(running.dir().join(floor::FILE))?)?, crowd.agencies * BETS);
        if stored != sent as usize {
            return Err(format!("{sent} bets were sent, but {stored} are stored").into());
        }
    }
    running.stop()?;
    let failure = draw.first_error.map(|e| format!("{} agencies failed: {e}", draw.errors));
    let [drawn, answered, left] = match server {
        Server::Own { .. } => [draw.drawn, draw.answered, left].map(|time| time.as_secs_f64()),
        Server::Floor(_) => [f64::NAN; 3],
    };
    Ok(([draw.acknowledged.as_secs_f64(), drawn, answered, left, draw.errors as f64], failure))
}
