//! `--repair`: in use, without work, and killed at each step.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::conversion::{older, older_held};
use crate::scene::*;
use crate::support::books::*;
use crate::support::*;

/// Calls that change files. A process is killed at one of them, before the call has an effect.
const CALLS: &str =
    "?rename,renameat,renameat2,?link,linkat,?unlink,unlinkat,write,pwrite64,ftruncate,fsync,fdatasync,copy_file_range";

#[test]
fn a_repair_beside_a_server_is_refused() {
    let server = Server::start(2);
    assert_eq!(server.store(&batch_of(1, 3, WINNING)), 0);
    let before = files(&server.path(""));
    let second = Setup::new(2).set("STORAGE_FILEPATH", server.bets_path().display());
    let (code, log, _) = run_repair(second);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.lines().last().unwrap().contains(&server.pid().to_string()), "{log}");
    assert_eq!(changed(&before, &files(&server.path(""))), [""; 0]);
    assert_eq!(server.store(&end(2)), 0);
    assert_eq!(winners(&server, 1), [0, 1, 2]);
    server.stop();
}

#[test]
fn a_repair_of_sound_files_keeps_everything() {
    for stage in [Stage::Open, Stage::Ended] {
        for boot in [Boot::This, Boot::Another] {
            let setup = repaired(lottery_of(stage, boot));
            let server = setup.start();
            assert_eq!(server.tally(1), full(1, stage == Stage::Ended), "{boot:?}");
            assert_eq!(server.tally(2), full(2, false));
            finish(&server);
        }
    }
}

#[test]
fn the_plan_names_the_agency_that_sends_again() {
    let (_, log, setup) = run_repair(damaged_rows());
    let names = |agency: u32| log.contains(&format!("agency {agency}")) || log.contains(&format!("agencia: {agency}"));
    assert!(names(1), "{log}");
    // A second repair has nothing to do.
    let before = files(&setup.path(""));
    let (code, log, setup) = run_repair(setup);
    assert_eq!(code, Some(0), "{log}");
    let after = files(&setup.path(""));
    assert!(["bets.csv", "draw"].iter().all(|&name| after[name] == before[name]), "{log}");
}

// ---- killed ----

/// A row of agency 1, which has ended, is damaged.
fn damaged_rows() -> Setup {
    let setup = lottery(Stage::Ended);
    edit(&setup.path("bets.csv"), |bets| {
        let middle = bets.len() / 2;
        bets[middle] = 0;
    });
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

fn older_open() -> Setup {
    older(&[1])
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

fn killed_at_each_step(make: fn() -> Setup) {
    let template = make();
    let (code, log, whole) = run_repair(copy_of(&template));
    assert_eq!(code, Some(0), "{log}");
    let expected = state(&whole);
    for step in 1.. {
        let inject = format!("inject={CALLS}:signal=KILL:when={step}");
        let strace = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", &inject];
        let mut repair = copy_of(&template).under(&strace).arg("--repair").spawn();
        let status = repair.wait();
        if status.code() == Some(0) {
            assert!(step > 5, "it ends before the kill");
            break;
        }
        assert_eq!(status.code(), None, "step {step}: {}", repair.own_log());
        is_repeated(repair.kill(), &expected, &format!("step {step}"));
    }
    finish(&whole.start());
}

#[test]
fn a_repair_that_is_killed_at_any_step_can_be_repeated() {
    let works = Command::new("strace").args(["-D", "-o", "/dev/null", "true"]).output();
    if !works.as_ref().is_ok_and(|output| output.status.success()) {
        skipped(&this_test(), &format!("strace starts nothing here: {works:?}"));
        return;
    }
    type Make = fn() -> Setup;
    let ways: [(&str, Make); 5] = [
        ("damaged rows", damaged_rows),
        ("removed draw", removed_draw),
        ("damaged result", damaged_result),
        ("files of the older version", older_open),
        ("an older result", older_held),
    ];
    for_each(ways.map(|(name, make)| (name.to_owned(), make)), killed_at_each_step);
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
