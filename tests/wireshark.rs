//! The Wireshark dissector, on real captures of the loopback device: sessions of the server, and of a socket that sends
//! bytes which the server never sends. The dissector must show every message, field by field, and nothing more.

#![allow(clippy::unwrap_used)] // clippy.toml's allowance reaches #[test] functions only

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use support::answers::winners;
use support::*;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/wireshark/loteria.lua");
const WHAT: &str = "the Wireshark dissector";

#[test]
fn every_message_of_a_capture_is_shown_exactly() {
    if !has_program("tshark") {
        return skipped(WHAT, "tshark is not installed");
    }
    let server = Setup::new(2).set("DRAW_WAIT", "100ms").start();
    let scripted = TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = [server.port(), scripted.local_addr().unwrap().port()];
    let capture = match Capture::start(ports, server.path("capture.pcapng")) {
        Ok(capture) => capture,
        Err(why) => return skipped(WHAT, &format!("cannot capture on loopback: {why}")),
    };
    let sessions = [untyped(&server), draw(&server), refused(&server)];
    let scripts = [client_defects(&scripted), server_defects(&scripted), long_answers(&scripted)];
    let talks = [sessions.concat(), scripts.concat()].concat();
    let file = capture.finish(&server);
    compare(&decode(&file, ports, &[]), &talks);
    // Wireshark dissects frames a second time: its knowledge of later frames must change nothing.
    compare(&decode(&file, ports, &["-2"]), &talks);
    let segments = decode(&file, ports, &["-o", "tcp.desegment_tcp_streams:FALSE"]);
    let first = "ENVIO_BATCH agency=2 count=255 [incomplete]";
    assert!(segments.values().flatten().flatten().any(|shown| shown.starts_with(first)), "{segments:#?}");
    server.stop();
}

#[test]
fn the_port_is_registered() {
    if !has_program("tshark") {
        return skipped(WHAT, "tshark is not installed");
    }
    let decodes = tshark(&["-G", "decodes"]);
    let own: Vec<_> = decodes.lines().filter(|line| line.ends_with("\tloteria")).collect();
    assert_eq!(own, ["tcp.port\t12345\tloteria"]);
}

// ---- versions of Lua ----

const STUB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/wireshark.lua");

/// A segment: the number of its connection, whether the client sends it, its bytes, and the message that must be shown.
type Segment = (u8, bool, Vec<u8>, Shown);

/// One message of each kind, and texts that need every pattern of the dissector.
fn one_of_each() -> Vec<Segment> {
    let broken = Bet { first: b"Ana\x01\x1f\x7f", last: "\u{85}".as_bytes(), birthdate: b"2023-02-29", ..lorca() };
    let broken_shown = shown(
        "typed",
        "ENVIO_BATCH agency=0 count=1",
        "type=ENVIO_BATCH (1) | agency=0 | agency_zero | count=1 | bet=Ana??? ? | bet.first_name=Ana\x01\x1f\x7f \
         | control | bet.last_name=\u{85} | control | bet.document=30904465 | bet.birthdate=2023-02-29 | invalid_date \
         | bet.number=7574",
    );
    let unknown = shown("typed", "UNKNOWN type=9 [malformed]", "type=Unknown (9) | unknown_type | undecoded=00");
    let received = [&[7, 0, 0, 0, 1][..], &2u64.to_be_bytes(), &[1], &[0, 0, 0, 0xab]].concat();
    vec![
        (1, true, b"hola".to_vec(), shown("echo", "ECHO", "echo=hola")),
        (2, true, lorca().single(1), shown_single(1, &lorca())),
        (2, false, vec![1], shown_result(1)),
        (3, true, untyped_batch(2, &[lorca(), nandu()]), shown_untyped(2, &[lorca(), nandu()])),
        (4, true, batch(1, &[nandu()]), shown_batch(1, &[nandu()])),
        (4, false, vec![2, 0], shown_code(0)),
        (4, true, batch(0, &[broken]), broken_shown),
        (4, true, ask(1), shown_ask(1)),
        (4, false, vec![4], shown_not_drawn()),
        (4, false, winners(&[u32::MAX, 7]), shown_winners(&[u32::MAX, 7])),
        (4, true, count(1), shown_count(1)),
        (4, false, received, shown_received(1, (2, true, 0xab))),
        (4, true, vec![9, 0], unknown),
    ]
}

/// Wireshark has one version of Lua, which depends on its own version and on the system.
#[test]
fn the_dissector_works_with_lua_5_1_to_5_4() {
    let segments = one_of_each();
    let side = |by_client| if by_client { "client" } else { "server" };
    let lines = segments.iter().map(|(id, by_client, bytes, _)| format!("{id} {} {}\n", side(*by_client), hex(bytes)));
    let input = lines.collect::<String>();
    let expected: Vec<_> = segments.iter().map(|(_, _, _, shown)| vec![shown.clone()]).collect();
    for lua in ["lua5.1", "lua5.2", "lua5.3", "lua5.4"] {
        if !has_program(lua) {
            skipped(WHAT, &format!("{lua} is not installed"));
            continue;
        }
        let mut command = Command::new(lua);
        command.args([STUB, SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut run = command.spawn().unwrap();
        run.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{lua}: {}", String::from_utf8_lossy(&output.stderr));
        let shown = String::from_utf8(output.stdout).unwrap();
        same(&shown.lines().map(|line| vec![line.to_owned()]).collect::<Vec<_>>(), &expected);
    }
}

// ---- sessions ----

/// A connection, identified by its client's port, and the messages that must be shown.
#[derive(Clone)]
struct Talk {
    client: u16,
    /// The client's messages, by the frame that completes them.
    sent: Vec<Vec<Shown>>,
    /// The server's messages; the server may join several in one frame.
    answered: Vec<Shown>,
}

impl Talk {
    fn new(conn: &Conn, sent: &[&[Shown]], answered: &[Shown]) -> Self {
        let sent = sent.iter().map(|frame| frame.to_vec()).collect();
        Self { client: conn.port(), sent, answered: answered.to_vec() }
    }
}

fn lorca() -> Bet<'static> {
    Bet { first: b"Santiago Lionel", last: b"Lorca", document: 30_904_465, birthdate: b"1999-03-17", number: 7574 }
}

fn nandu() -> Bet<'static> {
    let [first, last] = ["Ñandú", "Díaz"].map(str::as_bytes);
    Bet { first, last, document: 0, birthdate: b"2000-02-29", number: u32::MAX }
}

/// Sends each part as a segment of its own: the kernel may join what its peer has not yet confirmed.
fn send_apart<'a>(conn: &mut Conn, parts: impl IntoIterator<Item = &'a [u8]>) {
    let local = conn.port();
    for part in parts {
        conn.send(part);
        eventually("a segment is confirmed", || sockets().iter().all(|s| s.local != local || s.unsent == 0));
    }
}

/// Exercises 1 to 6.
fn untyped(server: &Server) -> Vec<Talk> {
    let mut echo = server.connect();
    echo.send("¿Año?  \n".as_bytes());
    assert_eq!(echo.rest(), "¿Año?\n".as_bytes());
    let mut single = server.connect();
    single.send(&lorca().single(1));
    assert_eq!(single.rest(), [0]);
    let mut bytewise = server.connect();
    send_apart(&mut bytewise, nandu().single(2).chunks(1));
    assert_eq!(bytewise.rest(), [0]);
    let mut cut = server.connect();
    send_apart(&mut cut, untyped_batch(1, &[lorca(), nandu()]).chunks(25));
    assert_eq!(cut.rest(), [0]);
    let mut empty = server.connect();
    empty.send(&untyped_batch(1, &[]));
    assert_eq!(empty.rest(), [0]);
    vec![
        Talk::new(&echo, &[&[shown("echo", "ECHO", r"echo=¿Año?  \n")]], &[shown("echo", "ECHO", r"echo=¿Año?\n")]),
        Talk::new(&single, &[&[shown_single(1, &lorca())]], &[shown_result(0)]),
        Talk::new(&bytewise, &[&[shown_single(2, &nandu())]], &[shown_result(0)]),
        Talk::new(&cut, &[&[shown_untyped(1, &[lorca(), nandu()])]], &[shown_result(0)]),
        Talk::new(&empty, &[&[shown_untyped(1, &[])]], &[shown_result(0)]),
    ]
}

/// Exercises 7 and 8, up to the winners; agency 1 has bets of exercises 5 and 6, too.
fn draw(server: &Server) -> Vec<Talk> {
    let (mut one, mut two) = (server.connect(), server.connect());
    one.send(&count(1));
    let before = one.tally(1);
    one.send(&[batch(1, &[lorca()]), batch(1, &[nandu(), lorca()]), ask(1)].concat());
    assert_eq!((one.ack(), one.ack(), one.winners()), (0, 0, None));
    let many: Vec<_> = (0..255).map(|document| Bet { document, ..Bet::default() }).collect();
    send_apart(&mut two, batch(2, &many).chunks(1000));
    send_apart(&mut two, [&end(2)[..], &ask(2)]);
    assert_eq!((two.ack(), two.ack(), two.winners()), (0, 0, None));
    send_apart(&mut one, [end(1), ask(1), count(1)].concat().chunks(8));
    let winners = [lorca().document; 4];
    assert_eq!((one.ack(), one.winners()), (0, Some(winners.to_vec())));
    let after = one.tally(1);
    two.send(&ask(2));
    assert_eq!(two.winners(), Some(vec![]));

    let three = [shown_batch(1, &[lorca()]), shown_batch(1, &[nandu(), lorca()]), shown_ask(1)];
    let one_sent: &[&[_]] = &[&[shown_count(1)], &three, &[shown_batch(1, &[])], &[shown_ask(1), shown_count(1)]];
    let two_sent: &[&[_]] = &[&[shown_batch(2, &many)], &[shown_batch(2, &[])], &[shown_ask(2)], &[shown_ask(2)]];
    let ok = || shown_code(0);
    let early = [shown_received(1, before), ok(), ok(), shown_not_drawn()];
    let late = [ok(), shown_winners(&winners), shown_received(1, after)];
    let to_two = [ok(), ok(), shown_not_drawn(), shown_winners(&[])];
    vec![Talk::new(&one, one_sent, &[&early[..], &late].concat()), Talk::new(&two, two_sent, &to_two)]
}

/// Messages that the server refuses after the draw.
fn refused(server: &Server) -> Vec<Talk> {
    let refuse = |message: &[u8], sent: &[Shown], answered: &[Shown]| {
        let mut conn = server.connect();
        conn.send(message).rest();
        Talk::new(&conn, &[sent], answered)
    };
    let no_date = Bet { birthdate: b"1900-02-29", ..Bet::default() };
    let no_names = Bet { first: b"", last: b"A\tb", ..Bet::default() };
    let no_text = Bet { first: b"Ana\xff", last: "P\u{85}".as_bytes(), birthdate: b"17/03/1999", ..Bet::default() };
    let endless = Bet { first: &[b'a'; 30], last: b"", ..Bet::default() };
    let no_date_shown = shown(
        "untyped",
        "APUESTA agency=1",
        "agency=1 | bet=Ana Paz | bet.first_name=Ana | bet.last_name=Paz | bet.document=30904465 \
         | bet.birthdate=1900-02-29 | invalid_date | bet.number=1",
    );
    let defects_shown = shown(
        "typed",
        "ENVIO_BATCH agency=1 count=2",
        "type=ENVIO_BATCH (1) | agency=1 | count=2 | bet= A?b | bet.first_name= | empty_name | bet.last_name=A\\tb \
         | control | bet.document=30904465 | bet.birthdate=1999-03-17 | bet.number=1 | bet=Ana\u{fffd} P? \
         | bet.first_name=Ana\u{fffd} | not_utf8 | bet.last_name=P\\u0085 | control | bet.document=30904465 \
         | bet.birthdate=17/03/1999 | invalid_date | bet.number=1",
    );
    let endless_shown = shown(
        "typed",
        "ENVIO_BATCH agency=1 count=1 [malformed]",
        "type=ENVIO_BATCH (1) | agency=1 | count=1 | bet | bet.first_name=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
         | unterminated | undecoded=000001d79091313939392d30332d31370000000001",
    );
    let zero_shown = shown("untyped", "BATCH agency=0 count=0", "agency=0 | agency_zero | count=0");
    let unknown_shown =
        shown("typed", "UNKNOWN type=9 [malformed]", "type=Unknown (9) | unknown_type | undecoded=0078");
    let wrong_shown = shown("typed", "RECIBIDAS type=7 [malformed]", "type=RECIBIDAS (7) | wrong_direction");
    let mut reset = server.connect();
    send_apart(&mut reset, [&untyped_batch(1, &[lorca()])[..9]]);
    let reset_talk = Talk::new(&reset, &[&[shown_cut("APUESTA or BATCH")]], &[]);
    reset.reset();
    vec![
        reset_talk,
        refuse(&no_date.single(1), &[no_date_shown], &[shown_result(1)]),
        refuse(&lorca().single(1), &[shown_single(1, &lorca())], &[shown_result(3)]),
        refuse(&untyped_batch(0, &[]), &[zero_shown], &[shown_result(2)]),
        refuse(&batch(9, &[lorca()]), &[shown_batch(9, &[lorca()])], &[shown_code(2)]),
        refuse(&batch(1, &[no_names, no_text]), &[defects_shown], &[shown_code(1)]),
        refuse(&batch(1, &[endless]), &[endless_shown], &[shown_code(6)]),
        refuse(
            &[&ask(2)[..], b"\x09\0x"].concat(),
            &[shown_ask(2), unknown_shown],
            &[shown_winners(&[]), shown_code(6)],
        ),
        refuse(&[7], &[wrong_shown], &[shown_code(6)]),
    ]
}

/// A segment, and the messages that it completes.
type Part = (Vec<u8>, Vec<Shown>);

/// A connection whose server is the test itself. A last part without bytes is the end of the stream.
fn play(scripted: &TcpListener, sent: &[Part], answered: &[Part]) -> Talk {
    let mut client = Conn::to(scripted.local_addr().unwrap().port());
    let mut server = Conn(scripted.accept().unwrap().0);
    server.0.set_nodelay(true).unwrap();
    send_apart(&mut client, sent.iter().map(|(bytes, _)| &bytes[..]));
    thread::scope(|scope| {
        scope.spawn(|| client.rest());
        send_apart(&mut server, answered.iter().map(|(bytes, _)| &bytes[..]));
        server.finish();
    });
    client.finish();
    server.rest();
    let frames = sent.iter().map(|(_, shown)| shown.as_slice()).filter(|shown| !shown.is_empty());
    let answers: Vec<_> = answered.iter().flat_map(|(_, shown)| shown.clone()).collect();
    Talk::new(&client, &frames.collect::<Vec<_>>(), &answers)
}

/// Messages of a client with wrong counts, and bytes that are not messages.
fn client_defects(scripted: &TcpListener) -> Vec<Talk> {
    let mut too_small = untyped_batch(1, &[lorca(), Bet::default()]);
    too_small[4] = 1;
    let mut too_large = batch(1, &[lorca()]);
    too_large[5] = 2;
    let surplus = |bytes: &[u8]| shown("untyped", "SURPLUS", &format!("undecoded={} | surplus", hex(bytes)));
    let behind = surplus(&Bet::default().in_batch());
    let text = shown("typed", "UNKNOWN type=65 [malformed]", "type=Unknown (65) | unknown_type | undecoded=6e6100");
    let later = shown("typed", "SURPLUS", "undecoded=50617a | surplus");
    vec![
        play(
            scripted,
            &[(too_small, vec![shown_untyped(1, &[lorca()]), behind]), (vec![0, 1], vec![surplus(&[0, 1])])],
            &[(vec![0], vec![shown_result(0)]), (vec![2], vec![surplus(&[2])])],
        ),
        play(
            scripted,
            &[([&end(1)[..], b"Ana\0"].concat(), vec![shown_batch(1, &[]), text]), (b"Paz".to_vec(), vec![later])],
            &[],
        ),
        play(scripted, &[(too_large, vec![]), (vec![], vec![shown_cut("ENVIO_BATCH agency=1 count=2")])], &[]),
    ]
}

/// Messages that no server sends.
fn server_defects(scripted: &TcpListener) -> Vec<Talk> {
    let asked = || [(ask(1), vec![shown_ask(1)])];
    let code = shown(
        "typed",
        "CONFIRMACION_RECEPCION code=8",
        "type=CONFIRMACION_RECEPCION (2) | code=Unknown (8) | unknown_code",
    );
    let wrong = shown(
        "typed",
        "ENVIO_BATCH type=1 [malformed]",
        "type=ENVIO_BATCH (1) | wrong_direction | undecoded=0000000100",
    );
    let unknown = shown("typed", "UNKNOWN type=0 [malformed]", "type=Unknown (0) | unknown_type");
    let three = [5, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2];
    vec![
        play(scripted, &asked(), &[(vec![2, 8], vec![code]), (end(1), vec![wrong])]),
        play(scripted, &asked(), &[(vec![0], vec![unknown])]),
        play(scripted, &asked(), &[(three.to_vec(), vec![]), (vec![], vec![shown_cut("RESPUESTA_GANADORES count=3")])]),
    ]
}

/// Every code; answers in many segments, and a message after the answer in the last of them.
fn long_answers(scripted: &TcpListener) -> Vec<Talk> {
    let asked = || [(ask(1), vec![shown_ask(1)])];
    let codes = ((0..=7).flat_map(|code| [2, code]).collect(), (0..=7).map(shown_code).collect());
    let received = [&[7, 0, 0, 0, 1][..], &u64::MAX.to_be_bytes(), &[1], &[0, 0, 0, 0xab]].concat();
    let received_shown = shown_received(1, (u64::MAX, true, 0xab));
    let few = [winners(&[7, 8]), received].concat();
    let bytewise = few.iter().enumerate().map(|(i, &byte)| match i {
        12 => (vec![byte], vec![shown_winners(&[7, 8])]),
        30 => (vec![byte], vec![received_shown.clone()]),
        _ => (vec![byte], vec![]),
    });
    let documents: Vec<u32> = (0..20_000).collect();
    let many = [winners(&documents), vec![4]].concat();
    let mut parts: Vec<Part> = many.chunks(9000).map(|part| (part.to_vec(), vec![])).collect();
    parts.last_mut().unwrap().1 = vec![shown_winners(&documents), shown_not_drawn()];
    vec![
        play(scripted, &asked(), &[codes]),
        play(scripted, &asked(), &bytewise.collect::<Vec<_>>()),
        play(scripted, &asked(), &parts),
    ]
}

// ---- what must be shown ----

/// A message as shown: its line, then each field by its name without "loteria.", and each defect by its name.
type Shown = String;

fn shown(generation: &str, line: &str, fields: &str) -> Shown {
    let name = line.split(' ').next().unwrap();
    format!("{line} | generation={generation} | message={name} | {fields}")
}

fn shown_cut(line: &str) -> Shown {
    format!("{line} [cut short] | cut_short")
}

fn shown_bet(bet: &Bet<'_>) -> String {
    let [first, last, birthdate] = [bet.first, bet.last, bet.birthdate].map(|text| str::from_utf8(text).unwrap());
    format!(
        " | bet={first} {last} | bet.first_name={first} | bet.last_name={last} | bet.document={} \
         | bet.birthdate={birthdate} | bet.number={}",
        bet.document, bet.number
    )
}

fn shown_single(agency: u32, bet: &Bet<'_>) -> Shown {
    shown("untyped", &format!("APUESTA agency={agency}"), &format!("agency={agency}{}", shown_bet(bet)))
}

fn shown_untyped(agency: u32, bets: &[Bet<'_>]) -> Shown {
    let (count, fields) = (bets.len(), bets.iter().map(shown_bet).collect::<String>());
    let line = format!("BATCH agency={agency} count={count}");
    shown("untyped", &line, &format!("agency={agency} | count={count}{fields}"))
}

fn shown_batch(agency: u32, bets: &[Bet<'_>]) -> Shown {
    let (count, fields) = (bets.len(), bets.iter().map(shown_bet).collect::<String>());
    let line = format!("ENVIO_BATCH agency={agency} count={count}");
    shown("typed", &line, &format!("type=ENVIO_BATCH (1) | agency={agency} | count={count}{fields}"))
}

const CODES: [&str; 8] = [
    "success (0)",
    "invalid bet (1) | refused",
    "agency unknown (2) | refused",
    "the agency has already ended, or the draw is done (3) | refused",
    "storage failed (4) | refused",
    "the agency is connected elsewhere (5) | refused",
    "protocol broken (6) | refused",
    "server is stopping (7) | refused",
];

fn shown_result(code: usize) -> Shown {
    shown("untyped", &format!("RESULTADO code={code}"), &format!("code={}", CODES[code]))
}

fn shown_code(code: usize) -> Shown {
    let fields = format!("type=CONFIRMACION_RECEPCION (2) | code={}", CODES[code]);
    shown("typed", &format!("CONFIRMACION_RECEPCION code={code}"), &fields)
}

fn shown_ask(agency: u32) -> Shown {
    let fields = format!("type=SOLICITUD_GANADORES (3) | agency={agency}");
    shown("typed", &format!("SOLICITUD_GANADORES agency={agency}"), &fields)
}

fn shown_not_drawn() -> Shown {
    shown("typed", "SORTEO_NO_REALIZADO", "type=SORTEO_NO_REALIZADO (4)")
}

fn shown_winners(documents: &[u32]) -> Shown {
    let (count, fields) = (documents.len(), documents.iter().map(|d| format!(" | winner={d}")).collect::<String>());
    let fields = format!("type=RESPUESTA_GANADORES (5) | winners.count={count}{fields}");
    shown("typed", &format!("RESPUESTA_GANADORES count={count}"), &fields)
}

fn shown_count(agency: u32) -> Shown {
    let fields = format!("type=CONSULTA_RECIBIDAS (6) | agency={agency}");
    shown("typed", &format!("CONSULTA_RECIBIDAS agency={agency}"), &fields)
}

fn shown_received(agency: u32, (bets, ended, crc): (u64, bool, u32)) -> Shown {
    let line = format!("RECIBIDAS agency={agency} bets={bets} ended={}", u8::from(ended));
    let ended = if ended { "yes (1)" } else { "no (0)" };
    let fields = format!("received.bets={bets} | received.ended={ended} | received.crc=0x{crc:08x}");
    shown("typed", &line, &format!("type=RECIBIDAS (7) | agency={agency} | {fields}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

// ---- capturing ----

/// A dumpcap that captures on the loopback device. Dropping it ends the capture.
struct Capture {
    dumpcap: Child,
    file: PathBuf,
}

impl Capture {
    /// Returns once packets from or to `ports` are captured, or the reason why they cannot be.
    fn start(ports: [u16; 2], file: PathBuf) -> Result<Self, String> {
        let filter = format!("tcp port {} or tcp port {}", ports[0], ports[1]);
        let mut command = Command::new("dumpcap");
        command.args(["-q", "-p", "-i", "lo", "-f", &filter, "-w"]).arg(&file).stdin(Stdio::null());
        let mut dumpcap = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
        let lines = BufReader::new(dumpcap.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut said = Vec::new();
        for line in lines {
            // It prints the name of its file once it has opened the device.
            if line.starts_with("File: ") {
                return Ok(Self { dumpcap, file });
            }
            said.push(line);
        }
        dumpcap.wait().unwrap();
        Err(said.into_iter().find(|line| line.starts_with("dumpcap: ")).unwrap_or_default())
    }

    /// Ends the capture once the file has all packets that were sent.
    fn finish(mut self, server: &Server) -> PathBuf {
        const LAST: &[u8] = b"bytes after this are ignored\n";
        server.connect().send(LAST).rest();
        eventually("the capture is written", || {
            fs::read(&self.file).unwrap().windows(LAST.len()).any(|bytes| bytes == LAST)
        });
        send_signal(self.dumpcap.id().try_into().unwrap(), "INT");
        self.dumpcap.wait().unwrap();
        self.file.clone()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.dumpcap.kill();
        let _ = self.dumpcap.wait();
    }
}

// ---- decoding ----

/// The output of tshark with the dissector.
fn tshark(arguments: &[&str]) -> String {
    let output = Command::new("tshark").args(arguments).args(["-X", &format!("lua_script:{SCRIPT}")]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !errors.contains("lua"), "{arguments:?}: {errors}");
    // Version 4.0 cuts in half the character that replaces bytes which are not UTF-8.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Lua Error"), "{text}");
    text
}

/// The messages that each frame completes, by the client's port and whether the client sent them.
type Decoded = BTreeMap<(u16, bool), Vec<Vec<Shown>>>;

fn decode(file: &Path, ports: [u16; 2], arguments: &[&str]) -> Decoded {
    let decode_as = ports.map(|port| format!("tcp.port=={port},loteria"));
    let read = ["-r", file.to_str().unwrap(), "-Y", "loteria", "-d", &decode_as[0], "-d", &decode_as[1]];
    let messages = tshark(&[arguments, &read, &["-T", "pdml", "-J", "loteria"]].concat());
    let columns = ["tcp.srcport", "tcp.dstport", "_ws.col.Protocol", "_ws.col.Info"].map(|column| ["-e", column]);
    let rows = tshark(&[arguments, &read, &["-T", "fields"], columns.as_flattened()].concat());
    let mut decoded = Decoded::new();
    let packets = messages.split("<packet>").skip(1).map(messages_of);
    assert_eq!(packets.clone().count(), rows.lines().count());
    for (row, packet) in rows.lines().zip(packets) {
        let [from, to, protocol, info] = row.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let lines: Vec<_> = packet.iter().map(|shown| shown.split(" | ").next().unwrap()).collect();
        assert_eq!((protocol, info), ("LOTERIA", &*lines.join(", ")));
        let [from, to] = [from, to].map(|port| port.parse().unwrap());
        let by_client = ports.contains(&to);
        decoded.entry((if by_client { from } else { to }, by_client)).or_default().push(packet);
    }
    decoded
}

/// The messages in the XML of one packet.
fn messages_of(packet: &str) -> Vec<Shown> {
    // Deeper ones are Wireshark's own marks of a malformed packet inside a message.
    let protocols = packet.split("\n  <proto ").filter(|xml| attribute(xml, "name") == Some("loteria"));
    protocols.map(|xml| xml.split("<field ").filter_map(item).collect::<Vec<_>>().join(" | ")).collect()
}

/// A message's line, or a field in it; nothing for Wireshark's own fields.
fn item(xml: &str) -> Option<String> {
    let (name, label) = (attribute(xml, "name")?, attribute(xml, "showname")?);
    match (name.strip_prefix("loteria"), label.split_once(": ")) {
        (None, _) => None,
        (Some(""), _) => Some(label.strip_prefix("Lotería Nacional, ").unwrap().to_owned()),
        (Some(item), None) => Some(item[1..].to_owned()),
        (Some(item), Some((_, value))) => Some(format!("{}={value}", &item[1..])),
    }
}

fn attribute<'a>(xml: &'a str, key: &str) -> Option<&'a str> {
    let (_, value) = xml.split_once(&format!("{key}=\""))?;
    Some(value.split('"').next().unwrap())
}

#[track_caller]
fn compare(decoded: &Decoded, talks: &[Talk]) {
    for talk in talks {
        let frames = |by_client| decoded.get(&(talk.client, by_client)).cloned().unwrap_or_default();
        same(&frames(true), &talk.sent);
        same(&[frames(false).concat()], std::slice::from_ref(&talk.answered));
    }
}

/// Compares by frame and message, so that a failure is readable.
#[track_caller]
fn same(shown: &[Vec<Shown>], expected: &[Vec<Shown>]) {
    let [shown, expected] = [shown, expected]
        .map(|frames| frames.iter().map(|frame| frame.join("\n") + "\n").collect::<Vec<_>>().join("-- next frame\n"));
    assert!(shown == expected, "shown is\n{shown}\nand should be\n{expected}");
}
