//! Exercise 5: single bets.

use crate::scene::*;
use crate::support::*;

#[test]
fn single_bets_of_any_length_are_stored_and_answered_0() {
    let server = Server::start(2);
    let long = [vec![b'x'; 255], "ñ".repeat(127).into_bytes()];
    let bets = [
        Bet { first: b"Santiago Lionel", last: b"Lorca", number: 7574, ..bet() },
        Bet { first: b"A", last: b"B", document: 0, number: 0, ..bet() },
        // bytes that could begin an untyped batch
        Bet { document: 0x2020_2020, number: 0x2020_2020, ..bet() },
        Bet { first: &long[0], last: &long[1], document: u32::MAX, number: u32::MAX, ..bet() },
        Bet { first: &[b'y'; 32], last: &[b'z'; 64], birthdate: b"0001-01-01", ..bet() },
        Bet { first: &[b'y'; 31], last: &[b'z'; 29], birthdate: b"9999-12-31", ..bet() },
    ];
    for (n, bet) in bets.iter().enumerate() {
        assert_eq!(answer(&server, &bet.single(2)), [0], "bet {n}");
        assert_eq!(server.rows().len(), n + 1);
    }
    assert_eq!(server.connect().send_bytewise(&bet().single(1)).rest(), [0]);
    let rows = server.rows();
    assert_eq!(rows[0], "2,Santiago Lionel,Lorca,30904465,1999-03-17,7574");
    assert_eq!(rows[1], "2,A,B,0,1999-03-17,0");
    assert!(rows[3].ends_with("ñ,4294967295,1999-03-17,4294967295") && rows[3].len() > 500);
    assert_eq!(rows[6], "1,Ana,Paz,30904465,1999-03-17,1");
    let log = server.stop();
    assert!(
        log.contains(" INFO     action: apuesta_almacenada | result: success | dni: 30904465 | numero: 7574"),
        "{log}"
    );
    assert_eq!(log.matches("action: apuesta_almacenada | result: success").count(), 7);
}

#[test]
fn a_single_bet_is_logged_first_and_later_bytes_are_ignored() {
    let server = Server::start(1);
    let twice = [bet().single(1), bet().single(1)].concat();
    assert_eq!(answer(&server, &twice), [0]);
    assert!(server.log().contains("INFO     action: apuesta_almacenada | result: success | dni: 30904465 | numero: 1"));
    assert_eq!(server.rows().len(), 1);
    server.stop();
}

#[test]
fn a_refused_single_bet_gets_its_code_as_one_byte() {
    let server = Server::start(2);
    let cases = [
        ("2023-02-30", born(b"2023-02-30").single(1), 1),
        ("a date of nine bytes", born(b"1999-3-17").single(1), 1),
        ("a date of eleven bytes", born(b"1999-03-170").single(1), 1),
        ("no date", born(b"").single(1), 1),
        ("a control character", first(b"a\nb").single(1), 1),
        ("no UTF-8", first(b"a\xff").single(1), 1),
        ("agency 0", bet().single(0), 2),
        ("agency 3 of 2", bet().single(3), 2),
        ("the highest untyped agency", bet().single(0x00ff_ffff), 2),
        ("agency 3 and no date", born(b"x").single(3), 2),
    ];
    for (name, message, code) in &cases {
        assert_eq!(answer(&server, message), [*code], "{name}");
    }
    assert_eq!(server.rows().len(), 0);
    let log = server.stop();
    assert_eq!(events(&log).iter().filter(|line| line.starts_with("ERROR ")).count(), cases.len(), "{log}");
}

#[test]
fn an_incomplete_single_bet_stores_nothing() {
    let server = Server::start(1);
    assert_eq!(answer_at_end(&server, &first(b"").single(1)), [0], "reads as an empty batch");
    assert_ne!(answer_at_end(&server, &Bet { last: b"", ..bet() }.single(1)), [0]);
    let whole = bet().single(1);
    for cut in 0..whole.len() {
        assert_ne!(answer_at_end(&server, &whole[..cut]), [0], "cut at {cut}");
    }
    assert_eq!(server.rows().len(), 0);
    server.await_childless();
    server.stop();
}

#[test]
fn with_untyped_off_only_typed_bets_are_taken() {
    let server = Setup::new(1).set("UNTYPED", "off").start();
    for message in [bet().single(1), bet().single(9), untyped_batch(1, &[bet()]), untyped_batch(1, &[])] {
        assert_eq!(answer(&server, &message), [6]);
    }
    assert_eq!(answer(&server, b"hola\n"), b"hola\n");
    assert_eq!(server.connect().send(&batch(1, &[bet()])).ack(), 0);
    assert_eq!(server.rows().len(), 1);
    let log = server.stop();
    assert_eq!(log.matches("codigo: 6 | error: single bets and untyped batches are off (UNTYPED=off)").count(), 4);
}
