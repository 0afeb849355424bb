//! `--repair` beside a server, of sound files, and a second time.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::kills::damaged_rows;
use crate::scene::*;
use crate::support::*;

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
fn a_repair_follows_a_symlink_and_keeps_the_mode() {
    let target = damaged_rows();
    fs::set_permissions(target.path("bets.csv"), fs::Permissions::from_mode(0o640)).unwrap();
    let setup = Setup::new(2);
    symlink(target.path("bets.csv"), setup.path("bets.csv")).unwrap();
    let (code, log, setup) = run_repair(setup);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(files(&setup.path("")).into_keys().collect::<Vec<_>>(), ["bets.csv"]);
    assert!(setup.path("bets.csv").is_symlink());
    assert_eq!(fs::metadata(target.path("bets.csv")).unwrap().permissions().mode() & 0o777, 0o640);
    let after = files(&target.path(""));
    for name in after.keys().filter(|name| name.starts_with("bets.csv.2")) {
        let mode = fs::metadata(target.path(name)).unwrap().permissions().mode() & 0o777;
        assert!([0o600, 0o640].contains(&mode), "{name}: {mode:o}");
    }
    finish(&setup.start());
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
