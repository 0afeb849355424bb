//! The part `memory`: the parent, and children that wait for their first byte.

use super::bench::{Bench, Outcome};
use super::rounds::{Group, Sample};
use super::servers::Server;
use crate::Result;
use crate::floor::Floor;
use crate::process::{Memory, children_of};
use crate::report::{Quartiles, names};
use crate::traffic::{AGENCIES, Idle};

/// Number of children.
const CHILDREN: u32 = 1000;
/// Bytes of the parent that do not depend on its children, in the goal.
const FIXED: f64 = 3.3e6;
const KB: f64 = 1024.0;

/// Measures the project's server and a bare fork.
pub fn measure(bench: &Bench) -> Result<Outcome> {
    if let Some(reason) = bench.too_many(CHILDREN) {
        return Ok(Outcome { skipped: vec![reason], ..Outcome::default() });
    }
    let quantities =
        [(names::CHILD, "kB"), ("idle child, private", "kB"), ("parent, RSS", "kB"), (names::PARENT, "bytes")];
    let mut group = Group::new(format!("{CHILDREN} idle children"), quantities);
    for (name, server) in
        [("server", Server::own(AGENCIES)), ("floor: bare fork", Server::Floor(Floor::Bare(CHILDREN)))]
    {
        group.add(format!("{name}, {CHILDREN} children"), move || run(bench, server));
    }
    let figures = group.measure(bench.rounds(3, 7), &bench.stop)?;
    Ok(Outcome { figures, ..Outcome::default() })
}

fn run(bench: &Bench, server: Server) -> Result<Sample<4>> {
    let running = server.start_for_idle(CHILDREN, &bench.stop)?;
    let idle = Idle::open(&running, CHILDREN, &bench.stop)?.ok_or("the children did not start in time")?;
    let children = children_of(running.pid())?;
    let memory = children.iter().map(|pid| Memory::of(*pid)).collect::<Result<Vec<_>>>()?;
    let median = |figure: fn(&Memory) -> f64| {
        let samples: Vec<f64> = memory.iter().map(figure).collect();
        Quartiles::of(&samples).map_or(f64::NAN, |quartiles| quartiles.median)
    };
    let parent = Memory::of(running.pid())?.resident;
    let beyond = (parent * KB - FIXED) / f64::from(CHILDREN);
    let sample = [median(|m| m.proportional), median(|m| m.private), parent, beyond];
    drop(idle);
    running.stop()?;
    Ok(sample)
}
