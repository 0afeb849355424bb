//! A server that the test plays, for tests of the client.
//!
//! The byte layouts are written here a second time, independent of the library. All waits are bounded by [`PATIENCE`].

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use ipc::events::{self, PollFd, PollFlags};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, sockopt};

use super::answers::{confirmation, received, winners};
use super::{PATIENCE, QUIET};

/// The listener of the played server.
pub struct PlayedServer(TcpListener);

impl PlayedServer {
    pub fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// The next connection.
    pub fn accept(&self) -> Peer {
        assert!(ready(&self.0, PATIENCE), "no client connects");
        let (stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Peer(BufReader::new(stream))
    }

    /// No client connects for a while.
    pub fn is_quiet(&self) -> bool {
        !ready(&self.0, QUIET)
    }
}

/// A port that is bound, but on which no process listens yet.
pub struct Reserved(OwnedFd);

impl Reserved {
    pub fn new() -> Self {
        let socket = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let any = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
        socket::bind(socket.as_raw_fd(), &any).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        let own: SockaddrIn = socket::getsockname(self.0.as_raw_fd()).unwrap();
        SocketAddrV4::from(own).into()
    }

    pub fn listen(self) -> PlayedServer {
        socket::listen(&self.0, Backlog::new(16).unwrap()).unwrap();
        PlayedServer(self.0.into())
    }

    /// Listens with a full queue, so that the kernel does not answer the next client. Returns the connections that fill
    /// the queue.
    pub fn listen_and_ignore(self) -> (PlayedServer, Vec<TcpStream>) {
        socket::listen(&self.0, Backlog::new(0).unwrap()).unwrap();
        let server = PlayedServer(self.0.into());
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&server.address(), QUIET) {
            queue.push(stream);
        }
        (server, queue)
    }
}

fn ready(fd: impl AsFd, patience: Duration) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    events::wait(&mut fds, Some(Instant::now() + patience)).unwrap() > 0
}

/// One connection of a client.
pub struct Peer(BufReader<TcpStream>);

impl Peer {
    /// The next `len` bytes.
    pub fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// All bytes until the client closes or resets the connection.
    pub fn rest(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(e) if e.kind() == ErrorKind::ConnectionReset => bytes,
            Err(e) => panic!("{e}"),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.get_mut().write_all(bytes).unwrap();
        self
    }

    /// Ends this side of the stream.
    pub fn finish(&mut self) {
        self.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        socket::setsockopt(self.0.get_ref(), sockopt::Linger, &at_once).unwrap();
    }

    /// Nothing arrives for a while.
    pub fn is_quiet(&self) -> bool {
        self.0.buffer().is_empty() && !ready(self.0.get_ref(), QUIET)
    }

    /// The next line, with its line feed.
    pub fn text(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// The next typed message.
    pub fn message(&mut self) -> Message {
        self.try_message().unwrap()
    }

    /// The next typed message.
    ///
    /// # Errors
    /// The client has closed the connection.
    pub fn try_message(&mut self) -> io::Result<Message> {
        let mut head = [0; 5];
        self.0.read_exact(&mut head)?;
        assert_eq!(head[1..], 1_u32.to_be_bytes(), "the agency");
        Ok(match head[0] {
            1 => self.batch(6),
            3 => Message::Winners,
            6 => Message::Received,
            other => panic!("type {other}"),
        })
    }

    /// The next untyped batch.
    pub fn untyped_batch(&mut self) -> Vec<SentBet> {
        assert_eq!(self.read(4), 1_u32.to_be_bytes(), "the agency");
        match self.batch(5) {
            Message::Batch(bets) => bets,
            other => panic!("{other:?}"),
        }
    }

    /// A batch whose header has `header` bytes. The last byte of the header, the count, has not been read yet.
    fn batch(&mut self, header: usize) -> Message {
        let count = self.read(1)[0];
        let bets: Vec<SentBet> = (0..count).map(|_| self.bet()).collect();
        let len: usize = bets.iter().map(|bet| bet.first.len() + bet.last.len() + 21).sum();
        assert!(header + len <= 8000, "a packet of {} bytes", header + len);
        if count == 0 { Message::End } else { Message::Batch(bets) }
    }

    fn bet(&mut self) -> SentBet {
        let (first, last) = (self.cstr(30), self.cstr(30));
        let document = self.u32();
        let birthdate = self.cstr(11);
        SentBet { first, last, document, birthdate, number: self.u32() }
    }

    fn cstr(&mut self, max: usize) -> String {
        let mut text = Vec::new();
        self.0.read_until(0, &mut text).unwrap();
        assert!(text.len() <= max && text.pop() == Some(0), "{text:?}");
        String::from_utf8(text).unwrap()
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.read(4).try_into().unwrap())
    }
}

/// A message of a client in exercises 7 and 8, for agency 1.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Batch(Vec<SentBet>),
    End,
    Winners,
    Received,
}

/// A bet as a client sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentBet {
    pub first: String,
    pub last: String,
    pub document: u32,
    pub birthdate: String,
    pub number: u32,
}

/// The state of agency 1 in the played server.
#[derive(Debug, Default)]
pub struct Ledger {
    pub rows: String,
    pub documents: Vec<u32>,
    pub ended: bool,
}

impl Ledger {
    /// Applies `message`.
    pub fn store(&mut self, message: &Message) {
        match message {
            Message::Batch(bets) => {
                assert!(!self.ended, "bets after the end");
                for SentBet { first, last, document, birthdate, number } in bets {
                    self.documents.push(*document);
                    self.rows += &format!("1,{first},{last},{document},{birthdate},{number}\r\n");
                }
            }
            Message::End => self.ended = true,
            Message::Winners => assert!(self.ended, "a query before the end"),
            Message::Received => {}
        }
    }

    /// The answer to `message`.
    pub fn answer(&self, message: &Message) -> Vec<u8> {
        match message {
            Message::Batch(_) | Message::End => confirmation(0).to_vec(),
            Message::Winners => winners(&[3, 1]),
            Message::Received => received(self.documents.len() as u64, self.ended, &self.rows),
        }
    }

    /// Stores and answers the next message of `peer`, and returns it.
    pub fn serve(&mut self, peer: &mut Peer) -> Message {
        let message = peer.message();
        self.store(&message);
        peer.send(&self.answer(&message));
        message
    }

    /// Serves `peer` up to and including its winners query.
    pub fn serve_all(&mut self, peer: &mut Peer) {
        while self.serve(peer) != Message::Winners {}
    }
}
