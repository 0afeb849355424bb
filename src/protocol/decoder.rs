//! The decoding side of a connection in the server: the received bytes, and the requests in them.
//!
//! Owns the receive buffer. The session reads into [`Decoder::space`]; this module has no socket. Memory: one buffer of at
//! most [`BUFFER`] bytes, and the rows of the current message as far as its bets have arrived.

use super::batch::Arriving;
use super::detect::{self, Kind};
use super::fields::DecodeError;
use super::generation::{Form, Generation};
use super::malformed::Malformed;
use super::request::Request;
use super::typed::{self, Front};
use super::{echo, single};

/// Most bytes of the receive buffer: room for many batches of a client that does not wait for answers. One read(2) then
/// takes several batches, and the server stores them as one group.
pub const BUFFER: usize = 64 * 1024;

/// Bytes of the receive buffer until a read(2) fills it: the largest batch that the assignment asks for. A text and a single
/// bet, which must fit whole, are shorter. A client that waits for each answer never needs more.
const FIRST_BUFFER: usize = 8192;

/// The decoding side of one connection.
#[derive(Debug)]
pub struct Decoder {
    /// Empty before the first byte, so that it costs an idle connection nothing.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    generation: Option<Generation>,
    phase: Phase,
    /// Once malformed, always malformed: the bets that a batch took before its defect must not be taken again.
    malformed: Option<Malformed>,
}

#[derive(Debug)]
enum Phase {
    /// The first message is undecided.
    First,
    /// Between typed messages, or at the beginning of one.
    Typed,
    /// Inside a batch.
    Batch(Arriving),
    /// The one message of an echo or untyped connection has been taken. Later bytes are ignored.
    Spent,
}

impl Decoder {
    /// For a new connection.
    pub fn new() -> Self {
        Self { buffer: Vec::new(), start: 0, end: 0, generation: None, phase: Phase::First, malformed: None }
    }

    /// The free part of the buffer, for the next bytes of the connection. Not empty after [`Decoder::next_request`] has
    /// returned `None`.
    pub fn space(&mut self) -> &mut [u8] {
        match self.buffer.len() {
            0 => self.buffer.resize(FIRST_BUFFER, 0),
            len if len == self.end => self.buffer.resize(BUFFER, 0),
            _ => {}
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        &mut self.buffer[self.end..]
    }

    /// Takes over `len` bytes that the caller put at the front of [`Decoder::space`].
    pub fn filled(&mut self, len: usize) {
        self.end = (self.end + len).min(self.buffer.len());
        if self.generation.is_none() && self.end > self.start {
            self.generation = Some(detect::generation(self.buffer[self.start]));
        }
    }

    /// The next request; `None` while it is incomplete.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not a message. Every later call returns the same error.
    pub fn next_request(&mut self) -> Result<Option<Request>, Malformed> {
        if let Some(malformed) = self.malformed {
            return Err(malformed);
        }
        match self.step() {
            Ok(request) => Ok(Some(request)),
            Err(DecodeError::Incomplete) => Ok(None),
            Err(DecodeError::Malformed(malformed)) => Err(*self.malformed.insert(malformed)),
        }
    }

    /// The request that the end of the stream completes: only an echo without its line feed can be one.
    ///
    /// # Errors
    /// [`Malformed::EchoTooLong`], [`Malformed::EchoNotUtf8`].
    pub fn end_of_stream(&mut self) -> Result<Option<Request>, Malformed> {
        if self.generation != Some(Generation::Echo) || !self.mid_message() {
            return Ok(None);
        }
        match echo::text(self.unread()) {
            Ok(text) => Ok(Some(self.spend(Request::Echo(text)))),
            Err(DecodeError::Malformed(malformed)) => Err(malformed),
            Err(DecodeError::Incomplete) => Ok(None),
        }
    }

    /// Whether a message has begun and is not complete.
    pub fn mid_message(&self) -> bool {
        match self.phase {
            Phase::First | Phase::Typed => self.start < self.end,
            Phase::Batch(_) => true,
            Phase::Spent => false,
        }
    }

    /// The number of bets that the current batch announced; `None` outside of batches.
    pub fn announced(&self) -> Option<u8> {
        match &self.phase {
            Phase::Batch(arriving) => Some(arriving.count()),
            _ => None,
        }
    }

    /// The generation that the client speaks; `None` before its first byte.
    pub fn generation(&self) -> Option<Generation> {
        self.generation
    }

    fn step(&mut self) -> Result<Request, DecodeError> {
        loop {
            match &mut self.phase {
                Phase::First => match detect::kind(self.unread()).ok_or(DecodeError::Incomplete)? {
                    Kind::Echo => return echo::decode(self.unread()).map(|text| self.spend(Request::Echo(text))),
                    Kind::Single => return single::decode(self.unread()).map(|request| self.spend(request)),
                    Kind::UntypedBatch => {
                        let (arriving, len) = Arriving::start(Form::UntypedBatch, self.unread())?;
                        self.begin_batch(arriving, len);
                    }
                    Kind::Typed => self.phase = Phase::Typed,
                },
                Phase::Typed => match typed::decode_request(self.unread())? {
                    (Front::Batch(arriving), len) => self.begin_batch(arriving, len),
                    (Front::Request(request), len) => {
                        self.start += len;
                        return Ok(request);
                    }
                },
                Phase::Batch(arriving) => {
                    self.start += arriving.take(&self.buffer[self.start..self.end])?;
                    let request = arriving.finish().ok_or(DecodeError::Incomplete)?;
                    return Ok(self.end_batch(request));
                }
                Phase::Spent => {
                    self.start = self.end;
                    return Err(DecodeError::Incomplete);
                }
            }
        }
    }

    fn begin_batch(&mut self, arriving: Arriving, header: usize) {
        self.start += header;
        self.phase = Phase::Batch(arriving);
    }

    fn end_batch(&mut self, request: Request) -> Request {
        if self.generation == Some(Generation::Typed) {
            self.phase = Phase::Typed;
            return request;
        }
        self.spend(request)
    }

    fn spend(&mut self, request: Request) -> Request {
        self.phase = Phase::Spent;
        request
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}
