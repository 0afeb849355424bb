//! The server's processes, from outside: one child a connection, none too many, none left behind, and an orderly end at
//! any moment.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use support::*;

/// Longer than the tests' patience: a server that waits for its whole grace has failed.
const FOREVER: &str = "600s";
/// A deadline that is to pass.
const SHORT: &str = "300ms";
/// Long enough to see that nothing happens.
const A_WHILE: Duration = Duration::from_millis(300);
/// How long what is promised within a second may take on a busy machine.
const SOON: Duration = Duration::from_secs(5);
/// As many connections as a test likes to open at once, ahead of accept(2).
const WIDE: u32 = 4096;

// ---- many agencies -----------------------------------------------------------------------------------------------

#[test]
fn five_agencies_on_one_cpu_get_their_own_winners_after_one_draw() {
    lottery_on_one_cpu(5);
}

#[test]
fn sixteen_agencies_on_one_cpu_get_their_own_winners_after_one_draw() {
    lottery_on_one_cpu(16);
}

#[test]
fn two_hundred_agencies_on_one_cpu_get_their_own_winners_after_one_draw() {
    lottery_on_one_cpu(200);
}

fn lottery_on_one_cpu(agencies: u32) {
    const BETS: u32 = 10;
    let document = |agency, n| agency * 1000 + n;
    let winners = |agency| 0..agency % 4;
    let server = on_one_cpu(Setup::new(agencies).set("SERVER_LISTEN_BACKLOG", WIDE)).start();
    let mut conns: Vec<(u32, Conn)> = (1..=agencies).map(|agency| (agency, server.connect())).collect();
    for (agency, conn) in &mut conns {
        let number = |n| if winners(*agency).contains(&n) { 7574 } else { 7573 };
        let bet = |n| Bet { document: document(*agency, n), number: number(n), ..Bet::default() };
        let bets: Vec<_> = (0..BETS).map(bet).collect();
        conn.send(&[batch(*agency, &bets), end(*agency), ask(*agency)].concat());
    }
    for (agency, conn) in &mut conns {
        assert_eq!([conn.ack(), conn.ack()], [0, 0], "agency {agency}");
        let expected: Vec<u32> = winners(*agency).map(|n| document(*agency, n)).collect();
        assert_eq!(conn.winners(), Some(expected), "agency {agency}");
    }
    assert_whole_batches(&server.rows(), BETS as usize, agencies as usize);
    drop(conns);
    server.await_alone();
    let log = server.stop();
    assert_eq!(log.matches(SORTEO).count(), 1);
    assert_eq!(log.matches("action: child_exit | result: success").count(), agencies as usize);
}

fn on_one_cpu(setup: Setup) -> Setup {
    if !has_program("taskset") {
        skipped("confinement to one CPU", "taskset is not installed; the test ran on all CPUs");
        return setup;
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let first = allowed.split([',', '-']).next().unwrap();
    setup.under(&["taskset", "-c", first])
}

/// There are `batches` runs of `len` rows, each of one agency.
fn assert_whole_batches(rows: &[String], len: usize, batches: usize) {
    assert_eq!(rows.len(), len * batches);
    for run in rows.chunks(len) {
        let agencies: BTreeSet<_> = run.iter().map(|row| row.split(',').next().unwrap()).collect();
        assert_eq!(agencies.len(), 1, "mixed: {run:?}");
        assert!(run.iter().all(|row| row.split(',').count() == 6), "torn: {run:?}");
    }
}

#[test]
fn a_child_killed_in_mid_batch_harms_nobody_and_its_agency_may_retry_at_once() {
    let server = Server::start(3);
    let (mut killed, victim) = connect_and_find_child(&server);
    killed.send(&batch_of(1, 2, 7574));
    assert_eq!(killed.ack(), 0);
    let mut others = [server.connect(), server.connect()];
    let whole = batch_of(1, 50, 7574);
    killed.send(&whole[..whole.len() / 2]);
    server.await_read(&killed);
    send_signal(victim, "KILL");
    assert_eq!(killed.rest_or_reset(), b"");
    let mut retry = server.connect();
    retry.send(&count(1));
    assert_eq!(retry.received(1).0, 2);
    retry.send(&whole).send(&end(1)).send(&ask(1));
    assert_eq!([retry.ack(), retry.ack()], [0, 0]);
    for (agency, conn) in (2..).zip(&mut others) {
        conn.send(&batch_of(agency, 5, 1)).send(&end(agency)).send(&ask(agency));
        assert_eq!([conn.ack(), conn.ack()], [0, 0]);
    }
    assert_eq!(retry.winners().unwrap().len(), 52);
    assert!(others.iter_mut().all(|conn| conn.winners() == Some(vec![])));
    assert_eq!(server.rows().len(), 52 + 2 * 5);
    let line =
        format!("action: child_exit | result: fail | pid: {victim} | ip: 127.0.0.1 | agencia: 1 | causa: SIGKILL");
    assert_eq!(server.stop().matches(&line).count(), 1);
}

// ---- nothing leaks -----------------------------------------------------------------------------------------------

#[test]
fn thousands_of_connections_leave_no_zombie_no_descriptor_and_no_memory() {
    let server = Setup::new(1).set("SERVER_LISTEN_BACKLOG", WIDE).set("LOGGING_LEVEL", "INFO").start();
    let at_start = descriptors(server.pid());
    connect_and_close(&server, 30);
    server.await_descriptors(&at_start);
    connect_and_close(&server, 500);
    let warm = resident(server.pid());
    connect_and_close(&server, 1500);
    server.await_descriptors(&at_start);
    let grown = resident(server.pid()).saturating_sub(warm);
    assert!(grown < 512, "{grown} kB more after 1500 connections");
    assert_still_serves(&server);
    server.stop();
}

fn connect_and_close(server: &Server, times: usize) {
    (0..times).for_each(|_| drop(server.connect()));
    // Connections are accepted in their order.
    assert_eq!(server.connect().send(b"the last\n").rest(), b"the last\n");
    server.await_alone();
}

#[test]
fn a_flood_of_connections_closed_reset_or_cut_off_is_outlived() {
    let server = Setup::new(1).set("SERVER_LISTEN_BACKLOG", WIDE).set("LOGGING_LEVEL", "INFO").start();
    let at_start = descriptors(server.pid());
    thread::scope(|scope| {
        for thread in 0..4 {
            let server = &server;
            scope.spawn(move || {
                for n in 0..375 {
                    let mut conn = server.connect();
                    match (thread + n) % 4 {
                        0 => drop(conn),
                        1 => conn.reset(),
                        2 => drop(conn.send(&[1, 0])),
                        _ => conn.send(&batch_of(1, 3, 1)[..20]).0.shutdown(std::net::Shutdown::Both).unwrap(),
                    }
                }
            });
        }
    });
    assert_still_serves(&server);
    server.await_alone();
    server.await_descriptors(&at_start);
    assert_eq!(server.rows().len(), 1);
    assert_idle(&[server.pid()]);
    server.stop();
}

fn assert_still_serves(server: &Server) {
    let mut conn = server.connect();
    conn.send(&batch_of(1, 1, 1));
    assert_eq!(conn.ack(), 0);
}

#[test]
fn processes_that_wait_use_no_cpu() {
    let server = Setup::new(2).set("MAX_CONNECTIONS", 7).start();
    let _silent = server.connect();
    let (mut cut, mut acked, mut waiting) = (server.connect(), server.connect(), server.connect());
    cut.send(&batch_of(2, 5, 1)[..30]);
    acked.send(&batch_of(1, 5, 1));
    assert_eq!(acked.ack(), 0);
    waiting.send(&ask(1));
    let mut ended = server.connect();
    ended.finish();
    let mut busy = server.connect();
    busy.send(&count(1));
    assert_eq!(busy.ack(), 5);
    drop(busy);
    // Those that are beyond MAX_CONNECTIONS knock in vain.
    let _beyond: Vec<_> = (0..5).map(|_| server.connect()).collect();
    eventually("the server is full", || server.children().len() == 7);
    let mut pids = server.children();
    pids.push(server.pid());
    assert_idle(&pids);
    server.stop();
}

#[test]
fn a_child_holds_its_own_descriptors_alone_whatever_its_parent_has_and_was_started_with() {
    // Descriptors that a shell, a build tool or a debugger has left open.
    let polluted = "exec 3</dev/zero 4>/dev/full 8</dev/urandom 9</etc/passwd; exec \"$@\"";
    let server = Setup::new(2).under(&["sh", "-c", polluted, "sh"]).start();
    let older: Vec<_> = (0..20).map(|_| server.connect()).collect();
    eventually("twenty children", || server.children().len() == older.len());
    let elders = server.children();
    let mut conn = server.connect();
    conn.send(&batch_of(1, 1, 1));
    assert_eq!(conn.ack(), 0);
    let _younger = server.connect();
    eventually("another child", || server.children().len() == older.len() + 2);
    let client = format!("socket:[{}]", server.end_of(&conn).unwrap().inode);
    let children = server.children();
    let child = *children.iter().find(|&&pid| descriptors(pid).values().any(|fd| *fd == client)).unwrap();

    let mut own = descriptors(child);
    assert!((0..3).all(|standard| own.remove(&standard).is_some()));
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for target in own.values() {
        kinds.entry(target.split(':').next().unwrap()).or_default().push(target);
    }
    let [sockets, pipes] = ["socket", "pipe"].map(|kind| kinds.remove(kind).unwrap());
    assert_eq!(sockets.len(), 2, "its client and its link: {own:?}");
    assert!(sockets.contains(&&*client));
    assert_eq!(pipes.iter().collect::<BTreeSet<_>>().len(), 1, "its signal pipe: {own:?}");
    let mut files: Vec<_> = kinds.into_values().flatten().map(str::to_owned).collect();
    files.sort();
    let ours = ["bets.csv", "bets.lock", "draw", "ends", "server.lock"];
    assert_eq!(files, ours.map(|name| server.path(name).to_str().unwrap().to_owned()), "its files: {own:?}");

    // What is this child's alone is in no other process; its elders' clients are in theirs alone, too.
    let parent: BTreeSet<_> = descriptors(server.pid()).into_values().collect();
    assert!(own.values().all(|fd| !(fd.starts_with("pipe") && parent.contains(fd))));
    for other in children.iter().filter(|&&pid| pid != child).chain([&server.pid()]) {
        let held = descriptors(*other);
        assert!(sockets.iter().all(|&socket| held.values().all(|fd| fd != socket)), "{other} holds {held:?}");
        assert!(held.values().all(|fd| !fd.starts_with("/dev/zero") && fd != "/etc/passwd"), "{other} holds {held:?}");
    }
    assert!(elders.iter().all(|pid| descriptors(*pid).len() <= own.len() + 3));
    server.stop();
}

// ---- limits ------------------------------------------------------------------------------------------------------

#[test]
fn beyond_max_connections_clients_wait_and_are_served_as_slots_free_up() {
    let setup = Setup::new(5).set("MAX_CONNECTIONS", 8).set("SERVER_LISTEN_BACKLOG", WIDE);
    let server = setup.set("SHUTDOWN_GRACE", FOREVER).start();
    let at_start = descriptors(server.pid());
    let mut first: Vec<_> = (0..8).map(|_| server.connect()).collect();
    eventually("eight are served", || server.children().len() == 8);
    let mut others: Vec<_> = (0..52).map(|_| server.connect()).collect();
    for (n, conn) in others.iter_mut().enumerate() {
        conn.send(format!("number {n}\n").as_bytes());
    }
    assert!(others[0].is_silent_for(A_WHILE));
    assert_eq!(server.children().len(), 8);
    assert_idle(&[server.pid()]);
    for (agency, conn) in (1..=5).zip(&mut first) {
        conn.send(&batch_of(agency, 1, 1));
        assert_eq!(conn.ack(), 0, "those that are in are served");
    }
    drop(first.split_off(1));
    let answers = thread::spawn(move || others.into_iter().map(|mut conn| conn.rest()).collect::<Vec<_>>());
    let mut most = 0;
    eventually("all are answered", || {
        most = most.max(server.children().len());
        answers.is_finished()
    });
    let expected: Vec<_> = (0..52).map(|n| format!("number {n}\n").into_bytes()).collect();
    assert_eq!(answers.join().unwrap(), expected);
    assert!(most <= 8, "{most} children at once");
    drop(first);
    server.await_alone();
    server.await_descriptors(&at_start);
    server.stop();
}

#[test]
fn a_silent_client_keeps_nobody_waiting() {
    let server = Server::start(1);
    let _silent = connect_and_find_child(&server);
    let mut conn = server.connect();
    conn.send(&batch_of(1, 1, 7574)).send(&end(1)).send(&ask(1));
    assert_eq!([conn.ack(), conn.ack()], [0, 0]);
    assert_eq!(conn.winners(), Some(vec![0]));
    server.stop();
}

#[test]
fn a_connection_that_is_silent_between_messages_is_closed_after_idle_timeout() {
    let server = Setup::new(1).set("IDLE_TIMEOUT", SHORT).start();
    let other = waiting(&server);
    let mut conn = server.connect();
    conn.send(&batch_of(1, 1, 1));
    assert_eq!(conn.ack(), 0);
    assert_eq!(conn.rest(), b"");
    assert_served_alone(&server, other);
    assert!(server.stop().contains("action: close_connection | result: success | ip: 127.0.0.1 | motivo: silent"));
}

#[test]
fn a_connection_that_never_says_anything_is_closed_after_message_timeout() {
    let server = Setup::new(1).set("MESSAGE_TIMEOUT", SHORT).start();
    let other = waiting(&server);
    assert_eq!(server.connect().rest(), b"");
    assert_served_alone(&server, other);
    server.stop();
}

#[test]
fn a_message_has_a_deadline_as_a_whole_however_its_bytes_trickle() {
    let server = Setup::new(1).set("MESSAGE_TIMEOUT", "1s").start();
    let other = waiting(&server);
    let began = Instant::now();
    let mut conn = server.connect();
    let message = batch_of(1, 10, 1);
    let sent = message.chunks(1).take_while(|byte| {
        thread::sleep(Duration::from_millis(20));
        conn.0.write_all(byte).is_ok()
    });
    let sent = sent.count();
    assert!(sent < message.len() && began.elapsed() >= Duration::from_secs(1), "{sent} bytes");
    server.await_log("action: apuesta_recibida | result: fail | cantidad: 10");
    assert_served_alone(&server, other);
    assert_eq!(server.rows().len(), 0);
    server.stop();
}

#[test]
fn the_deadline_of_a_later_message_begins_with_its_first_byte() {
    let server = Setup::new(1).set("MESSAGE_TIMEOUT", "2s").start();
    let other = waiting(&server);
    let mut conn = server.connect();
    for part in batch_of(1, 2, 1).chunks(30) {
        conn.send(part);
        server.await_read(&conn);
    }
    assert_eq!(conn.ack(), 0);
    thread::sleep(Duration::from_millis(2300));
    conn.send(&batch_of(1, 2, 1)[..30]);
    assert!(conn.is_silent_for(A_WHILE), "closed by the deadline of an earlier message");
    assert_eq!(conn.rest(), b"");
    server.await_log("action: apuesta_recibida | result: fail | cantidad: 2");
    assert_served_alone(&server, other);
    assert_eq!(server.rows().len(), 2);
    server.stop();
}

#[test]
fn a_client_that_takes_no_byte_of_its_answer_is_closed_after_message_timeout() {
    let (server, _conn) = streaming(Setup::new(1).set("MESSAGE_TIMEOUT", "1s"));
    server.await_alone();
    assert!(server.stop().contains("the client takes no byte of its answer"));
}

#[test]
fn a_client_that_takes_its_answer_slowly_is_served_as_long_as_it_takes_any() {
    let (server, mut conn) = streaming_to(Setup::new(1).set("MESSAGE_TIMEOUT", "1s"), Conn::narrow);
    let begun = Instant::now();
    // Two messages' time, and far less than the kernel would keep for a client by itself.
    while begun.elapsed() < Duration::from_secs(3) {
        conn.take::<16384>();
        thread::sleep(Duration::from_millis(150));
    }
    assert_eq!(server.children().len(), 1, "{}", server.log());
    server.stop();
}

#[test]
fn a_query_that_waits_for_the_draw_has_no_deadline() {
    let server = Setup::new(1).set("IDLE_TIMEOUT", SHORT).set("MESSAGE_TIMEOUT", SHORT).start();
    let mut waiting = waiting(&server);
    assert!(waiting.is_silent_for(Duration::from_secs(1)));
    assert_served_alone(&server, waiting);
    server.stop();
}

// ---- the end -----------------------------------------------------------------------------------------------------

#[test]
fn sigterm_ends_an_idle_server() {
    assert_closings(&Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start().stop());
}

#[test]
fn sigint_ends_it_like_sigterm() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
    let (_silent, child) = connect_and_find_child(&server);
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
fn sigterm_lets_a_message_that_has_begun_come_to_its_end() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
    let (mut conn, child) = connect_and_find_child(&server);
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
fn sigterm_amid_a_query_lets_it_come_to_its_end_and_answers_it_with_code_7() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
    let (mut conn, child) = connect_and_find_child(&server);
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
fn sigterm_cuts_off_a_message_that_does_not_come_to_its_end() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", SHORT).start();
    let (mut conn, _) = connect_and_find_child(&server);
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
    ended.send(&batch_of(1, 3, 7574)).send(&end(1)).send(&ask(1));
    assert_eq!([ended.ack(), ended.ack()], [0, 0]);
    asking.send(&ask(2));
    insisting.send(&ask(1));
    let mut queries = [ended, asking, insisting];
    queries.iter().for_each(|conn| server.await_read(conn));
    // What is sent behind a query does not keep the code from arriving.
    queries[2].send(&ask(1).repeat(1000));
    let log = stop_and_look_for_orphans(server, 3);
    assert_eq!(queries.each_mut().map(Conn::rest), [(); 3].map(|()| vec![2, 7]));
    assert!(!log.contains("result: fail"), "{log}");
}

#[test]
fn sigterm_ends_a_server_whose_client_takes_nothing_of_a_long_answer() {
    let (server, conn) = streaming(Setup::new(1).set("SHUTDOWN_GRACE", SHORT));
    stop_and_look_for_orphans(server, WINNERS as usize);
    drop(conn);
}

#[test]
fn sigterm_lets_an_answer_that_is_taken_come_to_its_end() {
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
fn a_second_sigterm_kills_what_is_left_and_the_exit_code_is_0_all_the_same() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
    let (mut conn, child) = connect_and_find_child(&server);
    conn.send(&batch_of(1, 3, 1)[..20]);
    server.await_read(&conn);
    server.signal("TERM");
    server.await_log("action: close_listener | result: success");
    server.signal("TERM");
    await_end(server, &[child], 0);
    assert_eq!(conn.rest_or_reset(), b"");
}

#[test]
fn sigterm_to_the_whole_process_group_is_one_orderly_end() {
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
    let (_conn, child) = connect_and_find_child(&server);
    stop_process(child);
    let mut other = server.connect();
    other.send(&batch_of(1, 3, 1));
    assert_eq!(other.ack(), 0);
    stop_and_look_for_orphans(server, 3);
}

#[test]
fn sigterm_to_one_child_ends_its_connection_alone_and_touches_no_file() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
    let (mut idle, idle_child) = connect_and_find_child(&server);
    idle.send(&batch_of(1, 3, 1));
    assert_eq!(idle.ack(), 0);
    let mut cut = server.connect();
    let message = batch_of(2, 3, 1);
    cut.send(&message[..20]);
    server.await_read(&cut);
    let cut_child = *server.children().iter().find(|&&pid| pid != idle_child).unwrap();
    let files =
        || ["bets.csv", "bets.lock", "ends", "draw", "server.lock"].map(|name| fs::read(server.path(name)).unwrap());
    let before = files();
    send_signal(idle_child, "TERM");
    send_signal(cut_child, "TERM");
    assert_eq!(idle.rest(), b"");
    assert!(cut.is_silent_for(A_WHILE));
    assert_eq!(files(), before);
    cut.send(&message[20..]);
    assert_eq!(cut.ack(), 0);
    assert_eq!(cut.rest(), b"");
    server.await_alone();
    assert!(!server.log().contains("action: shutdown"), "{}", server.log());
    assert_still_serves(&server);
    assert_closings(&stop_and_look_for_orphans(server, 7));
}

#[test]
fn signals_that_were_blocked_or_ignored_by_whoever_started_the_server_are_heard_all_the_same() {
    let unusual = ["--block-signal=TERM,CHLD", "--ignore-signal=TERM,CHLD,XFSZ,PIPE"];
    for option in unusual {
        let works = Command::new("env").args([option, "true"]).output().is_ok_and(|output| output.status.success());
        if !works {
            skipped("signals blocked or ignored from the start", &format!("env has no option {option}"));
            continue;
        }
        let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).under(&["env", option]).start();
        connect_and_close(&server, 5);
        let (mut conn, _) = connect_and_find_child(&server);
        conn.send(&batch_of(1, 3, 1));
        assert_eq!(conn.ack(), 0);
        let log = stop_and_look_for_orphans(server, 3);
        assert!(!log.contains("result: fail"), "{log}");
    }
}

#[test]
fn children_of_a_killed_server_are_gone_whatever_they_do() {
    let server = Server::start(2);
    let (mut served, stopped) = connect_and_find_child(&server);
    // From a child's first steps on it dies with its parent, also where it is stopped.
    served.send(&count(1)).received(1);
    stop_process(stopped);
    let (mut cut, mut waiting) = (server.connect(), server.connect());
    cut.send(&batch_of(1, 3, 1)[..20]);
    waiting.send(&ask(2));
    [&cut, &waiting].into_iter().for_each(|conn| server.await_read(conn));
    let Doomed(children) = &Doomed(server.children());
    assert_eq!(children.len(), 3);
    send_signal(server.pid(), "KILL");
    within(SOON, "all are gone", || children.iter().all(|&pid| !is_alive(pid)));
    assert_eq!((cut.rest_or_reset(), waiting.rest_or_reset()), (vec![], vec![]));
}

#[test]
fn a_killed_server_is_replaced_at_once_on_the_same_port_and_the_same_files() {
    let old = Server::start(2);
    let mut ended = old.connect();
    ended.send(&batch_of(1, 3, 7574)).send(&end(1)).send(&ask(1));
    assert_eq!([ended.ack(), ended.ack()], [0, 0]);
    let mut cut = old.connect();
    cut.send(&batch_of(2, 4, 1));
    assert_eq!(cut.ack(), 0);
    cut.send(&batch_of(2, 4, 1)[..20]);
    [&ended, &cut].into_iter().for_each(|conn| old.await_read(conn));
    let Doomed(children) = &Doomed(old.children());
    children.iter().for_each(|&pid| stop_process(pid));
    send_signal(old.pid(), "KILL");

    let new = on_the_files_of(&old, Setup::new(2).set("SERVER_PORT", old.port())).start();
    eventually("the old children are gone", || children.iter().all(|&pid| !is_alive(pid)));
    assert!(new.log().contains("| apuestas: 7 | agencias_terminadas: 1 | sorteo: not held"), "{}", new.log());
    let mut retry = new.connect();
    retry.send(&count(2));
    let (bets, has_ended, _) = retry.received(2);
    assert_eq!((bets, has_ended), (4, false));
    retry.send(&end(2)).send(&ask(2));
    assert_eq!((retry.ack(), retry.winners()), (0, Some(vec![])));
    let mut asking = new.connect();
    asking.send(&ask(1));
    assert_eq!(asking.winners(), Some(vec![0, 1, 2]));
    assert_eq!(old.rows().len(), 7);
    new.stop();
}

#[test]
fn sigterm_ends_a_server_that_waits_for_another_ones_files() {
    let first = Server::start(2);
    let mut second = on_the_files_of(&first, Setup::new(2)).spawn();
    second.await_log("action: lock | result: in_progress");
    second.signal("TERM");
    assert_eq!(second.wait().code(), Some(0));
    assert!(second.log().trim_end().ends_with("action: exit | result: success"));
    assert_still_serves(&first);
}

// ---- helpers -----------------------------------------------------------------------------------------------------

/// Winners of the one agency in [`streaming`].
const WINNERS: u32 = 20_000;
/// Bytes of the answer that names them.
const ANSWER_LEN: usize = 1 + 4 + 4 * WINNERS as usize;

/// A server in the middle of an answer that its client does not read: it is longer than all buffers in between.
fn streaming(setup: Setup) -> (Server, Conn) {
    streaming_to(setup, Conn::to)
}

fn streaming_to(setup: Setup, connect: impl Fn(u16) -> Conn) -> (Server, Conn) {
    let rows: String = (0..WINNERS).map(|document| format!("1,Ana,Paz,{document},1999-03-17,7574\r\n")).collect();
    write_file(&setup.path("bets.csv"), rows);
    let server = setup.start();
    let mut ending = server.connect();
    ending.send(&end(1)).send(&ask(1));
    assert_eq!(ending.ack(), 0);
    assert_eq!(ending.winners().map(|winners| winners.len()), Some(WINNERS as usize));
    drop(ending);
    server.await_alone();
    let mut conn = connect(server.port());
    conn.send(&ask(1).repeat(200));
    let is_stuck = || server.end_of(&conn).is_some_and(|end| end.unsent > 32 * 1024);
    eventually("the answer is stuck", is_stuck);
    (server, conn)
}

fn on_the_files_of(server: &Server, setup: Setup) -> Setup {
    setup.set("STORAGE_FILEPATH", server.bets_path().display())
}

/// For a server without other children.
fn connect_and_find_child(server: &Server) -> (Conn, i32) {
    let conn = server.connect();
    eventually("a child", || server.children().len() == 1);
    (conn, server.children()[0])
}

/// Processes that end with their parent; where they do not, the test that found it out ends them.
struct Doomed(Vec<i32>);

impl Drop for Doomed {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.iter().filter(|&&pid| is_alive(pid)).for_each(|&pid| send_signal(pid, "KILL"));
        }
    }
}

fn stop_process(pid: i32) {
    send_signal(pid, "STOP");
    eventually("it is stopped", || state(pid) == Some('T'));
}

/// A connection that waits for the draw, which no deadline ends.
fn waiting(server: &Server) -> Conn {
    let mut conn = server.connect();
    conn.send(&ask(1));
    server.await_read(&conn);
    conn
}

/// That connection is the only one left, and is answered when its agency, the only one, has ended.
#[track_caller]
fn assert_served_alone(server: &Server, mut waiting: Conn) {
    eventually("the other one is left", || server.children().len() == 1);
    let mut ending = server.connect();
    ending.send(&end(1));
    assert_eq!((ending.ack(), waiting.winners()), (0, Some(vec![])));
}

/// SIGTERM, and an orderly end without orphans; returns the log.
#[track_caller]
fn stop_and_look_for_orphans(server: Server, rows: usize) -> String {
    let children = server.children();
    server.signal("TERM");
    await_end(server, &children, rows)
}

/// The end of a server that has been told to stop, and has nothing to wait for but [`SHORT`].
#[track_caller]
fn await_end(mut server: Server, children: &[i32], rows: usize) -> String {
    assert_eq!(server.wait_within(SOON).code(), Some(0), "{}", server.log());
    assert!(children.iter().all(|&pid| !is_alive(pid)), "orphans");
    assert_eq!(server.rows().len(), rows);
    let log = server.log();
    assert_closings(&log);
    log
}

/// A line for each resource of the parent, and the last one.
fn assert_closings(log: &str) {
    for action in ["close_listener", "close_links", "close_storage"] {
        assert_eq!(log.matches(&format!("action: {action} | result: success")).count(), 1, "{log}");
    }
    assert!(log.trim_end().ends_with("action: exit | result: success"), "{log}");
    assert!(!log.contains("panic"), "{log}");
}
