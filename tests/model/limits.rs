//! All mechanisms, and the limits that the design has all the same.

use super::runs::{failed_syncs, older};
use super::settings::{Damage, Fault, Level, Settings};
use super::{LEAST, all_faults, breaks};

#[test]
fn older_books_that_lack_one_group_are_not_noticed() {
    breaks(&older(Damage::OldBooksByOneGroup, Fault::KillParent), "stored: 1 acknowledged bets of agency");
}

#[test]
fn an_older_draw_after_a_power_cut_forgets_an_end() {
    breaks(&older(Damage::OldDraw, Fault::PowerCut), "ends: the end of agency 1 is forgotten");
}

#[test]
fn a_damaged_slot_of_a_group_without_a_head_takes_the_group() {
    let kinds = vec![Fault::KillParent, Fault::NoRoom];
    let settings = Settings { kinds, damage: vec![Damage::SlotBeforeHead], ..all_faults(Level::End, &LEAST, 2) };
    breaks(&settings, "stored: 1 acknowledged bets of agency 1 are gone");
}

fn strict(level: Level, faults: u8, kinds: &[Fault]) -> Settings {
    Settings { kinds: kinds.to_vec(), excuses_limits: false, ..all_faults(level, &LEAST, faults) }
}

#[test]
fn at_process_a_power_cut_may_take_rows_and_keep_their_end() {
    let settings = strict(Level::Process, 1, &[Fault::PowerCut]);
    breaks(&settings, "false alarm: exit 4: it has ended with other rows");
}

#[test]
fn an_end_that_a_kill_tears_is_damaged_after_a_power_cut() {
    let settings = strict(Level::End, 2, &[Fault::KillChild, Fault::PowerCut]);
    breaks(&settings, "false alarm: exit 4: its end is damaged");
}

#[test]
fn a_held_record_that_a_kill_tears_is_damaged_after_a_power_cut() {
    let settings = strict(Level::End, 2, &[Fault::KillDraw, Fault::PowerCut]);
    breaks(&settings, "false alarm: exit 4: the held record is damaged");
}

#[test]
fn a_kill_between_a_failed_sync_and_its_mark_leaves_no_mark() {
    let settings = Settings { kinds: vec![Fault::SyncFails, Fault::KillParent], ..failed_syncs(Level::Batch) };
    breaks(&Settings { marks_late: true, ..settings }, "false alarm: exit 4: rows are gone");
}
