//! The promises that must hold in every state, and the end that every state must be able to reach.

use super::client::Phase;
use super::session::is_prefix;
use super::settings::{Level, Settings};
use super::world::{AGENCIES, Row, World};

/// The first promise that this state breaks.
pub fn broken(world: &World, settings: &Settings) -> Option<String> {
    let at_process = settings.promised == Level::Process && world.promised.power_was_cut;
    of_bets(world, settings)
        .or_else(|| of_the_result(world, settings, at_process))
        .or_else(|| if at_process { None } else { of_ends(world, settings) })
}

/// P1 and P2: the rows that readers see are whole, stored once and in order, and include all acknowledged ones.
fn of_bets(world: &World, settings: &Settings) -> Option<String> {
    let rows = world.visible(settings);
    if rows.contains(&Row::Torn) {
        return Some("a torn row is read as a bet".into());
    }
    let counted = world.counted(settings);
    for agency in AGENCIES {
        let (at, plan) = (usize::from(agency), settings.plans[usize::from(agency)]);
        let (count, acknowledged) = (counted[at], world.promised.bets[at]);
        let name = agency + 1;
        if !is_prefix(rows, agency) || count > plan.bets {
            return Some(format!("P2: the bets of agency {name} are not each there once and in order"));
        }
        if count < acknowledged {
            return Some(format!("P1: {acknowledged} bets of agency {name} were acknowledged, {count} are stored"));
        }
        if !world.promised.power_was_cut && count % plan.batch != 0 && count != plan.bets {
            return Some(format!("P1: a part of a batch of agency {name} is stored"));
        }
    }
    None
}

/// P3: one result, over all bets, final once it was reported.
fn of_the_result(world: &World, settings: &Settings, at_process: bool) -> Option<String> {
    let result = world.result(settings);
    let all = settings.plans.map(|plan| plan.bets);
    if result.is_some_and(|result| result != all) && !at_process {
        return Some("P3: the draw was held without all bets".into());
    }
    if result.is_some_and(|result| result != world.counted(settings)) {
        return Some("P3: the draw outlives bets that took part".into());
    }
    if world.promised.result && result.is_none() {
        return Some("P3: a reported result is forgotten".into());
    }
    (world.promised.announced > 1).then(|| "P3: sorteo was logged twice".into())
}

/// P3 and P2: an end covers all bets, is not forgotten, and no client is turned away.
fn of_ends(world: &World, settings: &Settings) -> Option<String> {
    let (counted, recorded) = (world.counted(settings), world.recorded_ends(settings));
    for (at, plan) in settings.plans.iter().enumerate() {
        let name = at + 1;
        if recorded[at] && counted[at] != plan.bets {
            return Some(format!("P3: agency {name} has ended with {} of {} bets", counted[at], plan.bets));
        }
        if world.promised.ends[at] && !recorded[at] && world.result(settings).is_none() {
            return Some(format!("P3: the acknowledged end of agency {name} is forgotten"));
        }
        if world.clients[at].phase == Phase::Failed {
            return Some(format!("P2: the client of agency {name} gives up"));
        }
    }
    None
}

/// Whether everything is done: every remaining client has its winners, unless one was lost before its end.
pub fn is_done(world: &World, settings: &Settings) -> bool {
    if settings.promised == Level::Process && world.promised.power_was_cut {
        // An acknowledged end may be lost: such a client must be started again.
        return true;
    }
    let recorded = world.recorded_ends(settings);
    let misses_an_end = |at: usize| world.clients[at].phase == Phase::Lost && !recorded[at];
    let hopeless = world.server.up && (0..2).any(misses_an_end) && world.result(settings).is_none();
    world.clients.iter().all(|client| match client.phase {
        Phase::Done | Phase::Lost => true,
        Phase::Query => hopeless && client.connected,
        Phase::Deliver | Phase::Failed => false,
    })
}
