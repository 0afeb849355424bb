//! Standard output that is closed, full or not read.

use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::fcntl::{FcntlArg, fcntl};

use crate::support::*;

#[test]
fn a_server_without_standard_streams_serves_and_stops() {
    for redirection in ["<&- >&- 2>&-", ">/dev/full 2>&1"] {
        let script = format!("exec \"$@\" {redirection}");
        let mut server = Setup::new(1).set("SHUTDOWN_GRACE", FOREVER).under(&["sh", "-c", &script, "sh"]).spawn();
        let mut conn = Conn::to(listening_port(server.pid()));
        assert_serves_and_draws(&mut conn);
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0), "{redirection}");
        assert_eq!(conn.rest(), b"");
        assert_eq!(server.rows().len(), 255);
    }
}

#[test]
fn a_server_whose_log_reader_is_gone_serves_and_stops() {
    let mut server = Piped::start(Setup::new(1).set("SHUTDOWN_GRACE", FOREVER));
    drop(server.process.stdout.take());
    let mut conn = server.connect();
    assert_serves_and_draws(&mut conn);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(conn.rest(), b"");
}

#[test]
fn an_unread_log_pipe_blocks_neither_service_nor_sigterm() {
    let mut server = Piped::start(Setup::new(1).set("SHUTDOWN_GRACE", FOREVER));
    let mut conn = server.connect();
    // The lines need five times the room of the pipe.
    assert_serves_and_draws(&mut conn);
    for _ in 0..20 {
        assert_eq!(server.connect().echo_or_close(), b"hola\n");
    }
    assert_idle(&[server.pid()]);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(conn.rest(), b"");
}

#[test]
fn a_returning_log_reader_sees_the_count_of_lost_lines() {
    let mut server = Piped::start(Setup::new(1));
    let mut conn = server.connect();
    conn.send(&batch_of(1, 255, 1));
    assert_eq!(conn.ack(), 0);
    // This child ends before the log is read.
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
    let read = Arc::new(Mutex::new(Vec::new()));
    let reader = thread::spawn({
        let (mut stdout, read) = (server.process.stdout.take().unwrap(), read.clone());
        move || {
            let mut bytes = [0; 4096];
            while let Ok(1..) = stdout.read(&mut bytes).inspect(|&len| read.lock().unwrap().extend(&bytes[..len])) {}
        }
    });
    let log = || String::from_utf8_lossy(&read.lock().unwrap()).into_owned();
    let mut batches = 0;
    eventually("lost lines are reported", || {
        batches += 1;
        assert_eq!(conn.send(&batch_of(1, 1, 1)).ack(), 0);
        log().contains("lost_lines")
    });
    assert_eq!(server.stop(), Some(0));
    reader.join().unwrap();
    let log = log();
    let lost = log.lines().filter_map(|line| line.split_once("action: log | result: fail | lost_lines: "));
    let lost: usize = lost.map(|(_, count)| count.parse::<usize>().unwrap()).sum();
    let of_children = ["apuesta_almacenada", "apuesta_recibida", "receive_message", "close_connection"];
    let kept: usize = of_children.iter().map(|action| log.matches(&format!("action: {action} |")).count()).sum();
    assert!(lost > 0);
    assert_eq!(kept + lost, 255 + 1 + 2 * batches + 1 + 2, "{log}");
    assert!(log.ends_with("action: exit | result: success\n"), "{log}");
}

fn assert_serves_and_draws(conn: &mut Conn) {
    conn.deliver(1, 255, WINNING);
    assert_eq!(conn.winners().map(|won| won.len()), Some(255));
}

/// A server whose standard output is a pipe of one page, without a reader unless the test reads it.
struct Piped {
    process: Child,
    port: u16,
    _setup: Setup,
}

impl Piped {
    fn start(setup: Setup) -> Self {
        let process = setup.command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Self { process, port: 0, _setup: setup };
        server.port = listening_port(server.pid());
        // The server has enlarged the pipe: make it small again.
        fcntl(server.process.stdout.as_ref().unwrap(), FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        server
    }

    fn pid(&self) -> i32 {
        self.process.id().try_into().unwrap()
    }

    fn connect(&self) -> Conn {
        Conn::to(self.port)
    }

    /// Sends SIGTERM and returns the exit code.
    fn stop(&mut self) -> Option<i32> {
        send_signal(self.pid(), "TERM");
        poll_until(PATIENCE, || self.process.try_wait().unwrap()).unwrap().code()
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
