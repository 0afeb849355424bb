//! Descriptors, memory and CPU time over many connections.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use crate::scene::*;
use crate::support::*;

#[test]
fn thousands_of_connections_leak_nothing() {
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

#[test]
fn the_server_survives_a_flood_of_broken_connections() {
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
    server.await_childless();
    server.await_descriptors(&at_start);
    assert_eq!(server.rows().len(), 1);
    assert_idle(&[server.pid()]);
    server.stop();
}

#[test]
fn waiting_processes_use_no_cpu() {
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
    // These connections exceed MAX_CONNECTIONS and are not accepted.
    let _beyond: Vec<_> = (0..5).map(|_| server.connect()).collect();
    eventually("the server is full", || server.children().len() == 7);
    let mut pids = server.children();
    pids.push(server.pid());
    assert_idle(&pids);
    server.stop();
}

#[test]
fn a_child_holds_only_its_own_descriptors() {
    // Descriptors that a shell, a build tool or a debugger may leave open.
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
    // `bets.csv` twice: the inherited life lock, and a descriptor of its own.
    let ours = ["bets.csv", "bets.csv", "books", "draw"];
    assert_eq!(files, ours.map(|name| server.path(name).to_str().unwrap().to_owned()), "its files: {own:?}");

    // No other process has the sockets and the pipe of this child.
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
