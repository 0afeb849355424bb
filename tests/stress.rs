//! The state of a server's parent after a hundred thousand connections of every kind, and the end of servers that get
//! SIGTERM at a thousand random moments.
//!
//! Takes minutes: `make stress`. CONNECTIONS and STOPS set the numbers. SEED sets the random choices; the seed is
//! printed.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::*;

const CONNECTIONS: u64 = 100_000;
/// Connections after which the parent has allocated all memory that it needs: its tables have been as full as they get.
const WARM_UP: u64 = 5_000;
/// Allowed growth of the parent's memory in kB: an allocator gives pages back at any time.
const MEMORY_SLACK: u64 = 512;
/// Number of clients at the same time.
const CLIENTS: u64 = 4;
/// Silent connections that each client keeps open, so that there is never only one child.
const SILENT: usize = 20;
/// So many that few connections claim the same one at the same time, and that no draw is ever held.
const AGENCIES: u32 = 1000;

const STOPS: u64 = 1000;
const GRACE: Duration = Duration::from_millis(300);
/// Time that a server may need beyond its grace period.
const BEYOND_GRACE: Duration = Duration::from_secs(1);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

fn rng(what: &str) -> Rng {
    let seed = setting("SEED", fastrand::u64(..u64::from(u32::MAX)));
    report(&format!("{what}: SEED={seed}"));
    Rng::with_seed(seed)
}

/// Prints a line directly to standard error: the harness shows the output of failed tests only.
fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

// ---- nothing leaks -----------------------------------------------------------------------------------------------

#[test]
fn a_hundred_thousand_connections_leak_nothing() {
    let connections = setting("CONNECTIONS", CONNECTIONS);
    let mut rng = rng("connections");
    let setup = Setup::new(2 * AGENCIES).set("SERVER_LISTEN_BACKLOG", 1024).set("LOGGING_LEVEL", "INFO");
    let server = setup.set("MESSAGE_TIMEOUT", "2s").start();
    assert_eq!(echo(&server), b"hola\n");
    server.await_childless();
    let (at_start, cold) = (descriptors(server.pid()), resident(server.pid()));
    let stored = AtomicU64::new(0);
    flood(&server, WARM_UP.min(connections / 2), &mut rng, &stored);
    let warm = resident(server.pid());
    flood(&server, connections - WARM_UP.min(connections / 2), &mut rng, &stored);
    let after = resident(server.pid());
    report(&format!(
        "connections: {connections}, bets stored: {stored:?}, kB of the parent: {cold}, then {warm}, at last {after}"
    ));
    assert_eq!(descriptors(server.pid()), at_start);
    assert!(after < warm + MEMORY_SLACK, "{} kB more after {connections} connections", after - warm);
    assert_idle(&[server.pid()]);
    assert_eq!(echo(&server), b"hola\n");
    assert_eq!(server.rows().len() as u64, stored.into_inner(), "rows, and bets that were acknowledged");
    server.stop();
}

/// Makes so many connections. When this returns, none of them has a process any more.
fn flood(server: &Server, connections: u64, rng: &mut Rng, stored: &AtomicU64) {
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let mut rng = rng.fork();
            scope.spawn(move || {
                let mut silent: Vec<Conn> = Vec::new();
                for _ in 0..(connections + client) / CLIENTS {
                    let conn = connect(server.port(), &mut rng);
                    stored.fetch_add(visit(conn, &mut rng, &mut silent), Ordering::Relaxed);
                }
            });
        }
    });
    server.await_childless();
}

/// Connects to a random address of this machine: one address does not have enough ports for so many connections.
fn connect(port: u16, rng: &mut Rng) -> Conn {
    let stream = TcpStream::connect((Ipv4Addr::new(127, 0, 0, rng.u8(1..=32)), port)).unwrap();
    Conn::patient(stream)
}

/// Uses one connection in a random way and returns the number of acknowledged bets.
fn visit(mut conn: Conn, rng: &mut Rng, silent: &mut Vec<Conn>) -> u64 {
    let agency = rng.u32(1..=AGENCIES);
    let whole = batch_of(agency, rng.u32(1..=3), 1);
    match rng.u8(0..14) {
        0 => assert_eq!(conn.send(b"hola\n").rest(), b"hola\n"),
        // An agency with typed bets takes no others.
        1 => return acknowledged(conn.send(&Bet::default().single(AGENCIES + agency))),
        2 => return acknowledged(conn.send(&untyped_batch(AGENCIES + agency, &[Bet::default()]))),
        3 | 4 => return converse(conn, agency, rng),
        5 => drop(conn),
        6 => keep(silent, conn, rng),
        7 => drop(conn.send(&whole[..rng.usize(1..whole.len())])),
        8 => drop(conn.send(&whole[..rng.usize(1..whole.len())]).finish().rest_or_reset()),
        9 => conn.reset(),
        10 => {
            conn.send(&whole[..rng.usize(1..whole.len())]);
            conn.reset();
        }
        11 => drop(conn.send(&hostile(rng)).finish().rest_or_reset()),
        12 => {
            conn.send(&hostile(rng));
            conn.reset();
        }
        _ => drop(conn.send(&[count(agency), count(agency), vec![rng.u8(7..32)]].concat()).rest_or_reset()),
    }
    0
}

/// Expects the acknowledgement of one bet.
fn acknowledged(conn: &mut Conn) -> u64 {
    assert_eq!(conn.rest(), [0]);
    1
}

/// Sends a typed batch, which is refused if another connection has claimed the agency.
fn converse(mut conn: Conn, agency: u32, rng: &mut Rng) -> u64 {
    let bets = rng.u32(1..=3);
    conn.send(&batch_of(agency, bets, 1));
    match conn.ack() {
        0 => bets.into(),
        code => {
            assert_eq!(code, 5);
            0
        }
    }
}

/// Keeps the connection open and silent until a later one replaces it. Most are closed so, some by their deadline.
fn keep(silent: &mut Vec<Conn>, conn: Conn, rng: &mut Rng) {
    silent.push(conn);
    if silent.len() > SILENT {
        silent.swap_remove(rng.usize(..silent.len()));
    }
}

fn hostile(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(0..5) {
        0 => b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        1 => [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[7; 300]].concat(),
        2 => [&[1][..], &u32::MAX.to_be_bytes(), &[255], &[b'a'; 300]].concat(),
        3 => vec![b'x'; 2000],
        _ => (0..rng.usize(1..200)).map(|_| rng.u8(..)).collect(),
    }
}

fn echo(server: &Server) -> Vec<u8> {
    server.connect().send(b"hola\n").rest()
}

// ---- many children at once ------------------------------------------------------------------------------------------

const CHILDREN: u32 = 2000;

/// Each of two thousand connections claims an agency of its own while all are open. Then all end at once, half of them
/// by SIGKILL, and every claim is free.
#[test]
fn two_thousand_children_claim_and_end() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let needed = u64::from(CHILDREN) + 100;
    if hard < needed {
        return skipped(&this_test(), &format!("needs {needed} descriptors"));
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard).unwrap();
    let setup = Setup::new(CHILDREN).set("SERVER_LISTEN_BACKLOG", 4096).set("MAX_CONNECTIONS", CHILDREN + 1);
    let server = setup.set("LOGGING_LEVEL", "INFO").set("MESSAGE_TIMEOUT", "10m").start();
    let at_start = descriptors(server.pid());
    let mut conns: Vec<_> = (0..CHILDREN).map(|_| server.connect()).collect();
    (1..).zip(&mut conns).for_each(|(agency, conn)| _ = conn.send(&batch_of(agency, 1, 1)));
    conns.iter_mut().for_each(|conn| assert_eq!(conn.ack(), 0));
    let children = server.children();
    assert_eq!(children.len(), CHILDREN as usize);
    children.iter().step_by(2).for_each(|&child| send_signal(child, "KILL"));
    drop(conns);
    server.await_childless();
    server.await_descriptors(&at_start);
    for agency in [1, 2, CHILDREN] {
        assert_eq!(server.tally(agency).0, 1, "the claim of {agency}");
    }
    server.stop();
}

// ---- an orderly end, at any moment -------------------------------------------------------------------------------

#[test]
fn a_thousand_stops_at_random_moments_end_with_code_0() {
    let stops = setting("STOPS", STOPS);
    let mut rng = rng("stops");
    let mut times: Vec<Duration> = (0..stops).map(|n| stop_at_a_random_moment(n, &mut rng)).collect();
    times.sort();
    let at = |share: u64| times[((stops - 1) * share / 100) as usize];
    report(&format!("stops: {stops}, median {:?}, 99 of 100 within {:?}, slowest {:?}", at(50), at(99), at(100)));
    assert!(at(100) < GRACE + BEYOND_GRACE, "the slowest took {:?}", at(100));
}

/// Stops a server at a random moment and returns the time from the signal to its end.
fn stop_at_a_random_moment(n: u64, rng: &mut Rng) -> Duration {
    let durability = ["process", "end", "batch"][rng.usize(..3)];
    let setup = Setup::new(3).set("SHUTDOWN_GRACE", "300ms").set("DURABILITY", durability);
    let at_start = rng.u8(0..4) == 0;
    let mut found = String::new();
    if at_start {
        found = "3,Ana,Paz,0,1999-03-17,1\r\n".repeat(rng.usize(0..20_000));
        write_file(&setup.path("bets.csv"), &found);
    }
    let mut server = if at_start { setup.spawn() } else { setup.start() };
    eventually("it survives a SIGTERM", || survives_sigterm(server.pid()));
    let sizes = [(); 3].map(|()| rng.u32(1..=80));
    let conns = if at_start { 0 } else { rng.u8(0..8) };
    let mut begun: Vec<_> = (0..conns).map(|_| Begun::new(&server, &sizes, rng)).collect();
    thread::sleep(Duration::from_micros(rng.u64(0..8_000)));
    let began = Instant::now();
    server.signal("TERM");
    let status = server.wait();
    let took = began.elapsed();
    let log = server.log();
    assert_eq!(status.code(), Some(0), "stop {n}\n{log}");
    assert!(log.trim_end().ends_with("action: exit | result: success"), "stop {n}\n{log}");
    assert!(!log.contains("panic"), "stop {n}\n{log}");
    let free = File::open(server.bets_path()).map_or(true, |lock| lock.try_lock().is_ok());
    assert!(free, "stop {n}: a child is left\n{log}");
    server.rows();
    let bets = String::from_utf8(server.bets()).unwrap();
    let stored = bets.strip_prefix(&found).unwrap_or_else(|| panic!("stop {n}: the bets that were there\n{log}"));
    for (agency, size) in (1..).zip(sizes) {
        let own = begun.iter_mut().filter(|one| one.agency == agency);
        let (acknowledged, sent) = own.fold((0, 0), |(all, sent), one| (all + one.acknowledged(), sent + one.batches));
        let stored = whole_batches(agency, size, stored);
        assert!(
            stored.is_some_and(|stored| (acknowledged..=sent).contains(&stored)),
            "stop {n}: agency {agency} sent {sent} batches of {size}, {acknowledged} were acknowledged, stored: \
             {stored:?}\n{bets}\n{log}"
        );
    }
    took
}

/// The number of batches of `size` bets that `agency` has stored; `None` if they are not whole batches.
fn whole_batches(agency: u32, size: u32, stored: &str) -> Option<usize> {
    let (batch, own) = (rows(agency, size, WINNING), rows_of(stored.as_bytes(), agency));
    let batches = own.len() / batch.len();
    (own == batch.repeat(batches)).then_some(batches)
}

/// Whether the process blocks or handles SIGTERM: before its first instructions it would be killed.
fn survives_sigterm(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let is_in = |mask: &str| u64::from_str_radix(mask, 16).unwrap() >> (nix::libc::SIGTERM - 1) & 1 == 1;
    let mut masks = status.lines().filter_map(|line| line.strip_prefix("SigBlk:\t").or(line.strip_prefix("SigCgt:\t")));
    masks.any(is_in)
}

/// A connection in a random state.
struct Begun {
    conn: Conn,
    agency: u32,
    /// The number of whole batches that it has sent.
    batches: usize,
}

impl Begun {
    /// `sizes`: how many bets each batch of agency 1, 2, … has.
    fn new(server: &Server, sizes: &[u32], rng: &mut Rng) -> Self {
        let agency = rng.u32(1..=3);
        let whole = batch_of(agency, sizes[agency as usize - 1], WINNING);
        let (batches, sent) = match rng.u8(0..7) {
            0 => (0, Vec::new()),
            1 => (0, whole[..rng.usize(1..whole.len())].to_vec()),
            2 => (1, whole),
            3 => (3, whole.repeat(3)),
            4 => (1, [whole, end(agency), ask(agency)].concat()),
            5 => (0, b"hola".to_vec()),
            _ => (0, vec![9; 40]),
        };
        let mut conn = server.connect();
        conn.send(&sent);
        Self { conn, agency, batches }
    }

    /// The number of its acknowledged batches; a further acknowledgement is that of an end.
    fn acknowledged(&mut self) -> usize {
        let answers = self.conn.rest_or_reset();
        answers.chunks(2).take_while(|answer| answer == &[2, 0]).count().min(self.batches)
    }
}
