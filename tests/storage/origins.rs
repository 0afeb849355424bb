//! Untyped bets of an agency that has typed ones.

use std::fs;

use crate::scene::*;
use crate::support::books::*;
use crate::support::*;

/// The answer to a single bet of this agency.
fn single(server: &Server, agency: u32) -> Vec<u8> {
    server.connect().send(&bet().single(agency)).rest()
}

#[test]
fn untyped_bets_after_typed_ones_are_refused_with_code_3() {
    let server = Server::start(2);
    assert_eq!(server.store(&batch_of(1, 3, 1)), 0);
    let before = server.tally(1);
    assert_eq!(single(&server, 1), [3]);
    assert_eq!(server.connect().send(&untyped_batch(1, &[bet(), bet()])).rest(), [3]);
    assert_eq!(server.connect().send(&untyped_batch(1, &[])).rest(), [0], "no bet, no harm");
    assert_eq!(server.tally(1), before);
    assert_eq!(server.store(&batch_of(1, 2, 1)), 0);
    assert_eq!(server.rows().len(), 5);
    let log = server.stop();
    assert_eq!(log.matches("codigo: 3 | error: the agency has bets of typed batches").count(), 2, "{log}");
}

#[test]
fn typed_bets_may_follow_untyped_ones() {
    let server = Server::start(2);
    assert_eq!(server.connect().send(&untyped_batch(2, &[])).rest(), [0]);
    assert_eq!([single(&server, 2), single(&server, 2)], [[0], [0]]);
    assert_eq!(server.store(&batch_of(2, 1, 1)), 0);
    assert_eq!(single(&server, 2), [3]);
    assert_eq!(server.tally(2).0, 3);
    server.stop();
}

#[test]
fn a_client_resumes_after_a_refused_untyped_bet() {
    let setup = Setup::new(1);
    fs::write(setup.path("bets.csv"), stored_rows(10)).unwrap();
    let server = setup.start();
    assert_eq!(single(&server, 1), [3]);
    let address = ([127, 0, 0, 1], server.port()).into();
    ClientSetup::new("draw").server(address).bets(agency_file(25)).start().end().succeeded();
    assert_eq!(server.bets(), stored_rows(25).as_bytes());
    server.stop();
}

#[test]
fn a_start_knows_which_agencies_have_typed_bets() {
    type Change = fn(&Setup);
    let changes: [(&str, Change, u8); 5] = [
        ("the same boot", |_| {}, 0),
        ("another boot", |setup| of_another_boot(&setup.path("books")), 0),
        ("doubtful", |setup| edit_books(&setup.path("books"), |books| books.put_head(|h| h.flags |= DOUBTFUL)), 0),
        (
            "a slot of another boot with other rows",
            |setup| {
                edit_books(&setup.path("books"), |books| books.put_slot(2, |slot| slot.count -= 1));
                of_another_boot(&setup.path("books"));
            },
            3,
        ),
        ("no books", |setup| fs::remove_file(setup.path("books")).unwrap(), 3),
    ];
    for (name, change, of_untyped) in changes {
        for repairs in [false, true] {
            let server = Server::start(3);
            assert_eq!(server.store(&batch_of(1, 3, 1)), 0);
            assert_eq!([single(&server, 2), single(&server, 2)], [[0], [0]]);
            let mut setup = server.stop_and_keep().1;
            change(&setup);
            if repairs {
                let mut repair = setup.arg("--repair").spawn();
                assert_eq!(repair.wait().code(), Some(0), "{name}");
                setup = repair.kill().plain();
            }
            let server = setup.start();
            assert_eq!([1, 2, 3].map(|agency| single(&server, agency)), [[3], [of_untyped], [0]], "{name}");
            server.stop();
        }
    }
}
