//! The promises that must hold in every state of a running server, and the end that every state must be able to reach.

use super::client::Phase;
use super::list::Agency;
use super::settings::{Fault, Settings};
use super::world::{State, World};

/// The first promise that this state breaks.
pub fn broken(world: &World, settings: &Settings) -> Option<String> {
    if let Some(what) = world.broken {
        return Some(if what.starts_with("exit 4") { format!("false alarm: {what}") } else { what.to_owned() });
    }
    if !world.server.is_up() {
        return None;
    }
    let committed = world.committed(settings);
    if world.bets.valid_run() < committed.min(world.bets.len()) {
        return Some("whole or not at all: a torn row counts".into());
    }
    let mut agencies = settings.agencies();
    of_the_books(world)
        .or_else(|| agencies.find_map(|agency| of_an_agency(world, agency, committed, settings)))
        .or_else(|| of_the_draw(world, settings))
}

/// R1: at most one slot is one commit further than the head, and no other ends past it.
fn of_the_books(world: &World) -> Option<String> {
    let head = world.books.head()?;
    let mut further = 0;
    for tally in world.books.tallies() {
        if tally.seq <= head.seq && tally.end > head.len {
            return Some("R1: a slot ends past the head".into());
        }
        further += usize::from(tally.seq > head.seq);
        if tally.seq > head.seq + 1 || further > 1 {
            return Some("R1: the books contradict themselves".into());
        }
    }
    None
}

fn of_an_agency(world: &World, agency: Agency, committed: usize, settings: &Settings) -> Option<String> {
    if world.harm.tainted.contains(agency) {
        return None;
    }
    let (at, name) = (usize::from(agency), agency + 1);
    let rows = world.bets.rows_of(agency, committed);
    let slot = world.books.slot(agency).unwrap_or_default();
    if slot.rows != rows && !world.is_locked(settings) {
        return Some(format!("tally: agency {name} has {} rows, its slot {}", rows.len(), slot.rows.len()));
    }
    let lost = world.promised.bets[at].without(rows.numbers());
    if !lost.is_empty() {
        return Some(format!("stored: {} acknowledged bets of agency {name} are gone", lost.len()));
    }
    let typed = rows.typed();
    if !typed.is_front() {
        return Some(format!("exactly once: agency {name} has bets twice or out of order"));
    }
    let plan = settings.plan(agency);
    let whole = typed.len().is_multiple_of(plan.batch) || typed.len() == plan.bets;
    if !whole && settings.damage.is_empty() && !settings.kinds.contains(&Fault::PowerCut) {
        return Some(format!("whole or not at all: a part of a batch of agency {name} counts"));
    }
    match world.promised.ends[at] {
        Some(end) if end != rows => Some(format!("ends: agency {name} has other rows than at its end")),
        Some(_) if !slot.closed && !world.draw.held.now.is_whole() => {
            Some(format!("ends: the end of agency {name} is forgotten"))
        }
        _ => None,
    }
}

fn of_the_draw(world: &World, settings: &Settings) -> Option<String> {
    let reported = world.promised.result?;
    if world.draw.held_result() != Some(reported) {
        return Some("one draw: the reported result is gone".into());
    }
    let mut agencies = settings.agencies().map(usize::from);
    let other = agencies.any(|at| world.promised.ends[at].is_some_and(|end| end != reported[at]));
    other.then(|| "one draw: it was held over other bets than those that ended".into())
}

/// Whether everything is done: every client has its winners or has given up, or the operator decides. Without the end of
/// a lost client there is no draw: the others wait.
pub fn is_done(world: &World, settings: &Settings) -> bool {
    let mut phases = settings.agencies().map(|agency| (agency, world.clients[usize::from(agency)].phase));
    let misses_end = |(agency, phase)| phase == Phase::Lost && !world.books.is_closed(agency);
    match world.server.state {
        State::Refused => true,
        State::Down => false,
        State::Up if phases.clone().any(|(_, phase)| phase == Phase::Failed) => true,
        State::Up if !world.draw.held.now.is_whole() && phases.clone().any(misses_end) => true,
        State::Up => phases.all(|(_, phase)| matches!(phase, Phase::Done | Phase::Lost)),
    }
}
