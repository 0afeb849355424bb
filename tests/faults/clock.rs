//! A wall clock that jumps.

use std::fs::File;
use std::io::Write;
use std::process::Command;

use crate::support::*;

#[test]
fn no_deadline_passes_when_the_wall_clock_jumps_by_an_hour() {
    let setup = Setup::new(2).set("DRAW_WAIT", FOREVER);
    let (source, shim, jump) = (setup.path("jump.c"), setup.path("jump.so"), setup.path("jump"));
    write_file(&source, JUMPING_CLOCK);
    write_file(&jump, " ");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&shim, &source]).output();
    if !compiled.as_ref().is_ok_and(|output| output.status.success()) {
        return skipped(&this_test(), &format!("cc made no library of a clock that jumps: {compiled:?}"));
    }
    let server = setup.set("LD_PRELOAD", shim.display()).set("JUMP", jump.display()).set("TZ", "UTC").start();
    let (_silent, mut cut, mut acked, mut waiting) =
        (server.connect(), server.connect(), server.connect(), server.connect());
    let message = batch_of(1, 3, WINNING);
    let mut bytes = message.chunks(20);
    cut.send(bytes.next().unwrap());
    acked.send(&batch_of(2, 3, 1));
    assert_eq!(acked.ack(), 0);
    waiting.send(&ask(1));
    for conn in [&cut, &waiting] {
        server.await_read(conn);
    }
    for (direction, seconds) in [("+", 3600), ("-", -3600), (" ", 0)] {
        File::options().write(true).open(&jump).unwrap().write_all(direction.as_bytes()).unwrap();
        let off = seconds_off(&server);
        assert!((off - seconds).abs() < 60, "the clock is {off} s off instead of {seconds}");
        // A child checks its deadlines when bytes wake it.
        cut.send(bytes.next().unwrap());
        let is_taken = || server.end_of(&cut).is_none_or(|end| end.inode == 0 || end.unread == 0);
        eventually("what comes is taken, or its connection gone", is_taken);
        assert!(waiting.is_silent_for(A_WHILE));
        assert_eq!(server.children().len(), 4, "a deadline has passed at {direction:?}");
    }
    cut.send(&bytes.collect::<Vec<_>>().concat()).send(&end(1));
    acked.send(&end(2)).send(&ask(2));
    assert_eq!([cut.ack(), cut.ack(), acked.ack()], [0; 3]);
    assert_eq!((waiting.winners(), acked.winners()), (Some(vec![0, 1, 2]), Some(vec![])));
    server.stop();
}

/// By how many seconds the server's clock is wrong, according to the time stamp of its last line.
fn seconds_off(server: &Server) -> i64 {
    let echoes = server.log().matches("action: receive_message").count();
    assert_eq!(server.connect().echo_or_close(), b"hola\n");
    let log = server.log();
    let line = log.lines().filter(|line| line.contains("action: receive_message")).nth(echoes).unwrap();
    let stamp = chrono::NaiveDateTime::parse_from_str(&line[..19], "%Y-%m-%d %H:%M:%S").unwrap();
    (stamp - chrono::Utc::now().naive_utc()).num_seconds()
}

/// A library to be preloaded. The first byte of the file JUMP sets the wall clock; the monotonic clock stays the
/// kernel's.
const JUMPING_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static volatile const char *jump = " ";
__attribute__((constructor)) static void watch(void) {
    int fd = open(getenv("JUMP"), O_RDONLY);
    jump = mmap(0, 1, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += *jump == '+' ? 3600 : *jump == '-' ? -3600 : 0;
    return result;
}
"#;
