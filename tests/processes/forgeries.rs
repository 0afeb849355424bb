//! A child that was taken over sends reports that are not true, or reports without end.

use std::time::{Duration, Instant};

use crate::support::link::*;
use crate::support::*;

/// Agencies of the lottery; the victim's child holds the claim of agency 1.
const AGENCIES: u32 = 3;

#[test]
fn a_false_report_kills_only_its_own_child() {
    let false_reports = [
        ("a second agency", CLAIM, 2),
        ("an unknown agency", CLAIM, AGENCIES + 1),
        ("an unknown agency", AWAIT_DRAW, AGENCIES + 1),
        ("an end that is not recorded", ENDED, 1),
        ("an end of another agency", ENDED, 2),
        ("a failed sync", STORAGE_BROKEN, 0),
        ("the slot of another agency", SLOT, 2),
        ("a claim of another agency", RELEASED, 2),
        ("an unknown report", 200, 1),
        ("agency 0", CLAIM, 0),
    ];
    let server = Server::start(AGENCIES);
    for (n, (what, kind, number)) in false_reports.into_iter().enumerate() {
        let (mut victim, child) = server.claim_and_find_child(1);
        let Some(link) = StolenLink::of(child) else { return };
        link.report(kind, number).unwrap();
        drop(link);
        assert_eq!(victim.rest_or_reset(), b"", "{what}");
        server.await_childless();
        let log = server.own_log();
        assert_eq!(log.matches("ERROR    action: link | result: fail").count(), n + 1, "{what}: {log}");
        assert!(log.contains(&format!("action: link | result: fail | pid: {child} | error: ")), "{what}: {log}");
        assert_eq!(server.store(&batch_of(2, 1, 1)), 0, "{what}");
        server.await_childless();
    }
    server.stop();
}

#[test]
fn forged_ends_of_all_agencies_hold_no_draw() {
    let server = Server::start(AGENCIES);
    let mut others = [2, 3].map(|agency| server.connect().send(&ask(agency)).0.try_clone().unwrap()).map(Conn::patient);
    eventually("both are served", || server.children().len() == 2);
    let mut victim = server.claim(1);
    let child = *server.children().last().unwrap();
    let Some(link) = StolenLink::of(child) else { return };
    for agency in 1..=AGENCIES {
        let _ = link.report(ENDED, agency);
    }
    drop(link);
    assert_eq!(victim.rest_or_reset(), b"");
    eventually("the child is reaped", || !server.children().contains(&child));
    assert!(others.iter_mut().all(|other| other.is_silent_for(QUIET)));
    assert_eq!(server.own_log().matches("action: link | result: fail").count(), 1, "only the first one is read");
    for agency in 1..=AGENCIES {
        assert_eq!(server.claim(agency).send(&end(agency)).ack(), 0);
    }
    assert!(others.iter_mut().all(|other| other.winners() == Some(vec![])));
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

#[test]
fn a_flood_of_reports_is_read_slowly_and_delays_nobody() {
    const LINK: u64 = 4096; // more reports than a link holds
    let server = Server::start(AGENCIES);
    let (mut victim, child) = server.claim_and_find_child(1);
    let Some(link) = StolenLink::of(child) else { return };
    let began = Instant::now();
    let flood = std::thread::spawn(move || (link.flood(Duration::from_secs(3), LINES_LOST, 0), link));
    for _ in 0..20 {
        assert_eq!(server.claim(2).send(&batch_of(2, 1, 1)).ack(), 0);
    }
    let (sent, link) = flood.join().unwrap();
    let most = 256 * (began.elapsed().as_secs() + 2) + LINK;
    assert!(sent < most, "the parent has read {sent} reports");
    // It is not a false report: the child goes on.
    assert_eq!(victim.send(&batch_of(1, 1, 1)).ack(), 0);
    drop((victim, link));
    server.await_childless();
    server.stop();
}

#[test]
fn a_client_that_asks_without_end_is_served_slower() {
    let server = Setup::new(2).set("DRAW_WAIT", "0").start();
    let mut client = server.claim(1);
    let began = Instant::now();
    // Each question is a report, and the parent reads 256 of them in a second.
    for _ in 0..600 {
        assert_eq!(client.send(&ask(1)).winners(), None);
    }
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(client.send(&batch_of(1, 1, 1)).ack(), 0);
    server.stop();
}
