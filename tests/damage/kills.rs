//! A start, `--repair` and `--new-draw` that are killed at each step: the next start decides the same, or refuses, and
//! the command can be repeated.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::conversion::{older, older_held};
use crate::scene::*;
use crate::support::books::*;
use crate::support::*;

/// Calls that change files. A process is killed at one of them, before the call has an effect.
const CALLS: [&str; 12] = [
    "?rename",
    "renameat",
    "?renameat2",
    "?link",
    "linkat",
    "?unlink",
    "unlinkat",
    "write",
    "pwrite64",
    "ftruncate",
    "fsync",
    "fdatasync",
];

/// Whether processes can be killed at a step; if not, that has been reported.
fn can_kill() -> bool {
    let works = Command::new("strace").args(["-D", "-o", "/dev/null", "true"]).output();
    let starts = works.as_ref().is_ok_and(|output| output.status.success());
    if !starts {
        skipped(&this_test(), &format!("strace starts nothing here: {works:?}"));
    }
    starts
}

/// Runs a server that is killed at call number `step` of this kind. `None` if it ends or listens before.
fn killed_at(call: &str, step: usize, setup: Setup) -> Option<Setup> {
    let inject = format!("inject={call}:signal=KILL:when={step}");
    let setup = setup.under(&["strace", "-D", "-qq", "-o", "/dev/null", "-e", &inject]);
    match try_start(setup) {
        Start::Ended(None, _, setup) => Some(setup.plain()),
        Start::Ended(Some(0), ..) | Start::Listens(_) => None,
        Start::Ended(code, log, _) => panic!("{call} {step}: {code:?}: {log}"),
    }
}

/// Kills a server with this argument at each step, every time over new files.
fn at_each_step(make_copy: impl Fn() -> Setup, argument: Option<&str>, check: impl Fn(Setup, &str)) {
    let mut kills = 0;
    for call in CALLS {
        for step in 1.. {
            let copy = argument.into_iter().fold(make_copy(), Setup::arg);
            let Some(setup) = killed_at(call, step, copy) else { break };
            check(setup, &format!("killed at {call} {step}"));
            kills += 1;
        }
    }
    assert!(kills > CALLS.len(), "{kills} kills");
}

// ---- a start ----

fn names(setup: &Setup) -> Vec<String> {
    files(&setup.path("")).into_keys().collect()
}

/// In the same boot, an end without unit, a tail, and a result that does not count.
fn work_for_a_start() -> Setup {
    let setup = lottery(Stage::Ended);
    let number = Books::read(&setup.path("books")).number_of(1);
    edit(&setup.path("draw"), |draw| {
        draw[Draw::unit_range(number)].fill(0);
        draw[HELD].copy_from_slice(&planned(4096));
        draw.resize(4096, 0);
        draw.extend(b"RES2");
    });
    edit(&setup.path("bets.csv"), |bets| bets.extend(row(1, 666, WINNING).as_bytes()));
    setup
}

#[test]
fn a_start_that_is_killed_at_any_step_decides_the_same_again() {
    if !can_kill() {
        return;
    }
    let template = work_for_a_start();
    let whole = copy_of(&template).start().kill();
    let (expected, expected_names) = (state(&whole), names(&whole));
    assert!(expected.1[0].is_some(), "the end is complete");
    at_each_step(
        || copy_of(&template),
        None,
        |setup, step| {
            let server = setup.start();
            assert_eq!(server.tally(1), full(1, true), "{step}");
            let rejected = fs::read(server.path("bets.csv.rejected")).unwrap();
            assert!(rejected.ends_with(row(1, 666, WINNING).as_bytes()), "{step}");
            let setup = server.kill();
            assert!(state(&setup) == expected, "{step}: another state");
            assert_eq!(names(&setup), expected_names, "{step}");
        },
    );
}

// ---- --new-draw ----

#[test]
fn a_new_draw_that_is_killed_at_any_step_can_be_repeated() {
    if !can_kill() {
        return;
    }
    let template = lottery(Stage::Ended);
    let (old_files, old_state) = (files(&template.path("")), state(&template));
    at_each_step(
        || copy_of(&template),
        Some("--new-draw"),
        |setup, step| {
            let present = files(&setup.path(""));
            for name in ["bets.csv", "draw"] {
                assert!(present.values().any(|bytes| *bytes == old_files[name]), "{step}: {name} is lost");
            }
            let setup = match try_start(setup) {
                Start::Ended(code, log, setup) => {
                    assert_eq!(code, Some(4), "{step}: {log}");
                    setup
                }
                Start::Listens(server) => {
                    let setup = server.kill();
                    let found = state(&setup);
                    assert!(found == old_state || found == (vec![], [None; 2], None), "{step}: a mixture of both");
                    setup
                }
            };
            let server = setup.arg("--new-draw").start();
            assert_eq!((server.bets(), server.tally(1)), (vec![], (0, false, 0)), "{step}");
        },
    );
}

// ---- --repair ----

/// A row of agency 1, which has ended, is damaged.
pub fn damaged_rows() -> Setup {
    let setup = lottery(Stage::Ended);
    edit(&setup.path("bets.csv"), |bets| {
        let middle = bets.len() / 2;
        bets[middle] = 0;
    });
    setup
}

/// No agency has ended, so only `books` proves that rows are lost.
fn damaged_rows_of_an_open_agency() -> Setup {
    let setup = lottery(Stage::Open);
    edit(&setup.path("bets.csv"), |bets| bets.truncate(bets.len() / 2));
    setup
}

fn damaged_rows_of_another_boot() -> Setup {
    let setup = damaged_rows();
    of_another_boot(&setup.path("books"));
    setup
}

fn removed_draw() -> Setup {
    let setup = lottery(Stage::Ended);
    fs::remove_file(setup.path("draw")).unwrap();
    setup
}

fn damaged_result() -> Setup {
    let setup = lottery(Stage::Held);
    let result = Draw::read(&setup.path("draw")).result_range();
    flip(&setup.path("draw"), (result.end - 1) * 8);
    setup
}

/// The tail is a valid row, so only the committed length shows that it is not a bet.
fn older_with_tail() -> Setup {
    let setup = older(&[1]);
    edit(&setup.path("bets.csv"), |bets| bets.extend(row(1, 666, WINNING).as_bytes()));
    setup
}

/// The state of a lottery: its rows, the units of both agencies, the winners.
type State = (Vec<u8>, [Option<Unit>; 2], Option<BTreeMap<u32, Vec<u32>>>);

fn state(setup: &Setup) -> State {
    let draw = Draw::read(&setup.path("draw"));
    let units = [1, 2].map(|agency| (0..2).find_map(|n| draw.unit(n).filter(|unit| unit.agency == agency)));
    (fs::read(setup.path("bets.csv")).unwrap(), units, draw.winners())
}

/// After a repair was killed: a start is refused with exit code 4, unless the repair was complete. A second repair
/// leads to `expected`.
#[track_caller]
fn is_repeated(setup: Setup, expected: &State, what: &str) {
    let setup = match try_start(setup.plain()) {
        Start::Ended(code, log, setup) => {
            assert_eq!(code, Some(4), "{what}: {log}");
            setup
        }
        Start::Listens(server) => {
            let setup = server.kill();
            assert!(state(&setup) == *expected, "{what}: it has started before the repair was complete");
            setup
        }
    };
    let (code, log, setup) = run_repair(setup);
    assert_eq!(code, Some(0), "{what}: {log}");
    assert!(state(&setup) == *expected, "{what}: the second repair leads to another state");
}

fn killed_repair(make: impl Fn() -> Setup) {
    if !can_kill() {
        return;
    }
    let (code, log, whole) = run_repair(make());
    assert_eq!(code, Some(0), "{log}");
    let expected = state(&whole);
    at_each_step(make, Some("--repair"), |setup, step| is_repeated(setup, &expected, step));
    finish(&whole.start());
}

#[test]
fn a_killed_repair_of_rows_can_be_repeated() {
    let template = damaged_rows();
    killed_repair(|| copy_of(&template));
}

#[test]
fn a_killed_repair_of_an_open_agency_can_be_repeated() {
    let template = damaged_rows_of_an_open_agency();
    killed_repair(|| copy_of(&template));
}

#[test]
fn a_killed_repair_of_rows_of_another_boot_can_be_repeated() {
    let template = damaged_rows_of_another_boot();
    killed_repair(|| copy_of(&template));
}

#[test]
fn a_killed_repair_of_a_removed_draw_can_be_repeated() {
    let template = removed_draw();
    killed_repair(|| copy_of(&template));
}

#[test]
fn a_killed_repair_of_a_result_can_be_repeated() {
    let template = damaged_result();
    killed_repair(|| copy_of(&template).set("LOTTERY_WINNER_NUMBER", USUAL));
}

#[test]
fn a_killed_conversion_can_be_repeated() {
    // The older committed length is that of one inode, so a copy does not have it.
    killed_repair(older_with_tail);
}

#[test]
fn a_killed_conversion_of_a_held_draw_can_be_repeated() {
    let template = older_held();
    killed_repair(|| copy_of(&template).set("LOTTERY_WINNER_NUMBER", USUAL));
}

#[test]
fn a_repair_that_is_killed_at_any_time_can_be_repeated() {
    let template = damaged_rows();
    let begun = Instant::now();
    let (code, log, whole) = run_repair(copy_of(&template));
    let time = begun.elapsed();
    assert_eq!(code, Some(0), "{log}");
    let expected = state(&whole);
    for _ in 0..20 {
        let repair = copy_of(&template).arg("--repair").spawn();
        std::thread::sleep(Duration::from_secs_f64(time.as_secs_f64() * fastrand::f64()));
        is_repeated(repair.kill(), &expected, "a random time");
    }
}
