//! Writes that fail, are cut short or find no room.

use std::time::{Duration, Instant};

use crate::scene::*;
use crate::strace::*;
use crate::support::*;

#[test]
fn over_the_file_size_limit_batches_get_code_4() {
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

    // Now the limit holds for every child, as a full disk does.
    limit(scene.server.pid(), &format!("--fsize={}:", scene.base + torn));
    for _ in 0..3 {
        let mut refused = scene.server.connect();
        refused.send(&batch_of(1, 9, 1));
        assert_eq!((refused.ack(), refused.rest()), (4, vec![]));
        drop(refused);
        let mut asking = scene.server.connect();
        asking.send(&count(1));
        assert_eq!(asking.tally(1).0, 2);
    }
    limit(scene.server.pid(), "--fsize=unlimited:");
    scene.assert_recovered(2);
}

#[test]
fn without_room_no_batch_of_a_group_is_stored() {
    let mut scene = Scene::new();
    if !limit(scene.child, &format!("--fsize={}:", scene.base + 2 * ROW + 5 * ROW)) {
        return;
    }
    let batches = [batch_of(1, 3, 1), batch_of(1, 1, 1), batch_of(1, 4, 1)].concat();
    stop_process(scene.child);
    scene.victim.send(&batches);
    let unread = || scene.server.end_of(&scene.victim).map_or(0, |end| end.unread);
    eventually("all has arrived", || unread() == batches.len() as u64);
    send_signal(scene.child, "CONT");
    // The first batch alone would have found room.
    assert_eq!((scene.victim.ack(), scene.victim.rest()), (4, vec![]));
    assert_eq!(scene.bytes(), 2 * ROW);
    scene.server.await_log("action: apuesta_recibida | result: fail | cantidad: 3 | ip: 127.0.0.1 | codigo: 4");
    scene.assert_recovered(2);
}

#[test]
fn an_end_without_room_gets_code_4_and_can_be_sent_again() {
    let server = Server::start(1);
    let (mut conn, child) = server.claim_and_find_child(1);
    let draw = server.path("draw");
    let no_room = ["-P", draw.to_str().unwrap(), "-e", "inject=pwrite64:error=ENOSPC:when=1"];
    let Some(_strace) = Strace::attach(child, &no_room) else { return };
    conn.send(&end(1));
    assert_eq!((conn.ack(), conn.rest()), (4, vec![]));
    drop(conn);
    let mut retry = server.connect();
    // The agency was closed before the end found no room. Whoever meets a closed agency completes its end.
    retry.send(&count(1));
    assert_eq!(retry.tally(1), (0, true, 0));
    retry.send(&end(1)).send(&ask(1));
    assert_eq!((retry.ack(), retry.winners()), (0, Some(vec![])));
    server.stop();
}

#[test]
fn a_draw_without_room_is_retried_with_growing_pauses() {
    let server = Server::start(1);
    let draw = server.path("draw");
    // The session is older than strace, and not traced: it writes the end.
    let mut conn = server.claim(1);
    let no_room = ["-f", "-P", draw.to_str().unwrap(), "-e", "inject=pwrite64:error=ENOSPC"];
    let Some(strace) = Strace::attach(server.pid(), &no_room) else { return };
    let began = Instant::now();
    conn.deliver(1, 3, WINNING);
    // Each failure is logged twice: by the process that failed and by the parent.
    let attempts = || server.log().matches("action: sorteo | result: in_progress").count() / 2;
    eventually("four attempts", || attempts() >= 4);
    // The first pause is 100 ms; each later one is twice as long as the one before.
    assert!(began.elapsed() >= Duration::from_millis(700), "{} attempts in {:?}", attempts(), began.elapsed());
    assert!(conn.is_silent_for(A_WHILE));
    drop(strace);
    assert_eq!(conn.winners(), Some(vec![0, 1, 2]));
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

#[test]
fn a_failed_write_gets_code_4_and_stores_nothing() {
    for (file, call) in
        [("bets.csv", "write:error=EIO"), ("bets.csv", "write:error=ENOSPC"), ("books", "pwrite64:error=EIO")]
    {
        let mut scene = Scene::new();
        let path = scene.server.path(file);
        let fault = ["-P", path.to_str().unwrap(), "-e", &format!("inject={call}:when=1")];
        let Some(_strace) = Strace::attach(scene.child, &fault) else { return };
        scene.victim.send(&batch_of(1, 5, 1)).send(&batch_of(1, 1, 1));
        assert_eq!((scene.victim.ack(), scene.victim.rest()), (4, vec![]), "{call}: nothing after it is answered");
        assert_eq!(scene.bytes(), 2 * ROW, "{call}");
        scene.assert_recovered(2);
    }
}

#[test]
fn a_head_that_cannot_be_written_affects_no_batch() {
    let mut scene = Scene::new();
    let books = scene.server.path("books");
    // The slot is written, which commits the batch, and the head is not.
    let fault = ["-P", books.to_str().unwrap(), "-e", "inject=pwrite64:error=EIO:when=2"];
    let Some(_strace) = Strace::attach(scene.child, &fault) else { return };
    assert_eq!([1, 1].map(|bets| scene.victim.send(&batch_of(1, bets, 1)).ack()), [0, 0]);
    assert_eq!(scene.bytes(), 4 * ROW);
    scene.assert_recovered(4);
}

#[test]
fn the_next_writer_cuts_off_a_torn_write() {
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
