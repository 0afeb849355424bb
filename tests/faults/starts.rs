//! Starts that fail or must wait.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use crate::scene::*;
use crate::strace::{Strace, strace_starts};
use crate::support::*;

#[test]
fn a_read_only_store_is_exit_code_4_and_nothing_changes() {
    let this = "a read-only directory";
    let as_root = am_root();
    if as_root && !has_program("setpriv") {
        return skipped(this, "permission bits do not bind root, and setpriv is missing, which would change the user");
    }
    let setup = if as_root { as_nobody(Setup::new(2), 0) } else { Setup::new(2) };
    let store = setup.path("store");
    fs::create_dir(&store).unwrap();
    write_file(&store.join("bets.csv"), "1,Ana,Paz,0,1999-03-17,1\r\n");
    fs::set_permissions(&store, fs::Permissions::from_mode(0o555)).unwrap();
    let mut server = setup.set("STORAGE_FILEPATH", store.join("bets.csv").display()).spawn();
    assert_eq!(server.wait().code(), Some(4));
    assert_one_complaint(&server.log(), store.to_str().unwrap());
    assert_eq!(fs::read_dir(&store).unwrap().count(), 1);
}

#[test]
fn a_port_in_use_is_exit_code_1_and_one_line() {
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let setup = Setup::new(2).set("SERVER_PORT", port);
    write_file(&setup.path("bets.csv"), "1,Ana,Paz,0,1999-03-17,1\r\n no bet");
    let mut server = setup.spawn();
    assert_eq!(server.wait().code(), Some(1));
    assert_one_complaint(&server.log(), &format!("port {port}"));
    assert_eq!(server.bets(), b"1,Ana,Paz,0,1999-03-17,1\r\n no bet", "it has touched what it does not serve");
}

#[test]
fn a_second_server_on_the_same_files_changes_nothing() {
    let scene = Scene::new();
    let free = free_port();
    let bets = scene.server.bets_path();
    let began = Instant::now();
    let mut second =
        Setup::new(3).set("STORAGE_FILEPATH", bets.display()).set("SERVER_PORT", free).arg("--new-draw").spawn();
    second.await_log("action: lock | result: in_progress");
    assert!(!is_bound(free));
    let status = second.wait();
    assert!(began.elapsed() > Duration::from_secs(4), "it did not wait");
    assert_eq!(status.code(), Some(1));
    let log = second.log();
    assert_eq!(log.matches("action: lock").count(), 1, "{log}");
    assert!(!log.contains("action: listen") && !log.contains("new_draw"), "{log}");
    assert!(log.lines().last().unwrap().contains(&format!("pid {}", scene.server.pid())), "{log}");
    scene.assert_recovered(2);
}

#[test]
fn a_server_binds_only_after_it_has_locked_its_files() {
    // A server of an older version locks only `server.lock`.
    for (file, content) in [("bets.csv", row(1, 0, 1)), ("server.lock", "4711\n".to_owned())] {
        let setup = Setup::new(2);
        let lock = setup.path(file);
        write_file(&lock, &content);
        // As when a server has just been killed and its last child still holds the lock.
        let held = File::open(&lock).unwrap();
        held.lock().unwrap();
        let free = free_port();
        let server = setup.set("SERVER_PORT", free).spawn();
        server.await_log("action: lock | result: in_progress");
        thread::sleep(A_WHILE);
        assert!(!is_bound(free) && !server.log().contains("action: listen"), "{file}");
        assert_eq!(fs::read_to_string(&lock).unwrap(), content);
        assert!(!server.path("books").exists() && !server.path("draw").exists());
        drop(held);
        server.await_log("action: listen | result: success");
        assert!(is_bound(free));
        assert_eq!(fs::read_to_string(&lock).unwrap(), content);
        assert_eq!(Conn::to(free).echo_or_close(), b"hola\n");
        // The books name the process that holds the lock.
        assert_eq!(fs::read(server.path("books")).unwrap()[44..48], server.pid().to_be_bytes());
        server.stop();
    }
}

#[test]
fn a_directory_that_cannot_be_synced_is_one_warning() {
    if !strace_starts() {
        return;
    }
    let setup = Setup::new(1);
    let (trace, directory) = (setup.path("trace"), setup.path(""));
    let directory = format!("--trace-path={}", directory.to_str().unwrap().trim_end_matches('/'));
    let fault = "inject=fsync:error=EINVAL";
    let words = ["strace", "-D", "-qq", "-o", trace.to_str().unwrap(), &directory, "-e", fault];
    let server = setup.under(&words).start();
    let log = server.log();
    let warnings = log.lines().filter(|line| line.contains(" WARNING ")).collect::<Vec<_>>();
    assert!(matches!(warnings[..], [line] if line.contains("action: sync_directory | result: in_progress")), "{log}");
    assert_eq!(server.store(&batch_of(1, 2, 1)), 0);
    server.stop();
}

#[test]
fn a_stop_ends_a_start_that_reads_a_large_store() {
    if !strace_starts() {
        return;
    }
    let setup = Setup::new(1);
    write_file(&setup.path("bets.csv"), "1,Ana,Paz,0,1999-03-17,7574\r\n".repeat(200_000));
    let (trace, bets) = (setup.path("trace"), setup.path("bets.csv"));
    // Some twenty blocks: without the stop the start takes more than a minute.
    let slow = "inject=pread64:delay_enter=3s";
    let (trace, bets) = (trace.to_str().unwrap(), format!("--trace-path={}", bets.display()));
    let mut server = setup.under(&["strace", "-D", "-qq", "-o", trace, &bets, "-e", slow]).spawn();
    let is_reading = || fs::read_to_string(server.path("trace")).is_ok_and(|trace| trace.contains("pread64("));
    eventually("it reads the bets", is_reading);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    let log = server.log();
    assert!(!log.contains("action: listen") && log.lines().last().unwrap().contains("action: exit"), "{log}");
}

#[test]
fn a_tail_is_cut_durably_before_rows_are_appended() {
    let server = Setup::new(1).set("DURABILITY", "process").start();
    let (mut client, child) = server.claim_and_find_child(1);
    write_file_end(&server.bets_path(), "1,Ana,Paz,0,1999-03-17,75");
    let bets = server.bets_path();
    let calls = ["-P", bets.to_str().unwrap(), "-e", "trace=ftruncate,fdatasync,write", "-e", "signal=none"];
    let Some(strace) = Strace::attach(child, &calls) else { return };
    assert_eq!(client.send(&batch_of(1, 1, 1)).ack(), 0);
    let trace = fs::read_to_string(strace.trace()).unwrap();
    let position = |call: &str| trace.find(call).unwrap_or_else(|| panic!("no {call}: {trace}"));
    assert!(position("ftruncate(") < position("fdatasync(") && position("fdatasync(") < position("write("), "{trace}");
    server.stop();
}

fn write_file_end(file: &std::path::Path, text: &str) {
    use std::io::Write;
    fs::OpenOptions::new().append(true).open(file).unwrap().write_all(text.as_bytes()).unwrap();
}
