//! The bytes on the wire, from outside: every generation, how each refusal is told, and that it arrives.

#![allow(clippy::unwrap_used)] // clippy.toml's allowance reaches #[test] functions only

#[path = "../fuzz/src/oracle/mod.rs"]
#[allow(dead_code, reason = "the fuzz targets use all of it")]
mod oracle;
mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use loteria::protocol::{Malformed, Request};
use oracle::page;
use support::*;

/// How long nothing must happen where that is the point; a slow machine makes such a check weaker, never wrong.
const QUIET: Duration = Duration::from_millis(150);

/// How long a server goes on reading what is behind its last answer.
const LINGER: Duration = Duration::from_secs(1);

const REFUSED_BATCH: &str = "ERROR    action: apuesta_recibida | result: fail | cantidad: ";

/// Sends `bytes` on a connection of its own; all that is answered until the server closes, which must be no reset.
#[track_caller]
fn answer(server: &Server, bytes: &[u8]) -> Vec<u8> {
    server.connect().send(bytes).rest()
}

/// The same, and this side of the stream ends behind `bytes`.
#[track_caller]
fn answer_at_end(server: &Server, bytes: &[u8]) -> Vec<u8> {
    server.connect().send(bytes).finish().rest()
}

fn bet() -> Bet<'static> {
    Bet::default()
}

/// A bet of which each part makes a batch malformed or invalid.
fn first(first: &[u8]) -> Bet<'_> {
    Bet { first, ..bet() }
}

fn born(birthdate: &[u8]) -> Bet<'_> {
    Bet { birthdate, ..bet() }
}

// ---- echo ----

#[test]
fn an_echo_is_its_line_without_trailing_white_space() {
    let server = Server::start(1);
    let lines: [(&[u8], &str); 9] = [
        (b"hola\n", "hola\n"),
        ("[CLIENT 1] Message N°1\n".as_bytes(), "[CLIENT 1] Message N°1\n"),
        (b"  in front, be hind \t\r\x0b\x0c \n", "  in front, be hind\n"),
        (b" \t\n", "\n"),
        // no-break space and U+2003 are no white space here
        ("fin\u{a0}\n".as_bytes(), "fin\u{a0}\n"),
        ("fin\u{2003}\r\n".as_bytes(), "fin\u{2003}\n"),
        (b"uno|dos\x1b[2J\x07 tres\x7f\0x\n", "uno|dos\x1b[2J\x07 tres\x7f\0x\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\n"),
        (b"one line\nand no other\n", "one line\n"),
    ];
    for (sent, expected) in lines {
        assert_eq!(answer(&server, sent), expected.as_bytes(), "{sent:?}");
    }
    assert_eq!(server.connect().send_bytewise(b"byte by byte\n").rest(), b"byte by byte\n");
    server.stop();
}

#[test]
fn an_echo_may_end_with_the_stream_instead_of_a_line_feed() {
    let server = Server::start(1);
    assert_eq!(answer_at_end(&server, b"sin fin "), b"sin fin\n");
    assert_eq!(answer_at_end(&server, b" "), b"\n");
    assert_eq!(answer_at_end(&server, &[b'x'; 1024]), [&[b'x'; 1024][..], b"\n"].concat());
    assert_eq!(answer_at_end(&server, b"a\xff"), b"");
    assert_eq!(answer_at_end(&server, b""), b"");
    server.await_alone();
    let log = server.stop();
    assert_eq!(count_events(&log, "INFO     action: receive_message | result: success | ip: 127.0.0.1 | msg: "), 3);
    assert_eq!(count_events(&log, "ERROR    action: receive_message | result: fail | ip: 127.0.0.1"), 1);
}

#[test]
fn an_echo_has_at_most_1024_bytes_in_front_of_its_line_feed() {
    let server = Server::start(1);
    let longest = [&[b'x'; 1024][..], b"\n"].concat();
    assert_eq!(answer(&server, &longest), longest);
    let spaces = [b"x".as_slice(), &[b' '; 1023], b"\n"].concat();
    assert_eq!(answer(&server, &spaces), b"x\n");
    assert_eq!(answer(&server, &[b'x'; 1025]), b"");
    assert_eq!(answer(&server, &[&[b'x'; 1025][..], b"\n"].concat()), b"");
    assert_eq!(answer(&server, &[b'x'; 100_000]), b"");
    server.await_alone();
    assert_eq!(count_events(&server.stop(), "ERROR    action: receive_message | result: fail | ip: 127.0.0.1"), 3);
}

#[test]
fn an_echo_that_is_no_utf8_is_closed_without_answer_and_logged() {
    let server = Server::start(1);
    for text in [&b"\xff\xfe hola\n"[..], b"hola \xc3\n", b"\xed\xa0\x80\n", b"\x80\n"] {
        assert_eq!(answer(&server, text), b"", "{text:?}");
    }
    server.await_alone();
    let log = server.stop();
    assert_eq!(count_events(&log, "ERROR    action: receive_message | result: fail | ip: 127.0.0.1"), 4);
    assert_eq!(log.matches("receive_message").count(), 4);
}

#[test]
fn an_echo_is_logged_before_it_is_sent_and_cannot_forge_a_line() {
    let server = Server::start(1);
    let hostile = b"a|b\x1b[2J\rc\x07 | result: fail | source: x\n";
    assert_eq!(answer(&server, hostile), hostile);
    let log = server.log();
    assert_eq!(count_events(&log, "INFO     action: receive_message | result: success | ip: 127.0.0.1 | msg: a"), 1);
    assert_eq!(answer(&server, &[&b"|".repeat(1024)[..], b"\n"].concat()).len(), 1025);
    // stop() looks at every line's form
    assert_eq!(server.stop().matches("action: receive_message | result: success").count(), 2);
}

// ---- single bets ----

#[test]
fn single_bets_of_any_length_are_stored_and_answered_0() {
    let server = Server::start(2);
    let long = [vec![b'x'; 255], "ñ".repeat(127).into_bytes()];
    let bets = [
        Bet { first: b"Santiago Lionel", last: b"Lorca", number: 7574, ..bet() },
        Bet { first: b"A", last: b"B", document: 0, number: 0, ..bet() },
        // what could be an untyped batch's beginning
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
fn a_single_bet_is_logged_before_it_is_acknowledged_and_what_follows_it_is_nothing() {
    let server = Server::start(1);
    let twice = [bet().single(1), bet().single(1)].concat();
    assert_eq!(answer(&server, &twice), [0]);
    assert!(server.log().contains("INFO     action: apuesta_almacenada | result: success | dni: 30904465 | numero: 1"));
    assert_eq!(server.rows().len(), 1);
    server.stop();
}

#[test]
fn a_single_bet_that_is_refused_gets_its_code_as_one_byte() {
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
fn a_single_bet_with_an_empty_name_or_cut_anywhere_stores_nothing() {
    let server = Server::start(1);
    assert_eq!(answer_at_end(&server, &first(b"").single(1)), [0], "reads as an empty batch");
    assert_ne!(answer_at_end(&server, &Bet { last: b"", ..bet() }.single(1)), [0]);
    let whole = bet().single(1);
    for cut in 0..whole.len() {
        assert_ne!(answer_at_end(&server, &whole[..cut]), [0], "cut at {cut}");
    }
    assert_eq!(server.rows().len(), 0);
    server.await_alone();
    server.stop();
}

// ---- untyped batches ----

#[test]
fn untyped_batches_of_any_size_are_told_from_single_bets_and_stored() {
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
fn an_untyped_batch_that_is_refused_gets_its_code_and_nothing_of_it_is_stored() {
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
fn an_untyped_batch_cut_anywhere_is_not_acknowledged_and_nothing_of_it_is_stored() {
    let server = Server::start(1);
    let whole = untyped_batch(1, &[bet(), bet()]);
    for cut in 0..whole.len() {
        assert_ne!(answer_at_end(&server, &whole[..cut]), [0], "cut at {cut}");
    }
    server.await_alone();
    assert_eq!(server.rows().len(), 0);
    let refused = count_events(&server.stop(), &format!("{REFUSED_BATCH}2 | "));
    // Only the NUL behind the first name tells that it is a batch, and then what its count byte said is logged.
    assert_eq!(refused, whole.len() - (5 + b"Ana\0".len()));
}

// ---- typed messages: framing ----

#[test]
fn a_type_that_is_unknown_or_a_servers_is_refused_with_6_wherever_it_comes() {
    let server = Server::start(1);
    for kind in (2..=5).chain(7..=31).filter(|&kind| kind != 3) {
        assert_eq!(answer(&server, &[kind]), [2, 6], "type {kind}");
        assert_eq!(answer(&server, &[&[kind; 9][..], &[0; 64]].concat()), [2, 6], "type {kind} and more");
    }
    for kind in [0, 2, 4, 5, 7, 8, 31, 32, 0x48, 255] {
        let mut client = server.connect();
        client.send(&count(1)).send(&[kind, 0, 0, 0, 1]);
        client.received(1);
        assert_eq!(client.rest(), [2, 6], "type {kind} behind another message");
    }
    // a TLS hello
    assert_eq!(answer(&server, &[&[0x16, 3, 1, 0, 0xc8, 1, 0, 0, 0xc4, 3, 3][..], &[0; 189]].concat()), [2, 6]);
    server.stop();
}

#[test]
fn whatever_is_malformed_costs_one_line_and_leaves_no_process_and_no_work_behind() {
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
        ("a batch of 255 that is none", [&[1, 0, 0, 0, 1, 255][..], &[0xff; 4096]].concat(), &[2, 6]),
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
    for (name, message, told) in malformed {
        let log = server.log().len();
        assert_eq!(answer(&server, &message), told, "{name}");
        server.await_alone();
        assert_eq!(lines_of_messages(&server.log()[log..]), 1, "{name}");
    }
    assert_idle(&[server.pid()]);
    assert_eq!(server.rows().len(), 0);
    assert_eq!(server.connect().send(&batch_of(1, 1, 1)).ack(), 0);
    server.stop();
}

/// How many lines of `log` tell what a client has sent: refused, or an echo.
fn lines_of_messages(log: &str) -> usize {
    count_events(log, "ERROR ") + count_events(log, "INFO     action: receive_message | result: success")
}

#[test]
fn a_text_too_long_or_without_its_nul_is_refused_with_6() {
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
        ("behind a good bet", batch(1, &[bet(), first(&long)])),
        ("behind an invalid bet", batch(1, &[born(b"2023-02-30"), first(&long)])),
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
fn a_batch_of_255_bets_of_79_bytes_is_taken() {
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
fn one_byte_a_write_is_as_good_as_one_segment() {
    let server = Server::start(1);
    let mut client = server.connect();
    client.send_bytewise(&[count(1), batch(1, &[bet(), bet()]), end(1), ask(1)].concat());
    assert_eq!(client.received(1), (0, false, 0));
    assert_eq!([client.ack(), client.ack()], [0, 0]);
    assert_eq!(client.winners(), Some(vec![]));
    assert_eq!(server.rows().len(), 2);
    server.stop();
}

#[test]
fn half_a_message_is_waited_for_and_costs_no_cpu() {
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
    assert_eq!(client.received(1), (0, false, 0));
    assert_eq!([client.ack(), client.ack()], [0, 0]);
    let (held, ended, crc) = client.received(1);
    assert_eq!((held, ended, crc), (3, false, crc32fast::hash(&server.bets())));
    assert_eq!([client.ack(), client.ack()], [0, 0]);
    assert_eq!(client.winners(), Some(vec![7]));
    assert_eq!(client.received(1), (3, true, crc));
    assert_eq!(client.winners(), Some(vec![7]));
    assert_eq!(client.finish().rest(), b"", "the client closes, not the server");
    server.stop();
}

#[test]
fn nothing_behind_a_refused_batch_is_stored() {
    let server = Server::start(1);
    let good = batch(1, &[bet()]);
    let sent = [good.clone(), batch(1, &[bet(), born(b"2023-02-30"), bet()]), good.repeat(200), end(1)].concat();
    assert_eq!(answer(&server, &sent), [2, 0, 2, 1]);
    server.await_alone();
    assert_eq!(server.rows().len(), 1);
    let mut client = server.connect();
    let (held, ended, _) = { client.send(&count(1)).received(1) };
    assert_eq!((held, ended), (1, false));
    server.stop();
}

#[test]
fn a_batch_cut_anywhere_is_stored_not_at_all_and_logged_with_its_count() {
    let server = Server::start(1);
    let whole = batch(1, &[bet(), bet()]);
    for cut in 0..whole.len() {
        assert_eq!(answer_at_end(&server, &whole[..cut]), b"", "cut at {cut}");
    }
    server.await_alone();
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
fn a_reset_in_a_message_or_behind_it_leaves_all_of_it_or_nothing() {
    let server = Server::start(2);
    for cut in [1, 3, 700] {
        let mut client = server.connect();
        client.send(&batch_of(1, 50, 1)[..cut]);
        client.reset();
    }
    server.await_alone();
    assert_eq!(server.rows().len(), 0);
    let mut client = server.connect();
    client.send(&batch_of(1, 255, 1));
    client.reset();
    server.await_alone();
    assert!(matches!(server.rows().len(), 0 | 255), "{} rows", server.rows().len());
    assert_eq!(server.connect().send(&batch_of(2, 3, 1)).ack(), 0, "others are served");
    server.stop();
}

#[test]
fn a_connection_that_says_nothing_or_two_bytes_and_closes_is_gone_without_a_trace() {
    let server = Server::start(1);
    let before = descriptors(server.pid());
    for _ in 0..20 {
        drop(server.connect());
        server.connect().send(&[1, 0]);
    }
    server.await_alone();
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
        // Text is an echo, a byte that is no type an error; so most begin like messages.
        noise[0] = [random.u8(..), 0, 1, 3, 6][n % 5];
        let log = server.log().len();
        assert_eq!(answer_at_end(&server, &noise), told_of_noise(&noise), "{noise:?}");
        server.await_alone();
        assert_eq!(lines_of_messages(&server.log()[log..]), 1, "{noise:?}");
    }
    assert_eq!(server.rows().len(), 0);
    assert_eq!(server.connect().send(&batch_of(1, 1, 1)).ack(), 0);
    server.stop();
}

const AGENCIES: u32 = 5;

/// What is answered to a stream of which the first message is of no agency that takes part, if it is one at all.
fn told_of_noise(noise: &[u8]) -> Vec<u8> {
    let refusal = |code| if noise[0] == 0 { vec![code] } else { vec![2, code] };
    // The end of the stream stands for a missing line feed.
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

// ---- typed messages: what is refused, and with which code ----

#[test]
fn an_invalid_bet_refuses_its_whole_batch_with_1() {
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
fn an_invalid_bet_is_told_once_its_whole_batch_has_arrived() {
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
fn an_agency_that_takes_no_part_is_refused_with_2_whatever_it_sends() {
    let server = Server::start(2);
    for agency in [0, 3, 1 << 24, u32::MAX] {
        for message in [batch(agency, &[bet()]), end(agency), ask(agency), count(agency)] {
            assert_eq!(answer(&server, &message), [2, 2], "{message:?}");
        }
    }
    server.await_alone();
    assert_eq!(server.rows().len(), 0);
    let log = server.stop();
    assert_eq!(count_events(&log, &format!("{REFUSED_BATCH}1 | ")), 4);
    assert_eq!(count_events(&log, "ERROR "), 16);
}

#[test]
fn of_several_reasons_the_first_of_framing_agency_claim_bet_and_end_is_told() {
    let server = Server::start(2);
    let long = [b'x'; 30];
    let (framing, invalid) = (first(&long), born(b"2023-02-30"));
    // Agency 1 has ended, agency 2 is claimed by a connection that stays.
    let mut ended = server.connect();
    assert_eq!(ended.send(&end(1)).ack(), 0);
    let mut claimed = server.connect();
    claimed.send(&count(2)).received(2);

    let told = |message: Vec<u8>| answer(&server, &message);
    assert_eq!(told(batch(3, &[first(&long)])), [2, 6], "framing before agency");
    assert_eq!(told(batch(2, &[first(&long)])), [2, 6], "framing before claim");
    assert_eq!(told(batch(2, &[born(b"x"), framing])), [2, 6], "framing before claim and bet");
    assert_eq!(told(batch(3, &[born(b"x")])), [2, 2], "agency before bet");
    assert_eq!(told(batch(2, &[invalid])), [2, 5], "claim before bet");
    assert_eq!(told(batch(1, &[bet()])), [2, 5], "claim before end: the connection that ended it is still there");
    assert_eq!(ended.send(&batch(1, &[born(b"x")])).rest(), [2, 1], "bet before end");
    drop(ended);
    assert_eq!(told(batch(1, &[bet(), born(b"x")])), [2, 1], "bet before end, on another connection");
    assert_eq!(told(batch(1, &[first(&long)])), [2, 6], "framing before end");
    assert_eq!(told(batch(1, &[bet()])), [2, 3]);
    assert_eq!(told(born(b"x").single(1)), [1], "bet before end, untyped");
    assert_eq!(told(untyped_batch(1, &[first(&long)])), [6], "framing before end, untyped");
    assert_eq!(told(bet().single(1)), [3]);
    assert_eq!(told(untyped_batch(1, &[bet()])), [3]);

    drop(claimed);
    assert_eq!(server.connect().send(&end(2)).ack(), 0);
    server.await_log(SORTEO);
    assert_eq!(told(batch(3, &[bet()])), [2, 2], "agency before draw");
    assert_eq!(told(batch(1, &[born(b"x")])), [2, 1], "bet before draw");
    assert_eq!(told(bet().single(3)), [2], "agency before draw, untyped");
    assert_eq!(told(born(b"x").single(1)), [1], "bet before draw, untyped");
    assert_eq!(told(batch(1, &[bet()])), [2, 3]);
    assert_eq!(told(bet().single(1)), [3]);
    assert_eq!(told(untyped_batch(1, &[bet()])), [3]);
    assert_eq!(server.rows().len(), 0);
    server.stop();
}

#[test]
fn a_message_for_another_agency_than_the_claimed_one_is_refused_with_6() {
    let server = Server::start(2);
    let claim = |claiming: &[u8]| {
        let mut client = server.connect();
        client.send(claiming);
        if claiming[0] == 6 {
            client.received(1);
        } else {
            assert_eq!(client.ack(), 0);
        }
        client
    };
    for claiming in [count(1), batch(1, &[bet()]), end(1)] {
        for other in [batch(2, &[bet()]), end(2), ask(2), count(2)] {
            assert_eq!(claim(&claiming).send(&other).rest(), [2, 6], "{other:?} behind {claiming:?}");
        }
    }
    assert!(server.rows().iter().all(|row| row.starts_with("1,")));
    let mut two = server.connect();
    assert_eq!(two.send(&count(2)).received(2), (0, false, 0));
    server.stop();
}

#[test]
fn a_winners_query_claims_nothing() {
    let server = Setup::new(3).set("DRAW_WAIT", "0s").start();
    let mut holder = server.connect();
    holder.send(&count(1)).received(1);
    let mut client = server.connect();
    for agency in [1, 2, 3, 1] {
        assert_eq!(client.send(&ask(agency)).winners(), None, "agency {agency}");
    }
    client.send(&batch(2, &[bet()]));
    assert_eq!(client.ack(), 0, "it may still claim any agency");
    assert_eq!(holder.send(&batch(1, &[bet()])).ack(), 0);
    server.stop();
}

// ---- a refusal arrives ----

#[test]
fn a_refusal_arrives_however_much_its_client_had_sent_behind_it() {
    let server = Server::start(1);
    let junk = vec![9; 1 << 20];
    let long = [b'x'; 30];
    for (name, message, told) in [
        ("an unknown type", vec![9], &[2, 6][..]),
        ("a text too long", batch(1, &[first(&long)]), &[2, 6]),
        ("an invalid bet", batch(1, &[born(b"x")]), &[2, 1]),
        ("an unknown agency", ask(2), &[2, 2]),
        ("a single bet", bet().single(1), &[0]),
        ("a single bet of an unknown agency", bet().single(2), &[2]),
        ("an untyped batch", untyped_batch(1, &[bet()]), &[0]),
        ("an echo", b"hola\n".to_vec(), b"hola\n"),
        ("an echo too long", vec![b'x'; 1025], b""),
    ] {
        // All is sent before anything is read: an immediate close would answer the rest of it with a reset.
        let mut client = server.connect();
        client.send(&message).send(&junk);
        assert_eq!(client.rest(), told, "{name}");
        client.finish();
        server.await_alone();
        assert!(client.0.take_error().unwrap().is_none(), "{name}: a reset came behind the answer");
    }
    server.stop();
}

#[test]
fn a_refusing_server_ends_its_side_of_the_stream_before_it_stops_reading() {
    let server = Server::start(1);
    eventually("the end of the stream comes while the server still reads", || {
        let mut client = server.connect();
        let begun = Instant::now();
        assert_eq!(client.send(&[9]).rest(), [2, 6]);
        begun.elapsed() < LINGER
    });
    server.stop();
}

#[test]
fn a_refused_client_that_never_stops_sending_is_closed_all_the_same() {
    let server = Server::start(1);
    let mut client = server.connect();
    client.send(&[9]);
    let begun = Instant::now();
    let junk = vec![9; 1 << 16];
    while client.0.write_all(&junk).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "its child reads for ever");
    }
    server.await_alone();
    server.stop();
}

#[test]
fn a_refused_client_that_never_closes_does_not_keep_its_child() {
    let server = Server::start(1);
    let mut client = server.connect();
    client.send(&[9]);
    assert_eq!(client.rest(), [2, 6]);
    server.await_alone();
    drop(client);
    server.stop();
}

// ---- the log ----

#[test]
fn the_servers_lines_are_those_that_the_assignment_asks_for() {
    let server = Setup::new(1).set("SERVER_LISTEN_BACKLOG", 7).start();
    let mut client = server.connect();
    client.send(&batch(1, &[bet(), bet()])).send(&end(1)).send(&ask(1));
    assert_eq!([client.ack(), client.ack()], [0, 0]);
    client.winners();
    drop(client);
    answer(&server, b"hola\n");
    let port = server.port();
    let log = server.stop();
    let lines = events(&log);
    assert_eq!(
        lines[0],
        "DEBUG    action: config | result: success | port: 0 | listen_backlog: 7 | logging_level: DEBUG"
    );
    assert_eq!(lines[1], format!("INFO     action: listen | result: success | port: {port}"));
    assert_eq!(lines[2], "INFO     action: accept_connections | result: in_progress");
    assert_eq!(lines[3], "INFO     action: accept_connections | result: success | ip: 127.0.0.1");
    for (line, times) in [
        ("INFO     action: accept_connections | result: in_progress", 3),
        ("INFO     action: accept_connections | result: success | ip: 127.0.0.1", 2),
        ("DEBUG    action: apuesta_almacenada | result: success | dni: 30904465 | numero: 1", 2),
        ("INFO     action: apuesta_recibida | result: success | cantidad: 2", 1),
        ("INFO     action: sorteo | result: success", 1),
        ("INFO     action: receive_message | result: success | ip: 127.0.0.1 | msg: hola", 1),
        ("INFO     action: exit | result: success", 1),
    ] {
        assert_eq!(count_events(&log, line), times, "{line}\n{log}");
    }
    assert!(!log.contains("result: fail"), "{log}");
}

#[test]
fn a_level_hides_the_lines_below_it() {
    let session = |level: &str| {
        let server = Setup::new(1).set("LOGGING_LEVEL", level).start();
        assert_eq!(answer(&server, &batch(1, &[born(b"x")])), [2, 1]);
        assert_eq!(server.connect().send(&batch_of(1, 2, 1)).ack(), 0);
        server.stop()
    };
    let info = session("INFO");
    assert!(!info.contains("DEBUG") && info.contains("cantidad: 2") && info.contains(" ERROR "), "{info}");
}

#[test]
fn a_line_that_others_could_not_parse_is_found() {
    let good = [
        "2024-02-29 23:59:59 INFO     action: exit | result: success\n",
        "2024-02-29 23:59:59 CRITICAL action: x_y | result: fail | error: a: b, c\n",
        "2024-02-29 23:59:59 DEBUG    action: x | result: in_progress | msg: \n",
    ];
    assert_eq!(good.map(offence), [None, None, None]);
    let long = format!("2024-02-29 23:59:59 INFO     action: x | result: success | a: {}\n", "ñ".repeat(2048));
    for bad in [
        "\n",
        "2024-02-29 23:59:59 INFO     action: exit | result: success",
        "2024-02-29T23:59:59 INFO     action: exit | result: success\n",
        "2024-02-29 23:59:59 INFO    action: exit | result: success\n",
        "2024-02-29 23:59:59 INFO      action: exit | result: success\n",
        "2024-02-29 23:59:59 NOTICE   action: exit | result: success\n",
        "2024-02-29 23:59:59 INFO     result: success | action: exit\n",
        "2024-02-29 23:59:59 INFO     action: exit\n",
        "2024-02-29 23:59:59 INFO     action: exit | result: done\n",
        "2024-02-29 23:59:59 INFO     action: exit | result: success | \n",
        "2024-02-29 23:59:59 INFO     action: exit | result: success | what\n",
        "2024-02-29 23:59:59 INFO     action: exit | result: success | msg: a|b\n",
        "2024-02-29 23:59:59 INFO     action: exit | result: success | source: x\n",
        "2024-02-29 23:59:59 INFO     action: exit | result: success | result: x\n",
        "2024-02-29 23:59:59 INFO     action: exit | result: success | msg: a\x1bb\n",
        "2024-02-29 23:59:59 INFO     action: exit | result: success | msg: a\rb\n",
        "2024-02-29 23:59:59 INFO     action: exit | result: success | msg: a\u{85}b\n",
        "thread 'main' panicked at src/lib.rs:1:1:\n",
        &long,
    ] {
        assert!(offence(bad).is_some(), "{bad:?}");
    }
}
