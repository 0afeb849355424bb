//! Syncs that fail, and syncs that must come first.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;

use crate::strace::*;
use crate::support::*;

#[test]
fn a_failed_batch_sync_ends_the_server_with_code_4() {
    for fault in ["EIO", "ENOSPC"] {
        a_failing_sync_ends_the_server("batch", &batch_of(1, 5, 1), fault);
    }
}

#[test]
fn a_failed_end_sync_ends_the_server_with_code_4() {
    a_failing_sync_ends_the_server("end", &end(1), "EIO");
}

fn a_failing_sync_ends_the_server(durability: &str, message: &[u8], fault: &str) {
    let mut server = Setup::new(2).set("DURABILITY", durability).set("SHUTDOWN_GRACE", FOREVER).start();
    let (mut victim, child) = server.claim_and_find_child(1);
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
    let (bets, has_ended, _) = retry.tally(1);
    assert_eq!((bets, has_ended), (again.rows().iter().filter(|row| row.starts_with("1,")).count() as u64, false));
    retry.send(&end(1));
    assert_eq!(retry.ack(), 0);
    again.stop();
}

#[test]
fn a_failed_sync_is_marked_beside_a_taken_data_lock() {
    let mut server = Setup::new(2).set("DURABILITY", "batch").set("SHUTDOWN_GRACE", FOREVER).start();
    let (mut victim, child) = server.claim_and_find_child(1);
    let Some(_strace) = Strace::attach(child, &["-e", "inject=fdatasync:error=EIO"]) else { return };
    let books = File::open(server.path("books")).unwrap();
    books.lock().unwrap();
    assert_eq!(victim.send(&count(1)).rest_or_reset(), b"");
    assert_eq!(server.wait().code(), Some(4));
    let marked = books::Books::read(&server.path("books"));
    assert!(marked.0[books::MARK].iter().all(|&byte| byte != 0));
}

#[test]
fn a_failed_sync_that_cannot_be_marked_ends_the_server() {
    let mut server = Setup::new(2).set("DURABILITY", "batch").set("SHUTDOWN_GRACE", FOREVER).start();
    let (mut victim, child) = server.claim_and_find_child(1);
    // A file system that has become read-only.
    let unwritable = ["-e", "inject=pwrite64:error=EROFS"];
    let failing = [&unwritable[..], &["-e", "inject=fdatasync:error=EIO"]].concat();
    let Some(_child) = Strace::attach(child, &failing) else { return };
    let Some(_parent) = Strace::attach(server.pid(), &unwritable) else { return };
    assert_eq!(victim.send(&count(1)).rest_or_reset(), b"");
    assert_eq!(server.wait().code(), Some(4));
}

#[test]
fn early_writes_are_only_for_level_end_and_may_fail() {
    // What the server writes early, in bytes.
    const BLOCK: usize = 4 << 20;
    for (durability, calls) in [("process", 0), ("end", 1), ("batch", 0)] {
        let server = Setup::new(1).set("DURABILITY", durability).start();
        let (mut client, child) = server.claim_and_find_child(1);
        let Some(strace) = Strace::attach(child, &["-e", "inject=sync_file_range:error=EIO"]) else { return };
        let batch = batch_of(1, 255, WINNING);
        let mut batches = 0;
        while batches * 255 * ROW as usize <= BLOCK {
            assert_eq!(client.send(&batch).ack(), 0);
            batches += 1;
        }
        client.send(&end(1));
        assert_eq!(client.ack(), 0);
        drop(client);
        eventually("the child has ended", || !is_alive(child));
        let called = fs::read_to_string(strace.trace()).unwrap().matches("sync_file_range(").count();
        assert_eq!((called, server.rows().len()), (calls, batches * 255), "{durability}");
        server.stop();
    }
}

#[test]
fn after_a_failed_sync_the_next_start_doubts_the_books() {
    // The disk has only the first row of the batch. The cache had all of it, and so the books count it.
    let (kept, len) = (4 * ROW, 8 * ROW);
    let zeros = vec![0; (len - kept) as usize];
    after_a_failed_sync(|bets| bets.write_all_at(&zeros, kept).unwrap(), kept);
}

#[test]
fn after_a_failed_sync_rows_past_the_books_are_not_bets() {
    let foreign = "1,Ana,Paz,0,1999-03-17,1\r\n".as_bytes();
    after_a_failed_sync(|bets| bets.write_all_at(foreign, 8 * ROW).unwrap(), 8 * ROW);
}

/// Stores eight bets of agency 1. The sync of the last five fails, so they are not acknowledged. Then `happens` changes
/// the file, and the next start must keep `kept` bytes.
fn after_a_failed_sync(happens: impl FnOnce(&File), kept: u64) {
    let mut server = Setup::new(2).set("DURABILITY", "batch").start();
    let (mut victim, child) = server.claim_and_find_child(1);
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
    assert_eq!(retry.tally(1).0, kept / ROW);
    retry.send(&batch_of(1, 1, 1));
    assert_eq!(retry.ack(), 0);
    assert_eq!(again.rows().len() as u64, kept / ROW + 1);
    again.stop();
}

#[test]
fn an_unsynced_end_is_synced_before_it_is_reported() {
    for question in [count(1), end(1)] {
        let mut server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
        let (mut victim, child) = server.claim_and_find_child(1);
        let draw = server.path("draw");
        let at_the_sync = |fault| ["-P", draw.to_str().unwrap(), "-e", fault];
        let Some(_strace) = Strace::attach(child, &at_the_sync("inject=fdatasync:signal=KILL")) else { return };
        assert_eq!(victim.send(&end(1)).rest_or_reset(), b"");
        server.await_childless();

        let mut asking = server.connect();
        eventually("a child", || server.children().len() == 1);
        let Some(_strace) = Strace::attach(server.children()[0], &at_the_sync("inject=fdatasync:error=EIO")) else {
            return;
        };
        let answer = asking.send(&question).0.read(&mut [0]);
        assert!(!matches!(answer, Ok(1)), "told of an end that a power cut may take");
        assert_eq!(server.wait().code(), Some(4));
    }
}

#[test]
fn a_result_found_at_start_is_synced_before_it_is_reported() {
    let server = Server::start(1);
    let mut conn = server.connect();
    conn.send(&batch_of(1, 3, WINNING)).send(&end(1)).send(&ask(1));
    assert_eq!(([conn.ack(), conn.ack()], conn.winners()), ([0, 0], Some(vec![0, 1, 2])));
    let (_, setup) = server.stop_and_keep();
    let (files, draw) = (File::open(setup.path("bets.csv")).unwrap(), setup.path("draw"));
    files.lock().unwrap();
    let mut again = setup.spawn();
    again.await_log("action: lock | result: in_progress");
    let fault = ["-P", draw.to_str().unwrap(), "-e", "inject=fdatasync:error=EIO"];
    let Some(_strace) = Strace::attach(again.pid(), &fault) else { return };
    drop(files);
    assert_eq!(again.wait().code(), Some(4), "served from a result that a power cut may take");
}

#[test]
fn a_failed_draw_sync_ends_the_server_with_code_4() {
    // At this level only the draw syncs: first the bets, then the ends and the result, at last the books.
    for file in ["bets.csv", "draw", "books"] {
        a_draw_ends_the_server_that_cannot_sync(file);
    }
}

fn a_draw_ends_the_server_that_cannot_sync(file: &str) {
    let mut server = Setup::new(1).set("DURABILITY", "process").start();
    let path = server.path(file);
    let fault = ["-f", "-P", path.to_str().unwrap(), "-e", "inject=fdatasync:error=EIO"];
    let Some(strace) = Strace::attach(server.pid(), &fault) else { return };
    let mut conn = server.connect();
    conn.deliver(1, 3, WINNING);
    assert_eq!(server.wait().code(), Some(4));
    drop(strace);
    assert!(!server.log().contains(SORTEO));
    assert!([&b""[..], &[2, 7]].contains(&&*conn.rest_or_reset()));
    let again = server.kill().start();
    let mut asking = again.connect();
    asking.send(&ask(1));
    assert_eq!(asking.winners(), Some(vec![0, 1, 2]));
    // When the books are synced, the draw is held already: the next server only announces it.
    assert_eq!(again.stop().matches(SORTEO).count(), usize::from(file != "books"));
}

#[test]
fn a_draw_syncs_bets_and_ends_before_its_result() {
    let server = Setup::new(1).set("DURABILITY", "process").start();
    // The session is older than strace, and not traced.
    let mut conn = server.claim(1);
    let paths = ["bets.csv", "draw", "books"].map(|name| server.path(name));
    let [bets, draw, books] = [&paths[0], &paths[1], &paths[2]].map(|path| path.to_str().unwrap());
    let mut options = vec!["-f", "-y", "-e", "trace=fdatasync,pwrite64"];
    options.extend(["-P", bets, "-P", draw, "-P", books]);
    let Some(strace) = Strace::attach(server.pid(), &options) else { return };
    conn.deliver(1, 3, WINNING);
    assert_eq!(conn.winners(), Some(vec![0, 1, 2]));
    let name = |line: &str| ["bets.csv", "draw", "books"].into_iter().find(|name| line.contains(&format!("/{name}>")));
    let call = |line: &str| ["fdatasync(", "pwrite64("].into_iter().find(|call| line.contains(call));
    let step = |line: &str| Some(format!("{}{})", call(line)?, name(line)?));
    let steps = || fs::read_to_string(strace.trace()).unwrap().lines().filter_map(step).collect::<Vec<_>>();
    eventually("the trace is written", || steps().last().is_some_and(|step| step == "fdatasync(books)"));
    let expected = [
        "fdatasync(bets.csv)",
        "pwrite64(draw)", // the place of the result
        "fdatasync(draw)",
        "pwrite64(draw)", // the result
        "fdatasync(draw)",
        "pwrite64(draw)", // the record that the draw is held
        "fdatasync(draw)",
        "pwrite64(books)",
        "fdatasync(books)",
    ];
    assert_eq!(steps(), expected);
    server.stop();
}

#[test]
fn an_end_syncs_bets_before_it_is_written_and_itself_after() {
    let server = Server::start(1);
    let (mut conn, child) = server.claim_and_find_child(1);
    assert_eq!(conn.send(&batch_of(1, 3, 1)).ack(), 0);
    let Some(strace) = Strace::attach(child, &["-y", "-e", "trace=fdatasync,pwrite64,sendto"]) else { return };
    assert_eq!(conn.send(&end(1)).ack(), 0);
    let step = |line: &str| {
        let call = line.split('(').next()?;
        let file = ["bets.csv", "draw", "books"].into_iter().find(|name| line.contains(&format!("/{name}>")));
        Some(format!("{call} {}", file.unwrap_or_default()))
    };
    let steps: Vec<_> = fs::read_to_string(strace.trace()).unwrap().lines().filter_map(step).collect();
    let expected =
        ["pwrite64 books", "fdatasync bets.csv", "pwrite64 draw", "fdatasync draw", "pwrite64 books", "sendto "];
    assert_eq!(steps[..6], expected, "{steps:?}");
    server.stop();
}

#[test]
fn with_durability_process_only_the_draw_syncs() {
    let server = Setup::new(2).set("DURABILITY", "process").start();
    let (mut conn, child) = server.claim_and_find_child(1);
    let Some(_strace) = Strace::attach(child, &["-e", "inject=fdatasync,fsync:error=EIO"]) else { return };
    conn.send(&batch_of(1, 5, 1)).send(&end(1));
    assert_eq!([conn.ack(), conn.ack()], [0, 0]);
    server.stop();
}
