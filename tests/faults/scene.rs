//! The server that most faults happen to, and checks after each of them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use crate::support::*;

/// A server with so many rows that a limit on file sizes affects `bets.csv` first. Agency 1 has stored two bets over a
/// connection that is still open.
pub struct Scene {
    pub server: Server,
    pub victim: Conn,
    pub child: i32,
    /// Bytes of `bets.csv` at the start.
    pub base: u64,
}

impl Scene {
    pub fn new() -> Self {
        const ROWS: u64 = 4000;
        let setup = Setup::new(3).set("SHUTDOWN_GRACE", FOREVER);
        write_file(&setup.path("bets.csv"), "3,Ana,Paz,0,1999-03-17,1\r\n".repeat(ROWS as usize));
        let server = setup.start();
        let (mut victim, child) = server.claim_and_find_child(1);
        victim.send(&batch_of(1, 2, 1));
        assert_eq!(victim.ack(), 0);
        Self { server, victim, child, base: ROWS * ROW }
    }

    /// Bytes of `bets.csv` beyond those at the start, stored or a tail.
    pub fn bytes(&self) -> u64 {
        self.server.bets().len() as u64 - self.base
    }

    /// Checks what must hold after every fault: `held` bets of agency 1 count, another agency is served, agency 1 can
    /// continue, every row is whole, no child is left, and the server stops in order. Returns its log.
    #[track_caller]
    pub fn assert_recovered(self, held: u64) -> String {
        let Self { server, victim, .. } = self;
        drop(victim);
        let (mut other, mut retry) = (server.connect(), server.connect());
        other.send(&batch_of(2, 3, 1));
        assert_eq!(other.ack(), 0);
        retry.send(&count(1));
        let (bets, has_ended, _) = retry.tally(1);
        assert_eq!((bets, has_ended), (held, false));
        retry.send(&batch_of(1, 4, 1));
        assert_eq!(retry.ack(), 0);
        let rows = server.rows();
        let of = |agency: &str| rows.iter().filter(|row| row.starts_with(agency)).count() as u64;
        assert_eq!([of("1,"), of("2,")], [held + 4, 3]);
        assert!(rows.iter().all(|row| row.split(',').count() == 6));
        drop((other, retry));
        server.await_childless();
        server.stop()
    }
}

/// Changes a limit of a running process, in the form of prlimit(1); false if this machine cannot do that, which has
/// been reported.
pub fn limit(pid: i32, limit: &str) -> bool {
    let changed = Command::new("prlimit").arg(format!("--pid={pid}")).arg(limit).output();
    let works = changed.as_ref().is_ok_and(|output| output.status.success());
    if !works {
        skipped(&this_test(), &format!("prlimit does not work here: {changed:?}"));
    }
    works
}

pub fn am_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Runs the server as a user without other processes, in a directory that this user may write.
pub fn as_nobody(setup: Setup, number: u32) -> Setup {
    let user = format!("--reuid={}", 1_000_000_000 + std::process::id() * 2 + number);
    // That user may not be able to reach the directory of the binary: it runs a copy.
    let program =
        ["setpriv", &user, "--regid=65534", "--clear-groups", "sh", "-c", "shift; exec ./server \"$@\"", "sh"];
    let setup = setup.under(&program);
    install(&server_binary(), &setup.path("server"));
    fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    setup
}
