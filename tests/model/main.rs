//! A model of the storage and of the end of a lottery. A search covers every order of steps of two agencies, their
//! children, the parent and the draw's child, with faults at any step.
//!
//! It contains no code of the program. Each of its steps stands for one system call, or for several between which a
//! fault makes no difference. It shows which mechanism keeps which promise: with all mechanisms, every promise holds in
//! every state; without any one of them, a promise breaks (except for two, which are named). It proves the design, not
//! the program: that the program makes these steps in this order is tested by `tests/faults` and others.
//!
//! | step of the model | in the program |
//! |---|---|
//! | connects | `Server::fork_session`; `Delivery::attempt`, `WinnersQuery::ask` |
//! | gets the count of its stored bets | `Session::claim`, `Claims::claim`, `Session::tally`, `Committed::tally` |
//! | takes the lock, cuts the tail | `Locked::take`, `Locked::committed` |
//! | writes its rows; the record | `Locked::append`, `Record::write` |
//! | syncs its batch; acknowledges it | `Store::store_bets`; `Session::store_bets` |
//! | takes its end; syncs the bets; writes its end; syncs the ends | `Session::end`; `Store::end`, `Locked::append_end` |
//! | finds its agency ended | `Store::sync_ends`, for an end that another process recorded |
//! | acknowledges the end | `ChildEnd::report_ended`, then the answer |
//! | gets its winners | `Session::winners`, `Store::winners` |
//! | its child closes | `Session::close`; `Server::session_ended`, `Claims::release` |
//! | the draw's child … | `Server::hold_draw_if_due`, `drawing::try_hold`, `Store::write_result` |
//! | the parent logs sorteo and announces it | `Server::draw_child_ended` |
//! | the server starts | `start::lock_out_others`, `start::prepare`, `start::drop_cache`, `Locked::adopt` |
//! | an orphan dies | `ipc::process::spawn`: PR_SET_PDEATHSIG |
//! | `its child is killed` adopts ends | `Server::adopt_ends` |
//! | reports a failed sync | `Report::StorageBroken`, `Server::break_down` |
//!
//! Simplifications that are sound: a message has arrived or not, since half of one is never served. A report and the
//! death of a child reach the parent at once: it reads a child's reports before it forgets the child. A claim that is
//! refused after a second is one that waits. A process that waits for the lock does not have it. A start is one step:
//! it can be repeated at any point. Limits: two agencies, some batches, as many faults as are allowed; no untyped
//! messages, no other programs that change the files, no disk that returns data that was never written.
//!
//! The search is breadth first and its own ([`search`], some 120 lines). It checks that the end can be reached from
//! every state, which existing checkers (stateright) do not offer, and it needs no further dependency.
//!
//! `cargo test --release --test model NAME -- --nocapture` prints the trace that breaks the promise; `make model` goes
//! deeper, for minutes.

mod client;
mod disk;
mod faults;
mod mix;
mod promises;
mod search;
mod server;
mod session;
mod settings;
mod step;
mod world;

use search::{Found, search};
use settings::{FAULTS, Fault, LEVELS, Level, Mechanism, Plan, Settings};

const fn plan(bets: u8, batch: u8, window: u8) -> Plan {
    Plan { bets, batch, window }
}

/// One batch of two bets, and one of one.
const SMALL: [Plan; 2] = [plan(2, 2, 1), plan(1, 1, 1)];
/// A window of two batches.
const WINDOW: [Plan; 2] = [plan(2, 1, 2), plan(1, 1, 1)];
/// The smallest plan.
const LEAST: [Plan; 2] = [plan(1, 1, 1), plan(1, 1, 1)];
/// Two batches of two, one after the other.
#[cfg(feature = "faults")]
const LARGE: [Plan; 2] = [plan(4, 2, 1), plan(1, 1, 1)];

fn all_faults(level: Level, plans: [Plan; 2], faults: u8) -> Settings {
    Settings { level, promised: level, plans, without: Vec::new(), faults, kinds: FAULTS.to_vec(), sync_lies: false }
}

// ---- all mechanisms: every promise holds ------------------------------------------------------------------------

/// Searches all states, at least `floor` of them, so that an empty search is noticed.
#[track_caller]
fn holds(settings: &Settings, floor: usize) {
    let Found { states, depth, violation } = search(settings);
    eprintln!("{:?}, {} faults: {states} states, {depth} steps deep", settings.level, settings.faults);
    assert!(violation.is_none(), "\n{}", violation.map_or(String::new(), |violation| violation.to_string()));
    assert!(states >= floor, "only {states} states");
}

#[test]
fn without_faults_every_order_of_steps_answers_all_clients() {
    for level in LEVELS {
        holds(&all_faults(level, [plan(4, 2, 2), plan(2, 1, 1)], 0), 600);
    }
}

#[test]
fn every_promise_holds_over_two_faults_of_any_kind() {
    for level in LEVELS {
        holds(&all_faults(level, SMALL, 2), 300_000);
    }
}

#[test]
fn every_promise_holds_over_two_faults_with_a_window_of_two() {
    for level in LEVELS {
        holds(&all_faults(level, WINDOW, 2), 500_000);
    }
}

/// Crashes of processes and machines, without the faults of single connections.
const CRASHES: [Fault; 4] = [Fault::KillChild, Fault::KillParent, Fault::KillDraw, Fault::PowerCut];

#[test]
fn every_promise_holds_over_three_crashes() {
    for level in LEVELS {
        holds(&Settings { kinds: CRASHES.to_vec(), ..all_faults(level, LEAST, 3) }, 100_000);
    }
}

/// The kernel reports a failed sync once and drops the data, but shows the data until they leave the cache. The server
/// ends with code 4; the next one, in the same boot, must not rely on them.
fn syncs_that_drop_data(level: Level) -> Settings {
    let kinds = vec![Fault::SyncFails, Fault::PowerCut, Fault::KillChild, Fault::KillParent];
    Settings { sync_lies: true, kinds, ..all_faults(level, SMALL, 2) }
}

#[test]
fn every_promise_holds_over_syncs_that_fail_and_drop_data() {
    for level in LEVELS {
        holds(&syncs_that_drop_data(level), 100_000);
    }
}

#[cfg(feature = "faults")]
#[test]
fn every_promise_holds_over_three_faults_of_any_kind() {
    for level in LEVELS {
        holds(&all_faults(level, SMALL, 3), 3_000_000);
    }
}

#[cfg(feature = "faults")]
#[test]
fn every_promise_holds_over_two_faults_with_two_batches_of_two() {
    for level in LEVELS {
        holds(&all_faults(level, LARGE, 2), 550_000);
    }
}

#[cfg(feature = "faults")]
#[test]
fn every_promise_holds_over_four_crashes() {
    for level in LEVELS {
        holds(&Settings { kinds: CRASHES.to_vec(), ..all_faults(level, LEAST, 4) }, 500_000);
    }
}

// ---- one mechanism less: a promise is broken ----------------------------------------------------------------------

/// Finds that `promise` is broken, and prints the shortest trace to it.
#[track_caller]
fn breaks(settings: &Settings, promise: &str) {
    let Found { states, violation, .. } = search(settings);
    let Some(violation) = violation else { panic!("nothing is broken in {states} states") };
    eprintln!("{:?} without {:?}, {states} states:\n{violation}", settings.level, settings.without);
    assert!(violation.what.contains(promise), "\n{violation}");
}

fn without(mechanism: Mechanism, level: Level, faults: u8) -> Settings {
    Settings { without: vec![mechanism], ..all_faults(level, SMALL, faults) }
}

#[test]
fn without_the_data_lock_a_batch_is_cut_off_as_a_tail() {
    breaks(&without(Mechanism::DataLock, Level::End, 0), "P1: a part of a batch of agency 1 is stored");
}

#[test]
fn without_a_committed_length_a_torn_row_is_read() {
    breaks(&without(Mechanism::CommittedLength, Level::End, 1), "a torn row is read");
}

#[test]
fn without_cutting_the_tail_the_next_batch_commits_a_torn_row() {
    breaks(&without(Mechanism::CutTail, Level::End, 1), "a torn row is read");
}

#[test]
fn without_the_claim_an_old_session_stores_after_the_count() {
    breaks(&without(Mechanism::AgencyClaim, Level::End, 1), "P2: the bets of agency");
}

#[test]
fn without_the_resume_query_a_batch_is_stored_twice() {
    breaks(&without(Mechanism::ResumeQuery, Level::End, 1), "P2: the bets of agency");
}

#[test]
fn without_the_server_lock_an_orphan_wipes_an_announced_result() {
    breaks(&without(Mechanism::ServerLock, Level::End, 1), "P3: a reported result is forgotten");
}

#[test]
fn without_the_server_lock_an_orphan_stores_beside_a_new_server() {
    breaks(&without(Mechanism::ServerLock, Level::End, 2), "P2: the bets of agency");
}

#[test]
fn without_the_death_signal_a_stopped_child_blocks_new_servers() {
    breaks(&without(Mechanism::DieWithParent, Level::End, 1), "stuck");
}

#[test]
fn without_the_lock_around_ends_one_overwrites_the_other() {
    breaks(&without(Mechanism::EndsUnderLock, Level::End, 0), "P3: the acknowledged end of agency");
}

#[test]
fn without_adopting_ends_a_draw_waits_for_a_client_that_is_gone() {
    breaks(&without(Mechanism::AdoptEnds, Level::End, 2), "stuck");
}

#[test]
fn without_a_sync_before_the_end_a_power_cut_takes_its_bets() {
    breaks(&without(Mechanism::SyncBeforeEnd, Level::End, 1), "P3: agency 1 has ended with 0 of 2 bets");
}

#[test]
fn at_batch_the_sync_before_the_end_is_still_needed() {
    breaks(&without(Mechanism::SyncBeforeEnd, Level::Batch, 2), "P3: agency 1 has ended with 0 of 2 bets");
}

#[test]
fn without_a_sync_of_ends_a_power_cut_takes_an_acknowledged_one() {
    breaks(&without(Mechanism::SyncEnd, Level::End, 1), "P3: the acknowledged end of agency");
}

#[test]
fn without_a_sync_of_an_adopted_end_a_power_cut_takes_it() {
    breaks(&without(Mechanism::SyncAdoptedEnd, Level::End, 2), "P3: the acknowledged end of agency");
}

#[test]
fn without_a_batch_sync_a_power_cut_takes_an_acknowledged_one() {
    breaks(&without(Mechanism::SyncBatch, Level::Batch, 1), "P1: 2 bets of agency 1 were acknowledged, 0 are stored");
}

#[test]
fn without_a_bets_sync_at_the_draw_the_result_outlives_bets() {
    breaks(&without(Mechanism::DrawSyncsBets, Level::Process, 1), "P3: the draw outlives bets that took part");
}

#[test]
fn without_a_result_sync_a_power_cut_takes_an_announced_one() {
    breaks(&without(Mechanism::SyncResult, Level::End, 1), "P3: a reported result is forgotten");
}

#[test]
fn without_a_sync_at_start_a_power_cut_takes_a_reported_result() {
    breaks(&without(Mechanism::ReadFromDisk, Level::End, 2), "P3: a reported result is forgotten");
}

#[test]
fn without_a_read_from_disk_dropped_data_is_still_reported() {
    let settings = Settings { without: vec![Mechanism::ReadFromDisk], ..syncs_that_drop_data(Level::End) };
    breaks(&settings, "P3: the acknowledged end of agency 1 is forgotten");
}

#[test]
fn without_a_mark_on_the_record_dropped_rows_are_believed() {
    for level in [Level::End, Level::Batch] {
        let settings = Settings { without: vec![Mechanism::DoubtRecord], faults: 1, ..syncs_that_drop_data(level) };
        breaks(&settings, "were acknowledged, 0 are stored");
    }
}

#[test]
fn without_checksums_a_garbled_end_counts_for_another_agency() {
    breaks(&without(Mechanism::Checksums, Level::End, 1), "P3: agency 2 has ended with 0 of 1 bets");
}

#[test]
fn without_checksums_half_a_result_is_taken_for_one() {
    let kinds = vec![Fault::KillDraw];
    breaks(
        &Settings { kinds, ..without(Mechanism::Checksums, Level::End, 1) },
        "P3: the draw was held without all bets",
    );
}

#[test]
fn without_the_boot_id_an_old_record_is_believed() {
    let kinds = vec![Fault::PowerCut];
    breaks(
        &Settings { kinds, ..without(Mechanism::BootId, Level::Batch, 1) },
        "P1: 2 bets of agency 1 were acknowledged",
    );
}

// ---- mechanisms that no promise needs -----------------------------------------------------------------------------

/// Taking a write back only frees room on a full disk. The next writer, or the next end, makes sure that the batch does
/// not count.
#[test]
fn a_failed_write_that_is_not_taken_back_breaks_no_promise() {
    holds(&without(Mechanism::TakeBack, Level::End, 2), 300_000);
}

/// Once a result is durable, the ends are not needed any more. The sync only keeps the report of a later start right.
#[test]
fn ends_that_are_not_synced_at_the_draw_break_no_promise() {
    for level in LEVELS {
        holds(&without(Mechanism::DrawSyncsEnds, level, 2), 300_000);
    }
}

// ---- limits, with all mechanisms ----------------------------------------------------------------------------------

#[test]
fn at_process_a_power_cut_may_take_bets_and_keep_their_end() {
    let settings = Settings { promised: Level::End, ..all_faults(Level::Process, SMALL, 1) };
    breaks(&settings, "P3: agency 1 has ended with 0 of 2 bets");
}
