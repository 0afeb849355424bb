//! The part `connections`: connections a second with live children that do nothing.

use std::time::{Duration, Instant};

use super::bench::{Bench, Outcome};
use super::rounds::{Group, Sample};
use super::servers::{PATIENCE, Server};
use crate::Result;
use crate::floor::Floor;
use crate::report::names;
use crate::traffic::{AGENCIES, Idle, Line, all_at_once, echo};

/// Numbers of live children.
const IDLE: [u32; 3] = [0, 1000, 10_000];
/// Clients: enough to keep the server busy on a small machine, where they share the processors with it.
const CLIENTS: usize = 2;
/// Longer than any run.
const NEVER: &str = "1h";
/// Children besides the idle ones.
const SPARE: u32 = 1024;
/// Time limit of a run besides its own length.
const LIMIT: Duration = Duration::from_secs(60);

const OWN: &str = "server";
const BARE: &str = "floor: bare fork";
const PROJECT: &str = "floor: the project's fork";

/// Measures the project's server and the floors.
pub fn measure(bench: &Bench) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let length = Duration::from_secs(bench.extent.of(1, 2));
    let title = format!("{CLIENTS} clients, one line a connection, runs of {} s", length.as_secs());
    let quantities = [(names::CONNECTIONS, "1/s"), ("processor time a connection", "µs")];
    let mut group = Group::new(title, quantities).compared_with(&names::with_idle(BARE, IDLE[0]));
    for idle in IDLE {
        if let Some(reason) = bench.too_many(idle) {
            outcome.skipped.push(reason);
            continue;
        }
        for (name, server) in
            [(OWN, Server::own(AGENCIES)), (BARE, Server::Floor(Floor::Bare(idle))), (PROJECT, Server::Floor(Floor::Project(idle)))]
        {
            group.add_point(names::with_idle(name, idle), (name, idle), move || run(bench, server, idle, length));
        }
    }
    outcome.figures = group.measure(bench.rounds(2, 5), &bench.stop)?;
    Ok(outcome)
}

fn run(bench: &Bench, server: Server, count: u32, length: Duration) -> Result<Sample<2>> {
    let most = count + SPARE;
    let settings = [
        ("MAX_CONNECTIONS", most.to_string()),
        ("IDLE_TIMEOUT", NEVER.to_owned()),
        ("MESSAGE_TIMEOUT", NEVER.to_owned()),
    ];
    let mut running = server.start_in(tempfile::tempdir()?, &settings, (&bench.stop, PATIENCE))?;
    let idle = Idle::open(&running, count, &bench.stop)?;
    let line = if matches!(server, Server::Own { .. }) { Line::Sent } else { Line::NotSent };
    let port = running.port();
    let start = Instant::now();
    let limit = (&bench.stop, LIMIT + length);
    let counts = all_at_once(&mut running, limit, &[(); CLIENTS], |()| echo(port, line, length))?;
    let took = start.elapsed().as_secs_f64();
    let connections = counts.iter().sum::<u64>() as f64;
    drop(idle);
    // The time of the idle children's own forks is not a part of the connections' time.
    let used = running.stop()?.as_secs_f64() * 1e6 / connections;
    Ok([connections / took, if count == 0 { used } else { f64::NAN }])
}
