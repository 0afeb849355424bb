//! All mechanisms: every promise holds in every state. The large searches need the feature `faults`.

use super::search::{Found, search};
use super::settings::{Damage, Fault, LEVELS, Level, Settings};
use super::{LEAST, SMALL, all_faults, plan};

/// Searches all states, at least `floor` of them, so that an empty search is noticed.
#[track_caller]
fn holds(settings: &Settings, floor: usize) -> Found {
    let begun = std::time::Instant::now();
    let found = search(settings);
    let Found { states, depth, .. } = found;
    let (level, faults) = (settings.level, settings.faults);
    eprintln!("{level:?}, {faults} faults: {states} states, {depth} steps deep, {:.1?}", begun.elapsed());
    if let Some(violation) = &found.violation {
        panic!("\n{violation}");
    }
    assert!(states >= floor, "only {states} states");
    found
}

/// Also checks that the damage was noticed, and repaired.
#[track_caller]
fn holds_and_repairs(settings: &Settings, floor: usize, refusals: &[&str]) {
    let Found { made, .. } = holds(settings, floor);
    for refusal in refusals {
        assert!(made.contains(format!("exit 4: {refusal}").as_str()), "never seen: {refusal}");
    }
    assert!(made.contains("server --repair"));
    let may_be_killed = settings.faults > 1 && settings.kinds.contains(&Fault::KillParent);
    assert_eq!(made.contains("server --repair is killed"), may_be_killed);
}

#[test]
fn every_order_of_steps_without_faults_answers_all_clients() {
    for level in LEVELS {
        let made = holds(&all_faults(level, &[plan(4, 1, 2), plan(2, 1, 1)], 0), 1_000).made;
        assert!(made.contains("the parent logs sorteo and announces it"));
    }
}

#[test]
fn promises_hold_over_two_faults_of_any_kind_at_end() {
    holds(&all_faults(Level::End, &SMALL, 2), 400_000);
}

/// The kernel reports a failed sync once and drops the data, but shows the data until they leave the cache. The server
/// ends with code 4; the next one, in the same boot, must not rely on them.
pub fn failed_syncs(level: Level) -> Settings {
    let kinds = vec![Fault::SyncFails, Fault::PowerCut, Fault::KillChild, Fault::KillParent, Fault::KillDraw];
    Settings { kinds, ..all_faults(level, &SMALL, 2) }
}

#[test]
fn promises_hold_over_syncs_that_fail_and_drop_data() {
    for level in LEVELS {
        holds(&failed_syncs(level), 100_000);
    }
}

pub fn lost_clients() -> Settings {
    let kinds = vec![Fault::LoseClient, Fault::KillChild, Fault::KillParent, Fault::KillDraw];
    Settings { kinds, ..all_faults(Level::End, &LEAST, 2) }
}

#[test]
fn promises_hold_if_a_client_never_comes_back() {
    holds(&lost_clients(), 10_000);
}

#[test]
fn damaged_bets_are_noticed_and_repaired() {
    let settings = Settings { damage: vec![Damage::Bets], ..all_faults(Level::End, &LEAST, 1) };
    let refusals =
        ["rows are gone", "damaged row", "its rows are not those of the books", "it has ended with other rows"];
    holds_and_repairs(&settings, 50_000, &refusals);
}

#[test]
fn a_damaged_draw_is_noticed_and_repaired() {
    let settings = Settings { damage: vec![Damage::Draw], ..all_faults(Level::End, &LEAST, 1) };
    let refusals = ["its end is damaged", "the held record is damaged", "the result is damaged", "draw is gone"];
    holds_and_repairs(&settings, 20_000, &refusals);
}

#[test]
fn damaged_books_are_noticed_and_repaired() {
    let settings = Settings { damage: vec![Damage::Books], ..all_faults(Level::End, &LEAST, 1) };
    let refusals = ["no head", "its rows are not those of the books", "books is not ours"];
    holds_and_repairs(&settings, 20_000, &refusals);
}

/// An older copy of one file, restored after one fault of this kind.
pub fn older(damage: Damage, kind: Fault) -> Settings {
    Settings { kinds: vec![kind], damage: vec![damage], ..all_faults(Level::End, &LEAST, 1) }
}

#[test]
fn an_older_draw_does_not_undo_a_held_one() {
    let made = holds(&older(Damage::OldDrawOnceHeld, Fault::PowerCut), 100_000).made;
    assert!(made.contains("exit 4: the held draw is gone"));
    // --repair never opens a held draw again.
    assert!(!made.contains("server --repair"));
}

#[test]
fn a_row_that_changes_while_the_server_runs_stops_the_draw() {
    let settings =
        Settings { kinds: Vec::new(), damage: vec![Damage::ChangedRow], ..all_faults(Level::End, &SMALL, 0) };
    let made = holds(&settings, 1_000).made;
    assert!(made.contains("draw child: the rows are not those of the ends, the server ends"));
}

#[cfg(feature = "faults")]
mod large {
    //! The searches of `make model`.

    use super::super::{LONG, settings::Plan};
    use super::*;

    /// One batch of two bets, and one of one.
    const PAIR: [Plan; 2] = [plan(2, 2, 1), plan(1, 1, 1)];

    #[test]
    fn promises_hold_over_two_faults_at_the_other_levels() {
        for level in [Level::Process, Level::Batch] {
            holds(&all_faults(level, &SMALL, 2), 400_000);
        }
    }

    #[test]
    fn promises_hold_over_two_faults_with_a_batch_of_two() {
        for level in [Level::End, Level::Batch] {
            holds(&all_faults(level, &PAIR, 2), 400_000);
        }
    }

    #[test]
    fn promises_hold_over_three_crashes() {
        let kinds = vec![Fault::KillChild, Fault::KillParent, Fault::PowerCut, Fault::KillDraw];
        holds(&Settings { kinds, most_sessions: 2, ..all_faults(Level::End, &LEAST, 3) }, 800_000);
    }

    #[test]
    fn promises_hold_over_three_faults_of_any_kind() {
        holds(&all_faults(Level::End, &SMALL, 3), 2_000_000);
    }

    #[test]
    fn promises_hold_over_four_crashes() {
        let kinds = vec![Fault::KillChild, Fault::KillParent, Fault::PowerCut, Fault::KillDraw];
        holds(&Settings { kinds, most_sessions: 2, ..all_faults(Level::End, &LEAST, 4) }, 800_000);
    }

    #[test]
    fn promises_hold_over_three_failed_syncs_or_crashes() {
        for level in LEVELS {
            holds(&Settings { faults: 3, most_sessions: 2, plans: LEAST.to_vec(), ..failed_syncs(level) }, 800_000);
        }
    }

    #[test]
    fn damage_after_two_faults_is_noticed_and_repaired() {
        for damage in ANY_FILE {
            let settings = Settings { damage: vec![damage], ..all_faults(Level::End, &LEAST, 2) };
            holds_and_repairs(&settings, 300_000, &[]);
        }
    }

    #[test]
    fn promises_hold_for_three_agencies() {
        holds(&all_faults(Level::End, &[plan(1, 1, 1); 3], 1), 500_000);
    }

    fn with_untyped(plans: &[Plan], untyped: &[u8]) -> Settings {
        let kinds = vec![Fault::KillChild, Fault::KillParent, Fault::PowerCut, Fault::NoRoom];
        Settings { kinds, untyped: untyped.to_vec(), ..all_faults(Level::End, plans, 1) }
    }

    #[test]
    fn promises_hold_for_an_untyped_sender_beside_a_typed_one() {
        holds(&with_untyped(&LEAST, &[0]), 200_000);
    }

    #[test]
    fn promises_hold_for_two_untyped_senders_of_one_agency() {
        holds(&with_untyped(&[plan(0, 1, 1), plan(1, 1, 1)], &[0, 0]), 500_000);
    }

    const ANY_FILE: [Damage; 3] = [Damage::Bets, Damage::Draw, Damage::Books];

    #[test]
    fn damage_after_any_fault_is_noticed_and_repaired() {
        for damage in ANY_FILE {
            holds_and_repairs(&Settings { damage: vec![damage], ..all_faults(Level::End, &SMALL, 1) }, 30_000, &[]);
        }
        let any = Settings { damage: ANY_FILE.to_vec(), ..all_faults(Level::Batch, &LEAST, 1) };
        holds_and_repairs(&any, 50_000, &[]);
    }

    #[test]
    fn damage_after_two_crashes_is_noticed_and_repaired() {
        let kinds = vec![Fault::KillParent, Fault::PowerCut];
        let any = Settings { kinds, damage: ANY_FILE.to_vec(), ..all_faults(Level::End, &LEAST, 2) };
        holds_and_repairs(&any, 100_000, &[]);
    }

    #[test]
    fn an_older_bets_file_is_noticed_and_repaired() {
        holds_and_repairs(&older(Damage::OldBets, Fault::KillParent), 200_000, &["rows are gone"]);
    }

    #[test]
    fn an_older_draw_is_noticed_and_repaired() {
        holds_and_repairs(&older(Damage::OldDraw, Fault::KillParent), 200_000, &["its end is gone"]);
    }

    #[test]
    fn older_books_are_noticed_and_repaired() {
        let noticed = ["books is older than bets.csv"];
        holds_and_repairs(&older(Damage::OldBooks, Fault::KillParent), 200_000, &noticed);
        let far = older(Damage::OldBooks, Fault::KillParent);
        holds_and_repairs(&Settings { plans: LONG.to_vec(), reboots: false, ..far }, 400_000, &noticed);
    }
}
