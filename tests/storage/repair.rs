//! `--repair` from outside: which rows and ends it keeps, and which files it converts.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::scene::*;
use crate::support::books::{Draw, of_another_boot, seal, zero};
use crate::support::strace::strace_starts;
use crate::support::*;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Runs `--repair` to its end: the exit code, and the log.
fn repair(setup: Setup) -> (Option<i32>, String, Setup) {
    let mut server = setup.arg("--repair").spawn();
    let code = server.wait().code();
    (code, server.own_log(), server.kill().plain())
}

/// `--repair` succeeds.
#[track_caller]
fn repaired(setup: Setup) -> (String, Setup) {
    let (code, log, setup) = repair(setup);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("action: repair | result: success | apuestas: "), "{log}");
    assert_well_formed(&log);
    (log, setup)
}

/// All files of the directory but the log.
fn content(setup: &Setup) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(setup.path("")).unwrap().map(|entry| entry.unwrap());
    let files = files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()));
    files.filter(|(name, _)| name != "server.log").collect()
}

#[track_caller]
fn refuses(setup: Setup, words: &str) -> Setup {
    let before = content(&setup);
    let (code, log, setup) = repair(setup);
    assert_eq!(code, Some(4), "{log}");
    assert!(log.lines().last().unwrap().contains(words), "{log}");
    assert_eq!(content(&setup), before);
    setup
}

/// The tally of an agency that has sent these rows.
fn tally_of(rows: &str, has_ended: bool) -> (u64, bool, u32) {
    (rows.matches("\r\n").count() as u64, has_ended, crc32fast::hash(rows.as_bytes()))
}

/// Three agencies with three bets each; 1 and 2 have ended, and the rows of 1 are damaged: they are before the others.
fn damaged() -> Setup {
    let server = Server::start(3);
    for agency in [1, 2, 3] {
        assert_eq!(server.store(&batch_of(agency, 3, WINNING)), 0);
    }
    [1, 2].into_iter().for_each(|agency| assert_eq!(server.store(&end(agency)), 0));
    let setup = server.kill();
    zero(&setup.path("bets.csv"), 3..4);
    setup
}

#[test]
fn a_damaged_agency_is_dropped_and_the_others_stay() {
    let setup = damaged();
    let (log, setup) = repaired(setup);
    assert!(log.contains("agencia: 1 | apuestas: 0 | aviso: its rows differ"), "{log}");
    assert!(!log.contains("agencia: 2") && !log.contains("agencia: 3"), "{log}");
    assert_eq!(fs::read_to_string(setup.path("bets.csv")).unwrap(), rows(2, 3, WINNING) + &rows(3, 3, WINNING));
    let server = setup.start();
    assert_eq!(server.tally(1), tally_of("", false));
    assert_eq!(server.tally(2), tally_of(&rows(2, 3, WINNING), true));
    assert_eq!(server.tally(3), tally_of(&rows(3, 3, WINNING), false));
    assert_eq!(server.store(&batch_of(1, 3, WINNING)), 0);
    server.stop();
}

#[test]
fn rows_without_proof_are_kept_up_to_the_damage() {
    let setup = damaged();
    of_another_boot(&setup.path("books"));
    let (log, setup) = repaired(setup);
    assert!(log.contains("agencia: 3 | apuestas: 0 | aviso: its rows after an invalid row"), "{log}");
    let server = setup.start();
    assert_eq!(server.tally(2), tally_of(&rows(2, 3, WINNING), true));
    assert_eq!((server.tally(1), server.tally(3)), (tally_of("", false), tally_of("", false)));
    server.stop();
}

#[test]
fn a_second_repair_changes_nothing() {
    let (_, setup) = repaired(damaged());
    let before = content(&setup);
    let (log, setup) = repaired(setup);
    assert!(log.contains("the files need no repair"), "{log}");
    let after = content(&setup);
    assert!(["bets.csv", "draw"].iter().all(|name| after[*name] == before[*name]), "{log}");
}

#[test]
fn an_agency_that_ended_without_bets_keeps_its_end() {
    let server = Server::start(2);
    assert_eq!(server.store(&end(1)), 0);
    let setup = server.kill();
    append(&setup.path("bets.csv"), FORGED);
    of_another_boot(&setup.path("books"));
    let server = repaired(setup).1.start();
    assert_eq!(server.tally(1), tally_of("", true));
    assert_eq!(server.bets(), b"");
    server.stop();
}

#[test]
fn a_repair_of_files_in_use_ends_with_1() {
    let server = Server::start(1);
    assert_eq!(server.store(&batch_of(1, 3, WINNING)), 0);
    let beside = Setup::new(1).set("STORAGE_FILEPATH", path(&server.bets_path()));
    let (code, log, _) = repair(beside);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("is in use by another server"), "{log}");
    assert_eq!(server.tally(1).0, 3);
    server.stop();
}

#[test]
fn foreign_files_are_not_repaired() {
    let setup = Setup::new(1);
    fs::write(setup.path("bets.csv"), "# Notes\n").unwrap();
    let setup = refuses(setup, "bets.csv is not a file of a lottery");
    fs::write(setup.path("draw"), "Somebody's own notes.\n").unwrap();
    refuses(setup, "bets.csv is not a file of a lottery");
}

#[test]
fn a_refused_repair_makes_no_file() {
    let server = Server::start(1);
    assert_eq!(server.store(&batch_of(1, 3, WINNING)), 0);
    winners(&server, 1);
    let setup = server.kill();
    fs::remove_file(setup.path("bets.csv")).unwrap();
    refuses(setup, "cannot be repaired");
}

#[test]
fn repair_and_new_draw_exclude_each_other() {
    let setup = Setup::new(1).arg("--new-draw");
    let (code, log, _) = repair(setup);
    assert_eq!(code, Some(2), "{log}");
}

#[test]
fn a_stop_ends_a_repair_that_reads_many_rows() {
    if !strace_starts() {
        return;
    }
    let setup = Setup::new(1).arg("--repair");
    let bets = setup.path("bets.csv");
    fs::write(&bets, row(1, 0, WINNING).repeat(200_000)).unwrap();
    let (trace, bets) = (setup.path("trace"), format!("--trace-path={}", path(&bets)));
    // Some twenty blocks: without the stop, the command takes more than a minute.
    let words = ["strace", "-D", "-qq", "-o", path(&trace), &bets, "-e", "inject=pread64:delay_enter=3s"];
    let mut server = setup.under(&words).spawn();
    eventually("it reads the bets", || fs::read_to_string(&trace).is_ok_and(|trace| trace.contains("pread64(")));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    assert!(!server.log().contains("action: repair"), "{}", server.log());
}

// ---- files of an older version ----

/// Files of an older version in this boot: agencies 1 and 2 have three bets each, and agency 2 has ended.
fn older() -> Setup {
    let setup = Setup::new(2);
    let bets = setup.path("bets.csv");
    fs::write(&bets, rows(1, 3, WINNING) + &rows(2, 3, WINNING)).unwrap();
    let found = fs::metadata(&bets).unwrap();
    let numbers = [found.dev(), found.ino(), found.len()].map(u64::to_be_bytes).concat();
    write_sealed(&setup, "bets.lock", &[b"LOTBETS1", &fs::read(BOOT_ID).unwrap()[..36], &numbers]);
    write_sealed(&setup, "ends", &[b"FIN1", &2_u32.to_be_bytes()]);
    fs::write(setup.path("draw"), "").unwrap();
    setup
}

fn write_sealed(setup: &Setup, name: &str, fields: &[&[u8]]) {
    let mut record = [fields.concat(), vec![0; 4]].concat();
    seal(&mut record);
    fs::write(setup.path(name), record).unwrap();
}

/// A result of an older version: two agencies, both with the winners 0, 1 and 2.
fn older_result(committed: u64) -> Vec<u8> {
    let documents = [0_u32, 1, 2].map(u32::to_be_bytes).concat();
    let terms = [2, WINNING].map(u32::to_be_bytes).concat();
    let entries = [1, 2].map(|agency| [agency, 3, crc32fast::hash(&documents)].map(u32::to_be_bytes).concat()).concat();
    let mut index = [b"LOTDRAW1", &*terms, &committed.to_be_bytes(), &2_u32.to_be_bytes(), &entries, &[0; 4]].concat();
    seal(&mut index);
    [index, documents.clone(), documents].concat()
}

#[test]
fn older_files_are_converted() {
    let setup = older();
    // A torn record of an end does not count, and whole rows past the committed length are not bets.
    append(&setup.path("ends"), b"FIN1\0\0\0\x01\0\0");
    append(&setup.path("bets.csv"), FORGED);
    let (log, setup) = repaired(setup);
    assert!(log.contains("the files of an older version, are renamed"), "{log}");
    assert!(!setup.path("ends").exists() && !setup.path("bets.lock").exists());
    let server = setup.start();
    assert_eq!(server.tally(1), tally_of(&rows(1, 3, WINNING), false));
    assert_eq!(server.tally(2), tally_of(&rows(2, 3, WINNING), true));
    assert_eq!(winners(&server, 1), [0, 1, 2]);
    server.stop();
}

#[test]
fn an_older_result_is_taken_over() {
    let setup = older().set("LOTTERY_WINNER_NUMBER", 1);
    let committed = fs::metadata(setup.path("bets.csv")).unwrap().len();
    fs::write(setup.path("draw"), older_result(committed)).unwrap();
    let (_, setup) = repaired(setup);
    assert_eq!(Draw::read(&setup.path("draw")).outcome().unwrap().committed, committed);
    let server = setup.start();
    let drawn = [1, 2].map(|agency| server.connect().send(&ask(agency)).winners());
    assert_eq!(drawn, [Some(vec![0, 1, 2]), Some(vec![0, 1, 2])]);
    assert!(!server.own_log().contains(SORTEO), "drawn again");
    server.stop();
}

#[test]
fn an_older_result_of_other_rows_is_refused() {
    let setup = older();
    let committed = fs::metadata(setup.path("bets.csv")).unwrap().len();
    fs::write(setup.path("draw"), older_result(committed + 1)).unwrap();
    let setup = refuses(setup, "were committed");
    fs::write(setup.path("draw"), older_result(committed - row(2, 0, WINNING).len() as u64)).unwrap();
    let setup = refuses(setup, "the result of the held draw is damaged: this cannot be repaired");
    fs::write(setup.path("draw"), &older_result(committed)[..50]).unwrap();
    refuses(setup, "the result of the held draw is damaged: this cannot be repaired");
}

#[test]
fn lost_rows_of_an_older_version_open_its_ends() {
    let setup = older();
    let bets = fs::File::options().write(true).open(setup.path("bets.csv")).unwrap();
    bets.set_len(bets.metadata().unwrap().len() - 1).unwrap();
    let (log, setup) = repaired(setup);
    assert!(log.contains("agencia: 2 | apuestas: 2 | aviso: committed rows are lost"), "{log}");
    let server = setup.start();
    assert_eq!(server.tally(1), tally_of(&rows(1, 3, WINNING), false));
    assert_eq!(server.tally(2), tally_of(&rows(2, 2, WINNING), false));
    server.stop();
}
