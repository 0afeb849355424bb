//! Typed messages: where one begins and ends.

use loteria::protocol::{Malformed, Request};

use crate::oracle::page;
use crate::scene::*;
use crate::support::*;

#[test]
fn an_unknown_or_server_type_gets_code_6() {
    let server = Server::start(1);
    for kind in (2..=5).chain(7..=31).filter(|&kind| kind != 3) {
        assert_eq!(answer(&server, &[kind]), [2, 6], "type {kind}");
        assert_eq!(answer(&server, &[&[kind; 9][..], &[0; 64]].concat()), [2, 6], "type {kind} and more");
    }
    for kind in [0, 2, 4, 5, 7, 8, 31, 32, 0x48, 255] {
        let mut client = server.connect();
        client.send(&count(1)).send(&[kind, 0, 0, 0, 1]);
        client.tally(1);
        assert_eq!(client.rest(), [2, 6], "type {kind} after another message");
    }
    // a TLS hello
    assert_eq!(answer(&server, &[&[0x16, 3, 1, 0, 0xc8, 1, 0, 0, 0xc4, 3, 3][..], &[0; 189]].concat()), [2, 6]);
    server.stop();
}

#[test]
fn malformed_input_costs_one_log_line_and_nothing_more() {
    let server = Server::start(2);
    let long = [b'x'; 30];
    let mut noise = [1; 4096];
    fastrand::Rng::with_seed(7574).fill(&mut noise[1..]);
    let nothing_held = [&[7, 0, 0, 0, 1][..], &[0; 13]].concat();
    let malformed: [(&str, Vec<u8>, &[u8]); 17] = [
        ("an unknown type", vec![9], &[2, 6]),
        ("a type of the server", vec![5, 0, 0, 0, 0], &[2, 6]),
        ("a TLS hello", [&[0x16, 3, 1, 0, 0xc8, 1, 0, 0, 0xc4, 3, 3][..], &[0; 189]].concat(), &[2, 6]),
        ("GET", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), b"GET / HTTP/1.1\n"),
        ("random bytes", noise.to_vec(), &[2, 6]),
        ("255 bets that are not bets", [&[1, 0, 0, 0, 1, 255][..], &[0xff; 4096]].concat(), &[2, 6]),
        ("a name of 30 bytes", batch(1, &[first(&long)]), &[2, 6]),
        ("no NUL", [&batch(1, &[])[..5], &[1], &[b'x'; 64]].concat(), &[2, 6]),
        ("a date of 11 bytes", batch(1, &[born(b"1999-03-170")]), &[2, 6]),
        ("no UTF-8", batch(1, &[first(b"ab\xff")]), &[2, 1]),
        ("a control character", batch(1, &[first(b"a\nb")]), &[2, 1]),
        ("an empty name", batch(1, &[first(b"")]), &[2, 1]),
        ("2023-02-30", batch(1, &[born(b"2023-02-30")]), &[2, 1]),
        ("agency 0", batch(0, &[bet()]), &[2, 2]),
        ("agency N+1", batch(3, &[bet()]), &[2, 2]),
        ("agency 2^32-1", batch(u32::MAX, &[bet()]), &[2, 2]),
        ("another agency", [count(1), batch(2, &[bet()])].concat(), &[&nothing_held[..], &[2, 6]].concat()),
    ];
    for (name, message, expected) in malformed {
        let log = server.log().len();
        assert_eq!(answer(&server, &message), expected, "{name}");
        server.await_childless();
        assert_eq!(lines_of_messages(&server.log()[log..]), 1, "{name}");
    }
    assert_idle(&[server.pid()]);
    assert_eq!(server.rows().len(), 0);
    assert_eq!(server.connect().send(&batch_of(1, 1, 1)).ack(), 0);
    server.stop();
}

#[test]
fn a_text_too_long_or_without_nul_gets_code_6() {
    let server = Server::start(1);
    let long = [b'x'; 30];
    // 15 letters, 30 bytes: lengths are bytes
    let accents = "ñ".repeat(15);
    let no_nul = [&batch(1, &[])[..5], &[1], &[b'x'; 30]].concat();
    for (name, message) in [
        ("a first name of 30 bytes", batch(1, &[first(&long)])),
        ("a first name of 30 bytes and 15 letters", batch(1, &[first(accents.as_bytes())])),
        ("a last name of 30 bytes", batch(1, &[Bet { last: &long, ..bet() }])),
        ("a date of 11 bytes", batch(1, &[born(b"1999-03-170")])),
        ("no NUL, and no more", no_nul),
        ("after a good bet", batch(1, &[bet(), first(&long)])),
        ("after an invalid bet", batch(1, &[born(b"2023-02-30"), first(&long)])),
    ] {
        assert_eq!(answer(&server, &message), [2, 6], "{name}");
    }
    assert_eq!(server.rows().len(), 0);
    let longest = Bet { first: &[b'x'; 29], last: "ñññññññññññññña".as_bytes(), ..bet() };
    assert_eq!(server.connect().send(&batch(1, &[longest])).ack(), 0);
    assert_eq!(server.rows().len(), 1);
    server.stop();
}

#[test]
fn the_largest_batch_is_accepted() {
    let server = Server::start(1);
    let largest = |document| Bet { first: &[b'x'; 29], last: &[b'y'; 29], document, ..bet() };
    let bets: Vec<_> = (0..255).map(largest).collect();
    let message = batch(1, &bets);
    assert_eq!(message.len(), 6 + 255 * 79);
    let mut client = server.connect();
    client.send(&message).send(&message);
    assert_eq!([client.ack(), client.ack()], [0, 0]);
    assert_eq!(server.rows().len(), 510);
    server.stop();
}

#[test]
fn messages_sent_byte_by_byte_are_read() {
    let server = Server::start(1);
    let mut client = server.connect();
    client.send_bytewise(&[count(1), batch(1, &[bet(), bet()]), end(1), ask(1)].concat());
    assert_eq!(client.tally(1), (0, false, 0));
    assert_eq!([client.ack(), client.ack()], [0, 0]);
    assert_eq!(client.winners(), Some(vec![]));
    assert_eq!(server.rows().len(), 2);
    server.stop();
}

#[test]
fn waiting_for_half_a_message_costs_no_cpu() {
    let server = Server::start(1);
    let message = batch(1, &[bet()]);
    let mut client = server.connect();
    client.send(&message[..20]);
    assert!(client.is_silent_for(QUIET));
    let processes = [vec![server.pid()], server.children()].concat();
    let cpu = || processes.iter().copied().map(cpu_ticks).sum::<u64>();
    let before = cpu();
    assert!(client.is_silent_for(QUIET * 3));
    assert!(cpu() - before < 10, "the server spins");
    client.send(&message[20..]);
    assert_eq!(client.ack(), 0);
    assert_eq!(server.rows().len(), 1);
    server.stop();
}

#[test]
fn messages_in_one_segment_are_answered_one_by_one_in_order() {
    let server = Server::start(1);
    let mut client = server.connect();
    let won = Bet { number: 7574, document: 7, ..bet() };
    let messages =
        [count(1), batch(1, &[bet(), won]), batch(1, &[bet()]), count(1), end(1), end(1), ask(1), count(1), ask(1)];
    client.send(&messages.concat());
    assert_eq!(client.tally(1), (0, false, 0));
    assert_eq!([client.ack(), client.ack()], [0, 0]);
    let (held, ended, crc) = client.tally(1);
    assert_eq!((held, ended, crc), (3, false, crc32fast::hash(&server.bets())));
    assert_eq!([client.ack(), client.ack()], [0, 0]);
    assert_eq!(client.winners(), Some(vec![7]));
    assert_eq!(client.tally(1), (3, true, crc));
    assert_eq!(client.winners(), Some(vec![7]));
    assert_eq!(client.finish().rest(), b"", "the client closes, not the server");
    server.stop();
}

#[test]
fn nothing_after_a_refused_batch_is_stored() {
    let server = Server::start(1);
    let good = batch(1, &[bet()]);
    let sent = [good.clone(), batch(1, &[bet(), born(b"2023-02-30"), bet()]), good.repeat(200), end(1)].concat();
    assert_eq!(answer(&server, &sent), [2, 0, 2, 1]);
    server.await_childless();
    assert_eq!(server.rows().len(), 1);
    let mut client = server.connect();
    let (held, ended, _) = { client.send(&count(1)).tally(1) };
    assert_eq!((held, ended), (1, false));
    server.stop();
}

#[test]
fn a_batch_cut_anywhere_stores_nothing_and_logs_its_count() {
    let server = Server::start(1);
    let whole = batch(1, &[bet(), bet()]);
    for cut in 0..whole.len() {
        assert_eq!(from_many(&server, cut).send(&whole[..cut]).finish().rest(), b"", "cut at {cut}");
    }
    server.await_childless();
    assert_eq!(server.rows().len(), 0);
    let log = server.stop();
    let header = 6;
    assert_eq!(count_events(&log, &format!("{REFUSED_BATCH}2 | ")), whole.len() - header);
    assert_eq!(
        count_events(&log, "ERROR    action: receive_message | result: fail"),
        header - 1,
        "0 bytes are no message"
    );
}

#[test]
fn a_reset_leaves_all_of_a_message_or_nothing() {
    let server = Server::start(2);
    for cut in [1, 3, 700] {
        let mut client = server.connect();
        client.send(&batch_of(1, 50, 1)[..cut]);
        client.reset();
    }
    server.await_childless();
    assert_eq!(server.rows().len(), 0);
    let mut client = server.connect();
    client.send(&batch_of(1, 255, 1));
    client.reset();
    server.await_childless();
    assert!(matches!(server.rows().len(), 0 | 255), "{} rows", server.rows().len());
    assert_eq!(server.connect().send(&batch_of(2, 3, 1)).ack(), 0, "others are served");
    server.stop();
}

#[test]
fn connections_of_two_bytes_or_none_leave_no_trace() {
    let server = Server::start(1);
    let before = descriptors(server.pid());
    for _ in 0..20 {
        drop(server.connect());
        server.connect().send(&[1, 0]);
    }
    server.await_childless();
    server.await_descriptors(&before);
    let cpu = cpu_ticks(server.pid());
    assert!(server.connect().is_silent_for(QUIET * 2));
    assert!(cpu_ticks(server.pid()) - cpu < 10, "the parent spins");
    assert_eq!(server.connect().send(&batch_of(1, 1, 1)).ack(), 0);
    server.stop();
}

#[test]
fn random_bytes_are_answered_with_an_error_and_store_nothing() {
    let server = Server::start(AGENCIES);
    let mut random = fastrand::Rng::with_seed(7574);
    for n in 0..200 {
        let mut noise = vec![0; random.usize(1..300)];
        random.fill(&mut noise);
        // Text is an echo, and an unknown type is an error. So most inputs begin like messages.
        noise[0] = [random.u8(..), 0, 1, 3, 6][n % 5];
        let log = server.log().len();
        let answer = from_many(&server, n).send(&noise).finish().rest();
        assert_eq!(answer, answer_to_noise(&noise), "{noise:?}");
        server.await_childless();
        assert_eq!(lines_of_messages(&server.log()[log..]), 1, "{noise:?}");
    }
    assert_eq!(server.rows().len(), 0);
    assert_eq!(server.connect().send(&batch_of(1, 1, 1)).ack(), 0);
    server.stop();
}

const AGENCIES: u32 = 5;

/// The answer to a stream whose first message is malformed, or of an unknown agency, or an echo.
fn answer_to_noise(noise: &[u8]) -> Vec<u8> {
    let refusal = |code| if noise[0] == 0 { vec![code] } else { vec![2, code] };
    // The end of the stream replaces a missing line feed.
    let stream = if noise[0] < 0x20 { noise.to_vec() } else { [noise, b"\n"].concat() };
    match page::reference(&stream) {
        (requests, malformed) if requests.is_empty() => match malformed {
            None | Some(Malformed::EchoNotUtf8 | Malformed::EchoTooLong) => vec![],
            Some(_) => refusal(6),
        },
        (requests, _) => match &requests[0] {
            Request::Echo(text) => format!("{text}\n").into_bytes(),
            Request::Bets { agency, .. }
            | Request::End { agency }
            | Request::Winners { agency }
            | Request::Tally { agency } => {
                assert!(!(1..=AGENCIES).contains(agency), "agency {agency} takes part");
                refusal(2)
            }
        },
    }
}
