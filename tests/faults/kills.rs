//! A process is killed, panics or gets no memory.

use std::os::unix::process::ExitStatusExt;

use crate::scene::*;
use crate::strace::*;
use crate::support::*;

#[test]
fn a_kill_after_the_header_leaves_no_bet() {
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
fn a_kill_after_the_whole_message_leaves_no_bet() {
    let mut scene = Scene::new();
    let Some(_strace) = Strace::attach(scene.child, &["-e", "inject=flock:signal=KILL:when=1"]) else { return };
    assert_eq!(scene.victim.send(&batch_of(1, 5, 1)).rest_or_reset(), b"");
    assert_eq!(scene.bytes(), 2 * ROW);
    scene.assert_recovered(2);
}

#[test]
fn a_kill_amid_the_write_leaves_no_bet_and_its_tail_is_cut_off() {
    let mut scene = Scene::new();
    let torn = 2 * ROW + 2 * ROW + ROW / 2;
    // The first write is cut short at the limit. The second one, of the rest, kills the child.
    if !limit(scene.child, &format!("--fsize={}:", scene.base + torn)) {
        return;
    }
    let bets = scene.server.bets_path();
    let kill = ["-P", bets.to_str().unwrap(), "-e", "inject=write:signal=KILL:when=2"];
    let Some(_strace) = Strace::attach(scene.child, &kill) else { return };
    assert_eq!(scene.victim.send(&batch_of(1, 5, 1)).rest_or_reset(), b"");
    assert_eq!(scene.bytes(), torn);
    assert!(scene.assert_recovered(2).contains("action: descartar_cola | result: in_progress | bytes: 65 "));
}

#[test]
fn a_kill_between_rows_and_slot_leaves_no_bet() {
    let mut scene = Scene::new();
    let books = scene.server.path("books");
    let kill = ["-P", books.to_str().unwrap(), "-e", "inject=pwrite64:signal=KILL:when=1"];
    let Some(_strace) = Strace::attach(scene.child, &kill) else { return };
    assert_eq!(scene.victim.send(&batch_of(1, 5, WINNING)).rest_or_reset(), b"");
    assert_eq!(scene.bytes(), 2 * ROW + 5 * (ROW + 3));
    let log = scene.assert_recovered(2);
    assert!(log.contains("action: descartar_cola | result: in_progress | bytes: 145 "), "{log}");
}

#[test]
fn a_kill_between_slot_and_head_keeps_the_batch() {
    let mut scene = Scene::new();
    let books = scene.server.path("books");
    let kill = ["-P", books.to_str().unwrap(), "-e", "inject=pwrite64:signal=KILL:when=2"];
    let Some(_strace) = Strace::attach(scene.child, &kill) else { return };
    assert_eq!(scene.victim.send(&batch_of(1, 5, 1)).rest_or_reset(), b"");
    assert_eq!(scene.bytes(), 7 * ROW);
    assert!(!scene.assert_recovered(7).contains("descartar_cola"));
}

#[test]
fn a_kill_between_slot_and_head_keeps_the_batch_at_a_start() {
    let mut scene = Scene::new();
    let books = scene.server.path("books");
    let kill = ["-P", books.to_str().unwrap(), "-e", "inject=pwrite64:signal=KILL:when=2"];
    let Some(_strace) = Strace::attach(scene.child, &kill) else { return };
    assert_eq!(scene.victim.send(&batch_of(1, 5, 1)).rest_or_reset(), b"");
    scene.server = scene.server.kill().start();
    assert!(!scene.server.log().contains("apartar_cola"), "{}", scene.server.log());
    scene.assert_recovered(7);
}

#[test]
fn a_kill_before_the_acknowledgement_keeps_the_batch() {
    let mut scene = Scene::new();
    let Some(_strace) = Strace::attach(scene.child, &["-e", "inject=sendto:signal=KILL:when=1"]) else { return };
    assert_eq!(scene.victim.send(&batch_of(1, 5, 1)).rest_or_reset(), b"");
    assert_eq!(scene.bytes(), 7 * ROW);
    scene.assert_recovered(7);
}

#[test]
fn a_kill_before_the_report_keeps_the_end() {
    let server = Server::start(1);
    let (mut victim, child) = server.claim_and_find_child(1);
    let Some(strace) = Strace::attach(child, &["-e", "inject=sendto:signal=KILL:when=1"]) else { return };
    assert_eq!(victim.send(&end(1)).rest_or_reset(), b"");
    drop(strace);
    let mut asking = server.connect();
    asking.send(&ask(1));
    assert_eq!(asking.winners(), Some(vec![]));
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

#[test]
fn a_kill_amid_an_end_keeps_it_at_a_start() {
    // After the slot is closed: its sync of the bets, the record of the end, its sync.
    for (file, call) in [("bets.csv", "fdatasync"), ("draw", "pwrite64"), ("draw", "fdatasync")] {
        let server = Server::start(2);
        let (mut victim, child) = server.claim_and_find_child(2);
        assert_eq!(victim.send(&batch_of(2, 3, 1)).ack(), 0);
        let (path, fault) = (server.path(file), format!("inject={call}:signal=KILL:when=1"));
        let Some(_strace) = Strace::attach(child, &["-P", path.to_str().unwrap(), "-e", &fault]) else { return };
        assert_eq!(victim.send(&end(2)).rest_or_reset(), b"");
        let again = server.kill().start();
        assert!(again.tally(2).1 && !again.tally(1).1, "{call} {file}");
        assert_eq!(again.store(&batch_of(2, 1, 1)), 3, "{call} {file}");
        again.stop();
    }
}

#[test]
fn a_killed_draw_process_is_replaced_by_another() {
    // Its writes to `draw`: the place of the result, the result, the record that the draw is held.
    for killed_at in 1..=3 {
        let server = Server::start(1);
        let draw = server.path("draw");
        // The session is older than strace, and not traced: it writes the end.
        let mut conn = server.claim(1);
        let fault = format!("inject=pwrite64:signal=KILL:when={killed_at}");
        let kill = ["-f", "-P", draw.to_str().unwrap(), "-e", &fault];
        let Some(strace) = Strace::attach(server.pid(), &kill) else { return };
        conn.deliver(1, 3, WINNING);
        eventually("two attempts", || server.log().matches("action: sorteo | result: in_progress").count() >= 2);
        assert!(!server.log().contains(SORTEO));
        drop(strace);
        assert_eq!(conn.winners(), Some(vec![0, 1, 2]), "at {killed_at}");
        assert_eq!(server.stop().matches(SORTEO).count(), 1);
    }
}

#[test]
fn a_panic_is_logged_and_affects_only_its_own_child() {
    let mut scene = Scene::new();
    let bets = scene.server.bets_path();
    // The call claims to have written more bytes than there are: the standard library panics.
    let lie = ["-P", bets.to_str().unwrap(), "-e", "inject=write:retval=1000000:when=1"];
    let Some(_strace) = Strace::attach(scene.child, &lie) else { return };
    assert_eq!(scene.victim.send(&batch_of(1, 5, 1)).rest_or_reset(), b"");
    let child = scene.child;
    let log = scene.assert_recovered(2);
    assert!(log.contains("CRITICAL action: panic | result: fail | error: "), "{log}");
    let line = format!("action: child_exit | result: fail | pid: {child} | ip: 127.0.0.1 | agencia: 1 | causa: panic");
    assert_eq!(log.matches(&line).count(), 1, "{log}");
}

#[test]
fn a_lack_of_memory_kills_only_its_own_child() {
    const WINNERS: u32 = 20_000;
    let setup = Setup::new(1);
    let rows = rows(1, WINNERS, WINNING);
    write_file(&setup.path("bets.csv"), &rows);
    let mut server = setup.start();
    assert_eq!(server.connect().send(&end(1)).ack(), 0);
    server.await_log(SORTEO);
    server.await_childless();
    let (mut victim, child) = server.claim_and_find_child(1);
    if !limit(child, "--as=1:") {
        return;
    }
    assert_eq!(victim.send(&ask(1)).rest_or_reset(), b"");
    assert_eq!(server.connect().send(&ask(1)).winners().map(|won| won.len()), Some(WINNERS as usize));
    server.await_childless();
    assert_eq!(server.bets(), rows.as_bytes());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    // The log also holds a message of the allocator, since standard error goes to the same file here.
    let log = server.log();
    assert!(log.contains(&format!("action: child_exit | result: fail | pid: {child} | ")), "{log}");
}

#[test]
fn an_interrupted_new_draw_keeps_the_old_result() {
    if !strace_starts() {
        return;
    }
    // Three files get a second name. Then the old bets are replaced.
    let links = (1..=3).map(|number| format!("inject=linkat:signal=KILL:when={number}"));
    for fault in links.chain(["inject=rename:signal=KILL:when=1".to_owned()]) {
        let again = interrupted_new_draw(&fault).set("LOTTERY_WINNER_NUMBER", 1).start();
        assert_eq!(again.connect().send(&ask(1)).winners(), Some(vec![0, 1]), "{fault}");
        assert_eq!(again.stop().matches(SORTEO).count(), 1);
    }
}

#[test]
fn a_new_draw_interrupted_at_a_removal_can_be_repeated() {
    if !strace_starts() {
        return;
    }
    // First `bets.csv.new`, which is not there. After the bets are replaced: four names, `books`, and `draw`.
    for number in 2..=6 {
        let mut refused = interrupted_new_draw(&format!("inject=unlink:signal=KILL:when={number}")).spawn();
        assert_eq!(refused.wait().code(), Some(4), "at {number}: {}", refused.own_log());
        let again = refused.kill().arg("--new-draw").start();
        assert_eq!(again.tally(1), (0, false, 0), "at {number}");
        let names = std::fs::read_dir(again.path("")).unwrap().map(|entry| entry.unwrap().path());
        let aside = |name: &str| names.filter(|path| path.to_str().unwrap().contains(&format!("/{name}."))).collect();
        let aside: Vec<_> = aside("bets.csv");
        assert!(aside.iter().any(|path| std::fs::read(path).unwrap() == rows(1, 2, WINNING).as_bytes()), "{aside:?}");
        again.stop();
    }
}

/// The files of a held draw, of which `--new-draw` was killed by `fault`.
fn interrupted_new_draw(fault: &str) -> Setup {
    let server = Server::start(1);
    let mut conn = server.connect();
    conn.deliver(1, 2, WINNING);
    assert_eq!(conn.winners(), Some(vec![0, 1]));
    let strace = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", fault];
    let mut interrupted = server.kill().arg("--new-draw").under(&strace).spawn();
    assert_eq!(interrupted.wait().signal(), Some(9), "{fault}: {}", interrupted.own_log());
    interrupted.kill().plain()
}

#[test]
fn a_draw_that_dies_before_its_sync_is_held_by_the_next_server() {
    // At this level only the draw syncs: the ends, and then the result.
    for killed_at in [1, 2] {
        let mut server = Setup::new(1).set("DURABILITY", "process").start();
        let (draw, fault) = (server.path("draw"), format!("inject=fdatasync:signal=KILL:when={killed_at}"));
        let fault = ["-f", "-P", draw.to_str().unwrap(), "-e", &fault];
        let Some(strace) = Strace::attach(server.pid(), &fault) else { return };
        let mut conn = server.connect();
        conn.send(&batch_of(1, 3, WINNING)).send(&end(1));
        assert_eq!([conn.ack(), conn.ack()], [0, 0]);
        server.await_log("action: sorteo | result: in_progress | error: the process that held it ended");
        // SIGTERM arrives before the next attempt, or after it, which is killed as well.
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0));
        drop(strace);
        let again = server.kill().start();
        let mut asking = again.connect();
        asking.send(&ask(1));
        assert_eq!(asking.winners(), Some(vec![0, 1, 2]), "at {killed_at}");
        assert_eq!(again.stop().matches(SORTEO).count(), 1);
    }
}

#[test]
fn a_held_draw_whose_process_dies_is_announced_by_the_next_one() {
    // The process dies at its sync of the record that the draw is held, or in the last steps, which change `books`.
    for (file, fault) in [
        ("draw", "inject=fdatasync:signal=KILL:when=3"),
        ("books", "inject=pwrite64:signal=KILL:when=1"),
        ("books", "inject=fdatasync:signal=KILL:when=1"),
    ] {
        let server = Setup::new(1).set("DURABILITY", "process").start();
        let mut conn = server.claim(1);
        let path = server.path(file);
        let Some(strace) = Strace::attach(server.pid(), &["-f", "-P", path.to_str().unwrap(), "-e", fault]) else {
            return;
        };
        conn.deliver(1, 3, WINNING);
        server.await_log("action: sorteo | result: in_progress | error: the process that held it ended");
        drop(strace);
        assert_eq!(conn.winners(), Some(vec![0, 1, 2]), "{file}: {fault}");
        assert_eq!(server.stop().matches(SORTEO).count(), 1);
    }
}
