//! System calls that a signal interrupts.

use crate::strace::*;
use crate::support::*;

#[test]
fn interrupted_system_calls_are_retried_unnoticed() {
    const CALLS: &str = "flock,poll|?ppoll,epoll_wait|?epoll_pwait,accept4,recvfrom,sendto,read,pread64,pwrite64,\
                         ftruncate,fdatasync,wait4|?waitid";
    a_lottery_of_interruptions(CALLS, |_| Vec::new());
}

/// Writes to the signal handlers' pipe are excluded: the kernel never interrupts them.
#[test]
fn interrupted_writes_to_store_and_log_are_retried() {
    a_lottery_of_interruptions("write", |server| {
        let [bets, log] = ["bets.csv", "server.log"].map(|file| server.path(file).to_str().unwrap().to_owned());
        ["-P", &bets, "-P", &log].map(str::to_owned).into()
    });
}

#[test]
fn an_interrupted_start_adopts_the_existing_files() {
    if !strace_starts() {
        return;
    }
    const CALLS: &str = "flock,openat,write,pread64,pwrite64,ftruncate,fsync,fdatasync";
    let setup = Setup::new(2);
    write_file(&setup.path("bets.csv"), "1,Ana,Paz,0,1999-03-17,7574\r\n1,Ana,Paz,1,1999-03-17,75");
    let files = ["bets.csv", "books", "books.new", "draw", "draw.new", "bets.csv.rejected", ""];
    let files =
        files.map(|file| format!("--trace-path={}", setup.path(file).display().to_string().trim_end_matches('/')));
    let (trace, fault) = (setup.path("trace"), format!("inject={CALLS}:error=EINTR:when=1+2"));
    // -D: strace becomes a grandchild, and the server keeps the pid that was started.
    let mut words = vec!["strace", "-D", "-f", "-qq", "-o", trace.to_str().unwrap(), "-e", &fault];
    words.extend(files.iter().map(String::as_str));
    let server = setup.set("DURABILITY", "batch").under(&words).start();
    assert!(server.log().contains("action: apartar_cola | result: in_progress | bytes: 25 "), "{}", server.log());
    let mut conn = server.connect();
    assert_eq!(conn.send(&count(1)).tally(1).0, 1);
    drop(conn);
    server.await_childless();
    for call in CALLS.split(',') {
        assert_injected(&trace, call);
    }
    assert!(!server.stop().contains("result: fail"));
}

/// Plays a whole lottery in which every other of these calls of each process is interrupted, and each call at least
/// once. `a|b` is one call, of which a machine has one form or the other. `restrict` returns further options for
/// strace.
fn a_lottery_of_interruptions(calls: &str, restrict: impl Fn(&Server) -> Vec<String>) {
    let server = Setup::new(2).set("DURABILITY", "batch").set("SHUTDOWN_GRACE", FOREVER).start();
    let (fault, options) = (format!("inject={}:error=EINTR:when=1+2", calls.replace('|', ",")), restrict(&server));
    let options: Vec<&str> = ["-f", "-e", &fault].into_iter().chain(options.iter().map(String::as_str)).collect();
    let Some(strace) = Strace::attach(server.pid(), &options) else { return };
    assert_eq!(server.connect().echo_or_close(), b"hola\n");
    assert_eq!(server.connect().send(&Bet::default().single(2)).rest(), [0]);
    let (mut one, mut two) = (server.connect(), server.connect());
    let _silent = server.connect();
    one.send(&count(1));
    assert_eq!(one.tally(1), (0, false, 0));
    for _ in 0..20 {
        one.send(&batch_of(1, 9, WINNING));
        assert_eq!(one.ack(), 0);
    }
    one.send(&end(1)).send(&ask(1));
    assert_eq!(one.ack(), 0);
    two.send_bytewise(&batch_of(2, 2, 1)).send(&end(2)).send(&ask(2));
    assert_eq!([two.ack(), two.ack()], [0, 0]);
    assert_eq!((one.winners().map(|won| won.len()), two.winners()), (Some(180), Some(vec![])));
    assert_eq!(server.rows().len(), 183);
    let trace = strace.trace();
    for call in calls.split(',') {
        assert_injected(trace, call);
    }
    let log = server.stop();
    assert_eq!([log.matches(SORTEO).count(), log.matches("action: apuesta_almacenada").count()], [1, 183]);
    assert!(!log.contains("result: fail") && !log.contains("nterrupted"), "{log}");
}
