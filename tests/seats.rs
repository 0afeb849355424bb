//! Seats and newcomers from outside: who must leave when all connections are taken, who keeps a seat, who gives way to another
//! connection of the same agency, and how many questions a stranger may ask.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::*;

/// A backlog for as many connections as a test opens at once.
const WIDE: u32 = 4096;
/// More connections than the default of MAX_CONNECTIONS.
const FLOOD: usize = 1100;
/// How long a holder must be silent before it gives way.
const SILENCE: Duration = Duration::from_secs(5);

fn crowded(agencies: u32) -> Setup {
    Setup::new(agencies).set("SERVER_LISTEN_BACKLOG", WIDE).set("LOGGING_LEVEL", "INFO")
}

fn small(agencies: u32) -> Setup {
    crowded(agencies).set("MAX_CONNECTIONS", 8)
}

/// The connection is closed after it has got "not drawn".
#[track_caller]
fn assert_dismissed(conn: &mut Conn) {
    assert_eq!(conn.rest_or_reset(), [4]);
}

/// Runs the real client of `agency` to its end.
#[track_caller]
fn run_client(server: &Server, agency: u32) {
    let client = client_of(server, agency, 300).start();
    client.end().succeeded();
}

fn client_of(server: &Server, agency: u32, bets: u32) -> ClientSetup {
    let address = ([127, 0, 0, 1], server.port()).into();
    let file = format!(".data/agency-{agency}.csv");
    ClientSetup::new("draw").set("ID", &agency.to_string()).server(address).file(&file, agency_file(bets))
}

/// Connections that `begin` once they are open, and are opened again when the server closes them, until `work` is done.
fn besieged(server: &Server, connections: usize, begin: &[u8], work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    let port = server.port();
    let open = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let _ = stream.write_all(begin);
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let is_open = |mut stream: &TcpStream| match stream.read(&mut [0; 64]) {
        Ok(0) => false,
        Err(e) => e.kind() == ErrorKind::WouldBlock,
        Ok(_) => true,
    };
    let mut streams: Vec<_> = (0..connections).map(|_| open()).collect();
    thread::scope(|scope| {
        let siege = scope.spawn(|| {
            let mut again = 0;
            while !done.load(Ordering::Relaxed) {
                for stream in streams.iter_mut().filter(|stream| !is_open(stream)) {
                    *stream = open();
                    again += 1;
                }
                thread::sleep(GLANCE);
            }
            again
        });
        let begun = Instant::now();
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        eprintln!("{:?}, {} connections opened again", begun.elapsed(), siege.join().unwrap());
        worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

// ---- who must leave ----

#[test]
fn an_agency_is_served_beyond_silent_connections() {
    let server = crowded(1).start();
    let begun = Instant::now();
    let silent: Vec<_> = (0..FLOOD).map(|_| server.connect()).collect();
    run_client(&server, 1);
    eprintln!("{FLOOD} silent connections: {:?}", begun.elapsed());
    drop(silent);
    server.stop();
}

#[test]
fn an_agency_is_served_while_silent_ones_come_back() {
    let server = crowded(1).start();
    besieged(&server, FLOOD, b"", || run_client(&server, 1));
    server.stop();
}

#[test]
fn an_agency_is_served_while_queries_come_back() {
    let server = crowded(2).start();
    besieged(&server, FLOOD, &ask(1), || {
        let other = client_of(&server, 2, 10).start();
        run_client(&server, 1);
        other.end().succeeded();
    });
    server.stop();
}

#[test]
fn five_agencies_share_eight_connections_with_a_flood() {
    let server = small(5).start();
    besieged(&server, 20, &ask(3), || {
        let clients: Vec<_> = (1..=5).map(|agency| client_of(&server, agency, 300).start()).collect();
        clients.into_iter().for_each(|client| client.end().succeeded());
    });
    assert_eq!(server.rows().len(), 5 * 300);
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}

#[test]
fn the_oldest_waiting_queries_make_room_with_answer_4() {
    let server = small(5).start();
    let mut queries: Vec<_> = (0..8)
        .map(|n| {
            let mut conn = server.connect();
            conn.send(&ask(n % 5 + 1));
            server.await_read(&conn);
            conn
        })
        .collect();
    let mut seated: Vec<_> = (1..=5).map(|agency| server.claim(agency)).collect();
    for (agency, conn) in (1..).zip(&mut seated) {
        assert_eq!(conn.send(&end(agency)).ack(), 0);
    }
    // A client that does not close its side makes the next one leave, too.
    let answers: Vec<_> = queries.iter_mut().map(Conn::winners).collect();
    assert_eq!(answers[0], None);
    assert!(answers.is_sorted_by_key(|answer| answer.is_some()), "the oldest leave first: {answers:?}");
    assert_eq!(queries[0].rest_or_reset(), b"");
    assert!(server.stop().contains("result: success | ip: 127.0.0.1 | motivo: lugar cedido a una conexión nueva"));
}

#[test]
fn a_query_with_a_seat_stays_in_a_flood() {
    let server = small(3).start();
    let mut seated = server.connect();
    seated.deliver(1, 3, WINNING);
    let mut half_closed = server.connect();
    half_closed.deliver(2, 1, 1);
    half_closed.finish();
    besieged(&server, 20, &ask(1), || {
        assert!(seated.is_silent_for(A_WHILE * 3) && half_closed.is_silent_for(A_WHILE));
        eventually("the last agency ends", || {
            let mut conn = server.connect();
            let _ = conn.0.write_all(&end(3));
            conn.0.shutdown(std::net::Shutdown::Write).ok();
            conn.rest_or_reset() == [2, 0]
        });
        assert_eq!(seated.winners(), Some(vec![0, 1, 2]));
        assert_eq!(half_closed.winners(), Some(vec![]));
    });
    server.stop();
}

#[test]
fn a_stopped_newcomer_is_killed_and_its_slot_is_used() {
    let server = Setup::new(1).set("MAX_CONNECTIONS", 2).start();
    let mut stopped = Vec::new();
    for n in 1..=2 {
        stopped.push(server.connect());
        eventually("a child", || server.children().len() == n);
    }
    let children = server.children();
    children.iter().for_each(|&child| stop_process(child));
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
    let log = server.stop();
    assert!(log.contains("action: kill_child | result: success | pid: "), "{log}");
    assert!(
        children.iter().any(|pid| log.contains(&format!("pid: {pid} | ip: 127.0.0.1 | agencia: - | causa: SIGKILL")))
    );
}

#[test]
fn a_message_that_has_arrived_is_answered_before_leaving() {
    let server = Setup::new(1).set("MAX_CONNECTIONS", 2).start();
    let (mut conn, child) = server.connect_and_find_child();
    stop_process(child);
    conn.send(&Bet::default().single(1));
    let _other = server.connect();
    let _next = server.connect();
    send_signal(child, "CONT");
    assert_eq!(conn.rest_or_reset(), [0]);
    server.stop();
}

// ---- the timeout ----

#[test]
fn a_query_without_a_seat_ends_after_newcomer_timeout() {
    let server = Setup::new(2).set("NEWCOMER_TIMEOUT", "1s").start();
    let mut seated = server.claim(1);
    let begun = Instant::now();
    assert_dismissed(server.connect().send(&ask(1)));
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.connect().rest(), b"");
    assert_eq!(seated.send(&count(1)).tally(1).0, 0, "a seat has no timeout");
    assert!(server.stop().contains("motivo: sin agencia durante NEWCOMER_TIMEOUT"));
}

#[test]
fn asking_again_does_not_renew_newcomer_timeout() {
    let server = Setup::new(2).set("NEWCOMER_TIMEOUT", "1s").set("DRAW_WAIT", "300ms").start();
    let mut conn = server.connect();
    let mut answers = 0;
    eventually("it is closed", || {
        let _ = conn.0.write_all(&ask(1));
        let read = conn.0.read(&mut [0; 16]).unwrap_or(0);
        answers += read;
        read == 0
    });
    assert!(answers > 0);
    server.stop();
}

#[test]
fn a_client_without_a_seat_asks_until_the_draw() {
    let server = Setup::new(2).set("NEWCOMER_TIMEOUT", "300ms").start();
    let mut client = client_of(&server, 1, 5).start();
    client.line("action: apuestas_enviadas | result: success");
    server.children().into_iter().for_each(|child| send_signal(child, "KILL"));
    client.line("action: consulta_ganadores | result: in_progress");
    client.line("action: consulta_ganadores | result: in_progress");
    let mut other = server.connect();
    assert_eq!(other.send(&end(2)).ack(), 0);
    let end = client.end();
    end.succeeded();
    server.stop();
}

// ---- a silent holder ----

/// Claims `agency` again and again until it gets the claim.
fn claim_at_last(server: &Server, agency: u32) -> Conn {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut conn = server.connect();
        let [kind] = conn.send(&count(agency)).take();
        if kind == 7 {
            conn.take::<17>();
            return conn;
        }
        assert_eq!((kind, conn.rest()), (2, vec![5]));
        assert!(Instant::now() < deadline, "the agency stays claimed");
    }
}

#[test]
fn a_silent_holder_gives_its_agency_away() {
    let server = Server::start(1);
    let mut silent = server.connect();
    let half = batch_of(1, 2, 1);
    let begun = Instant::now();
    silent.send(&count(1)).tally(1);
    silent.send(&half[..half.len() / 2]);
    assert_eq!(claim_at_last(&server, 1).send(&end(1)).ack(), 0);
    assert!(begun.elapsed() >= SILENCE);
    assert_eq!(silent.rest_or_reset(), b"");
    assert!(server.stop().contains("motivo: agencia cedida a otra conexión tras un silencio"));
}

#[test]
fn a_holder_that_sends_bytes_keeps_its_agency() {
    let server = Server::start(1);
    let mut holder = server.claim(1);
    let message = batch_of(1, 5, 1);
    let begun = Instant::now();
    for byte in &message {
        holder.send(&[*byte]);
        if begun.elapsed() < SILENCE + Duration::from_secs(2) {
            assert_eq!(server.store(&end(1)), 5);
        }
    }
    assert_eq!(holder.ack(), 0);
    server.stop();
}

#[test]
fn a_silent_query_gives_its_agency_away_and_goes_on_waiting() {
    let server = Server::start(2);
    let mut query = server.connect();
    query.deliver(1, 2, WINNING);
    let mut next = claim_at_last(&server, 1);
    assert_eq!(next.send(&end(1)).ack(), 0);
    assert!(query.is_silent_for(QUIET));
    assert_eq!(server.store(&end(2)), 0);
    assert_eq!(query.winners(), Some(vec![0, 1]));
    server.stop();
}

#[test]
fn two_clients_of_one_agency_both_get_the_winners() {
    let server = Server::start(2);
    let mut clients = [(); 2].map(|()| client_of(&server, 1, 20).start());
    for client in &mut clients {
        client.line("action: apuestas_enviadas | result: success");
    }
    assert_eq!(server.store(&end(2)), 0);
    for client in clients {
        let end = client.end();
        end.succeeded();
        assert!(end.log.iter().any(|line| line.contains("cant_ganadores: 20")), "{end:#?}");
    }
    let log = server.stop();
    assert_eq!(server_rows(&log), 20, "{log}");
}

/// Stored bets by the log.
fn server_rows(log: &str) -> u32 {
    let counts = log.lines().filter_map(|line| line.split_once("apuesta_recibida | result: success | cantidad: "));
    counts.map(|(_, count)| count.trim().parse::<u32>().unwrap()).sum()
}

// ---- a seat that was released ----

#[test]
fn a_half_closed_query_keeps_its_seat_until_it_is_claimed() {
    let server = Setup::new(2).set("NEWCOMER_TIMEOUT", "500ms").start();
    let mut query = server.connect();
    query.deliver(1, 1, 1);
    query.finish();
    assert!(query.is_silent_for(Duration::from_secs(1)), "it lost its seat");
    let _next = server.claim(1);
    assert_dismissed(&mut query);
    server.stop();
}

#[test]
fn seats_of_unlimited_agencies_leave_room_for_others() {
    let server = small(0).start();
    let mut seated: Vec<_> = (1..=7).map(|agency| server.claim(agency)).collect();
    assert_eq!(server.connect().send(&count(8)).rest(), [2, 5]);
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
    drop(seated.pop());
    eventually("a seat is free", || server.connect().send(&count(8)).take::<1>() == [7]);
    server.stop();
}

#[test]
fn a_silent_seat_is_given_to_another_agency() {
    let server = small(0).start();
    let _seated: Vec<_> = (1..=7).map(|agency| server.claim(agency)).collect();
    eventually("a silent connection gives its seat away", || server.connect().send(&count(8)).take::<1>() == [7]);
    assert_eq!(server.stop().matches("motivo: agencia cedida a otra conexión tras un silencio").count(), 1);
}

// ---- questions ----

/// A connection whose ninth question waits.
fn curious(server: &Server) -> Conn {
    let mut conn = server.connect();
    conn.send(&ask(1).repeat(9));
    assert_eq!(conn.take(), [4; 8]);
    conn
}

#[test]
fn the_ninth_question_without_a_claim_waits() {
    let server = Setup::new(1).set("DRAW_WAIT", "0s").start();
    let mut conn = curious(&server);
    assert!(conn.is_silent_for(QUIET));
    assert_eq!(conn.take(), [4]);
    conn.send(&ask(1).repeat(2));
    let processes = [vec![server.pid()], server.children()].concat();
    assert_idle(&processes);
    assert_eq!(conn.take(), [4; 2]);
    let mut holder = server.claim(1);
    assert_eq!(holder.send(&ask(1).repeat(40)).take(), [4; 40], "with a claim, none waits");
    server.stop();
}

#[test]
fn a_reset_or_a_stop_ends_the_wait_for_a_question() {
    let server = Setup::new(1).set("DRAW_WAIT", "0s").start();
    let mut conn = curious(&server);
    conn.send(&ask(1).repeat(20));
    conn.reset();
    server.await_childless();
    let mut conn = curious(&server);
    server.stop();
    assert_eq!(conn.rest(), [2, 7]);
}

#[test]
fn an_order_to_leave_ends_the_wait_for_a_question() {
    let server = Setup::new(1).set("DRAW_WAIT", "0s").set("MAX_CONNECTIONS", 2).start();
    let mut conn = curious(&server);
    conn.send(&ask(1).repeat(60));
    let _claimed = server.claim(1);
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
    assert!(conn.rest_or_reset().len() < 10);
    server.stop();
}
