//! A raw connection to a server.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt};

use super::{PATIENCE, ask, batch_of, end};

/// A connection of a client that the test plays.
pub struct Conn(pub TcpStream);

impl Conn {
    /// Connects to a server on the loopback device.
    pub fn to(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::patient(stream)
    }

    /// Connects from the address 127.0.0.`source`: the server counts the refusals of each address separately.
    pub fn from(source: u8, port: u16) -> Self {
        let stream = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(stream.as_raw_fd(), &SockaddrIn::new(127, 0, 0, source, 0)).unwrap();
        connect(stream.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).unwrap();
        Self::patient(stream.into())
    }

    /// Connects with a small receive buffer, which takes hardly more from the server than the test reads: for clients
    /// that read slowly, or never.
    pub fn narrow(port: u16) -> Self {
        let stream = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        setsockopt(&stream, sockopt::RcvBuf, &4096).unwrap();
        connect(stream.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).unwrap();
        Self::patient(stream.into())
    }

    /// Connects from the address 127.0.0.`source`.
    pub fn between(source: u8, port: u16) -> Self {
        let stream = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(stream.as_raw_fd(), &SockaddrIn::new(127, 0, 0, source, 0)).unwrap();
        connect(stream.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).unwrap();
        Self::patient(stream.into())
    }

    /// A connection whose reads and writes fail after [`PATIENCE`].
    pub fn patient(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// This side's port.
    pub fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.write_all(bytes).unwrap();
        self
    }

    pub fn send_bytewise(&mut self, bytes: &[u8]) -> &mut Self {
        for byte in bytes {
            self.send(std::slice::from_ref(byte));
        }
        self
    }

    /// Ends this side of the stream.
    pub fn finish(&mut self) -> &mut Self {
        self.0.shutdown(Shutdown::Write).unwrap();
        self
    }

    /// Closes with a reset.
    pub fn reset(self) {
        setsockopt(&self.0, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
    }

    /// The next bytes.
    #[track_caller]
    pub fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        if let Err(e) = self.0.read_exact(&mut bytes) {
            panic!("no answer: {e:?}");
        }
        bytes
    }

    /// All bytes until the server closes; a reset is an error.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Err(e) = self.0.read_to_end(&mut bytes) {
            panic!("no end of the stream behind {bytes:?}: {e:?}");
        }
        bytes
    }

    /// All bytes until the connection is closed or reset.
    pub fn rest_or_reset(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Err(e) if e.kind() != ErrorKind::ConnectionReset => panic!("still open: {e}"),
            _ => bytes,
        }
    }

    /// Sends an echo and returns the answer: nothing if the connection is closed or reset, even before the sending.
    pub fn echo_or_close(&mut self) -> Vec<u8> {
        let _ = self.0.write_all(b"hola\n");
        self.rest_or_reset()
    }

    /// Sends `count` bets of `agency` on `number`, its end and a winners query, and expects both acknowledgements.
    #[track_caller]
    pub fn deliver(&mut self, agency: u32, count: u32, number: u32) {
        self.send(&batch_of(agency, count, number)).send(&end(agency)).send(&ask(agency));
        assert_eq!([self.ack(), self.ack()], [0, 0]);
    }

    /// The code of a confirmation.
    #[track_caller]
    pub fn ack(&mut self) -> u8 {
        let [kind, code] = self.take();
        assert_eq!(kind, 2, "a confirmation");
        code
    }

    /// The documents that won; `None` for "not drawn".
    #[track_caller]
    pub fn winners(&mut self) -> Option<Vec<u32>> {
        let [kind] = self.take();
        if kind == 4 {
            return None;
        }
        assert_eq!(kind, 5, "winners");
        let count = u32::from_be_bytes(self.take());
        Some((0..count).map(|_| u32::from_be_bytes(self.take())).collect())
    }

    /// A message 7 for `agency`: bets, whether it has ended, CRC-32.
    #[track_caller]
    pub fn tally(&mut self, agency: u32) -> (u64, bool, u32) {
        assert_eq!(self.take(), [7]);
        assert_eq!(u32::from_be_bytes(self.take()), agency);
        let count = u64::from_be_bytes(self.take());
        let [ended] = self.take();
        (count, ended == 1, u32::from_be_bytes(self.take()))
    }

    /// Nothing has arrived, and nothing arrives for `time`.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.0.set_read_timeout(Some(time)).unwrap();
        let silent = loop {
            match self.0.peek(&mut [0]) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                peeked => {
                    break matches!(peeked, Err(e) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&e.kind()));
                }
            }
        };
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }
}
