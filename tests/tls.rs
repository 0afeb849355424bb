//! TLS from outside: certificates of agencies, foreign clients, refusals on both sides, and bytes that are no handshake.

#![allow(clippy::unwrap_used)] // clippy.toml's allowance reaches #[test] functions only

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use certs::{Authority, Days, Issued, Name, Purpose};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, version};
use support::*;
use tempfile::TempDir;

/// The days of a good certificate.
const GOOD: Days = Days { from: -1, until: 30 };
const EXPIRED: Days = Days { from: -30, until: -1 };
const EARLY: Days = Days { from: 1, until: 30 };

/// An authority, and the files that it has signed.
struct Pki {
    dir: TempDir,
    authority: Authority,
}

impl Pki {
    fn new() -> Self {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("Loteria", GOOD).unwrap());
        write_file(&dir.path().join("ca.pem"), authority.certificate());
        let pki = Self { dir, authority };
        pki.put("server", &pki.authority.server(&["localhost", "127.0.0.1"], GOOD).unwrap());
        pki
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, issued: &Issued) {
        write_file(&self.file(&format!("{name}.pem")), &issued.certificate);
        write_file(&self.file(&format!("{name}.key")), &issued.key);
    }

    fn agency(&self, number: u32) -> Issued {
        self.authority.agency(number, GOOD).unwrap()
    }

    /// A server with these files; TLS is optional.
    fn setup(&self, agencies: u32) -> Setup {
        Setup::new(agencies)
            .set("TLS_CERTIFICATE", path(&self.file("server.pem")))
            .set("TLS_KEY", path(&self.file("server.key")))
            .set("TLS_AGENCY_CA", path(&self.file("ca.pem")))
    }

    /// Our client, as agency 1 with the certificate `own`.
    fn client(&self, mode: &str, server: SocketAddr, own: &Issued) -> ClientSetup {
        self.client_of(1, mode, server, own)
    }

    fn client_of(&self, agency: u32, mode: &str, server: SocketAddr, own: &Issued) -> ClientSetup {
        let name = format!("own-{agency}");
        self.put(&name, own);
        ClientSetup::new(mode)
            .server(server)
            .set("ID", &agency.to_string())
            .set("DATA_PATH", ".data/agency-1.csv")
            .set("TLS_CA", path(&self.file("ca.pem")))
            .set("TLS_CERTIFICATE", path(&self.file(&format!("{name}.pem"))))
            .set("TLS_KEY", path(&self.file(&format!("{name}.key"))))
            .bets(agency_file(3))
    }

    /// The side of a client that the test plays.
    fn hello(&self, own: Option<&Issued>) -> ClientConnection {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.certificate().as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            Some(own) => {
                let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
    }

    fn connect(&self, server: &Server, own: &Issued) -> Tls {
        Tls(StreamOwned::new(self.hello(Some(own)), server.connect().0))
    }
}

/// A TLS connection of a client that the test plays.
struct Tls(StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    fn send(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.write_all(bytes).unwrap();
        self.0.flush().unwrap();
        self
    }

    #[track_caller]
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// All bytes until the server's close_notify.
    #[track_caller]
    fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Err(e) = self.0.read_to_end(&mut bytes) {
            panic!("no close_notify behind {bytes:?}: {e:?}");
        }
        bytes
    }

    /// Ends this side of TLS.
    fn close(&mut self) -> &mut Self {
        self.0.conn.send_close_notify();
        self.0.flush().unwrap();
        self
    }

    /// Ends this side of the TCP stream.
    fn shutdown(&mut self) -> &mut Self {
        self.0.sock.shutdown(Shutdown::Write).unwrap();
        self
    }

    #[track_caller]
    fn winners(&mut self) -> Vec<u32> {
        assert_eq!(self.take(), [5]);
        let count = u32::from_be_bytes(self.take());
        (0..count).map(|_| u32::from_be_bytes(self.take())).collect()
    }
}

fn address(server: &Server) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], server.port()))
}

/// The server has logged this failure with the peer, and has stored nothing.
#[track_caller]
fn assert_refused(server: &Server, why: &str) {
    server.await_log(why);
    let log = server.own_log();
    let line = log.lines().find(|line| line.contains(why)).unwrap();
    assert!(line.contains("| result: fail |") && line.contains("| ip: 127.0.0.1 |"), "{line}");
    assert!(server.rows().is_empty());
}

// ---- our client ----

#[test]
fn a_lottery_over_tls_ends_with_every_agencys_winners() {
    let pki = Pki::new();
    let server = pki.setup(3).set("TLS", "required").start();
    let clients: Vec<_> = (1..=3)
        .map(|agency| {
            let rows = agency_file(700 * agency);
            let client = pki.client_of(agency, "draw", address(&server), &pki.agency(agency)).bets(rows);
            client.set("BATCH_MAXAMOUNT", "20").start()
        })
        .collect();
    for (agency, client) in (1..).zip(clients) {
        let ended = client.end();
        ended.succeeded();
        assert_eq!(ended.count(&format!("cant_ganadores: {}", 700 * agency)), 1, "{ended:#?}");
    }
    assert_eq!(server.rows().len(), 700 * 6);
    assert!(!server.stop().contains("result: fail"));
}

#[test]
fn every_mode_of_the_client_works_over_tls() {
    let pki = Pki::new();
    let server = pki.setup(1).set("TLS", "required").start();
    let client = |mode: &str| pki.client(mode, address(&server), &pki.agency(1));
    let echo = client("echo").set("LOOP_AMOUNT", "2").start().end();
    echo.succeeded();
    assert_eq!(echo.count("receive_message | result: success"), 2);
    let bet =
        [("NOMBRE", "Ana"), ("APELLIDO", "Paz"), ("DOCUMENTO", "9"), ("NACIMIENTO", "1999-03-17"), ("NUMERO", "1")];
    bet.iter().fold(client("bet"), |client, (name, value)| client.variable(name, value)).start().end().succeeded();
    client("batch").start().end().succeeded();
    assert_eq!(server.rows().len(), 4);
    client("draw").set("RESUME", "false").start().end().succeeded();
    assert_eq!(server.rows().len(), 7);
    server.stop();
}

#[test]
fn a_server_that_ends_its_tls_is_dialled_again() {
    let pki = Pki::new();
    let server = pki.setup(2).start();
    let mut client = pki.client("draw", address(&server), &pki.agency(1)).start();
    client.line("apuestas_enviadas");
    let port = server.port();
    let server = server.kill().set("SERVER_PORT", port).start();
    pki.client_of(2, "draw", address(&server), &pki.agency(2)).start().end().succeeded();
    assert_eq!(client.end().code(), 0);
    server.stop();
}

// ---- foreign clients ----

#[test]
fn openssl_is_served() {
    if !has_program("openssl") {
        return skipped("openssl s_client", "openssl is not installed");
    }
    let pki = Pki::new();
    let server = pki.setup(1).start();
    pki.put("own", &pki.agency(1));
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-no_ign_eof", "-verify_return_error", "-servername", "localhost"])
        .args(["-connect", &format!("127.0.0.1:{}", server.port()), "-CAfile", path(&pki.file("ca.pem"))])
        .args(["-cert", path(&pki.file("own.pem")), "-key", path(&pki.file("own.key"))])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let message = [batch_of(1, 3, WINNING), end(1), ask(1)].concat();
    client.stdin.as_mut().unwrap().write_all(&message).unwrap();
    let mut answers = [0; 2 + 2 + 5 + 12];
    client.stdout.as_mut().unwrap().read_exact(&mut answers).unwrap();
    assert_eq!(answers, [2, 0, 2, 0, 5, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
    drop(client.stdin.take());
    client.wait().unwrap();
    server.await_childless();
    assert!(!server.stop().contains("result: fail"));
}

/// Sends three bets and the end, reads to the end of the stream after the winners, and ends TLS on both sides.
const PYTHON: &str = "
import socket, ssl, sys
port, ca, certificate, key = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(certificate, key)
plain = socket.create_connection(('localhost', int(port)), timeout=20)
tls = context.wrap_socket(plain, server_hostname='localhost')
assert tls.version() == 'TLSv1.3'
row = b'Ana\\0Paz\\0' + (7).to_bytes(4, 'big') + b'1999-03-17\\0' + (7574).to_bytes(4, 'big')
agency = (1).to_bytes(4, 'big')
tls.sendall(b'\\1' + agency + b'\\1' + row + b'\\1' + agency + b'\\0' + b'\\3' + agency)
answers = b''
while len(answers) < 13:
    answers += tls.recv(100)
assert answers == bytes([2, 0, 2, 0, 5, 0, 0, 0, 1, 0, 0, 0, 7]), answers
tls.unwrap()  # fails unless the server answers with its own close_notify
";

#[test]
fn pythons_ssl_is_served_and_ends_in_order() {
    if !has_program("python3") {
        return skipped("Python's ssl", "python3 is not installed");
    }
    let pki = Pki::new();
    let server = pki.setup(1).start();
    pki.put("own", &pki.agency(1));
    let files = ["ca.pem", "own.pem", "own.key"].map(|name| path(&pki.file(name)).to_owned());
    let [ca, certificate, key] = &files;
    run_program("python3", &["-c", PYTHON, &server.port().to_string(), ca, certificate, key]).unwrap();
    server.await_childless();
    assert!(!server.stop().contains("result: fail"));
}

// ---- certificates that the server refuses ----

#[test]
fn refused_certificates_get_a_clear_line_on_both_sides() {
    let pki = Pki::new();
    let stranger = Authority::new("Loteria", GOOD).unwrap();
    let revoked = pki.agency(1);
    write_file(&pki.file("revoked"), format!("# lost\n{}\n", revoked.serial.to_uppercase()));
    let setup = pki.setup(1).set("TLS_REVOKED", path(&pki.file("revoked")));
    let server = setup.start();
    for (own, ours, theirs) in [
        (pki.authority.agency(1, EXPIRED), "it has expired", "has expired or is not valid yet; renew"),
        (pki.authority.agency(1, EARLY), "it is not valid yet", "has expired or is not valid yet; renew"),
        (stranger.agency(1, GOOD), "TLS_AGENCY_CA has not signed it", "TLS_AGENCY_CA has not signed"),
        (Ok(revoked), "it is revoked (TLS_REVOKED)", "certificate is revoked; renew"),
        (
            pki.authority.issue("a", &[Name::agency(1)], Purpose::Server, GOOD),
            "it is not for clients",
            "is not that of an agency",
        ),
    ] {
        let client = pki.client("draw", address(&server), &own.unwrap()).start();
        client.end().failed(1, &["no TLS with 127.0.0.1", theirs]);
        assert_refused(&server, &format!("the client's certificate was refused: {ours}"));
    }
    // Another certificate of the same agency is not revoked.
    pki.client("draw", address(&server), &pki.agency(1)).start().end().succeeded();
    server.stop();
}

#[test]
fn certificates_without_one_agency_are_refused() {
    let pki = Pki::new();
    let server = pki.setup(2).start();
    let named = |names: &[Name]| pki.authority.issue("a", names, Purpose::Client, GOOD).unwrap();
    let uri = |uri: &str| Name::Uri(uri.to_owned());
    for (own, why) in [
        (named(&[]), "it has no name"),
        (named(&[uri("loteria:agency:1"), Name::Host("agencia-1".into())]), "it has no name"),
        (named(&[Name::agency(1), Name::agency(2)]), "it has more than one name"),
        (named(&[uri("loteria:agencia:01")]), "the number in its name"),
        (named(&[uri("loteria:agencia:0")]), "the number in its name"),
        (named(&[uri("loteria:agencia:4294967296")]), "the number in its name"),
    ] {
        let mut client = pki.connect(&server, &own);
        let _ = client.0.write_all(&batch_of(1, 1, 1));
        let error = client.0.read(&mut [0]).unwrap_err();
        assert!(error.to_string().contains("CertificateUnknown"), "{error}");
        assert_refused(&server, why);
        let ours = pki.client("draw", address(&server), &own).output();
        let stderr = String::from_utf8(ours.stderr).unwrap();
        assert!(
            ours.status.code() == Some(2) && stderr.contains("tls.certificate") && stderr.contains(why),
            "{stderr}"
        );
    }
    server.stop();
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let pki = Pki::new();
    let server = pki.setup(1).start();
    let mut client = StreamOwned::new(pki.hello(None), server.connect().0);
    let _ = client.write_all(b"hola\n");
    let error = client.read(&mut [0]).unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    assert_refused(&server, "the client has no certificate");
    server.stop();
}

#[test]
fn messages_for_another_agency_are_code_2() {
    let pki = Pki::new();
    let server = pki.setup(3).start();
    let own = pki.agency(2);
    for agency in [1, 3] {
        let untyped = [Bet::default().single(agency), untyped_batch(agency, &[Bet::default()])];
        for message in untyped {
            assert_eq!(pki.connect(&server, &own).send(&message).rest(), [2]);
        }
        for message in [batch_of(agency, 1, 1), end(agency), ask(agency), count(agency)] {
            assert_eq!(pki.connect(&server, &own).send(&message).rest(), [2, 2]);
        }
        assert_refused(&server, &format!("a message for agency {agency} with the certificate loteria:agencia:2"));
    }
    // Also after messages for its own agency.
    let mut client = pki.connect(&server, &own);
    assert_eq!(client.send(&batch_of(2, 1, 1)).take(), [2, 0]);
    assert_eq!(client.send(&ask(1)).rest(), [2, 2]);
    assert_eq!(server.rows(), ["2,Ana,Paz,0,1999-03-17,1"]);
    assert_eq!(server.claim(1).send(&end(1)).ack(), 0, "no agency has ended, and no claim is held");
    let other = pki.client_of(3, "draw", address(&server), &own).output();
    let stderr = String::from_utf8(other.stderr).unwrap();
    assert!(other.status.code() == Some(2) && stderr.contains("it is of agency 2, and id is 3"), "{stderr}");
    server.stop();
}

// ---- certificates that the client refuses ----

#[test]
fn the_client_refuses_a_server_that_it_does_not_know() {
    let pki = Pki::new();
    let stranger = Authority::new("Loteria", GOOD).unwrap();
    let host = |authority: &Authority, name: &str, days| authority.server(&[name], days).unwrap();
    for (certificate, ours, theirs) in [
        (host(&pki.authority, "lottery.example", GOOD), "but for", "expects another name"),
        (host(&pki.authority, "127.0.0.1", EXPIRED), "it has expired", "has expired or is not valid yet"),
        (host(&pki.authority, "127.0.0.1", EARLY), "it is not valid yet", "has expired or is not valid yet"),
        (host(&stranger, "127.0.0.1", GOOD), "tls.ca has not signed it", "does not trust"),
        (
            pki.authority.issue("a", &[Name::Host("127.0.0.1".into())], Purpose::Client, GOOD).unwrap(),
            "it is not for servers",
            "the client refused",
        ),
    ] {
        pki.put("server", &certificate);
        let server = pki.setup(1).start();
        let client = pki.client("draw", address(&server), &pki.agency(1)).start();
        client.end().failed(1, &["no TLS with 127.0.0.1", "the server's certificate was refused", ours]);
        assert_refused(&server, theirs);
        server.stop();
    }
    pki.put("server", &host(&pki.authority, "lottery.example", GOOD));
    let server = pki.setup(1).start();
    let client = pki.client("draw", address(&server), &pki.agency(1)).set("TLS_SERVERNAME", "lottery.example");
    client.start().end().succeeded();
    server.stop();
}

// ---- one side without TLS ----

#[test]
fn plaintext_is_only_an_echo_if_tls_is_required() {
    let pki = Pki::new();
    let server = pki.setup(1).set("TLS", "required").start();
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
    assert_eq!(server.connect().send(&Bet::default().single(1)).rest(), [6]);
    assert_eq!(server.connect().send(&untyped_batch(1, &[Bet::default()])).rest(), [6]);
    for message in [batch_of(1, 1, 1), end(1), ask(1), count(1)] {
        assert_eq!(server.connect().send(&message).rest(), [2, 6]);
    }
    assert_refused(&server, "error: plaintext, and TLS is required for all but an echo");
    let client = ClientSetup::new("draw").server(address(&server)).bets(agency_file(1)).start().end();
    client.failed(1, &["code 6", "TLS=required", "tls.certificate"]);
    server.stop();
}

#[test]
fn both_kinds_of_clients_are_served_if_tls_is_optional() {
    let pki = Pki::new();
    let server = pki.setup(2).start();
    assert_eq!(server.connect().send(&batch_of(1, 1, 1)).ack(), 0);
    assert_eq!(pki.connect(&server, &pki.agency(2)).send(&batch_of(2, 1, 1)).take(), [2, 0]);
    assert_eq!(server.rows().len(), 2);
    server.stop();
}

#[test]
fn a_tls_client_learns_that_tls_is_off() {
    let pki = Pki::new();
    for server in [Server::start(1), pki.setup(1).set("TLS", "off").start()] {
        let client = pki.client("draw", address(&server), &pki.agency(1)).start();
        client.end().failed(1, &["no TLS with 127.0.0.1", "it answered without TLS", "turn TLS on in the server"]);
        server.await_log("codigo: 6 | error: unknown message type 22: a TLS client, and TLS is off");
        server.stop();
    }
}

#[test]
fn files_that_cannot_be_used_end_the_start_with_one_line() {
    let pki = Pki::new();
    pki.put("other", &pki.agency(1));
    write_file(&pki.file("junk"), "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    write_file(&pki.file("words"), "agency one\n");
    for (key, name, defect) in [
        ("TLS_KEY", "other.key", "not the key of TLS_CERTIFICATE"),
        ("TLS_KEY", "ca.pem", "no unencrypted private key"),
        ("TLS_CERTIFICATE", "missing", "No such file"),
        ("TLS_CERTIFICATE", "server.key", "no certificate"),
        ("TLS_AGENCY_CA", "junk", "damaged"),
        ("TLS_AGENCY_CA", ".", "not a regular file"),
        ("TLS_REVOKED", "words", "line 1 is not a serial number"),
    ] {
        let file = pki.file(name);
        let output = pki.setup(1).set(key, path(&file)).command().output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{stderr}");
        assert!(stderr.contains(&format!("{key}: {}: ", file.display())) && stderr.contains(defect), "{stderr}");
    }
    for (setup, missing) in [
        (Setup::new(1).set("TLS", "required"), "TLS_CERTIFICATE is not set"),
        (Setup::new(1).set("TLS_KEY", path(&pki.file("server.key"))), "TLS_CERTIFICATE is not set"),
    ] {
        let output = setup.command().output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && stderr.contains(missing), "{stderr}");
    }
}

// ---- bytes ----

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let pki = Pki::new();
    let server = pki.setup(1).start();
    let (mut tls, mut conn) = (pki.hello(Some(&pki.agency(1))), server.connect());
    tls.writer().write_all(&batch_of(1, 2, 1)).unwrap();
    while tls.is_handshaking() || tls.wants_write() {
        let mut bytes = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut bytes).unwrap();
        }
        conn.send_bytewise(&bytes);
        if tls.is_handshaking() {
            tls.read_tls(&mut conn.0).unwrap();
            tls.process_new_packets().unwrap();
        }
    }
    let mut tls = Tls(StreamOwned::new(tls, conn.0));
    assert_eq!(tls.take(), [2, 0]);
    assert_eq!(server.rows().len(), 2);
    server.stop();
}

#[test]
fn many_batches_in_few_records_are_all_answered() {
    let pki = Pki::new();
    let server = pki.setup(1).set("IDLE_TIMEOUT", "600s").set("LOGGING_LEVEL", "INFO").start();
    let mut client = pki.connect(&server, &pki.agency(1));
    // The first is one record, and more than the first buffer of the session: the socket is empty while its second half is
    // decrypted and unread.
    for (size, times) in [(60, 9), (1, 40), (5, 40), (60, 40), (255, 40)] {
        client.send(&batch_of(1, size, 1).repeat(times));
        for _ in 0..times {
            assert_eq!(client.take(), [2, 0]);
        }
    }
    assert_eq!(server.rows().len(), 60 * 9 + 40 * (1 + 5 + 60 + 255));
    server.stop();
}

/// The bytes of a first flight.
fn client_hello(pki: &Pki) -> Vec<u8> {
    let mut hello = Vec::new();
    pki.hello(Some(&pki.agency(1))).write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn a_hello_that_is_cut_anywhere_is_one_failure() {
    let pki = Pki::new();
    let server = pki.setup(1).set("MAX_CONNECTIONS", 100).start();
    let hello = client_hello(&pki);
    let cuts: Vec<usize> = (1..12).chain((12..hello.len()).step_by(7)).collect();
    // The server logs at most 20 failures of each address.
    for (&cut, source) in cuts.iter().zip((0..).map(|n| 2 + n / 15)) {
        assert!(
            Conn::from(source, server.port()).send(&hello[..cut]).finish().rest_or_reset().len() < 100,
            "cut at {cut}"
        );
    }
    server.await_childless();
    let ended = server.own_log().matches("error: the connection ended inside the TLS handshake").count();
    assert_eq!(ended, cuts.len(), "{}", server.own_log());
    assert_eq!(pki.connect(&server, &pki.agency(1)).send(b"hola\n").rest(), b"hola\n");
    server.stop();
}

#[test]
fn garbage_after_the_first_byte_is_refused() {
    let pki = Pki::new();
    let server = pki.setup(1).start();
    let mut wrong = client_hello(&pki);
    wrong[60] ^= 1;
    let long = [&[0x16, 3, 1, 0x40, 0][..], &[1, 0xff, 0xff, 0xff], &[7; 0x4000]].concat();
    for garbage in [&[0x16; 500][..], &[0x16, 3, 1, 0, 0], &long, &batch_of(1, 1, 1).repeat(9)] {
        let garbage = [&[0x16], &garbage[1..]].concat();
        let answer = server.connect().send(&garbage).finish().rest_or_reset();
        assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
    }
    server.await_childless();
    assert_eq!(server.own_log().matches("action: tls | result: fail").count(), 4, "{}", server.own_log());
    assert!(server.rows().is_empty());
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
    server.stop();
}

#[test]
fn a_handshake_that_never_ends_is_closed_in_time() {
    let pki = Pki::new();
    let server = pki.setup(1).set("MESSAGE_TIMEOUT", "300ms").start();
    let hello = client_hello(&pki);
    let conns = [1, 5, 100, hello.len()].map(|len| {
        let mut conn = server.connect();
        conn.send(&hello[..len]);
        conn
    });
    for mut conn in conns {
        conn.rest_or_reset();
    }
    server.await_childless();
    let late = server.own_log().matches("error: the TLS handshake was not complete in time").count();
    assert_eq!(late, 4, "{}", server.own_log());
    server.stop();
}

#[test]
fn records_without_a_message_do_not_hold_a_connection() {
    let pki = Pki::new();
    let server = pki.setup(1).set("MESSAGE_TIMEOUT", "500ms").start();
    let mut client = pki.connect(&server, &pki.agency(1));
    client.0.conn.complete_io(&mut client.0.sock).unwrap();
    eventually("the server closes", || {
        client.0.conn.refresh_traffic_keys().unwrap();
        client.0.flush().is_err()
    });
    server.await_childless();
    assert!(server.rows().is_empty());
    server.stop();
}

#[test]
fn a_slow_reader_gets_all_its_winners_over_tls() {
    const WINNERS: u32 = 20_000;
    let pki = Pki::new();
    let server = pki.setup(1).set("LOGGING_LEVEL", "INFO").start();
    let conn = Conn::narrow(server.port());
    let mut client = Tls(StreamOwned::new(pki.hello(Some(&pki.agency(1))), conn.0));
    for _ in 0..WINNERS / 200 {
        assert_eq!(client.send(&batch_of(1, 200, WINNING)).take(), [2, 0]);
    }
    assert_eq!(client.send(&end(1)).take(), [2, 0]);
    // More bytes than all buffers hold, so the child is blocked again and again.
    client.send(&ask(1).repeat(20));
    server.await_log(SORTEO);
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n", "others are served");
    for _ in 0..20 {
        assert_eq!(client.winners().len(), WINNERS as usize);
    }
    server.stop();
}

#[test]
fn a_client_that_takes_no_byte_is_closed_in_time() {
    let pki = Pki::new();
    let server = pki.setup(1).set("LOGGING_LEVEL", "INFO").set("MESSAGE_TIMEOUT", "500ms").start();
    let conn = Conn::narrow(server.port());
    let mut client = Tls(StreamOwned::new(pki.hello(Some(&pki.agency(1))), conn.0));
    for _ in 0..100 {
        assert_eq!(client.send(&batch_of(1, 200, WINNING)).take(), [2, 0]);
    }
    assert_eq!(client.send(&end(1)).take(), [2, 0]);
    let _ = client.0.write_all(&ask(1).repeat(200));
    server.await_log("the client takes no byte of its answer");
    server.await_childless();
    server.stop();
}

// ---- ends of the stream ----

#[test]
fn only_close_notify_ends_an_echo_without_a_line_feed() {
    let pki = Pki::new();
    let server = pki.setup(1).start();
    let own = pki.agency(1);
    assert_eq!(pki.connect(&server, &own).send(b"hola").close().rest(), b"hola\n");
    let mut cut = pki.connect(&server, &own);
    let error = cut.send(b"adios").shutdown().0.read(&mut [0]);
    assert!(!matches!(error, Ok(1..)), "{error:?}");
    server.await_log("result: fail | ip: 127.0.0.1 | error: the connection was lost inside a message");
    assert!(!server.stop().contains("msg: adios"));
}

#[test]
fn a_query_waits_on_after_a_half_close() {
    let pki = Pki::new();
    let server = pki.setup(2).start();
    let own = pki.agency(1);
    let mut query = pki.connect(&server, &own);
    query.send(&batch_of(1, 3, WINNING)).send(&end(1)).send(&ask(1));
    assert_eq!(query.take(), [2, 0, 2, 0]);
    query.close().shutdown();
    // Its claim is free for a replacement.
    assert_eq!(pki.connect(&server, &own).send(&count(1)).take::<1>(), [7]);
    assert_eq!(server.connect().send(&end(2)).ack(), 0);
    assert_eq!(query.winners(), [0, 1, 2]);
    assert_eq!(query.rest(), []);
    server.stop();
}

#[test]
fn a_client_that_vanishes_while_it_waits_is_noticed() {
    let pki = Pki::new();
    let server = pki.setup(2).start();
    let mut query = pki.connect(&server, &pki.agency(1));
    query.send(&end(1)).send(&ask(1));
    assert_eq!(query.take(), [2, 0]);
    Conn(query.0.sock).reset();
    server.await_childless();
    server.stop();
}

#[test]
fn every_end_of_a_connection_is_announced() {
    let pki = Pki::new();
    let server = pki.setup(1).set("IDLE_TIMEOUT", "200ms").start();
    let own = pki.agency(1);
    assert_eq!(pki.connect(&server, &own).send(&count(1)).rest().len(), 18, "idle");
    assert_eq!(pki.connect(&server, &own).send(&[9]).rest(), [2, 6], "refused");
    assert_eq!(pki.connect(&server, &own).send(&count(1)).close().rest().len(), 18, "closed by the client");
    server.stop();

    let server = pki.setup(1).start();
    let mut client = pki.connect(&server, &own);
    client.send(&count(1)).take::<18>();
    server.signal("TERM");
    assert_eq!(client.rest(), [], "stopped");
    server.stop();
}

#[test]
fn a_reset_by_the_client_is_no_failure_of_the_server() {
    let pki = Pki::new();
    let server = pki.setup(1).start();
    let mut client = pki.connect(&server, &pki.agency(1));
    client.send(&count(1)).take::<18>();
    Conn(client.0.sock).reset();
    server.await_childless();
    assert!(!server.stop().contains("result: fail"));
}

#[test]
fn certificates_of_the_program_certs_play_a_lottery() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["127.0.0.1".to_owned()];
    let order = certs::Order { out: dir.path(), agencies: 1, days: 1, names: &names, replace: false };
    certs::write(&order).unwrap();
    let file = |name: &str| -> String { path(&Path::join(dir.path(), name)).to_owned() };
    let server = Setup::new(1)
        .set("TLS_CERTIFICATE", file("server.pem"))
        .set("TLS_KEY", file("server.key"))
        .set("TLS_AGENCY_CA", file("ca.pem"))
        .start();
    let client = ClientSetup::new("draw").server(address(&server)).bets(agency_file(3));
    let client = client.set("TLS_CA", &file("ca.pem")).set("TLS_CERTIFICATE", &file("agency-1.pem"));
    client.set("TLS_KEY", &file("agency-1.key")).start().end().succeeded();
    server.stop();
}
