//! The part `connections`: connections a second with live children that do nothing.

use std::cell::RefCell;
use std::io;
use std::time::{Duration, Instant};

use super::bench::{Bench, Outcome};
use super::rounds::{Group, Sample};
use super::servers::Server;
use crate::Result;
use crate::floor::Floor;
use crate::process::Running;
use crate::report::names;
use crate::stop::Stop;
use crate::traffic::{AGENCIES, Idle, Line, all_at_once, echo};

/// Numbers of live children.
const IDLE: [u32; 3] = [0, 1000, 10_000];
/// Clients: enough to keep the server busy on a small machine, where they share the processors with it.
const CLIENTS: [u32; 2] = [1, 2];
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
    let title = format!("{} clients, one line a connection, runs of {} s", CLIENTS.len(), length.as_secs());
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
    let [connections, rate] = measured(&mut running, (&bench.stop, length), |_| echo(port, line, length))?;
    drop(idle);
    // The time of the idle children's own forks is not a part of the connections' time.
    let used = running.stop()?.as_secs_f64() * 1e6 / connections;
    Ok(Some([rate, if count == 0 { used } else { f64::NAN }]))
}

/// Two clients at the same time, each of which makes connections for `length`: the number of all, and those a second.
/// `client` gets the client's number, 1 or 2.
pub fn measured(
    running: &mut Running,
    (stop, length): (&Stop, Duration),
    client: impl Fn(u32) -> io::Result<u64> + Sync,
) -> Result<[f64; 2]> {
    let start = Instant::now();
    let counts = all_at_once(running, (stop, LIMIT + length), &CLIENTS, |number| client(*number))?;
    let connections = counts.iter().sum::<u64>() as f64;
    Ok([connections, connections / start.elapsed().as_secs_f64()])
}
