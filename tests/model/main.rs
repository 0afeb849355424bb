//! A model of the storage and of the end of a lottery. A search covers every order of steps of two agencies (or three),
//! their children, the parent, the draw child and a start, with faults at any step, damage to a file, and `--repair`.
//!
//! It contains no code of the program. Each of its steps stands for one system call, or for several between which a
//! fault makes no difference. It shows which mechanism keeps which promise. With all mechanisms, every promise holds in
//! every state, and exit code 4 needs a damaged file. Without any one mechanism, a promise breaks, or a server ends with
//! exit code 4 over undamaged files. It proves the design, not the program: that the program makes these steps in this
//! order is tested by `tests/faults` and others.
//!
//! | step of the model | in the program |
//! |---|---|
//! | connects | `Server::fork_session`; `Delivery::attempt`, `WinnersQuery::ask` |
//! | claims its agency | `Session::claim`, `Claims::claim` |
//! | gets the tally of its stored bets | `Session::tally`, `Store::stored` |
//! | takes the lock | `Locked::take`, `Locked::recovered`, `commit::read_slot` |
//! | writes the head from the slot of a dead writer | `Locked::roll_forward`, `books::rolled_forward` |
//! | marks the head: a cut is not synced; cuts the tail; syncs the cut | `Locked::recover`, `Locked::cut` |
//! | writes its rows; writes its slot; writes the head, unlocks | `Locked::append`, `Pair::replace` |
//! | syncs its group; acknowledges | `Store::store`; `Session::store_group` |
//! | closes its slot, unlocks; syncs the bets | `Store::end`, `Locked::close` |
//! | writes its end; syncs its end; marks its slot | `Store::complete_end`, `Unit::write` |
//! | finds its agency ended | `Store::stored`, for an end that another process has begun |
//! | acknowledges the end | `ChildEnd::report_ended`, then the answer |
//! | gets its winners | `Session::winners`, `Store::winners` |
//! | closes | `Session::close`; `Server::session_ended`, `Claims::release` |
//! | draw child … | `Server::hold_draw_if_due`, `holding::hold`, `holding::complete_units`, `holding::write_result` |
//! | the parent logs sorteo and announces it | `Server::draw_child_ended` |
//! | the server starts; exit 4 … | `LifeLock::try_take`, `start::sync_and_drop_cache`, `adoption::decide`, `start::prepare` |
//! | server --repair | `repair::plan`, `Plan::carry_out` |
//! | its orphaned child dies | `ipc::process::spawn`: PR_SET_PDEATHSIG |
//! | reports a failed sync | `Report::StorageBroken`, `Server::break_down` |
//!
//! The names of the steps (R1, E1, D1, S1, …) are those of `docs/storage.md`.
//!
//! # Modelled
//! - Old and new connections of an agency, typed clients that ask first, untyped senders, up to three sessions at once;
//!   groups of two batches, and batches of two rows.
//! - Kills of a child, the parent and the draw child, before each system call and in the middle of it. Such a kill
//!   leaves a part of the rows, or a torn record of 64 bytes. A start that is killed between its changes.
//! - Connections that are cut, clients that never come back, writes without room.
//! - Power cuts: each block keeps any of its contents since its last sync, so that there are holes, and blocks of a tail
//!   that was cut off. `books` may reach the disk or not.
//! - Syncs that fail and drop data, which stay visible until they leave the cache.
//! - After faults: one damage to one file, an older copy of one file, in the same boot or in another one, or a row that
//!   changes while the server runs; then `--repair`, after which the clients go on. A `--repair` that is killed between
//!   its files.
//!
//! # Simplified
//! These simplifications are sound. A row stands for itself, so a tally is a perfect checksum. A message has arrived or
//! not, since half of one is never served. A report and the death of a child reach the parent at once: it reads a child's
//! reports before it forgets the child. A process that waits for the lock does not have it. A start makes each of its
//! changes in one step, since it can be repeated at any point. A write that fails outside of a group leaves the same as
//! a kill in the middle of it.
//!
//! The model has no `NEXT` record, which only marks where the units end, and no empty commit after a cut (R5), which only
//! saves later holders of the lock a sync.
//!
//! One simplification is not sound: a process whose sync has failed marks the head as doubtful in the same step. In the
//! program, some microseconds lie in between. See the limits.
//!
//! # Not modelled
//! A child that was taken over by an attacker; damage of two files at once; all files replaced by an older set that is
//! consistent; a changed row of an agency that has not ended, together with a reboot (the CRC-32 of its client notices
//! it); a volume that is detached and attached in one boot; hard links in two directories; network file systems; disks
//! that report success for a sync without having made it; files of an older version; `--new-draw`; agencies that get
//! their slots while the server runs.
//!
//! # Limits that the model found
//! The tests of `limits.rs` show them.
//! - An older copy of only `books`, restored in the same boot, is not noticed if it lacks no more than the last group.
//!   Never back up `books`, and delete it after a restore.
//! - An older `draw`, restored after a power cut that also took the evidence in `books`, forgets an end. A held draw is
//!   safe, since its mark in the head is synced.
//! - A slot half that is damaged before the head of its group is written (its writer died, or found no room) looks like
//!   a slot that a kill has torn: the group is cut off.
//! - Between a failed sync and the mark in the head, a new child that syncs the same file gets no error. If the process
//!   is killed in this time, there is no mark, and the next start may end with exit code 4: rows are gone.
//! - At `process`, a power cut may leave an end without its rows: exit code 4, then `--repair`.
//! - An end or a held record that a kill has torn, and that a power cut makes durable: exit code 4, then `--repair`.
//!
//! # The search
//! It is breadth first and its own ([`search`], some 130 lines). It checks that the end can be reached from
//! every state, which existing checkers (stateright) do not offer, and it needs no further dependency.
//!
//! `cargo test --release --test model NAME -- --nocapture` prints the trace that breaks the promise; `make model` makes
//! the large searches, for minutes.

mod books;
mod client;
mod damage;
mod disk;
mod draw;
mod end;
mod faults;
mod limits;
mod list;
mod mix;
mod promises;
mod repair;
mod runs;
mod search;
mod session;
mod settings;
mod start;
mod step;
mod without;
mod world;

use search::{Found, search};
use settings::{FAULTS, Level, Plan, Settings};

const fn plan(bets: u8, batch: u8, window: u8) -> Plan {
    Plan { bets, batch, window }
}

/// Two batches of one bet in one group, and one batch of one.
const SMALL: [Plan; 2] = [plan(2, 1, 2), plan(1, 1, 1)];
/// The smallest plan.
const LEAST: [Plan; 2] = [plan(1, 1, 1), plan(1, 1, 1)];
/// Three groups, one after the other.
const LONG: [Plan; 2] = [plan(3, 1, 1), plan(1, 1, 1)];

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
        marks_late: false,
        excuses_limits: true,
    }
}

/// Finds that `promise` is broken, and prints the shortest trace to it.
#[track_caller]
fn breaks(settings: &Settings, promise: &str) {
    let Found { states, violation, .. } = search(settings);
    let Some(violation) = violation else { panic!("nothing is broken in {states} states") };
    eprintln!("{:?} without {:?}, {states} states:\n{violation}", settings.level, settings.without);
    assert!(violation.what.contains(promise), "\n{violation}");
}
