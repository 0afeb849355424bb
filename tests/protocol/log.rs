//! The server's log lines.

use crate::scene::*;
use crate::support::*;

#[test]
fn the_log_has_the_lines_of_the_assignment() {
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
fn the_line_checker_finds_every_malformed_line() {
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
