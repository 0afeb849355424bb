//! How many refusals are logged.

use crate::scene::*;
use crate::support::*;

/// The beginning of each line about a refusal with code 6 of this source.
fn with_code_6(source: u8) -> String {
    format!("ERROR    action: receive_message | result: fail | ip: 127.0.0.{source} | codigo: 6 | ")
}

#[test]
fn of_300_refusals_20_are_logged_and_280_counted() {
    let server = Server::start(1);
    for _ in 0..300 {
        assert_eq!(answer(&server, &[9]), [2, 6]);
    }
    server.await_childless();
    let log = server.stop();
    assert_eq!(count_events(&log, &format!("{}error: ", with_code_6(1))), 20);
    assert_eq!(count_events(&log, &format!("{}repetidas: 280", with_code_6(1))), 1);
    assert_eq!(count_events(&log, "ERROR "), 21);
}

#[test]
fn reasons_and_sources_are_counted_apart() {
    let server = Server::start(1);
    let cut = &batch(1, &[bet()])[..9];
    for _ in 0..25 {
        assert_eq!(answer(&server, &[9]), [2, 6]);
        assert_eq!(Conn::from(2, server.port()).send(&[9]).rest(), [2, 6]);
        assert_eq!(answer(&server, &batch(2, &[bet()])), [2, 2]);
        assert_eq!(answer_at_end(&server, cut), b"");
    }
    server.await_childless();
    let log = server.stop();
    let ended = "error: the connection ended in the middle of a message";
    let fail = "ERROR    action: receive_message | result: fail | ip: 127.0.0.1";
    for (line, times) in [
        (format!("{}error: ", with_code_6(1)), 20),
        (format!("{}repetidas: 5", with_code_6(1)), 1),
        (format!("{}error: ", with_code_6(2)), 20),
        (format!("{}repetidas: 5", with_code_6(2)), 1),
        (format!("{REFUSED_BATCH}1 | ip: 127.0.0.1 | codigo: 2 | error: "), 20),
        (format!("{fail} | codigo: 2 | repetidas: 5"), 1),
        (format!("{REFUSED_BATCH}1 | ip: 127.0.0.1 | {ended}"), 20),
        (format!("{fail} | {ended} | repetidas: 5"), 1),
    ] {
        assert_eq!(count_events(&log, &line), times, "{line}\n{log}");
    }
    assert_eq!(count_events(&log, "ERROR "), 84);
}

#[test]
fn a_storm_of_malformed_bytes_leaves_every_client_answered() {
    const WAVE: usize = 250;
    let server = Setup::new(1).set("SERVER_LISTEN_BACKLOG", WAVE).start();
    let mut client = server.claim(1);
    for _ in 0..4 {
        let mut storm: Vec<_> = (0..WAVE).map(|_| server.connect()).collect();
        for conn in &mut storm {
            conn.send(&[9]);
        }
        client.send(&batch(1, &[bet()]));
        assert_eq!(client.ack(), 0);
        storm.iter_mut().for_each(|conn| assert_eq!(conn.rest(), [2, 6]));
    }
    drop(client);
    server.await_childless();
    assert_eq!(server.rows().len(), 4);
    let log = server.stop();
    assert!(count_events(&log, &format!("{}repetidas: ", with_code_6(1))) > 0, "{log}");
}

#[test]
fn without_the_parents_word_a_refusal_is_answered_and_logged() {
    let server = Server::start(1);
    let (mut conn, _) = server.connect_and_find_child();
    stop_process(server.pid());
    assert_eq!(conn.send(&[9]).rest(), [2, 6]);
    assert_eq!(count_events(&server.log(), &format!("{}error: ", with_code_6(1))), 1);
    server.signal("CONT");
    server.await_childless();
    assert_eq!(count_events(&server.stop(), "ERROR "), 1);
}

#[test]
fn an_echo_takes_at_most_twice_its_bytes_in_the_log() {
    let server = Server::start(1);
    for (sent, logged) in [
        ("||||||", r"\x7c\x7c\x7c…"),
        ("a|b|c", r"a\x7cb\x7c…"),
        ("\u{202e}|abcdefghijkl", r"\u{202e}\x7cabcdefghijkl"),
        ("\u{200b}\u{feff}\u{2066}", r"\u{200b}\u{feff}…"),
    ] {
        assert_eq!(answer(&server, format!("{sent}\n").as_bytes()), format!("{sent}\n").as_bytes());
        let line = format!("INFO     action: receive_message | result: success | ip: 127.0.0.1 | msg: {logged}");
        assert!(events(&server.log()).contains(&line.as_str()), "{sent:?}\n{}", server.log());
    }
    server.stop();
}
