//! Batches are stored whole or not at all, and message 7 counts them.

use std::thread;

use crate::scene::*;
use crate::support::*;

#[test]
fn a_batch_with_one_invalid_bet_anywhere_leaves_no_byte() {
    let server = Server::start(1);
    assert_eq!(server.store(&batch(1, &[bet()])), 0);
    let before = server.bets();
    for place in [0, 1, 127, 253, 254] {
        let mut bets: Vec<_> = (0..255).map(|document| Bet { document, ..bet() }).collect();
        bets[place].birthdate = b"2000-02-31";
        assert_eq!(server.connect().send(&batch(1, &bets)).rest(), [2, 1], "bet {place}");
    }
    server.await_childless();
    assert_eq!(server.bets(), before);
    assert_eq!(server.tally(1).0, 1);
    server.stop();
}

#[test]
fn batches_of_eight_children_are_not_interleaved() {
    const AGENCIES: u32 = 8;
    const BATCHES: u32 = 12;
    let server = Setup::new(AGENCIES).set("LOGGING_LEVEL", "INFO").start();
    let long = [b'x'; 29];
    thread::scope(|scope| {
        for agency in 1..=AGENCIES {
            let (server, long) = (&server, &long);
            scope.spawn(move || {
                let mut client = server.connect();
                for n in 0..BATCHES {
                    let bet =
                        |document| Bet { document, first: &long[..1 + (document % 29) as usize], last: long, ..bet() };
                    let bets: Vec<_> = (n * 255..(n + 1) * 255).map(bet).collect();
                    client.send(&batch(agency, &bets));
                }
                for _ in 0..BATCHES {
                    assert_eq!(client.ack(), 0);
                }
            });
        }
    });
    let rows = server.rows();
    assert_eq!(rows.len(), (AGENCIES * BATCHES * 255) as usize);
    let mut next = vec![0; AGENCIES as usize + 1];
    for stored in rows.chunks(255) {
        let agency: usize = stored[0].split(',').next().unwrap().parse().unwrap();
        for row in stored {
            let fields: Vec<_> = row.split(',').collect();
            assert_eq!(fields.len(), 6, "{row}");
            let (document, whose): (u32, usize) = (fields[3].parse().unwrap(), fields[0].parse().unwrap());
            assert_eq!((whose, document), (agency, next[agency]), "a batch is torn or out of order");
            assert_eq!(fields[1].len(), 1 + (document % 29) as usize);
            next[agency] += 1;
        }
    }
    let bets = server.bets();
    for agency in 1..=AGENCIES {
        let crc = crc32fast::hash(rows_of(&bets, agency).as_bytes());
        assert_eq!(server.tally(agency), (u64::from(BATCHES * 255), false, crc));
    }
    server.stop();
}

// ---- message 7 ----

#[test]
fn message_7_counts_the_rows_of_every_form_of_one_agency() {
    let server = Server::start(3);
    assert_eq!(server.tally(1), (0, false, 0));
    // zlib's CRC-32 of the row, computed with Python
    assert_eq!(server.connect().send(&bet().single(1)).rest(), [0]);
    assert_eq!(server.bets(), b"1,Ana,Paz,30904465,1999-03-17,1\r\n");
    assert_eq!(server.tally(1), (1, false, 0xb7e5_f50f));
    for n in 0..5 {
        assert_eq!(server.store(&batch_of(2, n + 1, 1)), 0);
        assert_eq!(server.connect().send(&named("Pérez, Ana", "\"x\"", n).single(1)).rest(), [0]);
        assert_eq!(server.connect().send(&untyped_batch(1, &[bet(), bet()])).rest(), [0]);
    }
    let expected = |server: &Server, agency: u32, rows: u64, ended: bool| {
        assert_eq!(server.tally(agency), (rows, ended, crc32fast::hash(rows_of(&server.bets(), agency).as_bytes())));
    };
    expected(&server, 1, 16, false);
    expected(&server, 2, 15, false);
    assert_eq!(server.tally(3), (0, false, 0));
    assert_eq!(server.store(&end(2)), 0);
    expected(&server, 2, 15, true);
    // The checksum continues over rows counted at the start and rows stored later.
    let server = server.kill().start();
    expected(&server, 1, 16, false);
    assert_eq!(server.store(&batch_of(1, 3, 1)), 0);
    assert_eq!(server.store(&batch_of(3, 3, 1)), 0);
    assert_eq!(server.store(&batch_of(1, 4, 1)), 0);
    expected(&server, 1, 23, false);
    expected(&server, 2, 15, true);
    expected(&server, 3, 3, false);
    server.stop();
}
