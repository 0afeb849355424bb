//! Exercise 6: untyped batches.

use crate::scene::*;
use crate::support::*;

#[test]
fn untyped_batches_of_any_size_are_recognised_and_stored() {
    let server = Server::start(1);
    let names = ["Juan", "Á", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "J", "Ñandú Ñandú Ñ", "Ana María de los Ángeles"];
    let mut stored = 0;
    for (n, size) in [1, 2, 3, 4, 5, 28, 29, 30, 31, 32, 33, 65, 97, 110, 195, 255].into_iter().enumerate() {
        let name = |k: u32| names[(n + k as usize) % names.len()].as_bytes();
        let bets: Vec<_> =
            (0..size).map(|k| Bet { first: name(k), last: b"P", document: k, number: k, ..bet() }).collect();
        assert_eq!(answer(&server, &untyped_batch(1, &bets)), [0], "{size} bets");
        stored += size as usize;
        assert_eq!(server.rows().len(), stored);
    }
    let letters = Bet { first: b"A", last: b"B", document: 0, number: 0, ..bet() };
    assert_eq!(server.connect().send_bytewise(&untyped_batch(1, &[letters])).rest(), [0]);
    assert_eq!(server.rows().last().unwrap(), "1,A,B,0,1999-03-17,0");
    let log = server.stop();
    assert_eq!(count_events(&log, "INFO     action: apuesta_recibida | result: success | cantidad: "), 17);
    assert_eq!(count_events(&log, "DEBUG    action: apuesta_almacenada | result: success | dni: "), stored + 1);
}

#[test]
fn an_empty_untyped_batch_is_answered_0_at_once() {
    let server = Server::start(1);
    assert_eq!(answer(&server, &untyped_batch(1, &[])), [0]);
    assert_eq!(server.rows().len(), 0);
    server.stop();
}

#[test]
fn a_refused_untyped_batch_gets_its_code_and_stores_nothing() {
    let server = Server::start(2);
    let long = [b'x'; 30];
    let cases = [
        ("the second is invalid", untyped_batch(1, &[bet(), born(b"2023-02-30")]), 1, 2),
        ("a name too long", untyped_batch(1, &[bet(), first(&long)]), 6, 2),
        ("a date too long", untyped_batch(1, &[born(b"1999-03-170")]), 6, 1),
        ("agency 0", untyped_batch(0, &[bet()]), 2, 1),
        ("agency 3 of 2", untyped_batch(3, &[bet(), bet(), bet()]), 2, 3),
        ("an empty one of agency 3", untyped_batch(3, &[]), 2, 0),
        ("agency 3 and invalid", untyped_batch(3, &[born(b"x")]), 2, 1),
        ("agency 3 and a name too long", untyped_batch(3, &[first(&long)]), 6, 1),
    ];
    for (name, message, code, count) in &cases {
        let before = count_events(&server.log(), &format!("{REFUSED_BATCH}{count} | "));
        assert_eq!(answer(&server, message), [*code], "{name}");
        assert_eq!(count_events(&server.log(), &format!("{REFUSED_BATCH}{count} | ")), before + 1, "{name}");
    }
    assert_eq!(server.rows().len(), 0);
    server.stop();
}

#[test]
fn an_untyped_batch_cut_anywhere_stores_nothing() {
    let server = Server::start(1);
    let whole = untyped_batch(1, &[bet(), bet()]);
    for cut in 0..whole.len() {
        assert_ne!(from_many(&server, cut).send(&whole[..cut]).finish().rest(), [0], "cut at {cut}");
    }
    server.await_childless();
    assert_eq!(server.rows().len(), 0);
    let refused = count_events(&server.stop(), &format!("{REFUSED_BATCH}2 | "));
    // Only the NUL after the first name shows that it is a batch. From there on, the log names its count.
    assert_eq!(refused, whole.len() - (5 + b"Ana\0".len()));
}
