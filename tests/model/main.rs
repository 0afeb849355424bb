//! A model.

mod books;
mod client;
mod damage;
mod disk;
mod draw;
mod end;
mod faults;
mod list;
mod mix;
mod promises;
mod repair;
mod search;
mod session;
mod settings;
mod start;
mod step;
mod world;

use search::{Found, search};
use settings::{Damage, FAULTS, Fault, LEVELS, Level, Mechanism, Plan, Settings};

const fn plan(bets: u8, batch: u8, window: u8) -> Plan {
    Plan { bets, batch, window }
}

/// Two batches of one bet in one group, and one batch of one.
const SMALL: [Plan; 2] = [plan(2, 1, 2), plan(1, 1, 1)];
/// One batch of two bets, and one of one.
const PAIR: [Plan; 2] = [plan(2, 2, 1), plan(1, 1, 1)];
/// The smallest plan.
const LEAST: [Plan; 2] = [plan(1, 1, 1), plan(1, 1, 1)];

fn all_faults(level: Level, plans: &[Plan], faults: u8) -> Settings {
    Settings {
        level,
        plans: plans.to_vec(),
        untyped: Vec::new(),
        without: Vec::new(),
        faults,
        kinds: FAULTS.to_vec(),
        damage: Vec::new(),
        reboots: true,
        most_sessions: 3,
    }
}

/// Searches all states, at least `floor` of them, so that an empty search is noticed.
#[track_caller]
fn holds(settings: &Settings, floor: usize) {
    let begun = std::time::Instant::now();
    let Found { states, depth, violation } = search(settings);
    eprintln!("{:?}, {} faults: {states} states, {depth} steps deep, {:?}", settings.level, settings.faults, begun.elapsed());
    assert!(violation.is_none(), "\n{}", violation.map_or(String::new(), |violation| violation.to_string()));
    assert!(states >= floor, "only {states} states");
}

#[test]
fn compare() {
    for level in LEVELS {
        holds(&all_faults(level, &[plan(4, 1, 2), plan(2, 1, 1)], 0), 600);
    }
    for level in LEVELS {
        holds(&all_faults(level, &SMALL, 1), 600);
    }
    holds(&all_faults(Level::End, &PAIR, 1), 600);
    let p = vec![Fault::KillParent];
    holds(&Settings { kinds: vec![Fault::KillParent, Fault::KillDraw], ..all_faults(Level::End, &[plan(1, 1, 1); 3], 1) }, 600);
    holds(&Settings { untyped: vec![0], kinds: vec![Fault::KillChild, Fault::KillParent, Fault::PowerCut, Fault::NoRoom], ..all_faults(Level::End, &LEAST, 1) }, 600);
    let d = |damage, kind| Settings { kinds: vec![kind], damage: vec![damage], ..all_faults(Level::End, &LEAST, 1) };
    holds(&d(Damage::OldBets, Fault::KillParent), 0);
    holds(&d(Damage::OldDraw, Fault::KillParent), 0);
    holds(&d(Damage::OldDrawOnceHeld, Fault::PowerCut), 0);
    holds(&d(Damage::OldBooks, Fault::KillParent), 0);
    holds(&Settings { plans: vec![plan(3, 1, 1), plan(1, 1, 1)], reboots: false, ..d(Damage::OldBooks, Fault::KillParent) }, 0);
    holds(&Settings { damage: vec![Damage::ChangedRow], kinds: vec![], ..all_faults(Level::End, &SMALL, 1) }, 0);
    for damage in [Damage::Bets, Damage::Draw, Damage::Books] {
        holds(&d(damage, Fault::KillParent), 0);
    }
    holds(&Settings { damage: vec![Damage::Bets, Damage::Draw, Damage::Books], ..all_faults(Level::Batch, &LEAST, 1) }, 0);
}
#[test]
fn kinds() {
    for kind in [Fault::KillChild, Fault::KillParent, Fault::KillDraw, Fault::PowerCut, Fault::NoRoom, Fault::CutConnection] {
        eprintln!("{kind:?}");
        holds(&Settings { kinds: vec![kind], ..all_faults(Level::End, &SMALL, 1) }, 0);
    }
}
