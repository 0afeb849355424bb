//! One mechanism less: a promise is broken, or a server ends with exit code 4 over undamaged files.

use super::runs::{failed_syncs, lost_clients, older};
use super::settings::{Damage, Fault, Level, Mechanism, Plan, Settings};
use super::{LEAST, LONG, SMALL, all_faults, breaks};

fn without(mechanism: Mechanism, plans: &[Plan], faults: u8, kinds: &[Fault]) -> Settings {
    Settings { without: vec![mechanism], kinds: kinds.to_vec(), ..all_faults(Level::End, plans, faults) }
}

fn untyped(settings: Settings) -> Settings {
    Settings { untyped: vec![0], ..settings }
}

// ---- a group ------------------------------------------------------------------------------------------------------

#[test]
fn without_the_data_lock_a_group_is_cut_off_as_a_tail() {
    breaks(&without(Mechanism::DataLock, &SMALL, 0, &[]), "tally: agency");
}

#[test]
fn without_the_claim_an_old_session_stores_bets_twice() {
    breaks(&without(Mechanism::Claim, &SMALL, 1, &[Fault::CutConnection]), "exactly once: agency 1");
}

#[test]
fn without_asking_first_a_client_stores_bets_twice() {
    breaks(&without(Mechanism::AskFirst, &SMALL, 1, &[Fault::KillChild]), "exactly once: agency 1");
}

#[test]
fn without_rows_before_the_slot_a_tally_counts_missing_rows() {
    let settings = without(Mechanism::RowsBeforeSlot, &SMALL, 1, &[Fault::KillChild]);
    breaks(&settings, "tally: agency 1 has 0 rows, its slot 2");
}

#[test]
fn without_the_slot_before_the_head_rows_are_in_no_tally() {
    let settings = without(Mechanism::SlotBeforeHead, &SMALL, 1, &[Fault::KillChild]);
    breaks(&settings, "tally: agency 1 has 2 rows, its slot 0");
}

#[test]
fn without_rolling_forward_a_committed_group_does_not_count() {
    let settings = without(Mechanism::RollForward, &SMALL, 1, &[Fault::KillChild]);
    breaks(&settings, "tally: agency 1 has 0 rows, its slot 2");
}

#[test]
fn without_cutting_the_tail_a_torn_row_counts() {
    breaks(&without(Mechanism::CutTail, &SMALL, 1, &[Fault::KillChild]), "a torn row counts");
}

#[test]
fn without_a_sync_of_the_cut_a_power_cut_mixes_tail_and_rows() {
    let kinds = [Fault::KillChild, Fault::PowerCut];
    breaks(&without(Mechanism::SyncCut, &SMALL, 2, &kinds), "exactly once: agency");
}

#[test]
fn without_the_flag_a_kill_before_the_sync_of_a_cut_is_missed() {
    let settings = without(Mechanism::CutFlag, &SMALL, 3, &[Fault::KillChild, Fault::PowerCut]);
    breaks(&Settings { most_sessions: 2, ..settings }, "exactly once: agency");
}

#[test]
fn without_halves_a_kill_destroys_the_only_record() {
    breaks(&without(Mechanism::Halves, &SMALL, 1, &[Fault::KillChild]), "tally: agency");
}

#[test]
fn a_group_that_is_taken_back_after_its_slot_was_read_is_lost() {
    let settings = without(Mechanism::NothingTakenBack, &LEAST, 1, &[Fault::NoRoom]);
    breaks(&untyped(settings), "stored: 1 acknowledged bets of agency 1 are gone");
}

// ---- an end -------------------------------------------------------------------------------------------------------

#[test]
fn without_the_closed_flag_an_untyped_bet_follows_the_end() {
    let settings = without(Mechanism::ClosedUnderLock, &LEAST, 0, &[]);
    breaks(&untyped(settings), "R1: the books contradict themselves");
}

#[test]
fn without_closing_first_a_bet_gets_between_sync_and_end() {
    let settings = without(Mechanism::CloseBeforeSync, &LEAST, 1, &[Fault::PowerCut]);
    breaks(&untyped(settings), "false alarm: exit 4: it has ended with other rows");
}

#[test]
fn without_a_sync_before_the_end_a_power_cut_takes_its_bets() {
    let settings = without(Mechanism::SyncBeforeEnd, &SMALL, 1, &[Fault::PowerCut]);
    breaks(&settings, "false alarm: exit 4: it has ended with other rows");
}

#[test]
fn without_a_sync_of_the_end_a_power_cut_takes_it() {
    let settings = without(Mechanism::SyncEnd, &SMALL, 1, &[Fault::PowerCut]);
    breaks(&settings, "false alarm: exit 4: its end is gone");
}

#[test]
fn without_completing_a_found_end_a_power_cut_takes_its_bets() {
    let kinds = [Fault::KillChild, Fault::PowerCut];
    let settings = without(Mechanism::CompleteFoundEnd, &LEAST, 2, &kinds);
    breaks(&settings, "stored: 1 acknowledged bets of agency");
}

#[test]
fn without_adopting_ends_a_draw_waits_for_a_client_that_is_gone() {
    breaks(&Settings { without: vec![Mechanism::AdoptEnds], ..lost_clients() }, "stuck");
}

// ---- the draw -----------------------------------------------------------------------------------------------------

#[test]
fn without_a_bets_sync_at_the_draw_it_outlives_its_bets() {
    let settings = without(Mechanism::DrawSyncsBets, &LEAST, 1, &[Fault::PowerCut]);
    breaks(&Settings { level: Level::Process, ..settings }, "false alarm: exit 4: it has ended with other rows");
}

#[test]
fn without_writing_missing_ends_the_draw_stops() {
    let settings = without(Mechanism::DrawWritesEnds, &LEAST, 1, &[Fault::KillChild]);
    breaks(&settings, "false alarm in the draw");
}

#[test]
fn without_comparing_the_draw_is_held_over_other_rows() {
    let settings = without(Mechanism::DrawCompares, &LEAST, 0, &[]);
    let settings = Settings { damage: vec![Damage::ChangedRow], ..settings };
    breaks(&settings, "one draw: it was held over other bets than those that ended");
}

#[test]
fn without_a_sync_of_the_result_the_held_record_outlives_it() {
    let settings = without(Mechanism::SyncResult, &LEAST, 1, &[Fault::PowerCut]);
    breaks(&settings, "false alarm: exit 4: the result is damaged");
}

#[test]
fn without_a_sync_of_the_held_record_the_mark_outlives_it() {
    let settings = without(Mechanism::SyncHeld, &LEAST, 1, &[Fault::PowerCut]);
    breaks(&settings, "false alarm: exit 4: the held draw is gone");
}

#[test]
fn without_a_sync_of_the_mark_an_older_draw_undoes_the_held_one() {
    let settings = older(Damage::OldDrawOnceHeld, Fault::PowerCut);
    breaks(&Settings { without: vec![Mechanism::SyncMark], ..settings }, "one draw: the reported result is gone");
}

#[test]
fn without_the_held_record_a_damaged_result_is_drawn_again() {
    let settings = without(Mechanism::HeldRecord, &LEAST, 1, &[Fault::KillParent]);
    let settings = Settings { damage: vec![Damage::Draw], ..settings };
    breaks(&settings, "one draw: the reported result is gone");
}

// ---- a start ------------------------------------------------------------------------------------------------------

#[test]
fn without_the_life_lock_a_start_cuts_off_an_orphans_rows() {
    breaks(&without(Mechanism::LifeLock, &LEAST, 1, &[Fault::KillParent]), "tally: agency");
}

#[test]
fn without_the_death_signal_a_stopped_child_blocks_a_start() {
    breaks(&without(Mechanism::DieWithParent, &LEAST, 1, &[Fault::KillParent]), "stuck");
}

#[test]
fn without_the_boot_id_old_books_are_believed() {
    let settings = without(Mechanism::BootId, &SMALL, 1, &[Fault::PowerCut]);
    let settings = Settings { level: Level::Batch, ..settings };
    breaks(&settings, "false alarm: exit 4: its rows are not those of the books");
}

fn damaged(mechanism: Mechanism, damage: Damage, kind: Fault) -> Settings {
    Settings { damage: vec![damage], ..without(mechanism, &LEAST, 1, &[kind]) }
}

#[test]
fn without_comparing_ends_lost_rows_go_unnoticed() {
    let settings = damaged(Mechanism::CompareEnds, Damage::Bets, Fault::KillParent);
    breaks(&settings, "stored: 1 acknowledged bets of agency");
}

#[test]
fn without_comparing_slots_lost_rows_go_unnoticed() {
    let settings = damaged(Mechanism::CompareSlots, Damage::Bets, Fault::KillParent);
    breaks(&settings, "stored: 1 acknowledged bets of agency");
}

#[test]
fn without_the_rule_that_draw_must_exist_an_end_is_forgotten() {
    let settings = damaged(Mechanism::DrawMustExist, Damage::Draw, Fault::PowerCut);
    breaks(&settings, "ends: the end of agency 1 is forgotten");
}

#[test]
fn without_evidence_an_older_draw_forgets_an_end() {
    let settings = damaged(Mechanism::Evidence, Damage::OldDraw, Fault::KillParent);
    breaks(&settings, "ends: the end of agency 1 is forgotten");
}

#[test]
fn without_a_longest_tail_older_books_cut_off_bets() {
    let settings = damaged(Mechanism::LongestTail, Damage::OldBooks, Fault::KillParent);
    let settings = Settings { plans: LONG.to_vec(), reboots: false, ..settings };
    breaks(&settings, "stored: 1 acknowledged bets of agency 1 are gone");
}

// ---- failed syncs -------------------------------------------------------------------------------------------------

fn failed_syncs_without(mechanism: Mechanism, level: Level) -> Settings {
    Settings { without: vec![mechanism], ..failed_syncs(level) }
}

#[test]
fn without_the_doubtful_flag_dropped_rows_are_believed() {
    for level in [Level::End, Level::Batch] {
        breaks(&failed_syncs_without(Mechanism::Doubt, level), "false alarm: exit 4: rows are gone");
    }
}

#[test]
fn without_doubt_about_a_found_end_it_outlives_its_dropped_bets() {
    let settings = failed_syncs_without(Mechanism::DoubtStopsCompletion, Level::End);
    breaks(&settings, "false alarm: exit 4: it has ended with other rows");
}

#[test]
fn without_a_read_from_disk_dropped_data_are_still_reported() {
    let settings = failed_syncs_without(Mechanism::ReadFromDisk, Level::End);
    breaks(&settings, "false alarm: exit 4: its end is gone");
}
