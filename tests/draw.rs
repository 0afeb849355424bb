//! The draw from outside: ends, queries that wait, claims, and the answers to each.

#![allow(clippy::unwrap_used)] // clippy.toml's allowance reaches #[test] functions only

mod support;

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use support::*;

/// A shorter [`QUIET`], for tests in which another connection waits with a deadline.
const SHORT: Duration = Duration::from_millis(50);
/// How long a claim waits for its agency.
const CLAIM_PATIENCE: Duration = Duration::from_secs(1);

/// A new connection that has ended `agency`.
#[track_caller]
fn ended(server: &Server, agency: u32) -> Conn {
    let mut client = server.connect();
    assert_eq!(client.send(&end(agency)).ack(), 0, "end of agency {agency}");
    client
}

/// A new connection that waits for the draw.
#[track_caller]
fn waiting(server: &Server, agency: u32) -> Conn {
    let mut client = server.connect();
    assert!(client.send(&ask(agency)).is_silent_for(QUIET), "the query of agency {agency} is answered");
    client
}

/// Of two agencies, only agency 2 has not ended: a query of `agency` waits until it has. Stops the server.
#[track_caller]
fn assert_draw_waits_for_agency_2(server: Server, agency: u32) {
    let mut query = waiting(&server, agency);
    assert!(!server.log().contains(SORTEO));
    drop(ended(&server, 2));
    assert_eq!(query.winners(), Some(vec![]));
    server.stop();
}

/// Winning bets with these documents.
fn won(documents: &[u32]) -> Vec<Bet<'static>> {
    documents.iter().map(|&document| Bet { document, number: WINNING, ..Bet::default() }).collect()
}

/// Stops only the server's parent: sessions continue.
fn freeze_parent(server: &Server) {
    stop_process(server.pid());
}

// ---- who has ended ----

#[test]
fn after_all_ends_each_agency_gets_its_own_winners() {
    let server = Server::start(3);
    let bets = [won(&[0, 7, 7, 3]), won(&[u32::MAX]), vec![Bet::default()]];
    let mut agencies = [(); 3].map(|()| server.connect());
    for ((agency, client), bets) in (1..).zip(&mut agencies).zip(&bets) {
        client.send(&batch(agency, bets)).send(&end(agency)).send(&ask(agency));
        assert_eq!([client.ack(), client.ack()], [0, 0]);
    }
    // In stored order, with repetitions.
    let expected = [vec![0, 7, 7, 3], vec![u32::MAX], vec![]];
    assert_eq!(agencies.each_mut().map(|client| client.winners().unwrap()), expected);
    for (agency, expected) in (1..).zip(expected) {
        assert_eq!(server.connect().send(&ask(agency)).winners(), Some(expected), "asked again, by another connection");
    }
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

#[test]
fn bets_of_every_form_win_with_the_configured_number() {
    let server = Setup::new(2).set("LOTTERY_WINNER_NUMBER", 42).start();
    let bet = |document, number| Bet { document, number, ..Bet::default() };
    assert_eq!(server.connect().send(&bet(1, 42).single(1)).rest(), [0]);
    assert_eq!(server.connect().send(&untyped_batch(1, &[bet(2, 42), bet(3, 421), bet(4, 4)])).rest(), [0]);
    assert_eq!(server.connect().send(&batch(1, &[bet(5, 42), bet(6, WINNING)])).ack(), 0);
    assert_eq!(server.connect().send(&bet(9, 42).single(2)).rest(), [0]);
    drop(ended(&server, 2));
    assert_eq!(ended(&server, 1).send(&ask(1)).winners(), Some(vec![1, 2, 5]));
    assert_eq!(server.connect().send(&ask(2)).winners(), Some(vec![9]));
    server.stop();
}

#[test]
fn the_draw_is_held_without_winners_or_bets() {
    let server = Server::start(2);
    let mut one = ended(&server, 1);
    one.send(&ask(1));
    assert_eq!(ended(&server, 2).send(&ask(2)).winners(), Some(vec![]));
    assert_eq!(one.winners(), Some(vec![]));
    server.stop();

    let server = Server::start(1);
    let mut client = server.connect();
    client.send(&batch_of(1, 100, WINNING - 1)).send(&end(1)).send(&ask(1));
    assert_eq!([client.ack(), client.ack()], [0, 0]);
    assert_eq!(client.winners(), Some(vec![]));
    server.stop();
}

#[test]
fn an_agency_that_reconnects_counts_once() {
    let server = Server::start(3);
    for agency in 1..=3 {
        let mut client = server.connect();
        assert_eq!(client.send(&batch(agency, &won(&[agency]))).ack(), 0);
        client.send(&batch_of(agency, 5, 1)[..50]);
        client.reset();
        assert!(!server.log().contains(SORTEO));
        let mut client = server.connect();
        client.send(&batch(agency, &won(&[agency * 10]))).send(&end(agency));
        assert_eq!([client.ack(), client.ack()], [0, 0]);
    }
    for agency in 1..=3 {
        assert_eq!(server.connect().send(&ask(agency)).winners(), Some(vec![agency, agency * 10]));
    }
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

#[test]
fn connections_that_send_nothing_end_no_agency() {
    let server = Server::start(2);
    for _ in 0..5 {
        drop(server.connect());
        server.connect().send(&[1]);
        assert_eq!(server.connect().send(b"ping\n").rest(), b"ping\n");
    }
    drop(ended(&server, 1));
    server.await_childless();
    assert_draw_waits_for_agency_2(server, 1);
}

#[test]
fn repeated_ends_are_acknowledged_and_count_once() {
    let server = Server::start(2);
    let mut client = server.connect();
    client.send(&end(1).repeat(5));
    assert_eq!([(); 5].map(|()| client.ack()), [0; 5]);
    drop(client);
    for _ in 0..3 {
        drop(ended(&server, 1));
    }
    assert_draw_waits_for_agency_2(server, 2);
}

#[test]
fn ends_of_unknown_agencies_are_refused_and_not_counted() {
    let server = Server::start(2);
    drop(ended(&server, 1));
    for agency in [0, 3, u32::MAX] {
        assert_eq!(server.connect().send(&end(agency)).rest(), [2, 2], "agency {agency}");
    }
    assert_draw_waits_for_agency_2(server, 1);
}

#[test]
fn the_draw_waits_for_a_late_agency() {
    let server = Server::start(3);
    let mut early = [1, 2].map(|agency| {
        let mut client = server.connect();
        client.send(&batch(agency, &won(&[agency]))).send(&end(agency)).send(&ask(agency));
        assert_eq!([client.ack(), client.ack()], [0, 0]);
        client
    });
    for client in &mut early {
        assert!(client.is_silent_for(QUIET));
    }
    let mut late = server.connect();
    late.send(&batch(3, &won(&[8]))).send(&batch(3, &won(&[9]))).send(&end(3)).send(&ask(3));
    assert_eq!([late.ack(), late.ack(), late.ack()], [0, 0, 0]);
    assert_eq!(late.winners(), Some(vec![8, 9]));
    assert_eq!(early.each_mut().map(|client| client.winners()), [Some(vec![1]), Some(vec![2])]);
    server.stop();
}

#[test]
fn an_end_after_the_draw_is_acknowledged_and_changes_nothing() {
    let server = Server::start(1);
    let mut client = ended(&server, 1);
    assert_eq!(client.send(&ask(1)).winners(), Some(vec![]));
    assert_eq!(client.send(&end(1)).ack(), 0);
    drop(client);
    assert_eq!(ended(&server, 1).finish().rest(), b"");
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

#[test]
fn bets_after_the_end_or_the_draw_get_code_3() {
    let server = Server::start(2);
    let bet = Bet::default();
    assert_eq!(server.connect().send(&batch_of(1, 2, 1)).ack(), 0);
    let refused = |time: &str| {
        assert_eq!(server.connect().send(&batch_of(1, 1, WINNING)).rest(), [2, 3], "a typed batch {time}");
        assert_eq!(server.connect().send(&bet.single(1)).rest(), [3], "a single bet {time}");
        assert_eq!(server.connect().send(&untyped_batch(1, &[Bet::default()])).rest(), [3], "a batch {time}");
    };
    assert_eq!(ended(&server, 1).send(&batch_of(1, 1, WINNING)).rest(), [2, 3], "on the same connection");
    refused("after the end");
    assert_eq!(server.connect().send(&bet.single(2)).rest(), [0], "the other agency has not ended");
    let mut two = ended(&server, 2);
    assert_eq!(two.send(&ask(2)).winners(), Some(vec![]));
    assert_eq!(two.send(&batch_of(2, 1, WINNING)).rest(), [2, 3]);
    refused("after the draw");
    assert_eq!(server.rows().len(), 3);
    assert_eq!(server.connect().send(&ask(1)).winners(), Some(vec![]));
    server.stop();
}

#[test]
fn all_agencies_that_end_at_once_get_one_draw() {
    const AGENCIES: u32 = 5;
    for round in 0..25 {
        let server = Server::start(AGENCIES);
        let barrier = Barrier::new(AGENCIES as usize);
        thread::scope(|scope| {
            for agency in 1..=AGENCIES {
                let (server, barrier) = (&server, &barrier);
                scope.spawn(move || {
                    let mut client = server.connect();
                    assert_eq!(client.send(&batch(agency, &won(&[agency]))).ack(), 0);
                    barrier.wait();
                    client.send(&[end(agency), ask(agency)].concat());
                    assert_eq!(client.ack(), 0, "round {round}");
                    assert_eq!(client.winners(), Some(vec![agency]), "round {round}");
                });
            }
        });
        assert_eq!(server.stop().matches(SORTEO).count(), 1, "round {round}");
    }
}

#[test]
fn the_draw_is_logged_after_all_bets_and_before_any_answer() {
    for _ in 0..10 {
        let server = Server::start(2);
        let mut one = server.connect();
        one.deliver(1, 7, WINNING);
        let mut two = ended(&server, 2);
        two.send(&ask(2));
        one.take::<1>();
        let log = server.log();
        let sorteo = log.find(SORTEO).expect("winners came before the line");
        assert!(log.find("action: apuesta_recibida | result: success | cantidad: 7").unwrap() < sorteo);
        assert_eq!(two.winners(), Some(vec![]));
        server.stop();
    }
}

#[test]
fn every_bet_that_is_acknowledged_takes_part_in_the_draw() {
    for round in 0..5 {
        let server = Server::start(1);
        let (acknowledged, winners) = thread::scope(|scope| {
            let bettors = [0_u32, 1, 2, 3].map(|bettor| {
                let server = &server;
                scope.spawn(move || {
                    let bet = |n| Bet { document: bettor * 10_000 + n, number: WINNING, ..Bet::default() };
                    let answers = (0..).map(|n| (bet(n).document, server.connect().send(&bet(n).single(1)).rest()));
                    answers.take_while(|(_, code)| code == &[0]).map(|(document, _)| document).collect::<Vec<_>>()
                })
            });
            eventually("bets of all come in", || server.rows().len() > 8);
            let mut client = ended(&server, 1);
            let winners = client.send(&ask(1)).winners().unwrap();
            (bettors.map(|bettor| bettor.join().unwrap()).concat(), winners)
        });
        assert_eq!(BTreeSet::from_iter(winners), BTreeSet::from_iter(acknowledged), "round {round}");
        server.stop();
    }
}

// ---- waiting for the draw ----

#[test]
fn a_query_before_the_draw_waits_without_traffic_or_cpu() {
    let server = Server::start(2);
    let mut query = waiting(&server, 1);
    let processes = [vec![server.pid()], server.children()].concat();
    let cpu = || processes.iter().copied().map(cpu_ticks).sum::<u64>();
    let before = cpu();
    assert!(query.is_silent_for(QUIET * 4));
    assert!(cpu() - before < 10, "the server spins");
    drop(ended(&server, 1));
    drop(ended(&server, 2));
    assert_eq!(query.winners(), Some(vec![]));
    server.stop();
}

#[test]
fn a_query_waits_for_draw_wait_and_can_be_repeated() {
    let server = Setup::new(2).set("DRAW_WAIT", "0s").start();
    let mut client = server.connect();
    for _ in 0..3 {
        assert_eq!(client.send(&ask(1)).winners(), None);
    }
    drop(ended(&server, 1));
    drop(ended(&server, 2));
    server.await_log(SORTEO);
    assert_eq!(client.send(&ask(1)).winners(), Some(vec![]), "the same connection");
    server.stop();

    let server = Setup::new(2).set("DRAW_WAIT", "300ms").start();
    let mut client = server.connect();
    for _ in 0..2 {
        let asked = Instant::now();
        assert_eq!(client.send(&ask(1)).winners(), None);
        assert!(asked.elapsed() >= Duration::from_millis(300));
    }
    drop(ended(&server, 2));
    client.send(&end(1)).send(&ask(1));
    assert_eq!(client.ack(), 0);
    assert_eq!(client.winners(), Some(vec![]));
    server.stop();
}

#[test]
fn at_most_four_queries_of_an_agency_wait() {
    let server = Server::start(2);
    let [gone, mut three @ ..] = [(); 4].map(|()| waiting(&server, 1));
    assert_eq!(server.connect().send(&ask(1)).winners(), None, "the fifth");
    let mut other = waiting(&server, 2);
    gone.reset();
    eventually("its place is free", || {
        let mut next = server.connect();
        next.send(&ask(1));
        let waits = next.is_silent_for(QUIET);
        assert!(waits || next.winners().is_none());
        waits
    });
    drop(ended(&server, 1));
    drop(ended(&server, 2));
    for client in three.iter_mut().chain([&mut other]) {
        assert_eq!(client.winners(), Some(vec![]));
    }
    server.stop();
}

#[test]
fn with_client_amount_0_everyone_may_bet_and_no_draw_is_held() {
    let server = Server::start(0);
    for agency in [1, 7, u32::MAX] {
        let mut client = server.connect();
        client.send(&batch(agency, &won(&[3]))).send(&ask(agency)).send(&end(agency)).send(&ask(agency));
        assert_eq!(client.ack(), 0);
        assert_eq!(client.winners(), None);
        assert_eq!(client.ack(), 0);
        assert_eq!(client.winners(), None);
        assert_eq!(client.send(&batch(agency, &won(&[4]))).rest(), [2, 3], "it has ended all the same");
    }
    for message in [batch(0, &won(&[3])), end(0), ask(0), count(0)] {
        assert_eq!(server.connect().send(&message).rest(), [2, 2]);
    }
    assert_eq!(server.connect().send(&Bet::default().single(0)).rest(), [2]);
    assert_eq!(server.connect().send(&Bet::default().single(9)).rest(), [0]);
    assert_eq!(server.rows().len(), 4);
    assert!(!server.stop().contains("sorteo"));
}

// ---- winners of many ----

#[test]
fn a_slow_reader_gets_all_20000_winners() {
    let patience = Duration::from_secs(3);
    let server = Setup::new(1).set("LOGGING_LEVEL", "INFO").set("MESSAGE_TIMEOUT", "3s").start();
    let mut slow = Conn::narrow(server.port());
    for batch_number in 0..100 {
        let documents: Vec<u32> = (0..200).map(|n| batch_number * 200 + n).collect();
        assert_eq!(slow.send(&batch(1, &won(&documents))).ack(), 0);
    }
    assert_eq!(slow.send(&end(1)).ack(), 0);
    // More bytes than all buffers hold, so the child is blocked again and again.
    let times = 40;
    slow.send(&ask(1).repeat(times));
    server.await_log(SORTEO);
    assert_eq!(server.connect().send(b"others are served\n").rest(), b"others are served\n");
    let expected: Vec<u32> = (0..20_000).collect();
    let begun = Instant::now();
    let mut time = 0;
    while time < times || begun.elapsed() < patience {
        if time == times {
            // A client that keeps reading has no deadline for the whole answer. Continue until that time has passed.
            slow.send(&ask(1));
            time -= 1;
        }
        assert!(slow.winners().unwrap() == expected, "answer {time}");
        time += 1;
    }
    drop(slow);
    server.stop();
}

#[test]
fn a_client_that_never_reads_its_winners_is_closed() {
    let server = Setup::new(1).set("LOGGING_LEVEL", "INFO").set("MESSAGE_TIMEOUT", "300ms").start();
    let mut client = server.connect();
    for _ in 0..40 {
        assert_eq!(client.send(&batch_of(1, 250, WINNING)).ack(), 0);
    }
    assert_eq!(client.send(&end(1)).ack(), 0);
    drop(client);
    let mut deaf = Conn::narrow(server.port());
    deaf.send(&ask(1).repeat(500));
    assert_eq!(server.connect().send(&ask(1)).winners().unwrap().len(), 10_000);
    server.await_childless();
    assert_eq!(server.connect().send(&ask(1)).winners().unwrap().len(), 10_000);
    assert_eq!(count_events(&server.stop(), "ERROR    action: receive_message | result: fail | ip: 127.0.0.1"), 1);
}

// ---- claims ----

#[test]
fn a_second_claim_waits_then_gets_code_5() {
    let server = Server::start(2);
    let mut holder = server.claim(1);
    for message in [count(1), batch_of(1, 1, 1), end(1)] {
        let begun = Instant::now();
        assert_eq!(server.connect().send(&message).rest(), [2, 5], "{message:?}");
        assert!(begun.elapsed() >= CLAIM_PATIENCE);
    }
    assert_eq!(server.rows().len(), 0);
    drop(server.claim(2));
    assert_eq!(server.connect().send(&Bet::default().single(1)).rest(), [0], "untyped bets need no claim");
    assert_eq!(holder.send(&batch_of(1, 1, 1)).ack(), 0);
    assert_eq!(holder.send(&count(1)).tally(1).0, 2);
    assert_eq!(count_events(&server.stop(), "ERROR    action: apuesta_recibida | result: fail | cantidad: 1 | "), 1);
}

#[test]
fn a_waiting_claim_is_granted_when_the_holder_is_gone() {
    let server = Server::start(1);
    type Leave = fn(Conn, i32);
    let ways: [(&str, Leave); 4] = [
        ("closes", |client, _| drop(client)),
        ("resets", |client, _| client.reset()),
        ("is refused", |mut client, _| assert_eq!(client.send(&[9]).rest(), [2, 6])),
        ("dies", |_client, child| send_signal(child, "KILL")),
    ];
    for (way, leave) in ways {
        // Repeated if the machine is so slow that the newer connection was refused after its wait.
        eventually(way, || {
            server.await_childless();
            let older = server.claim(1);
            let [child] = server.children()[..] else { panic!("one child") };
            let mut newer = server.connect();
            assert!(newer.send(&count(1)).is_silent_for(SHORT), "it waits");
            leave(older, child);
            newer.take() == [7]
        });
    }
    server.stop();
}

#[test]
fn waiting_claims_are_granted_in_order() {
    let server = Server::start(1);
    eventually("both get it", || {
        server.await_childless();
        let before = server.rows().len();
        let holder = server.claim(1);
        let mut waiting = [1, 2].map(|document| {
            let mut client = server.connect();
            client.send(&batch(1, &won(&[document]))).is_silent_for(SHORT);
            client
        });
        drop(holder);
        let [first, second] = &mut waiting;
        // On a slow machine they may be refused with 5 after their wait.
        let granted = first.ack() == 0;
        first.finish();
        if !granted || second.ack() != 0 {
            return false;
        }
        let rows = server.rows().split_off(before);
        assert!(rows[0].contains(",1,1999") && rows[1].contains(",2,1999"), "{rows:?}");
        true
    });
    server.stop();
}

#[test]
fn a_half_closed_query_frees_the_claim_and_gets_its_winners() {
    let server = Server::start(1);
    let mut older = server.claim(1);
    assert_eq!(older.send(&batch_of(1, 3, 1)).ack(), 0);
    assert!(older.send(&ask(1)).finish().is_silent_for(QUIET));
    let mut newer = server.claim(1);
    newer.deliver(1, 1, WINNING);
    assert_eq!((older.winners(), newer.winners()), (Some(vec![0]), Some(vec![0])));
    assert_eq!(older.rest(), b"");
    assert_eq!(server.rows().len(), 4);
    assert!(!server.stop().contains("result: fail"));
}

#[test]
fn after_a_half_close_bets_need_the_claim_again() {
    let server = Setup::new(2).set("DRAW_WAIT", "1500ms").start();
    let mut older = server.claim(1);
    // The end of the stream comes with a batch that the session has not read yet.
    older.send(&[ask(1), batch_of(1, 3, 1)].concat()).finish();
    let mut newer = server.claim(1);
    assert_eq!(older.winners(), None);
    assert_eq!(older.rest(), [2, 5], "the newer one holds the claim");
    assert_eq!(newer.send(&batch_of(1, 1, 1)).ack(), 0);
    assert_eq!(server.rows().len(), 1);
    server.stop();
}

#[test]
fn a_half_closed_query_gets_code_7_at_a_stop() {
    let server = Setup::new(2).set("SHUTDOWN_GRACE", FOREVER).start();
    let mut conn = server.claim(1);
    assert!(conn.send(&ask(1)).finish().is_silent_for(QUIET));
    server.stop();
    assert_eq!(conn.rest(), [2, 7]);
}

#[test]
fn a_reset_ends_a_half_closed_query_at_once() {
    let server = Server::start(2);
    let mut conn = server.claim(1);
    assert!(conn.send(&ask(1)).finish().is_silent_for(QUIET));
    conn.reset();
    server.await_childless();
    server.stop();
}

#[test]
fn a_stopped_client_leaves_no_query_behind() {
    let server = Server::start(2);
    let address = ([127, 0, 0, 1], server.port()).into();
    let client = ClientSetup::new("draw").server(address).bets(agency_file(3)).start();
    server.await_log("action: fin_apuestas");
    let query_waits = || {
        server.children().len() == 1 && {
            assert_idle(&server.children());
            true
        }
    };
    eventually("its query waits", query_waits);
    client.stop();
    server.await_childless();
    server.stop();
}

#[test]
fn bets_are_counted_after_the_older_session_has_ended() {
    let server = Server::start(1);
    // Repeated if the machine is so slow that the newer connection was refused after its wait.
    eventually("the newer one gets it", || {
        server.await_childless();
        let before = server.rows().len() as u64;
        let mut older = server.claim(1);
        let lock = File::open(server.path("books")).unwrap();
        lock.lock().unwrap();
        older.send(&batch_of(1, 255, 1));
        assert!(older.is_silent_for(SHORT), "its child waits for the data lock");
        drop(older);
        let mut newer = server.connect();
        assert!(newer.send(&count(1)).is_silent_for(SHORT), "its child waits for the claim");
        lock.unlock().unwrap();
        if newer.take() != [7] {
            return false;
        }
        assert_eq!((u32::from_be_bytes(newer.take()), u64::from_be_bytes(newer.take())), (1, before + 255));
        true
    });
    server.stop();
}

// ---- the draw and the death of processes ----

#[test]
fn a_draw_is_held_again_if_its_process_dies() {
    let server = Server::start(1);
    let mut client = server.connect();
    assert_eq!(client.send(&batch_of(1, 3, WINNING)).ack(), 0);
    // The last end is recorded while the parent is stopped. The draw that it then begins finds the data lock taken.
    freeze_parent(&server);
    client.send(&end(1)).send(&ask(1));
    assert_eq!(client.ack(), 0);
    let sessions: BTreeSet<i32> = server.children().into_iter().collect();
    let lock = File::open(server.path("books")).unwrap();
    lock.lock().unwrap();
    server.signal("CONT");
    let drawing = poll_until(PATIENCE, || server.children().into_iter().find(|child| !sessions.contains(child)));
    send_signal(drawing.unwrap(), "KILL");
    server.await_log("action: sorteo | result: in_progress");
    assert!(client.is_silent_for(QUIET));
    lock.unlock().unwrap();
    assert_eq!(client.winners(), Some(vec![0, 1, 2]));
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

#[test]
fn after_a_kill_before_the_draw_the_next_start_holds_it() {
    let server = Server::start(2);
    assert_eq!(server.connect().send(&batch_of(2, 3, WINNING)).ack(), 0);
    drop(ended(&server, 2));
    let mut client = server.claim(1);
    freeze_parent(&server);
    assert_eq!(client.send(&end(1)).ack(), 0);
    let setup = server.kill();
    let server = setup.start();
    assert_eq!(server.connect().send(&ask(2)).winners(), Some(vec![0, 1, 2]));
    let log = server.own_log();
    assert_eq!(log.matches(SORTEO).count(), 1, "{log}");
    server.stop();
}

#[test]
fn an_end_counts_even_if_its_child_dies_before_reporting_it() {
    let server = Server::start(1);
    let mut client = server.claim(1);
    freeze_parent(&server);
    assert_eq!(client.send(&end(1)).ack(), 0);
    let [child] = server.children()[..] else { panic!("one child") };
    send_signal(child, "KILL");
    server.signal("CONT");
    assert_eq!(server.connect().send(&ask(1)).winners(), Some(vec![]));
    assert!(server.stop().contains("causa: SIGKILL"));
}
