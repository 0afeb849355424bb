//! The client as a whole, judged by its bytes, its log and its exit code, against a server played in the test.
//!
//! Point `LOTERIA_CLIENT` at any other client of this protocol to judge that.

#![allow(clippy::unwrap_used)] // clippy.toml's allowance reaches #[test] functions only

mod client_support;
mod support;

use std::ffi::OsStr;
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use client_support::{Ledger, Message, Reserved, Server, Setup, confirmation, received, rows, stored_rows, winners};
use nix::pty::openpty;
use nix::sys::signal::Signal;
use nix::sys::termios::{FlowArg, tcflow};

const CLOSE_FILE: &str = "action: close_file | result: success";
const CLOSE_CONNECTION: &str = "action: close_connection | result: success";
/// A failure that may pass.
const RETRY: &str = "WARNING  action: connect | result: in_progress";

fn draw(server: &Server) -> Setup {
    Setup::new("draw").server(server.address()).set("BATCH_MAXAMOUNT", "10")
}

// ---- start ----------------------------------------------------------------------------------------------------------

#[test]
fn wrong_settings_are_one_line_on_stderr_and_exit_code_2() {
    let cases = [
        (Setup::new("draw").without("CLI_ID"), "id is not set"),
        (Setup::new("win"), "mode"),
        (Setup::new("draw").set("BATCH_MAXAMOUNT", "0"), "batch.maxAmount"),
        (Setup::new("draw").set("BATCH_MAXAMOUNT", "256"), "batch.maxAmount"),
        (Setup::new("draw").set("SERVER_ADDRESS", "server"), "server.address"),
        (Setup::new("batch").set("ID", "16777216"), "id"),
        (Setup::new("bet"), "NOMBRE"),
        (Setup::new("draw").argument("--config").argument("none.yaml"), "none.yaml"),
        (Setup::new("draw").file("c.yaml", "lop:\n  amount: 1\n").argument("--config").argument("c.yaml"), "lop"),
        (Setup::new("draw").file("c.yaml", "\"l\\rp\": 1\n").argument("--config").argument("c.yaml"), "l\\u{d}p"),
        (Setup::new("draw").argument("--config").argument("n\n.yaml"), "n\\u{a}.yaml"),
        (Setup::new("draw").argument("--confg"), "--confg"),
        (Setup::new("draw").argument("surplus"), "surplus"),
    ];
    for (setup, key) in cases {
        let ended = setup.start().end();
        assert_eq!((ended.code(), ended.log.len()), (2, 0), "{key}: {ended:?}");
        assert!(ended.stderr.contains(key) && ended.stderr.trim_end().lines().count() == 1, "{key}: {ended:?}");
    }
}

#[test]
fn a_value_that_is_not_utf_8_is_refused_and_not_altered() {
    let latin_1 = OsStr::from_bytes(b"Jos\xe9");
    let name = bet(&Server::new()).variable("NOMBRE", latin_1);
    for (setup, key) in [(name, "NOMBRE"), (Setup::new("draw").variable("CLI_DATA_PATH", latin_1), "data.path")] {
        let ended = setup.start().end();
        assert_eq!((ended.code(), ended.log.len()), (2, 0), "{ended:?}");
        assert!(ended.stderr.starts_with(&format!("client: {key}: ")), "{ended:?}");
    }
}

#[test]
fn help_and_version_are_printed_whatever_the_settings() {
    for (argument, expected) in [("--help", "--config <FILE>"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let output = Setup::new("win").argument(argument).output();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(expected));
    }
}

#[test]
fn the_first_line_repeats_the_settings_as_the_file_has_them() {
    let server = Server::new();
    let file = format!(
        "id: 7\nserver:\n  address: \"{}\"\nloop:\n  amount: 0\n  period: \"1m0.5s\"\nlog:\n  level: \"INFO\"\nmode: echo\n",
        server.address()
    );
    let setup = Setup::new("").without("CLI_ID").without("CLI_LOOP_PERIOD").without("CLI_LOG_LEVEL");
    let mut client = setup.file("config/client.yaml", file).start();
    let line = client.line("action: config");
    let expected = format!(
        "INFO     action: config | result: success | client_id: 7 | server_address: {} | loop_amount: 0 | loop_period: 1m0.5s | log_level: INFO",
        server.address()
    );
    assert!(line.contains(&expected), "{line}");
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.log.len(), 3, "{ended:?}");
}

// ---- mode echo ------------------------------------------------------------------------------------------------------

#[test]
fn echo_sends_each_numbered_line_on_its_own_connection() {
    let server = Server::new();
    let client = Setup::new("echo").server(server.address()).set("LOOP_AMOUNT", "3").start();
    for number in 1..=3 {
        let mut peer = server.accept();
        assert_eq!(peer.text(), format!("[CLIENT 1] Message N°{number}\n"));
        peer.send(format!("[CLIENT 1] Message N°{number}\n").as_bytes());
        assert_eq!(peer.rest(), b"");
    }
    let ended = client.end();
    ended.succeeded();
    for number in 1..=3 {
        let line = format!(
            "INFO     action: receive_message | result: success | client_id: 1 | msg: [CLIENT 1] Message N°{number}"
        );
        assert_eq!(ended.count(&line), 1, "{ended:?}");
    }
    assert_eq!(ended.position("action: loop_finished | result: success | client_id: 1") + 2, ended.log.len());
}

#[test]
fn echo_takes_an_answer_in_pieces_and_one_that_a_close_ends() {
    let server = Server::new();
    let client = Setup::new("echo").server(server.address()).set("LOOP_AMOUNT", "2").start();
    let mut peer = server.accept();
    peer.text();
    // Cut inside of a letter.
    peer.send(b"[CLIENT 1] Message N\xc2");
    assert!(peer.is_quiet());
    peer.send(b"\xb01  \nand more");
    drop(peer);
    let mut peer = server.accept();
    peer.text();
    peer.send(b"two");
    drop(peer);
    let ended = client.end();
    ended.succeeded();
    assert_eq!((ended.count("| msg: [CLIENT 1] Message N°1"), ended.count("| msg: two")), (1, 1), "{ended:?}");
}

#[test]
fn echo_waits_for_a_server_that_does_not_listen_yet() {
    let reserved = Reserved::new();
    let mut client = Setup::new("echo").server(reserved.address()).set("LOOP_AMOUNT", "1").start();
    client.line(RETRY);
    let server = reserved.listen();
    let mut peer = server.accept();
    peer.text();
    peer.send(b"late\n");
    client.end().succeeded();
}

#[test]
fn echo_sends_a_line_again_when_the_connection_breaks() {
    let server = Server::new();
    let client = Setup::new("echo").server(server.address()).set("LOOP_AMOUNT", "1").start();
    server.accept().reset();
    drop(server.accept());
    let mut peer = server.accept();
    assert_eq!(peer.text(), "[CLIENT 1] Message N°1\n");
    peer.send(b"x\n");
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.count(RETRY), 2, "{ended:?}");
}

#[test]
fn an_echo_that_never_ends_is_a_failure() {
    let server = Server::new();
    let client = Setup::new("echo").server(server.address()).start();
    server.accept().send(&[b'x'; 2000]);
    client.end().failed(1, &["1024 bytes"]);
}

// ---- mode bet -------------------------------------------------------------------------------------------------------

fn bet(server: &Server) -> Setup {
    let names = [("NOMBRE", "Santiago Ñandú"), ("APELLIDO", "Lorca"), ("NACIMIENTO", "1999-03-17")];
    let numbers = [("DOCUMENTO", "30904465"), ("NUMERO", "7574")];
    names
        .into_iter()
        .chain(numbers)
        .fold(Setup::new("bet").server(server.address()), |setup, (name, value)| setup.variable(name, value))
}

/// The bet above, byte by byte.
const BET: &[u8] = b"\0\0\0\x01\x10Santiago \xc3\x91and\xc3\xba\x05Lorca\x01\xd7\x90\x91\x0a1999-03-17\0\0\x1d\x96";

#[test]
fn a_bet_is_sent_and_its_acknowledgement_logged() {
    let server = Server::new();
    let client = bet(&server).start();
    let mut peer = server.accept();
    assert_eq!(peer.read(BET.len()), BET);
    assert!(peer.is_quiet());
    peer.send(&[0]);
    assert_eq!(peer.rest(), b"");
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.count("INFO     action: apuesta_enviada | result: success | dni: 30904465 | numero: 7574"), 1);
}

#[test]
fn a_bet_is_sent_again_after_codes_4_5_7_and_a_close() {
    let server = Server::new();
    let client = bet(&server).start();
    drop(server.accept());
    for code in [4, 5, 7, 0] {
        let mut peer = server.accept();
        assert_eq!(peer.read(BET.len()), BET);
        peer.send(&[code]);
    }
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.count(RETRY), 4, "{ended:?}");
}

#[test]
fn a_bet_that_is_refused_for_good_is_a_failure_that_names_the_code() {
    for (code, text) in [(1, "(code 1)"), (2, "(code 2)"), (3, "--new-draw"), (6, "(code 6)"), (99, "99")] {
        let server = Server::new();
        let client = bet(&server).start();
        let mut peer = server.accept();
        peer.read(BET.len());
        peer.send(&[code]);
        client.end().failed(1, &["the bet", text]);
    }
}

// ---- mode batch -----------------------------------------------------------------------------------------------------

fn batch(server: &Server) -> Setup {
    Setup::new("batch").server(server.address()).set("BATCH_MAXAMOUNT", "10").bets(rows(25))
}

#[test]
fn each_batch_has_its_own_connection_and_is_full_but_for_the_last() {
    let server = Server::new();
    let client = batch(&server).start();
    let mut documents = 0..;
    for expected in [10, 10, 5] {
        let mut peer = server.accept();
        let bets = peer.untyped_batch();
        assert_eq!(bets.len(), expected);
        assert!(bets.iter().all(|bet| documents.next() == Some(bet.document)));
        peer.send(&[0]);
        assert_eq!(peer.rest(), b"");
    }
    let ended = client.end();
    ended.succeeded();
    assert!(ended.position(CLOSE_FILE) < ended.position("action: exit"));
}

#[test]
fn a_batch_is_sent_again_after_codes_4_5_7_and_a_close_and_those_before_it_are_not() {
    let server = Server::new();
    let client = batch(&server).start();
    for (code, first) in [(0, 0), (4, 10), (5, 10), (7, 10), (0, 10), (0, 20)] {
        let mut peer = server.accept();
        assert_eq!(peer.untyped_batch()[0].document, first);
        if first == 20 {
            drop(peer);
            peer = server.accept();
            assert_eq!(peer.untyped_batch()[0].document, first);
        }
        peer.send(&[code]);
    }
    client.end().succeeded();
}

#[test]
fn an_untyped_batch_that_is_refused_for_good_is_a_failure_that_names_code_and_batch() {
    for code in [1, 2, 3, 6] {
        let server = Server::new();
        let client = batch(&server).start();
        for answer in [0, code] {
            let mut peer = server.accept();
            peer.untyped_batch();
            peer.send(&[answer]);
        }
        client.end().failed(1, &["batch 2 (bets 11 to 20)", &format!("(code {code})")]);
    }
}

// ---- the agency's file ----------------------------------------------------------------------------------------------

#[test]
fn bad_rows_are_reported_by_line_and_skipped_and_the_client_ends_with_3() {
    let file = format!(
        "\u{feff}Ana,Paz,1,1999-03-17,7\r\n\r\nAna,Paz,1\n{},Paz,1,1999-03-17,7\n\"Pérez, Ana\",Paz,4,1999-03-17,7\n\"Ana,Paz,1,1999-03-17,7\nÑ,Paz,6,1999-03-17,7",
        "x".repeat(30)
    );
    for mode in ["draw", "batch"] {
        let server = Server::new();
        let client = Setup::new(mode).server(server.address()).bets(&file).start();
        let mut peer = server.accept();
        let bets = if mode == "batch" {
            peer.untyped_batch()
        } else {
            peer.message();
            peer.send(&received(0, false, ""));
            let Message::Batch(bets) = peer.message() else { panic!() };
            bets
        };
        let names: Vec<_> = bets.iter().map(|bet| bet.first.as_str()).collect();
        assert_eq!(names, ["Ana", "Pérez, Ana", "Ñ"]);
        if mode == "batch" {
            peer.send(&[0]);
        } else {
            peer.send(&confirmation(0));
            assert_eq!(peer.message(), Message::End);
            peer.send(&confirmation(0));
            assert_eq!(peer.message(), Message::Winners);
            peer.send(&winners(&[]));
        }
        let ended = client.end();
        ended.failed(3, &["3 rows"]);
        for line in [3, 4, 6] {
            assert_eq!(ended.count(&format!("action: leer_apuesta | result: fail | line: {line} | error: ")), 1);
        }
    }
}

#[test]
fn a_bad_row_is_reported_once_however_often_the_file_is_read() {
    let server = Server::new();
    let client = draw(&server).bets(format!("bad\n{}bad\n", rows(12))).start();
    let mut ledger = Ledger::default();
    for served in [1, 2, 2] {
        let mut peer = server.accept();
        for _ in 0..served {
            ledger.serve(&mut peer);
        }
    }
    ledger.serve_all(&mut server.accept());
    let ended = client.end();
    ended.failed(3, &["2 rows"]);
    assert_eq!(ended.count("leer_apuesta"), 2, "{ended:?}");
    assert_eq!(ledger.rows, stored_rows(12));
}

#[test]
fn without_a_file_nobody_connects() {
    for mode in ["draw", "batch"] {
        let server = Server::new();
        let setup = Setup::new(mode).server(server.address());
        setup.start().end().failed(1, &[".data/agency-1.csv", "No such file"]);
        let setup = Setup::new(mode).server(server.address()).file(".data/agency-1.csv/x", "");
        setup.start().end().failed(1, &[".data/agency-1.csv", "is a directory"]);
        // Nor one that only looks empty for now.
        let setup = Setup::new(mode).server(server.address()).set("DATA_PATH", "/dev/null");
        setup.start().end().failed(1, &["/dev/null", "not a regular file"]);
        assert!(server.is_quiet());
    }
}

#[test]
fn no_packet_exceeds_8000_bytes_whatever_the_settings() {
    let name = "ñ".repeat(14) + "x";
    let file: String = (0..300).map(|i| format!("{name},{name},{i},1999-03-17,7\n")).collect();
    let server = Server::new();
    let client = draw(&server).set("BATCH_MAXAMOUNT", "255").bets(file).start();
    let (mut ledger, mut sizes) = (Ledger::default(), Vec::new());
    let mut peer = server.accept();
    while !ledger.ended {
        // The length is checked where batches are read.
        if let Message::Batch(bets) = ledger.serve(&mut peer) {
            sizes.push(bets.len());
        }
    }
    ledger.serve(&mut peer);
    client.end().succeeded();
    assert_eq!(sizes, [101, 101, 98]);
    assert!(ledger.documents.into_iter().eq(0..300));
}

// ---- mode draw ------------------------------------------------------------------------------------------------------

#[test]
fn a_whole_draw_is_one_conversation_on_one_connection() {
    let server = Server::new();
    let client = draw(&server).bets(rows(25)).start();
    let mut ledger = Ledger::default();
    let mut peer = server.accept();
    assert_eq!(ledger.serve(&mut peer), Message::Received);
    for expected in [10, 10, 5] {
        let Message::Batch(bets) = ledger.serve(&mut peer) else { panic!() };
        assert_eq!(bets.len(), expected);
    }
    assert_eq!(ledger.serve(&mut peer), Message::End);
    assert_eq!(ledger.serve(&mut peer), Message::Winners);
    assert_eq!(peer.rest(), b"");
    assert_eq!(ledger.rows, stored_rows(25));
    let ended = client.end();
    ended.succeeded();
    let winners = ended.position("INFO     action: consulta_ganadores | result: success | cant_ganadores: 2");
    assert!(ended.position(CLOSE_FILE) < winners && ended.position(CLOSE_CONNECTION) < winners);
    assert_eq!(winners + 2, ended.log.len());
    assert_eq!(ended.count(RETRY), 0);
}

#[test]
fn an_agency_without_bets_ends_and_asks() {
    let server = Server::new();
    let client = draw(&server).bets("").start();
    let mut peer = server.accept();
    for (message, answer) in [
        (Message::Received, received(0, false, "")),
        (Message::End, confirmation(0).to_vec()),
        (Message::Winners, winners(&[])),
    ] {
        assert_eq!(peer.message(), message);
        peer.send(&answer);
    }
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.count("| cant_ganadores: 0"), 1);
}

#[test]
fn many_winners_in_many_pieces_are_counted() {
    let server = Server::new();
    let client = draw(&server).bets("").start();
    let mut peer = server.accept();
    let mut ledger = Ledger::default();
    ledger.serve(&mut peer);
    ledger.serve(&mut peer);
    assert_eq!(peer.message(), Message::Winners);
    for piece in winners(&[7574; 100_000]).chunks(4_001) {
        peer.send(piece);
    }
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.count("| cant_ganadores: 100000"), 1);
}

#[test]
fn a_window_of_batches_is_under_way_before_the_first_acknowledgement() {
    let server = Server::new();
    let client = draw(&server).set("BATCH_WINDOW", "3").bets(rows(50)).start();
    let mut peer = server.accept();
    peer.message();
    peer.send(&received(0, false, ""));
    for _ in 0..3 {
        assert!(matches!(peer.message(), Message::Batch(_)));
    }
    assert!(peer.is_quiet());
    peer.send(&confirmation(0));
    assert!(matches!(peer.message(), Message::Batch(_)));
    assert!(peer.is_quiet());
    peer.send(&[2, 0, 2, 0, 2]);
    assert!(matches!(peer.message(), Message::Batch(_)));
    assert!(peer.is_quiet());
    peer.send(&[0, 2, 0]);
    assert_eq!(peer.message(), Message::End);
    peer.send(&confirmation(0));
    peer.message();
    peer.send(&winners(&[]));
    client.end().succeeded();
}

#[test]
fn with_a_window_the_refused_batch_is_named_and_no_other() {
    let server = Server::new();
    let client = draw(&server).set("BATCH_WINDOW", "4").bets(rows(50)).start();
    let mut peer = server.accept();
    peer.message();
    peer.send(&received(0, false, ""));
    for _ in 0..4 {
        peer.message();
    }
    peer.send(&[2, 0, 2, 1]);
    client.end().failed(1, &["batch 2 (bets 11 to 20)", "invalid bet (code 1)"]);
}

#[test]
fn a_window_without_bound_is_served() {
    let server = Server::new();
    let client = draw(&server).set("BATCH_WINDOW", "4294967295").bets(rows(20_000)).start();
    let mut ledger = Ledger::default();
    ledger.serve_all(&mut server.accept());
    client.end().succeeded();
    assert_eq!(ledger.rows, stored_rows(20_000));
}

#[test]
fn a_code_is_read_while_the_server_takes_no_more() {
    let server = Server::new();
    // Far more than the kernel takes.
    let client = draw(&server).set("BATCH_WINDOW", "100000").bets(rows(400_000)).start();
    let mut peer = server.accept();
    peer.message();
    peer.send(&received(0, false, ""));
    peer.message();
    peer.send(&confirmation(2)).finish();
    client.end().failed(1, &["batch 1 (bets 1 to 10)", "(code 2)"]);
}

#[test]
fn a_code_in_front_of_a_reset_is_reported() {
    let server = Server::new();
    let client = draw(&server).set("BATCH_WINDOW", "100000").bets(rows(400_000)).start();
    let mut peer = server.accept();
    peer.message();
    peer.send(&received(0, false, ""));
    peer.message();
    peer.send(&confirmation(6));
    // With all that is unread, this close resets.
    drop(peer);
    client.end().failed(1, &["batch 1 (bets 1 to 10)", "(code 6)"]);
}

/// What is answered before the message that a case is about.
const BATCHES: usize = 3;

#[test]
fn each_code_that_does_not_pass_is_a_failure_wherever_it_comes() {
    let names = ["message 6", "batch 1 ", "batch 2 ", "batch 3 ", "the end", "winners"];
    for code in [1, 2, 3, 6] {
        for (at, name) in names.into_iter().enumerate() {
            let server = Server::new();
            let client = draw(&server).bets(rows(25)).start();
            let mut peer = server.accept();
            let mut ledger = Ledger::default();
            for _ in 0..at {
                ledger.serve(&mut peer);
            }
            peer.message();
            peer.send(&confirmation(code));
            assert_eq!(peer.rest(), b"", "nothing more is sent");
            let hint = if code == 3 { "server --new-draw" } else { "" };
            client.end().failed(1, &[name, &format!("(code {code})"), hint]);
        }
    }
}

/// Plays a draw in which the message number `at` is met by `fault`, which gets it and its connection.
fn draw_with(at: usize, fault: impl FnOnce(&mut Ledger, &Message, client_support::Peer)) {
    let server = Server::new();
    let client = draw(&server).bets(rows(25)).start();
    let mut ledger = Ledger::default();
    let mut peer = server.accept();
    for _ in 0..at {
        ledger.serve(&mut peer);
    }
    let message = peer.message();
    fault(&mut ledger, &message, peer);
    let mut peer = server.accept();
    let first = ledger.serve(&mut peer);
    // Ended and acknowledged, it sends nothing but 3.
    assert_eq!(first, if at > BATCHES + 1 { Message::Winners } else { Message::Received });
    if first != Message::Winners {
        ledger.serve_all(&mut peer);
    }
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.count("| cant_ganadores: 2"), 1);
    assert_eq!(ledger.rows, stored_rows(25), "message {at}");
}

#[test]
fn a_long_wait_for_the_draw_ends_an_outage_however_it_ends() {
    let server = Server::new();
    let client = draw(&server).set("RETRY_TIMEOUT", "3s").bets(rows(25)).start();
    let mut ledger = Ledger::default();
    let mut peer = server.accept();
    for _ in 0..BATCHES + 2 {
        ledger.serve(&mut peer);
    }
    for wait in [0, 6] {
        assert_eq!(peer.message(), Message::Winners);
        // The length of the wait is the point.
        std::thread::sleep(Duration::from_secs(wait));
        peer.send(&confirmation(7));
        peer = server.accept();
    }
    ledger.serve(&mut peer);
    client.end().succeeded();
}

#[test]
fn codes_4_5_and_7_are_met_by_a_new_connection_that_asks_anew() {
    for at in 0..=BATCHES + 2 {
        let code = [4, 5, 7][at % 3];
        draw_with(at, |_, _, mut peer| {
            peer.send(&confirmation(code));
        });
    }
}

#[test]
fn a_close_before_anything_is_stored_loses_and_doubles_nothing() {
    for at in 0..=BATCHES + 2 {
        draw_with(at, |_, _, peer| drop(peer));
    }
}

#[test]
fn a_reset_after_all_is_stored_loses_and_doubles_nothing() {
    for at in 0..=BATCHES + 1 {
        draw_with(at, |ledger, message, peer| {
            ledger.store(message);
            peer.reset();
        });
    }
}

#[test]
fn an_answer_that_is_cut_off_counts_for_nothing() {
    for at in 0..=BATCHES + 2 {
        draw_with(at, |ledger, message, mut peer| {
            ledger.store(message);
            let answer = ledger.answer(message);
            peer.send(&answer[..answer.len() - 1]);
        });
    }
}

#[test]
fn without_an_answer_the_client_gives_up_after_its_time() {
    let reserved = Reserved::new();
    let client = draw(&Server::new()).server(reserved.address()).set("RETRY_TIMEOUT", "250ms").bets("").start();
    let ended = client.end();
    ended.failed(1, &["gave up after 250ms", &reserved.address().to_string(), "refused"]);
    assert!(ended.count(RETRY) >= 2, "{ended:?}");
    assert_eq!(ended.count(CLOSE_FILE), 1);
}

#[test]
fn without_time_to_retry_the_first_failure_is_the_last() {
    let reserved = Reserved::new();
    let client = draw(&Server::new()).server(reserved.address()).set("RETRY_TIMEOUT", "0s").bets("").start();
    let ended = client.end();
    ended.failed(1, &["refused"]);
    assert_eq!(ended.count(RETRY), 0);
}

#[test]
fn an_answer_out_of_place_is_a_failure() {
    let answers = [&[4][..], &[5, 0, 0, 0, 0], &received(0, false, ""), b"hola\n", &[2, 77], &[1, 0, 0, 0, 1, 0]];
    for answer in answers {
        let server = Server::new();
        let client = draw(&server).bets(rows(1)).start();
        let mut peer = server.accept();
        peer.message();
        peer.send(&received(0, false, ""));
        peer.message();
        peer.send(answer);
        client.end().failed(1, &["batch 1 (bets 1 to 1) was answered with"]);
    }
}

// ---- resume ---------------------------------------------------------------------------------------------------------

#[test]
fn what_the_server_holds_already_is_not_sent_again() {
    for held in [1, 10, 24, 25] {
        let server = Server::new();
        let client = draw(&server).bets(rows(25)).start();
        let mut ledger = Ledger { rows: stored_rows(held), documents: (0..held).collect(), ended: false };
        ledger.serve_all(&mut server.accept());
        let ended = client.end();
        ended.succeeded();
        assert_eq!(ledger.rows, stored_rows(25));
        assert_eq!(ended.count(&format!("action: consulta_recibidas | result: success | cantidad: {held}")), 1);
    }
}

#[test]
fn rows_are_compared_as_they_stand_in_the_store() {
    let file = "\"Pérez, Ana\",\"La \"\"Ñ\"\"\",007,1999-03-17,8\nbad\n  Eva  ,Paz,2,1999-03-17,0\n";
    let stored = "1,\"Pérez, Ana\",\"La \"\"Ñ\"\"\",7,1999-03-17,8\r\n1,  Eva  ,Paz,2,1999-03-17,0\r\n";
    let server = Server::new();
    let client = draw(&server).bets(file).start();
    let mut peer = server.accept();
    peer.message();
    peer.send(&received(2, false, stored));
    assert_eq!(peer.message(), Message::End);
    peer.send(&confirmation(0));
    peer.message();
    peer.send(&winners(&[]));
    client.end().failed(3, &["1 rows"]);
}

#[test]
fn an_agency_that_has_ended_asks_for_its_winners_at_once() {
    let server = Server::new();
    let client = draw(&server).bets(rows(25)).start();
    let mut peer = server.accept();
    peer.message();
    peer.send(&received(25, true, &stored_rows(25)));
    assert_eq!(peer.message(), Message::Winners);
    peer.send(&winners(&[1]));
    client.end().succeeded();
}

#[test]
fn where_the_server_holds_something_else_nothing_is_sent() {
    let other = stored_rows(10).replace("7574", "7575");
    let cases = [
        (received(10, false, &other), "holds 10 bets", "not the first ones"),
        (received(26, false, &stored_rows(26)), "holds 26 bets", "has only 25"),
        (received(24, true, &stored_rows(24)), "holds 24 bets", "the file has more"),
        (received(0, true, ""), "holds 0 bets", "ended: true"),
        (received(u64::MAX, false, ""), "holds 18446744073709551615 bets", "has only 25"),
        (received(0, false, "x"), "holds 0 bets", "not the first ones"),
    ];
    for (answer, held, why) in cases {
        let server = Server::new();
        let client = draw(&server).bets(rows(25)).start();
        let mut peer = server.accept();
        peer.message();
        peer.send(&answer);
        assert_eq!(peer.rest(), b"");
        client.end().failed(1, &[held, why, "nothing is sent"]);
    }
}

#[test]
fn a_server_that_answers_6_in_any_other_way_is_told_apart() {
    let answers = [&[4][..], &[5, 0, 0, 0, 0], &[2, 0], &[2, 99], b"hola\n", &[6, 0, 0, 0, 1], &[0xff]];
    for answer in answers {
        let server = Server::new();
        let client = draw(&server).bets(rows(25)).start();
        let mut peer = server.accept();
        peer.message();
        peer.send(answer);
        assert_eq!(peer.rest(), b"");
        client.end().failed(1, &["the server does not know message 6: set resume to false"]);
    }
}

#[test]
fn the_count_of_another_agency_is_a_failure() {
    let server = Server::new();
    let client = draw(&server).bets(rows(25)).start();
    let mut peer = server.accept();
    peer.message();
    let mut answer = received(0, false, "");
    answer[4] = 2;
    peer.send(&answer);
    assert_eq!(peer.rest(), b"");
    client.end().failed(1, &["message 6", "the bets of agency 2"]);
}

#[test]
fn a_server_that_dies_of_6_is_told_apart_in_the_end() {
    let server = Server::new();
    let mut client = draw(&server).set("RETRY_TIMEOUT", "400ms").bets(rows(25)).start();
    let mut peer = server.accept();
    assert_eq!(peer.message(), Message::Received);
    drop((peer, server));
    client.line(RETRY);
    client.end().failed(1, &["gave up", "message 6 was never answered", "set resume to false"]);
}

#[test]
fn bets_that_the_server_has_lost_are_sent_again() {
    let server = Server::new();
    let client = draw(&server).bets(rows(25)).start();
    let mut ledger = Ledger::default();
    let mut peer = server.accept();
    for _ in 0..3 {
        ledger.serve(&mut peer);
    }
    drop(peer);
    let mut ledger = Ledger::default();
    ledger.serve_all(&mut server.accept());
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ledger.rows, stored_rows(25));
    assert_eq!(ended.count("WARNING  action: consulta_recibidas | result: in_progress"), 1);
}

// ---- servers that know types 1 to 5 only ----------------------------------------------------------------------------

#[test]
fn without_resume_a_server_of_exercise_7_gets_a_connection_for_each_query() {
    let server = Server::new();
    let client = draw(&server).set("RESUME", "false").bets(rows(25)).start();
    let mut peer = server.accept();
    let mut ledger = Ledger::default();
    while ledger.serve(&mut peer) != Message::End {}
    drop(peer);
    for _ in 0..3 {
        let mut peer = server.accept();
        assert_eq!(peer.message(), Message::Winners);
        peer.send(&[4]);
    }
    assert_eq!(ledger.serve(&mut server.accept()), Message::Winners);
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ledger.rows, stored_rows(25));
    assert_eq!((ended.count(RETRY), ended.count("| cant_ganadores: 2")), (0, 1), "{ended:?}");
}

#[test]
fn a_query_that_came_too_early_is_repeated_on_the_same_connection() {
    let server = Server::new();
    let client = draw(&server).bets(rows(5)).start();
    let mut peer = server.accept();
    let mut ledger = Ledger::default();
    while ledger.serve(&mut peer) != Message::End {}
    for _ in 0..3 {
        assert_eq!(peer.message(), Message::Winners);
        peer.send(&[4]);
    }
    ledger.serve(&mut peer);
    let ended = client.end();
    ended.succeeded();
    assert!(server.is_quiet());
    assert_eq!(ended.count(CLOSE_CONNECTION), 1);
}

#[test]
fn without_resume_a_new_connection_goes_on_behind_the_last_acknowledged_batch() {
    let server = Server::new();
    let client = draw(&server).set("RESUME", "false").set("BATCH_WINDOW", "2").bets(rows(35)).start();
    let first_document = |message| match message {
        Message::Batch(bets) => bets[0].document,
        other => panic!("{other:?}"),
    };
    let mut peer = server.accept();
    assert_eq!([first_document(peer.message()), first_document(peer.message())], [0, 10]);
    peer.send(&confirmation(0));
    assert_eq!(first_document(peer.message()), 20);
    drop(peer);
    let mut peer = server.accept();
    assert_eq!([first_document(peer.message()), first_document(peer.message())], [10, 20]);
    peer.send(&[2, 0, 2, 0]);
    assert_eq!(first_document(peer.message()), 30);
    peer.send(&confirmation(0));
    assert_eq!(peer.message(), Message::End);
    drop(peer);
    let mut peer = server.accept();
    assert_eq!(peer.message(), Message::End);
    peer.send(&confirmation(0));
    peer.message();
    peer.send(&winners(&[]));
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.count(RETRY), 2, "{ended:?}");
}

// ---- SIGTERM --------------------------------------------------------------------------------------------------------

/// A draw of three batches, served up to message number `at`, which is read and not answered.
fn served_up_to(at: usize) -> (client_support::Client, client_support::Peer) {
    let server = Server::new();
    let mut client = draw(&server).bets(rows(25)).start();
    client.line("action: config");
    let mut peer = server.accept();
    let mut ledger = Ledger::default();
    for _ in 0..at {
        ledger.serve(&mut peer);
    }
    peer.message();
    (client, peer)
}

#[test]
fn a_signal_while_an_answer_is_awaited_closes_file_and_connection() {
    for at in 0..=BATCHES + 2 {
        let (client, peer) = served_up_to(at);
        let ended = client.stop();
        assert_eq!((ended.count(CLOSE_FILE), ended.count(CLOSE_CONNECTION)), (1, 1), "message {at}: {ended:#?}");
        assert_eq!(peer.rest(), b"");
    }
}

#[test]
fn sigint_is_a_request_to_stop_as_well() {
    let (client, _peer) = served_up_to(1);
    client.signal(Signal::SIGINT);
    client.end().succeeded();
}

#[test]
fn a_signal_in_a_message_of_the_server_is_heard() {
    let (client, mut peer) = served_up_to(BATCHES + 2);
    peer.send(&winners(&[1, 2, 3])[..7]);
    client.stop();
}

#[test]
fn a_signal_while_a_name_is_resolved_is_heard() {
    let setup = Setup::new("draw").set("SERVER_ADDRESS", "no-such-host.invalid:12345").bets("");
    let mut client = setup.start();
    client.line("action: connect | result: in_progress | server_address: no-such-host.invalid:12345");
    assert_eq!(client.stop().count(CLOSE_FILE), 1);
}

#[test]
fn a_signal_while_the_kernel_connects_is_heard() {
    let (server, _queue): (Server, Vec<TcpStream>) = Reserved::new().listen_and_ignore();
    for mode in ["draw", "batch", "echo"] {
        let mut client = Setup::new(mode).server(server.address()).bets(rows(1)).start();
        client.line("action: connect | result: in_progress");
        assert_eq!(client.stop().count(CLOSE_FILE), usize::from(mode != "echo"));
    }
}

#[test]
fn a_signal_while_a_server_does_not_accept_is_heard() {
    for mode in ["draw", "batch", "echo"] {
        let server = Server::new();
        let mut client = Setup::new(mode).server(server.address()).bets(rows(1)).start();
        client.line("action: connect | result: success");
        let ended = client.stop();
        let line = "INFO     action: close_connection | result: success";
        assert_eq!((ended.count(CLOSE_FILE), ended.count(line)), (usize::from(mode != "echo"), 1), "{ended:#?}");
    }
}

#[test]
fn a_signal_between_two_tries_is_heard() {
    let reserved = Reserved::new();
    for mode in ["draw", "batch", "echo"] {
        let mut client = Setup::new(mode).server(reserved.address()).bets(rows(1)).start();
        client.line(RETRY);
        client.stop();
    }
}

#[test]
fn a_signal_while_the_server_takes_nothing_is_heard() {
    let server = Server::new();
    let client = draw(&server).set("BATCH_WINDOW", "100000").bets(rows(400_000)).start();
    let mut peer = server.accept();
    peer.message();
    peer.send(&received(0, false, ""));
    peer.message();
    let ended = client.stop();
    assert_eq!((ended.count(CLOSE_FILE), ended.count(CLOSE_CONNECTION)), (1, 1), "{ended:#?}");
}

#[test]
fn a_terminal_that_is_stopped_stops_nothing() {
    let server = Server::new();
    let terminal = openpty(None, None).unwrap();
    tcflow(&terminal.slave, FlowArg::TCOOFF).unwrap();
    let client = draw(&server).bets(rows(25)).variable("TERM", "xterm").terminal(terminal.slave).start();
    Ledger::default().serve_all(&mut server.accept());
    client.end().succeeded();
}

#[test]
fn a_signal_between_two_queries_is_heard() {
    let server = Server::new();
    let mut client = draw(&server).bets("").start();
    let mut peer = server.accept();
    let mut ledger = Ledger::default();
    ledger.serve(&mut peer);
    ledger.serve(&mut peer);
    peer.message();
    peer.send(&[4]);
    client.line("action: consulta_ganadores | result: in_progress");
    client.stop();
}

#[test]
fn a_signal_between_two_echoes_is_heard() {
    let server = Server::new();
    let mut client = Setup::new("echo").server(server.address()).set("LOOP_PERIOD", "1h").start();
    let mut peer = server.accept();
    peer.text();
    peer.send(b"x\n");
    client.line("action: receive_message");
    assert_eq!(client.stop().count("loop_finished"), 0);
}

#[test]
fn a_signal_cuts_settling_short_and_what_is_known_is_told() {
    let server = Server::new();
    let mut client = draw(&server).set("LOG_SETTLE", "1h").bets(rows(25)).start();
    let mut ledger = Ledger::default();
    ledger.serve_all(&mut server.accept());
    client.line(CLOSE_CONNECTION);
    assert!(client.is_quiet());
    let ended = client.stop();
    assert_eq!((ended.count("| cant_ganadores: 2"), ended.count(CLOSE_FILE)), (1, 1), "{ended:#?}");
}

#[test]
fn the_last_line_settles_in_every_mode() {
    let server = Server::new();
    let mut client = bet(&server).set("LOG_SETTLE", "1h").start();
    let mut peer = server.accept();
    peer.read(BET.len());
    peer.send(&[0]);
    client.line("action: apuesta_enviada");
    assert!(client.is_quiet());
    client.stop();
    let mut client = batch(&server).bets("").set("LOG_SETTLE", "1h").start();
    client.line(CLOSE_FILE);
    assert!(client.is_quiet());
    client.stop();
    let mut client = Setup::new("echo").set("LOOP_AMOUNT", "0").set("LOG_SETTLE", "1h").start();
    client.line("action: loop_finished");
    assert!(client.is_quiet());
    client.stop();
}

#[test]
fn a_draw_settles_twice_and_ends_by_itself() {
    let server = Server::new();
    let client = draw(&server).set("LOG_SETTLE", "200ms").bets("").start();
    Ledger::default().serve_all(&mut server.accept());
    let answered = Instant::now();
    client.end().succeeded();
    assert!(answered.elapsed() >= Duration::from_millis(400));
}
