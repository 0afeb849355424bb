//! Links, second servers, and `--new-draw`.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use crate::old_files::Old;
use crate::scene::*;
use crate::support::*;

/// A server that is started beside another one ends with exit code 1, names `pid`, and changes nothing.
#[track_caller]
fn is_second(setup: Setup, pid: i32, directories: &[&Path]) -> Setup {
    let before: Vec<_> = directories.iter().map(|directory| files(directory)).collect();
    let mut second = setup.spawn();
    // It waits 5 s for the lock.
    assert_eq!(second.wait_within(2 * PATIENCE).code(), Some(1), "{}", second.own_log());
    let log = second.own_log();
    assert!(log.lines().last().unwrap().contains(&pid.to_string()), "{log}");
    for (directory, before) in directories.iter().zip(before) {
        assert_eq!(changed(&before, &files(directory)), [""; 0], "{log}");
    }
    second.kill()
}

fn a_server_with_bets() -> Server {
    let server = Server::start(2);
    assert_eq!(server.store(&batch_of(1, 3, WINNING)), 0);
    server
}

/// Both agencies can still bet and end.
#[track_caller]
fn goes_on(server: Server) {
    assert_eq!(server.store(&batch(1, &[Bet { document: 9, number: WINNING, ..Bet::default() }])), 0);
    assert_eq!(server.store(&end(2)), 0);
    assert_eq!(winners(&server, 1), [0, 1, 2, 9]);
    server.stop();
}

#[test]
fn a_symlink_to_the_bets_of_a_server_is_refused() {
    let server = a_server_with_bets();
    let second = Setup::new(2);
    symlink(server.bets_path(), second.path("bets.csv")).unwrap();
    let directories = [server.path(""), second.path("")];
    is_second(second, server.pid(), &[&directories[0], &directories[1]]);
    goes_on(server);
}

#[test]
fn a_hard_link_to_the_bets_of_a_server_is_refused() {
    let server = a_server_with_bets();
    let second = Setup::new(2);
    fs::hard_link(server.bets_path(), second.path("bets.csv")).unwrap();
    let directories = [server.path(""), second.path("")];
    let second = is_second(second, server.pid(), &[&directories[0], &directories[1]]);
    fs::remove_file(second.path("bets.csv")).unwrap();
    goes_on(server);
}

#[test]
fn a_second_server_is_refused_after_all_other_files_are_removed() {
    let server = a_server_with_bets();
    for (name, _) in files(&server.path("")) {
        if name != "bets.csv" {
            fs::remove_file(server.path(&name)).unwrap();
        }
    }
    let directory = server.path("");
    let second = Setup::new(2).set("STORAGE_FILEPATH", server.bets_path().display());
    is_second(second, server.pid(), &[&directory]);
    assert_eq!(server.rows().len(), 3);
}

#[test]
fn a_server_of_the_older_version_is_not_disturbed() {
    let setup = Setup::new(2);
    fs::write(setup.path("bets.csv"), b"").unwrap();
    fs::write(setup.path("server.lock"), "4711\n").unwrap();
    let lock = File::open(setup.path("server.lock")).unwrap();
    lock.lock().unwrap();
    let directory = setup.path("");
    is_second(setup, 4711, &[&directory]);
}

#[test]
fn books_and_draw_are_made_beside_the_target_of_a_symlink() {
    for exists in [true, false] {
        let target = tempfile::tempdir().unwrap();
        if exists {
            fs::write(target.path().join("real.csv"), b"").unwrap();
        }
        let setup = Setup::new(1);
        symlink(target.path().join("real.csv"), setup.path("bets.csv")).unwrap();
        let server = setup.start();
        assert_eq!(server.store(&batch_of(1, 3, WINNING)), 0);
        let server = server.kill().start();
        assert_eq!(winners(&server, 1), [0, 1, 2]);
        let names: Vec<_> = files(target.path()).into_keys().collect();
        assert_eq!(names, ["books", "draw", "real.csv"], "the target exists: {exists}");
        assert_eq!(files(&server.path("")).into_keys().collect::<Vec<_>>(), ["bets.csv"]);
        server.stop();
    }
}

#[test]
fn new_draw_follows_a_symlink() {
    let target = lottery(Stage::Ended);
    let old = files(&target.path(""));
    let setup = Setup::new(2).arg("--new-draw");
    symlink(target.path("bets.csv"), setup.path("bets.csv")).unwrap();
    let server = setup.start();
    assert!(server.bets_path().is_symlink());
    assert_eq!(fs::read(target.path("bets.csv")).unwrap(), b"");
    assert_eq!(files(&server.path("")).into_keys().collect::<Vec<_>>(), ["bets.csv"]);
    let new = files(&target.path(""));
    for name in ["bets.csv", "books", "draw"] {
        let [copy] = &dated(&new, name)[..] else { panic!("one dated copy of {name}: {:?}", new.keys()) };
        assert!(new[copy] == old[name], "{copy} differs");
        assert!(server.own_log().contains(copy), "{copy} is not reported");
    }
    finish(&server);
    server.stop();
}

#[test]
fn new_draw_begins_a_lottery_whatever_is_there() {
    type Spoil = fn(&Setup);
    let ways: [(&str, Spoil); 6] = [
        ("bets.csv is missing", |setup| fs::remove_file(setup.path("bets.csv")).unwrap()),
        ("draw is missing", |setup| fs::remove_file(setup.path("draw")).unwrap()),
        ("books are damaged", |setup| fs::write(setup.path("books"), b"x").unwrap()),
        ("bets.csv is damaged", |setup| fs::write(setup.path("bets.csv"), [0; 100]).unwrap()),
        ("draw is held", |setup| {
            let held = lottery(Stage::Held);
            files(&held.path("")).iter().for_each(|(name, bytes)| fs::write(setup.path(name), bytes).unwrap());
        }),
        ("files of the older version", |setup| {
            ["books", "draw"].iter().for_each(|name| fs::remove_file(setup.path(name)).unwrap());
            Old::of_this_boot(setup).ended(&[1]).write(setup);
        }),
    ];
    for_each(ways.map(|(name, spoil)| (name.to_owned(), spoil)), |spoil| {
        let setup = lottery(Stage::Ended);
        spoil(&setup);
        let old = files(&setup.path(""));
        let server = setup.arg("--new-draw").start();
        assert_eq!(server.bets(), b"");
        assert_eq!((server.tally(1), server.tally(2)), ((0, false, 0), (0, false, 0)));
        let new = files(&server.path(""));
        for name in ["bets.csv", "books", "draw", "ends"]
            .into_iter()
            .filter(|&name| old.get(name).is_some_and(|bytes| !bytes.is_empty()))
        {
            assert!(dated(&new, name).iter().any(|copy| new[copy] == old[name]), "no copy of {name}");
        }
        finish(&server);
        let (_, setup) = server.stop_and_keep();
        let server = setup.plain().start();
        assert_eq!(server.connect().send(&ask(2)).winners().unwrap(), expected_winners()[1]);
        server.stop();
    });
}

#[test]
fn new_draw_beside_a_server_is_refused() {
    let server = a_server_with_bets();
    let directory = server.path("");
    let second = Setup::new(2).set("STORAGE_FILEPATH", server.bets_path().display()).arg("--new-draw");
    is_second(second, server.pid(), &[&directory]);
    goes_on(server);
}

#[test]
fn a_start_leaves_a_file_with_several_names_in_place() {
    let setup = lottery(Stage::Ended);
    fs::hard_link(setup.path("bets.csv"), setup.path("second-name")).unwrap();
    let server = setup.start();
    assert_eq!(server.tally(1), full(1, true));
    assert_eq!(fs::metadata(server.path("second-name")).unwrap().nlink(), 2);
    let log = server.own_log();
    assert!(count_events(&log, "WARNING ") > 0, "the second name is reported: {log}");
    finish(&server);
    server.stop();
}
