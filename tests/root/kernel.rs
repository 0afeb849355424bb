//! Kernels and containers that hide `/proc`, or the id of the boot.

use crate::own::can;
use crate::support::*;

/// A server in a mount namespace of its own, after `hide` has run there.
fn hidden(hide: &str) -> Option<Server> {
    let command = format!("{hide} && exec \"$@\"");
    let words = ["unshare", "--mount", "sh", "-c", &command, "sh"];
    can("unshare", &["--mount", "sh", "-c", hide]).then(|| Setup::new(1).under(&words).start())
}

fn serves(server: Server) {
    assert_eq!(server.store(&batch_of(1, 2, 7574)), 0);
    assert_eq!(server.store(&end(1)), 0);
    let log = server.stop();
    assert!(log.lines().last().unwrap().contains("action: exit | result: success"), "{log}");
}

#[test]
fn without_a_boot_id_the_server_serves_and_warns() {
    let Some(server) = hidden("mount --bind /dev/null /proc/sys/kernel/random/boot_id") else { return };
    assert_eq!(server.log().matches(" WARNING ").count(), 1, "{}", server.log());
    assert!(server.log().contains("action: boot_id | result: in_progress"), "{}", server.log());
    serves(server);
}

#[test]
fn without_proc_the_server_serves_and_warns() {
    let Some(server) = hidden("mount -t tmpfs none /proc") else { return };
    assert!(server.log().contains("action: boot_id | result: in_progress"), "{}", server.log());
    serves(server);
}

#[test]
fn without_a_boot_id_a_restart_counts_the_valid_rows() {
    let hide = "mount --bind /dev/null /proc/sys/kernel/random/boot_id";
    let Some(server) = hidden(hide) else { return };
    assert_eq!(server.store(&batch_of(1, 3, 1)), 0);
    let server = server.kill().start();
    assert_eq!(server.tally(1).0, 3);
    server.stop();
}
