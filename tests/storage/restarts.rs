//! Bets, ends and the draw across restarts.

use std::fs;

use crate::scene::*;
use crate::support::*;

#[test]
fn a_restart_remembers_bets_ends_and_draw() {
    for (durability, killed) in [("process", true), ("end", true), ("batch", true), ("end", false)] {
        let restart = |server: Server| if killed { server.kill().start() } else { server.stop_and_keep().1.start() };
        let server = Setup::new(2).set("DURABILITY", durability).start();
        assert!(!server.log().contains("adopt_storage"), "nothing was there");
        assert_eq!(server.store(&batch_of(1, 3, WINNING)), 0);
        assert_eq!(server.store(&end(1)), 0);
        let bets = server.bets();

        let server = restart(server);
        let line = "INFO     action: adopt_storage | result: success | apuestas: 3 | agencias_terminadas: 1 | sorteo: not held | ";
        assert!(events(&server.own_log()).iter().any(|e| e.starts_with(line) && e.contains("--new-draw")));
        assert_eq!(server.tally(1), (3, true, crc32fast::hash(&bets)));
        assert_eq!(server.connect().send(&batch_of(1, 1, 1)).rest(), [2, 3], "it has ended");
        assert_eq!(server.connect().send(&bet().single(1)).rest(), [3], "it has ended");
        assert!(server.connect().send(&ask(1)).is_silent_for(QUIET), "the draw is not held yet");
        assert_eq!(server.store(&batch(2, &[Bet { document: 9, number: WINNING, ..bet() }])), 0);
        assert_eq!(winners(&server, 2), [9]);

        let server = restart(server);
        let line =
            "INFO     action: adopt_storage | result: success | apuestas: 4 | agencias_terminadas: 2 | sorteo: held | ";
        assert_eq!(count_events(&server.own_log(), line), 1);
        assert_eq!(server.connect().send(&ask(1)).winners(), Some(vec![0, 1, 2]), "at once");
        assert_eq!(server.connect().send(&ask(2)).winners(), Some(vec![9]));
        assert_eq!(server.connect().send(&batch_of(2, 1, 1)).rest(), [2, 3]);
        assert_eq!(server.store(&end(2)), 0);
        assert_eq!(server.rows().len(), 4);
        assert!(!server.own_log().contains(SORTEO), "it is logged once for all");
        assert_eq!(server.stop().matches(SORTEO).count(), 1);
    }
}

#[test]
fn a_draw_is_final_with_any_later_settings() {
    let server = Server::start(2);
    assert_eq!(server.store(&batch_of(1, 2, WINNING)), 0);
    assert_eq!(server.store(&batch_of(2, 2, 42)), 0);
    assert_eq!(server.store(&end(2)), 0);
    assert_eq!(winners(&server, 1), [0, 1]);
    let (_, setup) = server.stop_and_keep();

    let server = setup.set("LOTTERY_WINNER_NUMBER", 42).set("CLIENT_AMOUNT", 3).start();
    let log = server.own_log();
    let warnings: Vec<_> = events(&log).into_iter().filter(|line| line.starts_with("WARNING ")).collect();
    assert!(matches!(warnings[..], [line] if line.contains("final")), "{log}");
    assert_eq!(server.connect().send(&ask(1)).winners(), Some(vec![0, 1]));
    assert_eq!(server.connect().send(&ask(2)).winners(), Some(vec![]));
    assert_eq!(server.connect().send(&ask(3)).winners(), Some(vec![]));
    assert_eq!(server.connect().send(&batch_of(3, 1, 42)).rest(), [2, 3], "the draw is over for new agencies, too");
    assert_eq!(server.connect().send(&bet().single(3)).rest(), [3]);
    assert_eq!(server.store(&end(3)), 0);
    let (log, setup) = server.stop_and_keep();
    assert_eq!(log.matches(SORTEO).count(), 1);

    let server = setup.set("CLIENT_AMOUNT", 0).start();
    assert_eq!(server.connect().send(&ask(1)).winners(), Some(vec![0, 1]));
    assert_eq!(server.connect().send(&batch_of(9, 1, 42)).rest(), [2, 3]);
    server.stop();
}

#[test]
fn new_draw_moves_the_old_files_aside() {
    let server = Server::start(1);
    assert_eq!(server.store(&batch_of(1, 3, WINNING)), 0);
    assert_eq!(winners(&server, 1), [0, 1, 2]);
    let old = server.bets();
    let (_, setup) = server.stop_and_keep();
    let server = setup.arg("--new-draw").start();
    let own = server.own_log();
    assert!(!own.contains("adopt_storage"), "{own}");
    assert_eq!(server.bets(), b"");
    assert_eq!(server.tally(1), (0, false, 0));
    assert_eq!(server.store(&batch(1, &[Bet { document: 8, number: WINNING, ..bet() }])), 0);
    assert_eq!(winners(&server, 1), [8]);
    let directory = server.bets_path().parent().unwrap().to_owned();
    let names = || fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for file in ["bets.csv", "books", "draw"] {
        let aside: Vec<_> = names().filter(|name| name.starts_with(&format!("{file}.2"))).collect();
        assert_eq!(aside.len(), 1, "{aside:?}");
        assert!(own.contains(&aside[0]), "{own}");
        if file == "bets.csv" {
            assert_eq!(fs::read(directory.join(&aside[0])).unwrap(), old);
        }
    }
    let (log, setup) = server.stop_and_keep();
    assert_eq!(log.matches(SORTEO).count(), 2);
    // A second time, perhaps in the same second, uses another name.
    let server = setup.start();
    assert_eq!(names().filter(|name| name.starts_with("bets.csv.2")).count(), 2);
    server.stop();
}

#[test]
fn new_draw_renames_where_files_cannot_be_linked() {
    for (error, moves) in [("EPERM", true), ("EXDEV", false)] {
        let server = Server::start(1);
        assert_eq!(server.store(&batch_of(1, 3, WINNING)), 0);
        assert_eq!(winners(&server, 1), [0, 1, 2]);
        let old = server.bets();
        let (_, setup) = server.stop_and_keep();
        let fault = format!("inject=linkat:error={error}");
        let strace = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", "trace=linkat", "-e", &fault];
        let mut server = setup.arg("--new-draw").under(&strace).spawn();
        if moves {
            server.await_log("action: listen");
            assert_eq!(server.bets(), b"");
            let own = server.own_log();
            let aside = own.split("archivo: ").find(|name| name.contains("bets.csv.2")).unwrap();
            assert_eq!(fs::read(aside.lines().next().unwrap()).unwrap(), old);
            server.stop();
        } else {
            assert_eq!(server.wait().code(), Some(4));
            assert!(server.own_log().contains("bets.csv cannot be moved aside: "), "{}", server.own_log());
            assert_eq!(server.bets(), old);
        }
    }
}

#[test]
fn a_held_draw_keeps_its_winners_with_more_agencies() {
    let setup = Setup::new(1);
    fs::write(setup.path("bets.csv"), [row(9, 7, WINNING), row(2, 8, WINNING)].concat()).unwrap();
    let server = setup.start();
    assert_eq!(server.store(&batch_of(1, 2, WINNING)), 0);
    assert_eq!(winners(&server, 1), [0, 1]);
    let (_, setup) = server.stop_and_keep();
    // Without books, the numbers of the slots come from the ends and from the result.
    fs::remove_file(setup.path("books")).unwrap();
    let server = setup.set("CLIENT_AMOUNT", 10).start();
    for (agency, documents) in [(9, vec![7]), (2, vec![8]), (1, vec![0, 1]), (3, vec![]), (10, vec![])] {
        assert_eq!(server.connect().send(&ask(agency)).winners(), Some(documents), "agency {agency}");
    }
    server.stop();
}
