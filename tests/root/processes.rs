//! Processes that the system refuses.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::*;

/// A control group that limits processes. Dropping it removes it, once the processes in it have ended.
struct Group(PathBuf);

impl Group {
    /// With at most `max` processes; `None` if this machine cannot make one, which has been reported.
    fn new(max: u32) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let groups: Vec<_> = mounts.lines().filter_map(of_pids).collect();
        let name = format!("loteria-{}", std::process::id());
        for parent in &groups {
            let group = Self(parent.join(&name));
            let made = fs::create_dir(&group.0).and_then(|()| fs::write(group.0.join("pids.max"), max.to_string()));
            if made.is_ok() {
                return Some(group);
            }
        }
        skipped(&this_test(), &format!("no control group bounds processes here: {groups:?}"));
        None
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Killed processes take a moment to end; a failed test must not panic a second time here.
        let gone = || !self.0.exists() || fs::remove_dir(&self.0).is_ok();
        let _ = (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            gone()
        });
    }
}

/// The directory in which groups that limit processes can be made, if the line of /proc/mounts names one. Version 1 has
/// a tree for each controller, version 2 one for all.
fn of_pids(mount: &str) -> Option<PathBuf> {
    let fields: Vec<_> = mount.split(' ').collect();
    let of_all = || fs::read_to_string(Path::new(fields[1]).join("cgroup.subtree_control")).unwrap_or_default();
    let bounds = match fields[2] {
        "cgroup" => fields[3].split(',').any(|option| option == "pids"),
        "cgroup2" => of_all().split_whitespace().any(|controller| controller == "pids"),
        _ => false,
    };
    bounds.then(|| PathBuf::from(fields[1]))
}

#[test]
fn at_the_cgroup_limit_clients_are_refused_or_wait() {
    let Some(group) = Group::new(3) else { return };
    let join = format!("echo $$ >{}/cgroup.procs && exec \"$@\"", group.0.display());
    let server = Setup::new(2).set("SERVER_LISTEN_BACKLOG", 100).under(&["sh", "-c", &join, "sh"]).start();
    let at_start = descriptors(server.pid());
    let (mut first, mut second) = (server.connect(), server.connect());
    assert_eq!(first.send(&batch_of(1, 3, WINNING)).ack(), 0);
    eventually("two are served", || server.children().len() == 2);
    let mut others: Vec<_> = (0..5).map(|_| server.connect()).collect();
    server.await_log("action: accept_connections | result: fail | llamada: fork");
    assert_eq!(server.children().len(), 2);
    assert_idle(&[server.pid()]);
    assert_eq!(second.send(b"hola\n").rest(), b"hola\n", "those that are in are served");
    drop(second);
    for conn in &mut others {
        let _ = std::io::Write::write_all(&mut conn.0, b"hola\n");
        assert!([&b"hola\n"[..], b""].contains(&&*conn.rest_or_reset()));
    }
    drop(others);
    eventually("one is left", || server.children().len() == 1);
    // The draw also needs a process: it is retried until it gets one.
    let mut two = server.connect();
    assert_eq!(two.send(&end(2)).ack(), 0);
    first.send(&end(1)).send(&ask(1));
    assert_eq!(first.ack(), 0);
    server.await_log("action: sorteo | result: in_progress");
    drop(two);
    assert_eq!(first.winners(), Some(vec![0, 1, 2]));
    drop(first);
    server.await_childless();
    assert_eq!(descriptors(server.pid()), at_start);
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}
