//! Typed messages: which requests are refused, and with which code.

use crate::scene::*;
use crate::support::*;

#[test]
fn an_invalid_bet_refuses_its_whole_batch_with_code_1() {
    let server = Server::start(1);
    let cases = [
        ("the second of three", batch(1, &[bet(), born(b"2023-02-30"), bet()])),
        ("the last", batch(1, &[bet(), born(b"2000-02-31")])),
        ("1900-02-29", batch(1, &[born(b"1900-02-29")])),
        ("the year 0", batch(1, &[born(b"0000-01-01")])),
        ("short months", batch(1, &[born(b"2023-2-3")])),
        ("nine bytes", batch(1, &[born(b"1999-3-17")])),
        ("a letter", batch(1, &[born(b"1999-03-1x")])),
        ("slashes", batch(1, &[born(b"1999/03/17")])),
        ("a sign", batch(1, &[born(b"+999-03-17")])),
        ("no date", batch(1, &[born(b"")])),
        ("an empty first name", batch(1, &[first(b"")])),
        ("an empty last name", batch(1, &[Bet { last: b"", ..bet() }])),
        ("a line feed", batch(1, &[first(b"a\nb")])),
        ("a carriage return", batch(1, &[first(b"a\rb")])),
        ("a tab", batch(1, &[first(b"a\tb")])),
        ("a delete", batch(1, &[first(b"a\x7fb")])),
        ("U+0085, a control character of two bytes", batch(1, &[first("a\u{85}".as_bytes())])),
        ("no UTF-8", batch(1, &[first(b"ab\xff")])),
        ("a letter cut in two", batch(1, &[first(b"xxxxxxxxxxxxxxxxxxxxxxxxxxxx\xc3")])),
        ("a surrogate", batch(1, &[Bet { last: b"\xed\xa0\x80", ..bet() }])),
    ];
    for (name, message) in &cases {
        let log = server.log().len();
        assert_eq!(answer(&server, message), [2, 1], "{name}");
        assert_eq!(count_events(&server.log()[log..], &format!("{REFUSED_BATCH}{} | ", message[5])), 1, "{name}");
    }
    assert_eq!(server.rows().len(), 0);
    for good in [born(b"2000-02-29"), born(b"0001-01-01"), born(b"9999-12-31"), first("\u{a0}".as_bytes())] {
        assert_eq!(server.connect().send(&batch(1, &[good])).ack(), 0);
    }
    assert_eq!(server.rows().len(), 4);
    server.stop();
}

#[test]
fn an_invalid_bet_is_refused_after_its_whole_batch() {
    let server = Server::start(1);
    let message = batch(1, &[born(b"2023-02-30"), bet()]);
    let mut client = server.connect();
    client.send(&message[..message.len() - 1]);
    assert!(client.is_silent_for(QUIET));
    client.send(&message[message.len() - 1..]);
    assert_eq!(client.rest(), [2, 1]);
    server.stop();
}

#[test]
fn every_message_of_an_unknown_agency_gets_code_2() {
    let server = Server::start(2);
    for agency in [0, 3, 1 << 24, u32::MAX] {
        for message in [batch(agency, &[bet()]), end(agency), ask(agency), count(agency)] {
            assert_eq!(answer(&server, &message), [2, 2], "{message:?}");
        }
    }
    server.await_childless();
    assert_eq!(server.rows().len(), 0);
    let log = server.stop();
    assert_eq!(count_events(&log, &format!("{REFUSED_BATCH}1 | ")), 4);
    assert_eq!(count_events(&log, "ERROR "), 16);
}

#[test]
fn codes_have_the_order_framing_agency_claim_bet_end() {
    let server = Server::start(2);
    let long = [b'x'; 30];
    let (framing, invalid) = (first(&long), born(b"2023-02-30"));
    // Agency 1 has ended. Agency 2 is claimed by a connection that stays open.
    let mut ended = server.connect();
    assert_eq!(ended.send(&end(1)).ack(), 0);
    let mut claimed = server.connect();
    claimed.send(&count(2)).tally(2);

    let reply = |message: Vec<u8>| answer(&server, &message);
    assert_eq!(reply(batch(3, &[first(&long)])), [2, 6], "framing before agency");
    assert_eq!(reply(batch(2, &[first(&long)])), [2, 6], "framing before claim");
    assert_eq!(reply(batch(2, &[born(b"x"), framing])), [2, 6], "framing before claim and bet");
    assert_eq!(reply(batch(3, &[born(b"x")])), [2, 2], "agency before bet");
    assert_eq!(reply(batch(2, &[invalid])), [2, 5], "claim before bet");
    assert_eq!(reply(batch(1, &[bet()])), [2, 5], "claim before end: the connection that ended it is still there");
    assert_eq!(ended.send(&batch(1, &[born(b"x")])).rest(), [2, 1], "bet before end");
    drop(ended);
    assert_eq!(reply(batch(1, &[bet(), born(b"x")])), [2, 1], "bet before end, on another connection");
    assert_eq!(reply(batch(1, &[first(&long)])), [2, 6], "framing before end");
    assert_eq!(reply(batch(1, &[bet()])), [2, 3]);
    assert_eq!(reply(born(b"x").single(1)), [1], "bet before end, untyped");
    assert_eq!(reply(untyped_batch(1, &[first(&long)])), [6], "framing before end, untyped");
    assert_eq!(reply(bet().single(1)), [3]);
    assert_eq!(reply(untyped_batch(1, &[bet()])), [3]);

    drop(claimed);
    assert_eq!(server.connect().send(&end(2)).ack(), 0);
    server.await_log(SORTEO);
    assert_eq!(reply(batch(3, &[bet()])), [2, 2], "agency before draw");
    assert_eq!(reply(batch(1, &[born(b"x")])), [2, 1], "bet before draw");
    assert_eq!(reply(bet().single(3)), [2], "agency before draw, untyped");
    assert_eq!(reply(born(b"x").single(1)), [1], "bet before draw, untyped");
    assert_eq!(reply(batch(1, &[bet()])), [2, 3]);
    assert_eq!(reply(bet().single(1)), [3]);
    assert_eq!(reply(untyped_batch(1, &[bet()])), [3]);
    assert_eq!(server.rows().len(), 0);
    server.stop();
}

#[test]
fn a_message_for_another_agency_gets_code_6() {
    let server = Server::start(2);
    let claim = |claiming: &[u8]| {
        let mut client = server.connect();
        client.send(claiming);
        if claiming[0] == 6 {
            client.tally(1);
        } else {
            assert_eq!(client.ack(), 0);
        }
        client
    };
    for claiming in [count(1), batch(1, &[bet()]), end(1)] {
        for other in [batch(2, &[bet()]), end(2), ask(2), count(2)] {
            assert_eq!(claim(&claiming).send(&other).rest(), [2, 6], "{other:?} after {claiming:?}");
        }
    }
    assert!(server.rows().iter().all(|row| row.starts_with("1,")));
    let mut two = server.connect();
    assert_eq!(two.send(&count(2)).tally(2), (0, false, 0));
    server.stop();
}

#[test]
fn a_winners_query_claims_nothing() {
    let server = Setup::new(3).set("DRAW_WAIT", "0s").start();
    let mut holder = server.connect();
    holder.send(&count(1)).tally(1);
    let mut client = server.connect();
    for agency in [1, 2, 3, 1] {
        assert_eq!(client.send(&ask(agency)).winners(), None, "agency {agency}");
    }
    client.send(&batch(2, &[bet()]));
    assert_eq!(client.ack(), 0, "it may still claim any agency");
    assert_eq!(holder.send(&batch(1, &[bet()])).ack(), 0);
    server.stop();
}
