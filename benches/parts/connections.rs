//! The part `connections`: connections a second with live children that do nothing.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::bench::{Bench, Outcome};
use super::rounds::{Group, Sample};
use super::servers::Server;
use crate::Result;
use crate::floor::Floor;
use crate::report::names;
use crate::traffic::{AGENCIES, Idle, Line, all_at_once, echo};

/// Numbers of live children.
const IDLE: [u32; 3] = [0, 1000, 10_000];
/// Clients: enough to keep the server busy on a small machine, where they share the processors with it.
const CLIENTS: usize = 2;
/// Time limit of a run besides its own length.
const LIMIT: Duration = Duration::from_secs(60);

const OWN: &str = "server";
const BARE: &str = "floor: bare fork";
const PROJECT: &str = "floor: the project's fork";

/// Measures the project's server and the floors.
pub fn measure(bench: &Bench) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let too_slow = RefCell::new(Vec::new());
    let length = Duration::from_secs(bench.extent.of(1, 2));
    let title = format!("{CLIENTS} clients, one line a connection, runs of {} s", length.as_secs());
    let quantities = [(names::CONNECTIONS, "1/s"), ("processor time a connection", "µs")];
    let mut group = Group::new(title, quantities).compared_with(&names::with_idle(BARE, IDLE[0]));
    for idle in IDLE {
        if let Some(reason) = bench.too_many(idle) {
            outcome.skipped.push(reason);
            continue;
        }
        let [bare, project] = [Floor::Bare(idle), Floor::Project(idle)].map(Server::Floor);
        for (line, server) in [(OWN, Server::own(AGENCIES)), (BARE, bare), (PROJECT, project)] {
            let name = names::with_idle(line, idle);
            let (subject, too_slow) = (name.clone(), &too_slow);
            group.add_point(name, (line, idle), move || {
                let sample = run(bench, server, idle, length)?;
                if sample.is_none() {
                    too_slow.borrow_mut().push(format!("{subject}: the children did not start in time"));
                }
                Ok(sample.unwrap_or([f64::NAN; 2]))
            });
        }
    }
    outcome.figures = group.measure(bench.rounds(2, 5), &bench.stop)?;
    outcome.skipped.extend(too_slow.into_inner());
    outcome.skipped.dedup();
    Ok(outcome)
}

/// Returns `None` if the idle children do not start in time.
fn run(bench: &Bench, server: Server, count: u32, length: Duration) -> Result<Option<Sample<2>>> {
    let mut running = server.start_for_idle(count, &bench.stop)?;
    let Some(idle) = Idle::open(&running, count, &bench.stop)? else { return Ok(None) };
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
    Ok(Some([connections / took, if count == 0 { used } else { f64::NAN }]))
}
