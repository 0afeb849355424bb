//! Lost networks: packets that are dropped or rejected, connections that the system ends.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::own::{self, can, run};
use crate::support::*;

/// How long a vanished peer may stay undetected: 30 s are promised, a busy machine gets some more.
const FOUND_OUT: Duration = Duration::from_secs(50);
/// Long enough for packets to be lost and sent again.
const A_WHILE: Duration = Duration::from_secs(1);

/// A packet filter in this thread's network.
struct Wall;

impl Wall {
    /// A network of this thread's own, without rules yet; `None` if the machine cannot do that, which has been
    /// reported.
    fn new() -> Option<Self> {
        let chain = "add chain inet wall input { type filter hook input priority 0; }";
        let made = own::network() && can("nft", &["add", "table", "inet", "wall"]) && can("nft", &[chain]);
        made.then_some(Self)
    }

    /// Packets from and to `port` are lost from now on.
    fn lose(&self, port: u16) {
        ["sport", "dport"].iter().for_each(|end| self.add(&format!("tcp {end} {port} drop")));
    }

    /// Packets to `port` are answered with a reset from now on.
    fn reset(&self, port: u16) {
        self.add(&format!("tcp dport {port} reject with tcp reset"));
    }

    fn add(&self, rule: &str) {
        run("nft", &[&format!("add rule inet wall input {rule}")]);
    }

    fn tear_down(&self) {
        run("nft", &["flush", "chain", "inet", "wall", "input"]);
    }
}

#[test]
fn a_vanished_client_is_detected_and_its_agency_freed() {
    let Some(wall) = Wall::new() else { return };
    let server = Setup::new(3).set("DRAW_WAIT", "3s").start();
    let (mut silent, mut owed) = (server.claim(1), server.connect());
    assert_eq!(silent.send(&batch_of(1, 3, WINNING)).ack(), 0);
    silent.send(&batch_of(1, 3, WINNING)[..20]);
    let idle = server.claim(2);
    server.await_read(&silent);
    owed.send(&ask(3));
    server.await_read(&owed);
    let vanished = [&silent, &idle, &owed].map(|conn| server.end_of(conn).unwrap().inode);
    [&silent, &idle, &owed].iter().for_each(|conn| wall.lose(conn.port()));
    let began = Instant::now();

    let mut other = server.connect();
    while began.elapsed() < FOUND_OUT && !children_with(&server, &vanished).is_empty() {
        assert_eq!(other.send(&batch_of(3, 1, 1)).ack(), 0, "others are served");
        std::thread::sleep(Duration::from_millis(500));
    }
    let left = children_with(&server, &vanished);
    assert_eq!(left, Vec::<usize>::new(), "of a message begun (0), of silence (1), of an answer under way (2)");
    assert_eq!(server.tally(1).0, 3);
    assert_eq!(server.tally(2), (0, false, 0));
    drop(other);
    server.await_childless();
    server.stop();
}

/// The positions of those sockets that a child of the server still has open.
fn children_with(server: &Server, inodes: &[u64]) -> Vec<usize> {
    let open: Vec<String> = server.children().into_iter().flat_map(|pid| descriptors(pid).into_values()).collect();
    (0..inodes.len()).filter(|&n| open.contains(&format!("socket:[{}]", inodes[n]))).collect()
}

#[test]
fn after_an_outage_the_server_has_each_bet_once() {
    const ROWS: u32 = 40_000;
    let Some(wall) = Wall::new() else { return };
    let server = Setup::new(1).set("LOGGING_LEVEL", "INFO").start();
    // At first, every packet is lost.
    wall.lose(server.port());
    let mut client = ClientSetup::new("draw")
        .server(([127, 0, 0, 1], server.port()).into())
        .set("LOG_LEVEL", "INFO")
        .set("BATCH_MAXAMOUNT", "1")
        .bets(agency_file(ROWS))
        .start();
    std::thread::sleep(A_WHILE);
    assert_eq!(server.bets(), b"");
    wall.tear_down();
    for reset in [false, true] {
        let stored = || server.bets_path().metadata().unwrap().len();
        let before = stored();
        eventually("bets come in", || stored() > before);
        if reset {
            wall.reset(server.port());
            client.line("WARNING  action: connect | result: in_progress");
        } else {
            wall.lose(server.port());
            std::thread::sleep(A_WHILE);
        }
        assert!(server.rows().len() < ROWS as usize, "all had been sent before");
        wall.tear_down();
    }
    let ended = client.end();
    assert_eq!(ended.code(), 0, "{:#?}", ended.log.last());
    assert!(String::from_utf8(server.bets()).unwrap() == stored_rows(ROWS), "each bet once, in order");
    server.await_childless();
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

#[test]
fn an_aborted_connection_ends_only_its_own_child() {
    if !own::network() {
        return;
    }
    let server = Server::start(3);
    let (mut victim, mut other) = (server.claim(1), server.claim(2));
    assert_eq!(victim.send(&batch_of(1, 3, WINNING)).ack(), 0);
    victim.send(&batch_of(1, 3, WINNING)[..20]);
    server.await_read(&victim);
    let filter = format!("sport = {} and dport = {}", server.port(), victim.port());
    let killed = Command::new("ss").args(["-K", &filter]).output();
    if !killed.as_ref().is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("ESTAB")) {
        return skipped(&this_test(), &format!("ss -K ends no connection here: {killed:?}"));
    }
    assert_eq!(victim.rest_or_reset(), b"");
    eventually("its child is gone", || server.children().len() == 1);
    assert_eq!(other.send(&batch_of(2, 1, 1)).ack(), 0);
    assert_eq!(server.tally(1).0, 3);
    drop(other);
    server.await_childless();
    server.stop();
}
