//! SIGTERM and SIGINT, in every state.

use std::fs;
use std::process::Command;

use crate::scene::*;
use crate::support::*;

#[test]
fn sigterm_ends_an_idle_server() {
    assert_closings(&Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start().stop());
}

#[test]
fn sigint_ends_it_like_sigterm() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
    let (_silent, child) = server.connect_and_find_child();
    server.signal("INT");
    await_end(server, &[child], 0);
}

#[test]
fn sigterm_closes_connections_that_wait_for_a_message_at_once() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
    let (mut silent, mut acked) = (server.connect(), server.connect());
    acked.send(&batch_of(1, 3, 1));
    assert_eq!(acked.ack(), 0);
    eventually("both are served", || server.children().len() == 2);
    let log = stop_and_look_for_orphans(server, 3);
    assert_eq!((silent.rest(), acked.rest()), (vec![], vec![]));
    assert_eq!(log.matches("action: close_connection | result: success | ip: 127.0.0.1").count(), 2);
}

#[test]
fn sigterm_lets_a_begun_message_finish() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
    let (mut conn, child) = server.connect_and_find_child();
    let message = batch_of(1, 3, 1);
    conn.send(&message[..20]);
    server.await_read(&conn);
    server.signal("TERM");
    server.await_log("action: close_listener | result: success");
    assert!(conn.is_silent_for(A_WHILE));
    assert_eq!(server.children(), [child]);
    conn.send(&message[20..]);
    assert_eq!(conn.ack(), 0);
    assert_eq!(conn.rest(), b"");
    await_end(server, &[child], 3);
}

#[test]
fn sigterm_amid_a_query_lets_it_finish_and_answers_code_7() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
    let (mut conn, child) = server.connect_and_find_child();
    let query = ask(1);
    conn.send(&query[..1]);
    server.await_read(&conn);
    server.signal("TERM");
    server.await_log("action: close_listener | result: success");
    assert!(conn.is_silent_for(A_WHILE));
    conn.send(&query[1..]);
    assert_eq!(conn.rest(), [2, 7]);
    await_end(server, &[child], 0);
}

#[test]
fn sigterm_cuts_off_a_message_that_does_not_finish() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", SHORT).start();
    let (mut conn, _) = server.connect_and_find_child();
    conn.send(&batch_of(1, 3, 1));
    assert_eq!(conn.ack(), 0);
    conn.send(&batch_of(1, 3, 1)[..20]);
    server.await_read(&conn);
    let log = stop_and_look_for_orphans(server, 3);
    assert!(log.contains("action: kill_children | result: success | hijos: 1"), "{log}");
    assert_eq!(conn.rest_or_reset(), b"");
}

#[test]
fn sigterm_answers_queries_that_wait_for_the_draw_with_code_7() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
    let [mut ended, mut asking, mut insisting] = [(); 3].map(|()| server.connect());
    ended.deliver(1, 3, WINNING);
    asking.send(&ask(2));
    insisting.send(&ask(1));
    let mut queries = [ended, asking, insisting];
    queries.iter().for_each(|conn| server.await_read(conn));
    // Bytes sent after a query must not prevent the code from arriving.
    queries[2].send(&ask(1).repeat(1000));
    let log = stop_and_look_for_orphans(server, 3);
    assert_eq!(queries.each_mut().map(Conn::rest), [(); 3].map(|()| vec![2, 7]));
    assert!(!log.contains("result: fail"), "{log}");
}

#[test]
fn sigterm_ends_a_server_whose_client_reads_nothing() {
    let (server, conn) = streaming(Setup::new(1).set("SHUTDOWN_GRACE", SHORT));
    stop_and_look_for_orphans(server, WINNERS as usize);
    drop(conn);
}

#[test]
fn sigterm_lets_an_answer_that_is_read_finish() {
    let (server, mut conn) = streaming(Setup::new(1).set("SHUTDOWN_GRACE", FOREVER));
    server.signal("TERM");
    server.await_log("action: close_listener | result: success");
    let answers = conn.rest();
    drop(conn);
    assert_eq!((answers.len() % ANSWER_LEN, &answers[answers.len() - 2..]), (2, &[2, 7][..]));
    assert!(answers.chunks_exact(ANSWER_LEN).all(|answer| answer == &answers[..ANSWER_LEN]));
    let children = server.children();
    await_end(server, &children, WINNERS as usize);
}

#[test]
fn sigterm_ends_hundreds_of_silent_connections_at_once() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).set("SERVER_LISTEN_BACKLOG", WIDE).start();
    let mut silent: Vec<_> = (0..300).map(|_| server.connect()).collect();
    eventually("all are served", || server.children().len() == silent.len());
    stop_and_look_for_orphans(server, 0);
    assert!(silent.iter_mut().all(|conn| conn.rest_or_reset().is_empty()));
}

#[test]
fn a_second_sigterm_kills_the_children_with_exit_code_0() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
    let (mut conn, child) = server.connect_and_find_child();
    conn.send(&batch_of(1, 3, 1)[..20]);
    server.await_read(&conn);
    server.signal("TERM");
    server.await_log("action: close_listener | result: success");
    server.signal("TERM");
    await_end(server, &[child], 0);
    assert_eq!(conn.rest_or_reset(), b"");
}

#[test]
fn sigterm_to_the_process_group_is_one_orderly_end() {
    if !has_program("setsid") {
        return skipped("SIGTERM to the process group", "setsid is not installed");
    }
    let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).under(&["setsid"]).start();
    let (_silent, mut cut, mut waiting) = (server.connect(), server.connect(), server.connect());
    let message = batch_of(1, 3, 1);
    cut.send(&message[..20]);
    waiting.send(&ask(2));
    [&cut, &waiting].into_iter().for_each(|conn| server.await_read(conn));
    eventually("three children", || server.children().len() == 3);
    let children = server.children();
    send_signal(-server.pid(), "TERM");
    server.await_log("action: close_listener | result: success");
    assert_eq!(waiting.ack(), 7);
    cut.send(&message[20..]);
    assert_eq!(cut.ack(), 0);
    await_end(server, &children, 3);
}

#[test]
fn sigterm_ends_a_server_with_a_stopped_child() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", SHORT).start();
    let (_conn, child) = server.connect_and_find_child();
    stop_process(child);
    let mut other = server.connect();
    other.send(&batch_of(1, 3, 1));
    assert_eq!(other.ack(), 0);
    stop_and_look_for_orphans(server, 3);
}

#[test]
fn sigterm_to_one_child_ends_only_its_connection() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
    let (mut idle, idle_child) = server.connect_and_find_child();
    idle.send(&batch_of(1, 3, 1));
    assert_eq!(idle.ack(), 0);
    let mut cut = server.connect();
    let message = batch_of(2, 3, 1);
    cut.send(&message[..20]);
    server.await_read(&cut);
    let cut_child = *server.children().iter().find(|&&pid| pid != idle_child).unwrap();
    let files = || ["bets.csv", "books", "draw"].map(|name| fs::read(server.path(name)).unwrap());
    let before = files();
    send_signal(idle_child, "TERM");
    send_signal(cut_child, "TERM");
    assert_eq!(idle.rest(), b"");
    assert!(cut.is_silent_for(A_WHILE));
    assert_eq!(files(), before);
    cut.send(&message[20..]);
    assert_eq!(cut.ack(), 0);
    assert_eq!(cut.rest(), b"");
    server.await_childless();
    assert!(!server.log().contains("action: shutdown"), "{}", server.log());
    assert_still_serves(&server);
    assert_closings(&stop_and_look_for_orphans(server, 7));
}

#[test]
fn signals_blocked_or_ignored_by_the_starter_still_work() {
    let unusual = ["--block-signal=TERM,CHLD", "--ignore-signal=TERM,CHLD,XFSZ,PIPE"];
    for option in unusual {
        let works = Command::new("env").args([option, "true"]).output().is_ok_and(|output| output.status.success());
        if !works {
            skipped("signals blocked or ignored from the start", &format!("env has no option {option}"));
            continue;
        }
        let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).under(&["env", option]).start();
        connect_and_close(&server, 5);
        let (mut conn, _) = server.connect_and_find_child();
        conn.send(&batch_of(1, 3, 1));
        assert_eq!(conn.ack(), 0);
        let log = stop_and_look_for_orphans(server, 3);
        assert!(!log.contains("result: fail"), "{log}");
    }
}

#[test]
fn sigterm_ends_a_server_that_waits_for_the_life_lock() {
    let first = Server::start(2);
    let mut second = on_the_files_of(&first, Setup::new(2)).spawn();
    second.await_log("action: lock | result: in_progress");
    second.signal("TERM");
    assert_eq!(second.wait().code(), Some(0));
    assert!(second.log().trim_end().ends_with("action: exit | result: success"));
    assert_still_serves(&first);
}
