//! Many agencies at once.

use std::collections::BTreeSet;
use std::fs;

use crate::scene::*;
use crate::support::*;

#[test]
fn five_agencies_on_one_cpu_get_their_own_winners() {
    lottery_on_one_cpu(5);
}

#[test]
fn sixteen_agencies_on_one_cpu_get_their_own_winners() {
    lottery_on_one_cpu(16);
}

#[test]
fn two_hundred_agencies_on_one_cpu_get_their_own_winners() {
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
    server.await_childless();
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

/// The rows are `batches` runs of `len` rows, each run of one agency.
fn assert_whole_batches(rows: &[String], len: usize, batches: usize) {
    assert_eq!(rows.len(), len * batches);
    for run in rows.chunks(len) {
        let agencies: BTreeSet<_> = run.iter().map(|row| row.split(',').next().unwrap()).collect();
        assert_eq!(agencies.len(), 1, "mixed: {run:?}");
        assert!(run.iter().all(|row| row.split(',').count() == 6), "torn: {run:?}");
    }
}

#[test]
fn a_child_killed_mid_batch_affects_only_its_own_client() {
    let server = Server::start(3);
    let (mut killed, victim) = server.connect_and_find_child();
    killed.send(&batch_of(1, 2, WINNING));
    assert_eq!(killed.ack(), 0);
    let mut others = [server.connect(), server.connect()];
    let whole = batch_of(1, 50, WINNING);
    killed.send(&whole[..whole.len() / 2]);
    server.await_read(&killed);
    send_signal(victim, "KILL");
    assert_eq!(killed.rest_or_reset(), b"");
    let mut retry = server.connect();
    retry.send(&count(1));
    assert_eq!(retry.tally(1).0, 2);
    retry.send(&whole).send(&end(1)).send(&ask(1));
    assert_eq!([retry.ack(), retry.ack()], [0, 0]);
    for (agency, conn) in (2..).zip(&mut others) {
        conn.deliver(agency, 5, 1);
    }
    assert_eq!(retry.winners().unwrap().len(), 52);
    assert!(others.iter_mut().all(|conn| conn.winners() == Some(vec![])));
    assert_eq!(server.rows().len(), 52 + 2 * 5);
    let line =
        format!("action: child_exit | result: fail | pid: {victim} | ip: 127.0.0.1 | agencia: 1 | causa: SIGKILL");
    assert_eq!(server.stop().matches(&line).count(), 1);
}
