//! The part `memory`: the parent, and children that wait for their first byte.

use super::bench::{Bench, Outcome};
use super::rounds::{Group, Sample};
use super::servers::{PATIENCE, Server};
use crate::Result;
use crate::floor::Floor;
use crate::process::{Memory, children_of};
use crate::report::{Quartiles, names};
use crate::traffic::{AGENCIES, Idle};

/// Number of children.
const CHILDREN: [u32; 2] = [1000, 10_000];
/// Most children whose memory is read.
const SAMPLED: usize = 1000;
/// Bytes of the parent that do not depend on its children, in the goal.
const FIXED: f64 = 3.3e6;
const KB: f64 = 1024.0;

/// Measures the project's server and a bare fork.
pub fn measure(bench: &Bench) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for count in CHILDREN {
        if let Some(reason) = bench.too_many(count) {
            outcome.skipped.push(reason);
            continue;
        }
        let quantities =
            [(names::CHILD, "kB"), ("idle child, private", "kB"), ("parent, RSS", "kB"), (names::PARENT, "bytes")];
        let mut group = Group::new(format!("{count} idle children"), quantities);
        group.add(format!("server, {count} children"), || run(bench, Server::own(AGENCIES), count));
        group.add(format!("floor: bare fork, {count} children"), || run(bench, Server::Floor(Floor::Bare(count)), count));
        let rounds = if count == CHILDREN[0] { bench.rounds(3, 5) } else { bench.rounds(1, 3) };
        outcome.figures.extend(group.measure(rounds, &bench.stop)?);
    }
    Ok(outcome)
}

fn run(bench: &Bench, server: Server, count: u32) -> Result<Sample<4>> {
    let settings = [("MAX_CONNECTIONS", (count + 1024).to_string())];
    let running = server.start_in(tempfile::tempdir()?, &settings, (&bench.stop, PATIENCE))?;
    let idle = Idle::open(&running, count, &bench.stop)?;
    let children = children_of(running.pid())?;
    let sampled = children.iter().step_by(children.len().div_ceil(SAMPLED).max(1));
    let memory = sampled.map(|pid| Memory::of(*pid)).collect::<Result<Vec<_>>>()?;
    let median = |figure: fn(&Memory) -> f64| {
        Quartiles::of(&memory.iter().map(figure).collect::<Vec<_>>()).map_or(f64::NAN, |quartiles| quartiles.median)
    };
    let parent = Memory::of(running.pid())?.resident;
    let sample = [
        median(|m| m.proportional),
        median(|m| m.private),
        parent,
        (parent * KB - FIXED) / f64::from(count),
    ];
    drop(idle);
    running.stop()?;
    Ok(sample)
}
