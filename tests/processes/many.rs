//! Many children at once: their claims, their descriptors, and the end of each.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::scene::*;
use crate::support::*;

const MANY: u32 = 300;

fn crowd() -> (Server, Vec<Conn>) {
    let server = Setup::new(MANY).set("SERVER_LISTEN_BACKLOG", WIDE).set("MAX_CONNECTIONS", MANY + 1).start();
    let conns: Vec<_> = (0..MANY).map(|_| server.connect()).collect();
    eventually("all are served", || server.children().len() == MANY as usize);
    (server, conns)
}

#[test]
fn no_client_is_dropped_at_the_limit_of_descriptors() {
    let limit = format!("--nofile={0}:{0}", MANY + 32);
    let setup = Setup::new(0).under(&["prlimit", &limit]).set("MAX_CONNECTIONS", MANY);
    let server = setup.set("SERVER_LISTEN_BACKLOG", WIDE).start();
    let mut conns: Vec<_> = (0..MANY).map(|_| server.connect()).collect();
    (1..).zip(&mut conns).for_each(|(agency, conn)| _ = conn.send(&Bet::default().single(agency)));
    conns.iter_mut().for_each(|conn| assert_eq!(conn.rest(), [0]));
    server.stop();
}

#[test]
fn hundreds_claim_at_once_and_each_claim_is_freed() {
    let (server, mut conns) = crowd();
    for round in 0..2 {
        (1..).zip(&mut conns).for_each(|(agency, conn)| _ = conn.send(&batch_of(agency, 1, 1)));
        conns.iter_mut().for_each(|conn| assert_eq!(conn.ack(), 0, "round {round}"));
        drop(conns);
        conns = (0..MANY).map(|_| server.connect()).collect();
    }
    assert_eq!(server.rows().len(), 2 * MANY as usize);
    drop(conns);
    server.await_childless();
    server.stop();
}

#[test]
fn hundreds_wait_for_the_draw_and_all_are_answered() {
    let (server, mut conns) = crowd();
    for (agency, conn) in (1..).zip(&mut conns) {
        conn.send(&batch_of(agency, 1, WINNING)).send(&end(agency)).send(&ask(agency));
    }
    for conn in &mut conns {
        assert_eq!([conn.ack(), conn.ack()], [0, 0]);
        assert_eq!(conn.winners(), Some(vec![0]));
    }
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

#[test]
fn a_new_child_has_none_of_the_descriptors_of_hundreds() {
    let (server, conns) = crowd();
    for child in server.children() {
        // Standard streams, client, link, life lock, and the signal pipe with three ends to write to.
        eventually("it is set up", || descriptors(child).len() == 10);
        assert!(descriptors(child).keys().all(|&fd| fd < 128), "{:?}", descriptors(child));
    }
    // One link for each child, outside of the part that a child copies.
    eventually("the parent holds one link for each child", || {
        let links = descriptors(server.pid()).into_iter().filter(|(_, target)| target.starts_with("socket:"));
        links.filter(|&(fd, _)| fd >= 128).count() == conns.len()
    });
    assert!(descriptors(server.pid()).range(..128).count() < 20);
    server.stop();
}

#[test]
fn hundreds_that_are_killed_at_once_are_reaped() {
    let (server, mut conns) = crowd();
    (1..).zip(&mut conns).for_each(|(agency, conn)| _ = conn.send(&batch_of(agency, 1, 1)));
    conns.iter_mut().for_each(|conn| assert_eq!(conn.ack(), 0));
    server.children().into_iter().for_each(|child| send_signal(child, "KILL"));
    server.await_childless();
    assert_eq!(server.tally(MANY).0, 1, "the claim is free");
    server.await_childless();
    assert_eq!(server.stop().matches("causa: SIGKILL").count(), MANY as usize);
}

/// A child in a moment between its fork and its set-up may hold the link of another one. This process does so for longer.
const THIEF: &str = "
import ctypes, os, sys
pid, fds = os.pidfd_open(int(sys.argv[1])), [int(fd) for fd in sys.argv[2:]]
PIDFD_GETFD = 438
print(all([ctypes.CDLL(None).syscall(PIDFD_GETFD, pid, fd, 0) >= 0 for fd in fds]), flush=True)
sys.stdin.read()
";

struct Thief(Child);

impl Drop for Thief {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_child_whose_link_never_ends_is_reaped() {
    if !has_program("python3") {
        return skipped("a link that another process holds", "python3 is not installed");
    }
    let server = Server::start(2);
    let (conn, child) = server.claim_and_find_child(1);
    let sockets = descriptors(child).into_iter().filter(|(_, target)| target.starts_with("socket:"));
    let fds = sockets.map(|(fd, _)| fd.to_string());
    let mut thief = Command::new("python3");
    thief.args(["-c", THIEF, &child.to_string()]).args(fds).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut thief = Thief(thief.spawn().unwrap());
    let mut stolen = String::new();
    BufReader::new(thief.0.stdout.take().unwrap()).read_line(&mut stolen).unwrap();
    if stolen.trim() != "True" {
        return skipped("a link that another process holds", "this process may not take descriptors of a child");
    }
    send_signal(child, "KILL");
    server.await_childless();
    assert_eq!(server.tally(1), (0, false, 0), "the claim is free");
    drop((conn, thief));
    server.stop();
}
