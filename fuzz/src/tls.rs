//! TLS: bytes that are no handshake, bytes that are no records, and records of any content, for the server's side.
//!
//! Input: a byte that is the length of the pieces, less one; the stream.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, LazyLock};

use certs::{Authority, Days};
use loteria::tls::server::{Acceptor, Files};
use loteria::tls::{Broken, FIRST_BYTE, File, Stream};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, version};

use super::{Memory, scratch};

/// Most memory of the server's side, for any stream: the largest message of a handshake, twice, and the buffers.
const MEMORY: usize = 512 * 1024;

/// A server and a client of one authority.
static SIDES: LazyLock<(Acceptor, Arc<ClientConfig>)> = LazyLock::new(|| {
    let days = Days::next(30);
    let authority = Authority::new("Loteria", days).unwrap();
    let (server, agency) = (authority.server(&["localhost"], days).unwrap(), authority.agency(1, days).unwrap());
    let file = |name, text: &str| File { key: "TLS", path: scratch::file(name, text.as_bytes()) };
    let files = Files {
        certificate: file("server.pem", &server.certificate),
        key: file("server.key", &server.key),
        agency_ca: file("ca.pem", &authority.certificate()),
        revoked: None,
    };
    let acceptor = Acceptor::load(&files).unwrap();
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate(&authority.certificate())).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![certificate(&agency.certificate)],
            PrivateKeyDer::from_pem_slice(agency.key.as_bytes()).unwrap(),
        )
        .unwrap();
    (acceptor, Arc::new(config))
});

/// The server's end of a socket: the bytes that arrive, in pieces, and those that were sent.
#[derive(Default)]
struct Socket {
    arriving: VecDeque<u8>,
    piece: usize,
    ended: bool,
    sent: Vec<u8>,
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.arriving.is_empty() && !self.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        let len = into.len().min(self.piece);
        self.arriving.read(&mut into[..len])
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Checks one input.
pub fn check(input: &[u8], memory: &Memory) {
    let Some((&piece, stream)) = input.split_first() else { return };
    let (acceptor, config) = &*SIDES;
    let socket = || Socket { piece: usize::from(piece) + 1, ..Socket::default() };
    let before = (memory.restart)();

    let mut first = socket();
    first.arriving.extend([&[FIRST_BYTE], stream].concat());
    let found = read_all(&mut acceptor.accept().unwrap(), &mut first);
    assert!(found.0.is_empty(), "plaintext before a handshake: {:?}", found.0);

    let (mut server, _client, mut connected) = shake_hands(acceptor, config, socket());
    connected.arriving.extend(stream);
    let found = read_all(&mut server, &mut connected);
    assert!(found.0.is_empty(), "plaintext that no client has encrypted: {:?}", found.0);
    assert!(stream.is_empty() || found.1.is_some() || server.is_truncated());

    let (mut server, mut client, mut connected) = shake_hands(acceptor, config, socket());
    for piece in stream.chunks(usize::from(piece) * 7 + 1) {
        client.writer().write_all(piece).unwrap();
        client.write_tls(&mut connected.arriving).unwrap();
    }
    client.send_close_notify();
    while client.wants_write() {
        client.write_tls(&mut connected.arriving).unwrap();
    }
    let found = read_all(&mut server, &mut connected);
    assert_eq!(found.0, stream);
    assert!(found.1.is_none() && server.has_ended() && !server.is_truncated());
    let peak = (memory.peak)().saturating_sub(before);
    assert!(peak <= MEMORY + 16 * input.len(), "{peak} bytes");
}

/// Both sides after the handshake.
fn shake_hands(acceptor: &Acceptor, config: &Arc<ClientConfig>, socket: Socket) -> (Stream, ClientConnection, Socket) {
    let piece = socket.piece;
    let (mut server, mut socket) = (acceptor.accept().unwrap(), Socket { piece: 4096, ..socket });
    let mut client = ClientConnection::new(config.clone(), ServerName::try_from("localhost").unwrap()).unwrap();
    while client.is_handshaking() || client.wants_write() || server.is_handshaking() {
        while client.wants_write() {
            client.write_tls(&mut socket.arriving).unwrap();
        }
        assert!(server.read(&mut socket, &mut [0; 16]).unwrap().is_none());
        let sent = std::mem::take(&mut socket.sent);
        let mut sent = &sent[..];
        while !sent.is_empty() {
            client.read_tls(&mut sent).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    socket.piece = piece;
    (server, client, socket)
}

/// Everything that the server reads until the end of the stream or a failure.
fn read_all(server: &mut Stream, socket: &mut Socket) -> (Vec<u8>, Option<Broken>) {
    socket.ended = true;
    let mut found = Vec::new();
    let mut buffer = [0; 100];
    loop {
        match server.read(socket, &mut buffer) {
            Ok(Some(0)) => return (found, None),
            Ok(Some(len)) => found.extend(&buffer[..len]),
            // A call reads a bounded number of pieces.
            Ok(None) => {}
            Err(broken) => return (found, Some(broken)),
        }
    }
}
