//! Faults, from outside: what is acknowledged is stored, each row is whole, the others are served, and the server lives,
//! whatever the system answers and whoever dies. Faults that the system cannot be brought to make are injected by
//! strace; where that is missing, or may not be used, each test that needs it says so. What happens to the files from
//! outside (tails, replaced files, strange locks) is in `storage.rs`.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use support::*;
use tempfile::NamedTempFile;

/// Longer than the tests' patience: a server that waits for its whole grace has failed.
const FOREVER: &str = "600s";
/// Long enough to see that nothing happens.
const A_WHILE: Duration = Duration::from_millis(300);
/// Bytes of a row of [`batch_of`] with a document of one digit.
const ROW: u64 = "1,Ana,Paz,0,1999-03-17,1\r\n".len() as u64;

// ---- a child is killed -------------------------------------------------------------------------------------------

#[test]
fn of_a_batch_whose_child_is_killed_behind_the_header_nothing_counts() {
    let mut scene = Scene::new();
    let batch = batch_of(1, 5, 1);
    for part in [&batch[..6], &batch[6..40]] {
        scene.victim.send(part);
        scene.server.await_read(&scene.victim);
    }
    send_signal(scene.child, "KILL");
    assert_eq!(scene.victim.rest_or_reset(), b"");
    assert_eq!(scene.bytes(), 2 * ROW);
    scene.assert_recovered(2);
}

#[test]
fn of_a_batch_whose_child_is_killed_when_all_has_arrived_nothing_counts() {
    let mut scene = Scene::new();
    let Some(_strace) = Strace::attach(scene.child, &["-e", "inject=flock:signal=KILL:when=1"]) else { return };
    assert_eq!(scene.victim.send(&batch_of(1, 5, 1)).rest_or_reset(), b"");
    assert_eq!(scene.bytes(), 2 * ROW);
    scene.assert_recovered(2);
}

#[test]
fn of_a_batch_whose_child_is_killed_amid_its_write_nothing_counts_and_the_torn_tail_is_cut_off() {
    let mut scene = Scene::new();
    let torn = 2 * ROW + 2 * ROW + ROW / 2;
    // A short write: up to the limit. The next one of the same rows would fail; it is the one that kills.
    if !limit(scene.child, &format!("--fsize={}:", scene.base + torn)) {
        return;
    }
    let bets = scene.server.bets_path();
    let kill = ["-P", bets.to_str().unwrap(), "-e", "inject=write:signal=KILL:when=2"];
    let Some(_strace) = Strace::attach(scene.child, &kill) else { return };
    assert_eq!(scene.victim.send(&batch_of(1, 5, 1)).rest_or_reset(), b"");
    assert_eq!(scene.bytes(), torn);
    assert!(scene.assert_recovered(2).contains("action: descartar_cola | result: success | bytes: 65 "));
}

#[test]
fn of_a_batch_whose_child_is_killed_between_rows_and_record_nothing_counts_though_its_rows_are_whole() {
    let mut scene = Scene::new();
    let lock = scene.server.path("bets.lock");
    let kill = ["-P", lock.to_str().unwrap(), "-e", "inject=pwrite64:signal=KILL:when=1"];
    let Some(_strace) = Strace::attach(scene.child, &kill) else { return };
    assert_eq!(scene.victim.send(&batch_of(1, 5, 7574)).rest_or_reset(), b"");
    assert_eq!(scene.bytes(), 2 * ROW + 5 * (ROW + 3));
    let log = scene.assert_recovered(2);
    assert!(log.contains("action: descartar_cola | result: success | bytes: 145 "), "{log}");
}

#[test]
fn a_batch_whose_child_is_killed_before_the_acknowledgement_counts_and_its_client_can_ask() {
    let mut scene = Scene::new();
    let Some(_strace) = Strace::attach(scene.child, &["-e", "inject=sendto:signal=KILL:when=1"]) else { return };
    assert_eq!(scene.victim.send(&batch_of(1, 5, 1)).rest_or_reset(), b"");
    assert_eq!(scene.bytes(), 7 * ROW);
    scene.assert_recovered(7);
}

#[test]
fn an_end_whose_child_is_killed_before_it_could_report_it_is_not_forgotten() {
    let server = Server::start(1);
    let (mut victim, child) = served_child(&server, 1);
    let Some(strace) = Strace::attach(child, &["-e", "inject=sendto:signal=KILL:when=1"]) else { return };
    assert_eq!(victim.send(&end(1)).rest_or_reset(), b"");
    drop(strace);
    let mut asking = server.connect();
    asking.send(&ask(1));
    assert_eq!(asking.winners(), Some(vec![]));
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

#[test]
fn a_draw_whose_process_is_killed_is_held_by_another_one() {
    let server = Server::start(1);
    let draw = server.path("draw");
    let kill = ["-f", "-P", draw.to_str().unwrap(), "-e", "inject=pwrite64:signal=KILL:when=1"];
    let Some(strace) = Strace::attach(server.pid(), &kill) else { return };
    let mut conn = server.connect();
    conn.send(&batch_of(1, 3, 7574)).send(&end(1)).send(&ask(1));
    assert_eq!([conn.ack(), conn.ack()], [0, 0]);
    eventually("two attempts", || server.log().matches("action: sorteo | result: in_progress").count() >= 2);
    assert!(!server.log().contains(SORTEO));
    drop(strace);
    assert_eq!(conn.winners(), Some(vec![0, 1, 2]));
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

#[test]
fn a_child_that_panics_is_logged_and_nobody_else_notices() {
    let mut scene = Scene::new();
    let lock = scene.server.path("bets.lock");
    // More bytes than asked for: the standard library panics.
    let lie = ["-P", lock.to_str().unwrap(), "-e", "inject=pread64:retval=1000000:when=1"];
    let Some(_strace) = Strace::attach(scene.child, &lie) else { return };
    assert_eq!(scene.victim.send(&batch_of(1, 5, 1)).rest_or_reset(), b"");
    let child = scene.child;
    let log = scene.assert_recovered(2);
    assert!(log.contains("CRITICAL action: panic | result: fail | error: "), "{log}");
    let line = format!("action: child_exit | result: fail | pid: {child} | ip: 127.0.0.1 | agencia: 1 | causa: panic");
    assert_eq!(log.matches(&line).count(), 1, "{log}");
}

#[test]
fn a_child_that_gets_no_memory_dies_alone() {
    const WINNERS: u32 = 20_000;
    let setup = Setup::new(1);
    let rows: String = (0..WINNERS).map(|document| format!("1,Ana,Paz,{document},1999-03-17,7574\r\n")).collect();
    write_file(&setup.path("bets.csv"), &rows);
    let mut server = setup.start();
    assert_eq!(server.connect().send(&end(1)).ack(), 0);
    server.await_log(SORTEO);
    server.await_alone();
    let (mut victim, child) = served_child(&server, 1);
    if !limit(child, "--as=1:") {
        return;
    }
    assert_eq!(victim.send(&ask(1)).rest_or_reset(), b"");
    assert_eq!(server.connect().send(&ask(1)).winners().map(|won| won.len()), Some(WINNERS as usize));
    server.await_alone();
    assert_eq!(server.bets(), rows.as_bytes());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    // Among its lines is one of the allocator's, which shares standard error with them here.
    let log = server.log();
    assert!(log.contains(&format!("action: child_exit | result: fail | pid: {child} | ")), "{log}");
}

// ---- the storage fails -------------------------------------------------------------------------------------------

#[test]
fn beyond_a_file_size_limit_batches_get_code_4_and_nobody_dies_until_it_is_lifted() {
    let mut scene = Scene::new();
    let torn = 2 * ROW + 3 * ROW + ROW / 2;
    if !limit(scene.child, &format!("--fsize={}:", scene.base + torn)) {
        return;
    }
    scene.victim.send(&batch_of(1, 9, 1));
    assert_eq!((scene.victim.ack(), scene.victim.rest()), (4, vec![]));
    assert_eq!(scene.bytes(), 2 * ROW, "the rows that found room are taken back");
    scene
        .server
        .await_log("action: apuesta_recibida | result: fail | cantidad: 9 | ip: 127.0.0.1 | codigo: 4 | error: write ");

    scene.victim.finish();

    // Now for every child: as with a full disk.
    limit(scene.server.pid(), &format!("--fsize={}:", scene.base + torn));
    for _ in 0..3 {
        let mut refused = scene.server.connect();
        refused.send(&batch_of(1, 9, 1));
        assert_eq!((refused.ack(), refused.rest()), (4, vec![]));
        drop(refused);
        let mut asking = scene.server.connect();
        asking.send(&count(1));
        assert_eq!(asking.received(1).0, 2);
    }
    limit(scene.server.pid(), "--fsize=unlimited:");
    scene.assert_recovered(2);
}

#[test]
fn an_end_that_finds_no_room_gets_code_4_and_can_be_sent_again() {
    let server = Server::start(1);
    let (mut conn, child) = served_child(&server, 1);
    let ends = server.path("ends");
    let no_room = ["-P", ends.to_str().unwrap(), "-e", "inject=pwrite64:error=ENOSPC:when=1"];
    let Some(_strace) = Strace::attach(child, &no_room) else { return };
    conn.send(&end(1));
    assert_eq!((conn.ack(), conn.rest()), (4, vec![]));
    drop(conn);
    let mut retry = server.connect();
    retry.send(&count(1));
    assert_eq!(retry.received(1), (0, false, 0));
    retry.send(&end(1)).send(&ask(1));
    assert_eq!((retry.ack(), retry.winners()), (0, Some(vec![])));
    server.stop();
}

#[test]
fn a_draw_that_finds_no_room_is_tried_again_with_pauses_and_held_once_there_is() {
    let server = Server::start(1);
    let draw = server.path("draw");
    let no_room = ["-f", "-P", draw.to_str().unwrap(), "-e", "inject=pwrite64:error=ENOSPC"];
    let Some(strace) = Strace::attach(server.pid(), &no_room) else { return };
    let mut conn = server.connect();
    let began = Instant::now();
    conn.send(&batch_of(1, 3, 7574)).send(&end(1)).send(&ask(1));
    assert_eq!([conn.ack(), conn.ack()], [0, 0]);
    // Each failure has two lines: of the process that failed, and of the parent.
    let attempts = || server.log().matches("action: sorteo | result: in_progress").count() / 2;
    eventually("four attempts", || attempts() >= 4);
    // The first pause is of 100 ms, each other one twice as long.
    assert!(began.elapsed() >= Duration::from_millis(700), "{} attempts in {:?}", attempts(), began.elapsed());
    assert!(conn.is_silent_for(A_WHILE));
    drop(strace);
    assert_eq!(conn.winners(), Some(vec![0, 1, 2]));
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

#[test]
fn what_cannot_be_written_gets_code_4_and_nothing_of_it_counts() {
    for (file, call) in
        [("bets.csv", "write:error=EIO"), ("bets.csv", "write:error=ENOSPC"), ("bets.lock", "pwrite64:error=EIO")]
    {
        let mut scene = Scene::new();
        let path = scene.server.path(file);
        let fault = ["-P", path.to_str().unwrap(), "-e", &format!("inject={call}:when=1")];
        let Some(_strace) = Strace::attach(scene.child, &fault) else { return };
        scene.victim.send(&batch_of(1, 5, 1)).send(&batch_of(1, 1, 1));
        assert_eq!((scene.victim.ack(), scene.victim.rest()), (4, vec![]), "{call}: nothing behind it is answered");
        assert_eq!(scene.bytes(), 2 * ROW, "{call}");
        scene.assert_recovered(2);
    }
}

#[test]
fn a_torn_write_that_cannot_even_be_taken_back_is_cut_off_by_the_next_writer() {
    let mut scene = Scene::new();
    let torn = 2 * ROW + 2 * ROW + ROW / 2;
    if !limit(scene.child, &format!("--fsize={}:", scene.base + torn)) {
        return;
    }
    let Some(_strace) = Strace::attach(scene.child, &["-e", "inject=ftruncate:error=EIO"]) else { return };
    scene.victim.send(&batch_of(1, 5, 1));
    assert_eq!(scene.victim.ack(), 4);
    assert_eq!(scene.bytes(), torn);
    scene.assert_recovered(2);
}

#[test]
fn a_batch_that_cannot_be_synced_is_not_acknowledged_and_ends_the_server_with_code_4() {
    for fault in ["EIO", "ENOSPC"] {
        a_failing_sync_ends_the_server("batch", &batch_of(1, 5, 1), fault);
    }
}

#[test]
fn an_end_that_cannot_be_synced_is_not_acknowledged_and_ends_the_server_with_code_4() {
    a_failing_sync_ends_the_server("end", &end(1), "EIO");
}

fn a_failing_sync_ends_the_server(durability: &str, message: &[u8], fault: &str) {
    let mut server = Setup::new(2).set("DURABILITY", durability).set("SHUTDOWN_GRACE", FOREVER).start();
    let (mut victim, child) = served_child(&server, 1);
    let mut bystander = server.connect();
    bystander.send(&batch_of(2, 3, 1));
    assert_eq!(bystander.ack(), 0);
    let children = server.children();
    let once = ["-e", &format!("inject=fdatasync:error={fault}:when=1")];
    let Some(_strace) = Strace::attach(child, &once) else { return };
    victim.send(message).send(&end(1));
    assert_eq!((victim.rest_or_reset(), bystander.rest_or_reset()), (vec![], vec![]));
    assert_eq!(server.wait().code(), Some(4));
    assert!(children.iter().all(|&pid| !is_alive(pid)));
    let log = server.log();
    assert!(log.contains("CRITICAL action: sync | result: fail | error: sync "), "{log}");
    assert!(log.lines().last().unwrap().contains("CRITICAL action: exit | result: fail | error: "), "{log}");

    let again = server.kill().start();
    assert!(again.own_log().contains("action: adopt_storage | result: success"));
    let mut retry = again.connect();
    retry.send(&count(1));
    let (bets, has_ended, _) = retry.received(1);
    assert_eq!((bets, has_ended), (again.rows().iter().filter(|row| row.starts_with("1,")).count() as u64, false));
    retry.send(&end(1));
    assert_eq!(retry.ack(), 0);
    again.stop();
}

#[test]
fn after_a_failed_sync_the_next_server_believes_the_rows_that_are_there_and_no_record() {
    // The disk has the first row of the batch alone; the cache, and so the record, had all of it.
    let (kept, len) = (4 * ROW, 8 * ROW);
    let zeros = vec![0; (len - kept) as usize];
    after_a_failed_sync(|bets| bets.write_all_at(&zeros, kept).unwrap(), kept);
}

#[test]
fn after_a_failed_sync_whole_rows_behind_the_record_are_no_bets_as_ever() {
    let foreign = "1,Ana,Paz,0,1999-03-17,1\r\n".as_bytes();
    after_a_failed_sync(|bets| bets.write_all_at(foreign, 8 * ROW).unwrap(), 8 * ROW);
}

/// Of eight bets of agency 1, the last five are not acknowledged, as they could not be synced; then something happens to
/// the file.
fn after_a_failed_sync(happens: impl FnOnce(&File), kept: u64) {
    let mut server = Setup::new(2).set("DURABILITY", "batch").start();
    let (mut victim, child) = served_child(&server, 1);
    victim.send(&batch_of(1, 3, 1));
    assert_eq!(victim.ack(), 0);
    let Some(_strace) = Strace::attach(child, &["-e", "inject=fdatasync:error=EIO:when=1"]) else { return };
    victim.send(&batch_of(1, 5, 1));
    assert_eq!(victim.rest_or_reset(), b"");
    assert_eq!(server.wait().code(), Some(4));
    assert_eq!(server.bets().len() as u64, 8 * ROW);
    happens(&File::options().write(true).open(server.bets_path()).unwrap());

    let again = server.kill().start();
    assert_eq!(again.bets().len() as u64, kept);
    let mut retry = again.connect();
    retry.send(&count(1));
    assert_eq!(retry.received(1).0, kept / ROW);
    retry.send(&batch_of(1, 1, 1));
    assert_eq!(retry.ack(), 0);
    assert_eq!(again.rows().len() as u64, kept / ROW + 1);
    again.stop();
}

#[test]
fn an_end_whose_child_was_killed_before_its_sync_is_synced_before_anybody_is_told_of_it() {
    for question in [count(1), end(1)] {
        let mut server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
        let (mut victim, child) = served_child(&server, 1);
        let ends = server.path("ends");
        let at_the_sync = |fault| ["-P", ends.to_str().unwrap(), "-e", fault];
        let Some(_strace) = Strace::attach(child, &at_the_sync("inject=fdatasync:signal=KILL")) else { return };
        assert_eq!(victim.send(&end(1)).rest_or_reset(), b"");
        server.await_alone();

        let mut asking = server.connect();
        eventually("a child", || server.children().len() == 1);
        let Some(_strace) = Strace::attach(server.children()[0], &at_the_sync("inject=fdatasync:error=EIO")) else {
            return;
        };
        let told = asking.send(&question).0.read(&mut [0]);
        assert!(!matches!(told, Ok(1)), "told of an end that a power cut may take");
        assert_eq!(server.wait().code(), Some(4));
    }
}

#[test]
fn a_result_that_is_found_at_start_is_synced_before_anybody_is_told_of_it() {
    let server = Server::start(1);
    let mut conn = server.connect();
    conn.send(&batch_of(1, 3, 7574)).send(&end(1)).send(&ask(1));
    assert_eq!(([conn.ack(), conn.ack()], conn.winners()), ([0, 0], Some(vec![0, 1, 2])));
    let (_, setup) = server.stop_and_keep();
    let (files, draw) = (File::open(setup.path("server.lock")).unwrap(), setup.path("draw"));
    files.lock().unwrap();
    let mut again = setup.spawn();
    again.await_log("action: lock | result: in_progress");
    let fault = ["-P", draw.to_str().unwrap(), "-e", "inject=fdatasync:error=EIO"];
    let Some(_strace) = Strace::attach(again.pid(), &fault) else { return };
    drop(files);
    assert_eq!(again.wait().code(), Some(4), "served from a result that a power cut may take");
}

#[test]
fn an_end_that_a_child_could_record_but_not_report_is_not_forgotten() {
    let server = Server::start(1);
    let mut conn = server.connect();
    assert_eq!(conn.send(&batch_of(1, 1, 7574)).ack(), 0);
    // What it sends next is its report.
    let fault = ["-e", "inject=sendto:error=ENOBUFS:when=1"];
    let Some(_strace) = Strace::attach(server.children()[0], &fault) else { return };
    assert_eq!(conn.send(&end(1)).rest_or_reset(), b"");
    assert_eq!(server.connect().send(&ask(1)).winners(), Some(vec![0]), "the draw was held");
    assert!(server.connect().send(&count(1)).received(1).1);
    server.stop();
}

#[test]
fn a_new_draw_that_is_interrupted_leaves_one_that_was_held_as_it_was() {
    if !strace_starts() {
        return;
    }
    for killed_at in 1..=4 {
        let server = Server::start(1);
        let mut conn = server.connect();
        conn.send(&batch_of(1, 2, 7574)).send(&end(1)).send(&ask(1));
        assert_eq!([conn.ack(), conn.ack()], [0, 0]);
        assert_eq!(conn.winners(), Some(vec![0, 1]));
        let fault = format!("inject=rename:signal=KILL:when={killed_at}");
        let strace = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", &fault];
        let mut interrupted = server.kill().arg("--new-draw").under(&strace).spawn();
        assert_eq!(interrupted.wait().signal(), Some(9), "{}", interrupted.own_log());
        let again = interrupted.kill().plain().set("LOTTERY_WINNER_NUMBER", 1).start();
        assert_eq!(again.connect().send(&ask(1)).winners(), Some(vec![0, 1]), "at {killed_at}");
        assert_eq!(again.stop().matches(SORTEO).count(), 1);
    }
}

#[test]
fn a_draw_that_cannot_be_synced_ends_the_server_with_code_4_and_is_held_by_the_next_one() {
    // At a level at which nothing but the draw syncs: the result, and before it what it is held over.
    for file in ["bets.csv", "ends", "draw"] {
        a_draw_ends_the_server_that_cannot_sync(file);
    }
}

fn a_draw_ends_the_server_that_cannot_sync(file: &str) {
    let mut server = Setup::new(1).set("DURABILITY", "process").start();
    let path = server.path(file);
    let fault = ["-f", "-P", path.to_str().unwrap(), "-e", "inject=fdatasync:error=EIO"];
    let Some(strace) = Strace::attach(server.pid(), &fault) else { return };
    let mut conn = server.connect();
    conn.send(&batch_of(1, 3, 7574)).send(&end(1)).send(&ask(1));
    assert_eq!([conn.ack(), conn.ack()], [0, 0]);
    assert_eq!(server.wait().code(), Some(4));
    drop(strace);
    assert!(!server.log().contains(SORTEO));
    assert!([&b""[..], &[2, 7]].contains(&&*conn.rest_or_reset()));
    let again = server.kill().start();
    let mut asking = again.connect();
    asking.send(&ask(1));
    assert_eq!(asking.winners(), Some(vec![0, 1, 2]));
    assert_eq!(again.stop().matches("action: sorteo | result: success").count(), 1);
}

#[test]
fn a_draw_whose_process_dies_before_it_is_durable_is_left_to_the_next_server_which_says_so() {
    let mut server = Server::start(1);
    let draw = server.path("draw");
    let fault = ["-f", "-P", draw.to_str().unwrap(), "-e", "inject=fdatasync:signal=KILL"];
    let Some(strace) = Strace::attach(server.pid(), &fault) else { return };
    let mut conn = server.connect();
    conn.send(&batch_of(1, 3, 7574)).send(&end(1));
    assert_eq!([conn.ack(), conn.ack()], [0, 0]);
    server.await_log("action: sorteo | result: in_progress | error: the process that held it ended");
    // Ahead of the next attempt, or after it, which dies as well.
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    drop(strace);
    let again = server.kill().start();
    let mut asking = again.connect();
    asking.send(&ask(1));
    assert_eq!(asking.winners(), Some(vec![0, 1, 2]));
    assert_eq!(again.stop().matches(SORTEO).count(), 1);
}

#[test]
fn a_draw_makes_durable_what_it_is_held_over_at_every_level() {
    let server = Setup::new(1).set("DURABILITY", "process").start();
    let [bets, ends, draw] = ["bets.csv", "ends", "draw"].map(|name| server.path(name));
    let [bets, ends, draw] = [&bets, &ends, &draw].map(|path| path.to_str().unwrap());
    let trace = server.path("trace");
    let mut options = vec!["-o", trace.to_str().unwrap(), "-f", "-y", "-e", "trace=fdatasync"];
    options.extend(["-P", bets, "-P", ends, "-P", draw]);
    let Some(_strace) = Strace::attach(server.pid(), &options) else { return };
    let mut conn = server.connect();
    conn.send(&batch_of(1, 3, 7574)).send(&end(1)).send(&ask(1));
    assert_eq!([conn.ack(), conn.ack()], [0, 0]);
    assert_eq!(conn.winners(), Some(vec![0, 1, 2]));
    let synced = |log: &str| {
        let names = [bets, ends, draw].map(|path| format!("<{path}>"));
        let of_line = |line: &str| names.iter().position(|name| line.contains(name));
        log.lines().filter(|line| line.contains("fdatasync(")).filter_map(of_line).collect::<Vec<_>>()
    };
    eventually("the trace is written", || synced(&fs::read_to_string(&trace).unwrap()).contains(&2));
    assert_eq!(synced(&fs::read_to_string(&trace).unwrap()), [0, 1, 2], "bets, ends, and only then the draw");
    server.stop();
}

#[test]
fn with_durability_process_nothing_is_synced_on_the_way() {
    let server = Setup::new(2).set("DURABILITY", "process").start();
    let (mut conn, child) = served_child(&server, 1);
    let Some(_strace) = Strace::attach(child, &["-e", "inject=fdatasync,fsync:error=EIO"]) else { return };
    conn.send(&batch_of(1, 5, 1)).send(&end(1));
    assert_eq!([conn.ack(), conn.ack()], [0, 0]);
    server.stop();
}

// ---- the system refuses ------------------------------------------------------------------------------------------

#[test]
fn without_descriptors_clients_wait_and_nothing_spins() {
    let server = Setup::new(2).set("SERVER_LISTEN_BACKLOG", 100).start();
    let at_start = descriptors(server.pid());
    if !leave_descriptors(server.pid(), 0) {
        return;
    }
    let mut clients: Vec<_> = (0..5).map(|_| server.connect()).collect();
    server.await_log("action: accept_connections | result: fail | llamada: accept");
    assert_idle(&[server.pid()]);
    assert_eq!(server.children(), []);
    restore_descriptors(server.pid());
    assert!(clients.iter_mut().all(|conn| echo_or_close(conn) == b"hola\n"));
    drop(clients);
    server.await_alone();
    server.await_descriptors(&at_start);
    assert_eq!(server.stop().matches("action: accept_connections | result: fail").count(), 1);
}

#[test]
fn too_few_descriptors_for_a_child_cost_its_client_alone() {
    let server = Setup::new(2).set("SERVER_LISTEN_BACKLOG", 100).start();
    let at_start = descriptors(server.pid());
    // Enough for the connection; for one end of its link; for both, which may or may not be enough for the child.
    for left in 1..=4 {
        if !leave_descriptors(server.pid(), left) {
            return;
        }
        let answers: Vec<_> = (0..2).map(|_| echo_or_close(&mut server.connect())).collect();
        assert!(
            answers.iter().all(|answer| answer == b"" || left > 2 && answer == b"hola\n"),
            "{left} left: {answers:?}"
        );
        assert_idle(&[server.pid()]);
        restore_descriptors(server.pid());
        assert_eq!(echo_or_close(&mut server.connect()), b"hola\n");
        server.await_alone();
        server.await_descriptors(&at_start);
    }
    server.stop();
}

/// The process can open `left` more descriptors; false if that cannot be tested here.
fn leave_descriptors(pid: i32, left: usize) -> bool {
    let open = descriptors(pid);
    let limit_at = (0..).filter(|fd| !open.contains_key(fd)).nth(left).unwrap();
    limit(pid, &format!("--nofile={limit_at}:"))
}

fn restore_descriptors(pid: i32) {
    // What the server asks for at its start, by default.
    assert!(limit(pid, "--nofile=1056:"));
}

#[test]
fn whatever_accept_reports_the_next_client_is_served() {
    let server = Server::start(2);
    for error in ["ECONNABORTED", "EPROTO", "EINTR", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM", "EHOSTUNREACH"] {
        let once = ["-e", &format!("inject=accept4:error={error}:when=1")];
        let Some(strace) = Strace::attach(server.pid(), &once) else { return };
        assert_eq!(echo_or_close(&mut server.connect()), b"hola\n", "{error}");
        assert_injected(strace.trace(), "accept4");
    }
    server.stop();
}

#[test]
fn an_accept_that_goes_on_failing_is_told_once_and_nothing_spins() {
    for error in ["ENFILE", "EPERM"] {
        let server = Server::start(2);
        let goes_on = ["-e", &format!("inject=accept4:error={error}")];
        let Some(strace) = Strace::attach(server.pid(), &goes_on) else { return };
        let mut conn = server.connect();
        server.await_log("action: accept_connections | result: fail | llamada: accept");
        assert_idle(&[server.pid()]);
        drop(strace);
        assert_eq!(echo_or_close(&mut conn), b"hola\n");
        assert_eq!(server.stop().matches("action: accept_connections | result: fail").count(), 1);
    }
}

#[test]
fn connections_that_fail_without_end_keep_the_server_from_nothing() {
    let server = Server::start(2);
    let mut conn = server.connect();
    assert_eq!(conn.send(&batch_of(1, 1, 1)).ack(), 0);
    let Some(_strace) = Strace::attach(server.pid(), &["-e", "inject=accept4:error=EPROTO"]) else { return };
    let _failing = server.connect();
    assert_eq!(conn.send(&batch_of(1, 1, 1)).ack(), 0);
    assert_eq!(server.rows().len(), 2);
    server.stop();
}

#[test]
fn a_fork_that_fails_costs_its_own_client_and_is_told_once() {
    let server = Server::start(2);
    let at_start = descriptors(server.pid());
    let fail = ["-e", "inject=clone,?clone3,?fork,?vfork:error=EAGAIN"];
    let Some(strace) = Strace::attach(server.pid(), &fail) else { return };
    for _ in 0..3 {
        assert_eq!(echo_or_close(&mut server.connect()), b"");
    }
    assert_idle(&[server.pid()]);
    drop(strace);
    server.await_descriptors(&at_start);
    assert_eq!(echo_or_close(&mut server.connect()), b"hola\n");
    let log = server.stop();
    assert_eq!(log.matches("action: accept_connections | result: fail | llamada: fork").count(), 1, "{log}");
}

#[test]
fn a_child_that_cannot_be_watched_costs_its_own_client_alone() {
    let server = Server::start(2);
    let Some(strace) = Strace::attach(server.pid(), &["-e", "inject=epoll_ctl:error=ENOMEM:when=1"]) else { return };
    let mut conn = server.connect();
    // It may be gone by then.
    let _ = conn.0.write_all(&count(1));
    assert_eq!(conn.rest_or_reset(), b"");
    server.await_alone();
    drop(strace);
    let mut retry = server.connect();
    retry.send(&count(1));
    assert_eq!(retry.received(1), (0, false, 0));
    drop(retry);
    server.await_alone();
    server.stop();
}

#[test]
fn a_child_that_cannot_be_told_of_its_claim_does_not_keep_it() {
    let server = Server::start(2);
    let Some(strace) = Strace::attach(server.pid(), &["-e", "inject=sendto:error=ENOBUFS:when=1"]) else { return };
    assert_eq!(server.connect().send(&count(1)).rest_or_reset(), b"");
    // A SIGCHLD that meets the end of strace can get lost.
    server.await_alone();
    drop(strace);
    let mut retry = server.connect();
    retry.send(&count(1));
    assert_eq!(retry.received(1), (0, false, 0));
    drop(retry);
    server.await_alone();
    assert_eq!(server.stop().matches("action: link | result: fail").count(), 1);
}

#[test]
fn a_child_that_cannot_be_told_of_the_draw_ends_and_its_client_can_ask_again() {
    let server = Server::start(1);
    let (mut victim, _) = served_child(&server, 1);
    victim.send(&end(1));
    assert_eq!(victim.ack(), 0);
    let Some(strace) = Strace::attach(server.pid(), &["-e", "inject=sendto:error=ENOBUFS:when=1"]) else { return };
    assert_eq!(victim.send(&ask(1)).rest_or_reset(), b"");
    server.await_alone();
    drop(strace);
    let mut retry = server.connect();
    retry.send(&ask(1));
    assert_eq!(retry.winners(), Some(vec![]));
    server.stop();
}

#[test]
fn a_draw_whose_fork_fails_is_held_later() {
    let server = Server::start(1);
    let (mut conn, _) = served_child(&server, 1);
    let fail = ["-e", "inject=clone,?clone3,?fork,?vfork:error=EAGAIN"];
    let Some(strace) = Strace::attach(server.pid(), &fail) else { return };
    conn.send(&end(1)).send(&ask(1));
    assert_eq!(conn.ack(), 0);
    server.await_log("action: sorteo | result: in_progress");
    drop(strace);
    assert_eq!(conn.winners(), Some(vec![]));
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

/// Root is exempt from RLIMIT_NPROC: the server runs as a user that nobody else is.
#[test]
fn beyond_the_limit_of_processes_clients_are_refused_or_wait_and_are_served_later() {
    let this = "RLIMIT_NPROC";
    if !am_root() || !has_program("setpriv") || !has_program("prlimit") {
        return skipped(
            this,
            "needs prlimit, root and setpriv, for a user without other processes; EAGAIN from fork(2) is tested by strace",
        );
    }
    let server = as_nobody(Setup::new(2).under(&["prlimit", "--nproc=3:"]), 1).start();
    let (mut first, mut second) = (server.connect(), server.connect());
    eventually("two are served", || server.children().len() == 2);
    let mut others: Vec<_> = (0..5).map(|_| server.connect()).collect();
    server.await_log("action: accept_connections | result: fail | llamada: fork");
    assert_eq!(server.children().len(), 2);
    assert_idle(&[server.pid()]);
    assert_eq!(echo_or_close(&mut first), b"hola\n");
    drop(first);
    assert_eq!(echo_or_close(&mut second), b"hola\n");
    drop(second);
    others.iter_mut().for_each(|conn| assert!([&b"hola\n"[..], b""].contains(&&*echo_or_close(conn))));
    drop(others);
    eventually("somebody is served again", || echo_or_close(&mut server.connect()) == b"hola\n");
    server.stop();
}

#[test]
fn system_calls_that_are_interrupted_are_taken_up_again_and_nobody_notices() {
    const CALLS: &str = "flock,poll|?ppoll,epoll_wait|?epoll_pwait,accept4,recvfrom,sendto,read,pread64,pwrite64,\
                         ftruncate,fdatasync,wait4|?waitid";
    a_lottery_of_interruptions(CALLS, |_| Vec::new());
}

/// Not of the signal handlers' pipe, whose writes the kernel never interrupts.
#[test]
fn writes_to_the_store_and_to_the_log_that_are_interrupted_are_taken_up_again() {
    a_lottery_of_interruptions("write", |server| {
        let [bets, log] = ["bets.csv", "server.log"].map(|file| server.path(file).to_str().unwrap().to_owned());
        ["-P", &bets, "-P", &log].map(str::to_owned).into()
    });
}

#[test]
fn a_start_whose_system_calls_are_interrupted_adopts_what_is_there() {
    if !strace_starts() {
        return;
    }
    const CALLS: &str = "flock,openat,read,write,pread64,pwrite64,ftruncate,fsync,fdatasync";
    let setup = Setup::new(2);
    write_file(&setup.path("bets.csv"), "1,Ana,Paz,0,1999-03-17,7574\r\n1,Ana,Paz,1,1999-03-17,75");
    let files = ["bets.csv", "bets.lock", "ends", "draw", "server.lock", "bets.csv.rejected", ""];
    let files =
        files.map(|file| format!("--trace-path={}", setup.path(file).display().to_string().trim_end_matches('/')));
    let (trace, fault) = (setup.path("trace"), format!("inject={CALLS}:error=EINTR:when=1+2"));
    // In the program's own place: -D.
    let mut words = vec!["strace", "-D", "-f", "-qq", "-o", trace.to_str().unwrap(), "-e", &fault];
    words.extend(files.iter().map(String::as_str));
    let server = setup.set("DURABILITY", "batch").under(&words).start();
    assert!(server.log().contains("action: apartar_cola | result: success | bytes: 25 "), "{}", server.log());
    let mut conn = server.connect();
    assert_eq!(conn.send(&count(1)).received(1).0, 1);
    drop(conn);
    server.await_alone();
    for call in CALLS.split(',') {
        assert_injected(&trace, call);
    }
    assert!(!server.stop().contains("result: fail"));
}

/// A whole lottery in which every other one of these calls of each process is interrupted, and each of them somewhere;
/// `a|b` is one call, of which a machine has one form or the other.
fn a_lottery_of_interruptions(calls: &str, where_else: impl Fn(&Server) -> Vec<String>) {
    let server = Setup::new(2).set("DURABILITY", "batch").set("SHUTDOWN_GRACE", FOREVER).start();
    let (fault, options) = (format!("inject={}:error=EINTR:when=1+2", calls.replace('|', ",")), where_else(&server));
    let options: Vec<&str> = ["-f", "-e", &fault].into_iter().chain(options.iter().map(String::as_str)).collect();
    let Some(strace) = Strace::attach(server.pid(), &options) else { return };
    assert_eq!(echo_or_close(&mut server.connect()), b"hola\n");
    assert_eq!(server.connect().send(&Bet::default().single(2)).rest(), [0]);
    let (mut one, mut two) = (server.connect(), server.connect());
    let _silent = server.connect();
    one.send(&count(1));
    assert_eq!(one.received(1), (0, false, 0));
    for _ in 0..20 {
        one.send(&batch_of(1, 9, 7574));
        assert_eq!(one.ack(), 0);
    }
    one.send(&end(1)).send(&ask(1));
    assert_eq!(one.ack(), 0);
    two.send_bytewise(&batch_of(2, 2, 1)).send(&end(2)).send(&ask(2));
    assert_eq!([two.ack(), two.ack()], [0, 0]);
    assert_eq!((one.winners().map(|won| won.len()), two.winners()), (Some(180), Some(vec![])));
    assert_eq!(server.rows().len(), 183);
    let trace = strace.trace();
    for call in calls.split(',') {
        assert_injected(trace, call);
    }
    let log = server.stop();
    assert_eq!([log.matches(SORTEO).count(), log.matches("action: apuesta_almacenada").count()], [1, 183]);
    assert!(!log.contains("result: fail") && !log.contains("nterrupted"), "{log}");
}

// ---- standard output ---------------------------------------------------------------------------------------------

#[test]
fn a_server_without_standard_streams_serves_and_stops() {
    for redirection in ["<&- >&- 2>&-", ">/dev/full 2>&1"] {
        let script = format!("exec \"$@\" {redirection}");
        let mut server = Setup::new(1).set("SHUTDOWN_GRACE", FOREVER).under(&["sh", "-c", &script, "sh"]).spawn();
        let mut conn = Conn::to(listening_port(server.pid()));
        assert_serves_and_draws(&mut conn);
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0), "{redirection}");
        assert_eq!(conn.rest(), b"");
        assert_eq!(server.rows().len(), 255);
    }
}

#[test]
fn a_server_whose_log_reader_is_gone_serves_and_stops() {
    let mut server = Piped::start(Setup::new(1).set("SHUTDOWN_GRACE", FOREVER));
    drop(server.process.stdout.take());
    let mut conn = server.connect();
    assert_serves_and_draws(&mut conn);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(conn.rest(), b"");
}

#[test]
fn a_log_pipe_that_nobody_reads_stops_neither_the_service_nor_sigterm() {
    let mut server = Piped::start(Setup::new(1).set("SHUTDOWN_GRACE", FOREVER));
    let mut conn = server.connect();
    // Five times what the pipe holds.
    assert_serves_and_draws(&mut conn);
    for _ in 0..20 {
        assert_eq!(echo_or_close(&mut server.connect()), b"hola\n");
    }
    assert_idle(&[server.pid()]);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(conn.rest(), b"");
}

#[test]
fn a_log_reader_that_comes_back_is_told_how_many_lines_were_lost() {
    let mut server = Piped::start(Setup::new(1));
    let mut conn = server.connect();
    conn.send(&batch_of(1, 255, 1));
    assert_eq!(conn.ack(), 0);
    // A child that is gone before anybody reads.
    assert_eq!(server.connect().send(&Bet::default().single(1)).rest(), [0]);
    let read = Arc::new(Mutex::new(Vec::new()));
    let reader = thread::spawn({
        let (mut stdout, read) = (server.process.stdout.take().unwrap(), read.clone());
        move || {
            let mut bytes = [0; 4096];
            while let Ok(1..) = stdout.read(&mut bytes).inspect(|&len| read.lock().unwrap().extend(&bytes[..len])) {}
        }
    });
    let log = || String::from_utf8_lossy(&read.lock().unwrap()).into_owned();
    let mut batches = 0;
    eventually("lost lines are told of", || {
        batches += 1;
        assert_eq!(conn.send(&batch_of(1, 1, 1)).ack(), 0);
        log().contains("lost_lines")
    });
    assert_eq!(server.stop(), Some(0));
    reader.join().unwrap();
    let log = log();
    let lost = log.lines().filter_map(|line| line.split_once("action: log | result: fail | lost_lines: "));
    let lost: usize = lost.map(|(_, count)| count.parse::<usize>().unwrap()).sum();
    let of_children = ["apuesta_almacenada", "apuesta_recibida", "close_connection"];
    let kept: usize = of_children.iter().map(|action| log.matches(&format!("action: {action} |")).count()).sum();
    assert!(lost > 0);
    assert_eq!(kept + lost, 255 + 1 + 2 * batches + 1 + 2, "{log}");
    assert!(log.ends_with("action: exit | result: success\n"), "{log}");
}

fn assert_serves_and_draws(conn: &mut Conn) {
    conn.send(&batch_of(1, 255, 7574)).send(&end(1)).send(&ask(1));
    assert_eq!([conn.ack(), conn.ack()], [0, 0]);
    assert_eq!(conn.winners().map(|won| won.len()), Some(255));
}

/// A server whose standard output is a pipe of one page, which nobody reads as long as no test does.
struct Piped {
    process: Child,
    port: u16,
    _setup: Setup,
}

impl Piped {
    fn start(setup: Setup) -> Self {
        let process = setup.command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Self { process, port: 0, _setup: setup };
        server.port = listening_port(server.pid());
        // The server has made it larger.
        fcntl(server.process.stdout.as_ref().unwrap(), FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        server
    }

    fn pid(&self) -> i32 {
        self.process.id().try_into().unwrap()
    }

    fn connect(&self) -> Conn {
        Conn::to(self.port)
    }

    /// SIGTERM; returns the exit code.
    fn stop(&mut self) -> Option<i32> {
        send_signal(self.pid(), "TERM");
        poll_until(PATIENCE, || self.process.try_wait().unwrap()).unwrap().code()
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// ---- the clock ---------------------------------------------------------------------------------------------------

#[test]
fn no_deadline_passes_when_the_wall_clock_jumps_by_an_hour() {
    let setup = Setup::new(2).set("DRAW_WAIT", FOREVER);
    let (source, shim, jump) = (setup.path("jump.c"), setup.path("jump.so"), setup.path("jump"));
    write_file(&source, JUMPING_CLOCK);
    write_file(&jump, " ");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&shim, &source]).output();
    if !compiled.as_ref().is_ok_and(|output| output.status.success()) {
        return skipped(&this_test(), &format!("cc made no library of a clock that jumps: {compiled:?}"));
    }
    let server = setup.set("LD_PRELOAD", shim.display()).set("JUMP", jump.display()).set("TZ", "UTC").start();
    let (_silent, mut cut, mut acked, mut waiting) =
        (server.connect(), server.connect(), server.connect(), server.connect());
    let message = batch_of(1, 3, 7574);
    let mut bytes = message.chunks(20);
    cut.send(bytes.next().unwrap());
    acked.send(&batch_of(2, 3, 1));
    assert_eq!(acked.ack(), 0);
    waiting.send(&ask(1));
    for conn in [&cut, &waiting] {
        server.await_read(conn);
    }
    for (direction, seconds) in [("+", 3600), ("-", -3600), (" ", 0)] {
        File::options().write(true).open(&jump).unwrap().write_all(direction.as_bytes()).unwrap();
        let off = seconds_off(&server);
        assert!((off - seconds).abs() < 60, "the clock is {off} s off instead of {seconds}");
        // A child looks at its clock when it is woken.
        cut.send(bytes.next().unwrap());
        let is_taken = || server.end_of(&cut).is_none_or(|end| end.inode == 0 || end.unread == 0);
        eventually("what comes is taken, or its connection gone", is_taken);
        assert!(waiting.is_silent_for(A_WHILE));
        assert_eq!(server.children().len(), 4, "a deadline has passed at {direction:?}");
    }
    cut.send(&bytes.collect::<Vec<_>>().concat()).send(&end(1));
    acked.send(&end(2)).send(&ask(2));
    assert_eq!([cut.ack(), cut.ack(), acked.ack()], [0; 3]);
    assert_eq!((waiting.winners(), acked.winners()), (Some(vec![0, 1, 2]), Some(vec![])));
    server.stop();
}

/// How far from the truth the server's clock is, by the time stamp of its last line.
fn seconds_off(server: &Server) -> i64 {
    let echoes = server.log().matches("action: receive_message").count();
    assert_eq!(echo_or_close(&mut server.connect()), b"hola\n");
    let log = server.log();
    let line = log.lines().filter(|line| line.contains("action: receive_message")).nth(echoes).unwrap();
    let stamp = chrono::NaiveDateTime::parse_from_str(&line[..19], "%Y-%m-%d %H:%M:%S").unwrap();
    (stamp - chrono::Utc::now().naive_utc()).num_seconds()
}

/// To be preloaded: the first byte of the file JUMP says where the wall clock is. The monotonic one is the kernel's.
const JUMPING_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static volatile const char *jump = " ";
__attribute__((constructor)) static void watch(void) {
    int fd = open(getenv("JUMP"), O_RDONLY);
    jump = mmap(0, 1, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += *jump == '+' ? 3600 : *jump == '-' ? -3600 : 0;
    return result;
}
"#;

// ---- starts that fail --------------------------------------------------------------------------------------------

#[test]
fn a_store_in_a_directory_that_may_not_be_written_is_exit_code_4_and_nothing_is_changed() {
    let this = "a read-only directory";
    let as_root = am_root();
    if as_root && !has_program("setpriv") {
        return skipped(this, "permission bits do not bind root, and there is no setpriv to become somebody else");
    }
    let setup = if as_root { as_nobody(Setup::new(2), 0) } else { Setup::new(2) };
    let store = setup.path("store");
    fs::create_dir(&store).unwrap();
    write_file(&store.join("bets.csv"), "1,Ana,Paz,0,1999-03-17,1\r\n");
    fs::set_permissions(&store, fs::Permissions::from_mode(0o555)).unwrap();
    let mut server = setup.set("STORAGE_FILEPATH", store.join("bets.csv").display()).spawn();
    assert_eq!(server.wait().code(), Some(4));
    assert_one_complaint(&server.log(), store.to_str().unwrap());
    assert_eq!(fs::read_dir(&store).unwrap().count(), 1);
}

#[test]
fn a_port_in_use_is_exit_code_1_and_one_line() {
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let setup = Setup::new(2).set("SERVER_PORT", port);
    write_file(&setup.path("bets.csv"), "1,Ana,Paz,0,1999-03-17,1\r\n no bet");
    let mut server = setup.spawn();
    assert_eq!(server.wait().code(), Some(1));
    assert_one_complaint(&server.log(), &format!("port {port}"));
    assert_eq!(server.bets(), b"1,Ana,Paz,0,1999-03-17,1\r\n no bet", "it has touched what it does not serve");
}

#[test]
fn a_second_server_on_the_same_files_gives_up_without_having_bound_or_touched_anything() {
    let scene = Scene::new();
    let free = free_port();
    let bets = scene.server.bets_path();
    let began = Instant::now();
    let mut second =
        Setup::new(3).set("STORAGE_FILEPATH", bets.display()).set("SERVER_PORT", free).arg("--new-draw").spawn();
    second.await_log("action: lock | result: in_progress");
    assert!(!is_bound(free));
    let status = second.wait();
    assert!(began.elapsed() > Duration::from_secs(4), "it did not wait");
    assert_eq!(status.code(), Some(1));
    let log = second.log();
    assert_eq!(log.matches("action: lock").count(), 1, "{log}");
    assert!(!log.contains("action: listen") && !log.contains("new_draw"), "{log}");
    assert!(log.lines().last().unwrap().contains(&format!("pid {}", scene.server.pid())), "{log}");
    scene.assert_recovered(2);
}

#[test]
fn a_server_waits_for_the_files_of_another_one_and_binds_only_when_it_has_them() {
    let setup = Setup::new(2);
    let lock = setup.path("server.lock");
    write_file(&lock, "4711\n");
    // Of one that is just dying: its last child still holds the lock.
    let held = File::open(&lock).unwrap();
    held.lock().unwrap();
    let free = free_port();
    let server = setup.set("SERVER_PORT", free).spawn();
    server.await_log("action: lock | result: in_progress");
    thread::sleep(A_WHILE);
    assert!(!is_bound(free) && !server.log().contains("action: listen"));
    assert_eq!(fs::read_to_string(&lock).unwrap(), "4711\n");
    drop(held);
    server.await_log("action: listen | result: success");
    assert!(is_bound(free));
    assert_eq!(fs::read_to_string(&lock).unwrap().trim(), server.pid().to_string());
    assert_eq!(echo_or_close(&mut Conn::to(free)), b"hola\n");
    server.stop();
}

// ---- helpers -----------------------------------------------------------------------------------------------------

/// A server with much in its store already, so that a limit on the size of files hits that file first; two bets of
/// agency 1 have come, over a connection that is still there.
struct Scene {
    server: Server,
    victim: Conn,
    child: i32,
    /// Bytes of the store at the start.
    base: u64,
}

impl Scene {
    fn new() -> Self {
        const ROWS: u64 = 4000;
        let setup = Setup::new(3).set("SHUTDOWN_GRACE", FOREVER);
        write_file(&setup.path("bets.csv"), "3,Ana,Paz,0,1999-03-17,1\r\n".repeat(ROWS as usize));
        let server = setup.start();
        let (mut victim, child) = served_child(&server, 1);
        victim.send(&batch_of(1, 2, 1));
        assert_eq!(victim.ack(), 0);
        Self { server, victim, child, base: ROWS * ROW }
    }

    /// What has come on top of the store at the start, be it stored or a tail.
    fn bytes(&self) -> u64 {
        self.server.bets().len() as u64 - self.base
    }

    /// What must hold after every fault: `held` bets of agency 1 count, the others are served, agency 1 goes on, every
    /// row is whole, nobody is left, and the server stops in order. Returns its log.
    #[track_caller]
    fn assert_recovered(self, held: u64) -> String {
        let Self { server, victim, .. } = self;
        drop(victim);
        let (mut other, mut retry) = (server.connect(), server.connect());
        other.send(&batch_of(2, 3, 1));
        assert_eq!(other.ack(), 0);
        retry.send(&count(1));
        let (bets, has_ended, _) = retry.received(1);
        assert_eq!((bets, has_ended), (held, false));
        retry.send(&batch_of(1, 4, 1));
        assert_eq!(retry.ack(), 0);
        let rows = server.rows();
        let of = |agency: &str| rows.iter().filter(|row| row.starts_with(agency)).count() as u64;
        assert_eq!([of("1,"), of("2,")], [held + 4, 3]);
        assert!(rows.iter().all(|row| row.split(',').count() == 6));
        drop((other, retry));
        server.await_alone();
        server.stop()
    }
}

/// A connection that has claimed `agency`, and its child.
fn served_child(server: &Server, agency: u32) -> (Conn, i32) {
    let mut conn = server.connect();
    eventually("a child", || server.children().len() == 1);
    let child = server.children()[0];
    conn.send(&count(agency));
    conn.received(agency);
    (conn, child)
}

fn echo_or_close(conn: &mut Conn) -> Vec<u8> {
    // It may be closed already.
    let _ = conn.0.write_all(b"hola\n");
    conn.rest_or_reset()
}

/// Changes a limit of a running process, as prlimit(1) writes it; false if that cannot be tested here.
fn limit(pid: i32, limit: &str) -> bool {
    let changed = Command::new("prlimit").arg(format!("--pid={pid}")).arg(limit).output();
    let works = changed.as_ref().is_ok_and(|output| output.status.success());
    if !works {
        skipped(&this_test(), &format!("prlimit does not work here: {changed:?}"));
    }
    works
}

fn am_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The server runs as a user that nobody else is, in a directory that this user may write.
fn as_nobody(setup: Setup, number: u32) -> Setup {
    let user = format!("--reuid={}", 1_000_000_000 + std::process::id() * 2 + number);
    // The binary may lie where that user cannot go.
    let program =
        ["setpriv", &user, "--regid=65534", "--clear-groups", "sh", "-c", "shift; exec ./server \"$@\"", "sh"];
    let setup = setup.under(&program);
    install(&server_binary(), &setup.path("server"));
    fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    setup
}

/// Faults that are injected into a process by strace, until this is dropped or the process ends.
struct Strace {
    process: Child,
    // Read no more, but open: strace would die of writing to it.
    _said: BufReader<ChildStderr>,
    trace: NamedTempFile,
}

impl Strace {
    /// `None` if strace cannot be used here, which has been said.
    fn attach(pid: i32, options: &[&str]) -> Option<Self> {
        let mut command = Command::new("strace");
        let trace = NamedTempFile::new().unwrap();
        command.arg("-o").arg(trace.path()).args(["-p", &pid.to_string()]).args(options);
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut process = match spawned {
            Ok(process) => process,
            Err(e) => {
                skipped(&this_test(), &format!("strace: {e}"));
                return None;
            }
        };
        let mut said = BufReader::new(process.stderr.take().unwrap());
        let mut all = String::new();
        while said.read_line(&mut all).unwrap() > 0 {
            if all.ends_with(" attached\n") {
                return Some(Self { process, _said: said, trace });
            }
        }
        let _ = process.wait();
        assert!(all.contains("Operation not permitted"), "strace does not know {options:?}: {all}");
        skipped(&this_test(), &format!("strace may not be used: {all}"));
        None
    }

    /// What it has seen and done is written there.
    fn trace(&self) -> &Path {
        self.trace.path()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// strace has let this system call fail at least once, in any of its forms.
#[track_caller]
fn assert_injected(trace: &Path, call: &str) {
    let hits =
        || fs::read_to_string(trace).unwrap().lines().filter_map(injected).map(str::to_owned).collect::<Vec<_>>();
    let is_hit = || hits().iter().any(|hit| call.split('|').any(|form| form.trim_start_matches('?') == hit));
    eventually(&format!("a fault is injected into {call}"), is_hit);
}

/// The system call that a line of a trace says has not been made.
fn injected(line: &str) -> Option<&str> {
    // With -f, the process comes first; what another one has interrupted comes in two parts.
    let call = line.strip_suffix(" (INJECTED)")?.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    call.trim_start_matches("<... ").split(['(', ' ']).next()
}

/// Whether programs can be started under strace; that they cannot has been said.
fn strace_starts() -> bool {
    let works = Command::new("strace").args(["-D", "-o", "/dev/null", "true"]).output();
    let starts = works.as_ref().is_ok_and(|output| output.status.success());
    if !starts {
        skipped(&this_test(), &format!("strace starts nothing here: {works:?}"));
    }
    starts
}
