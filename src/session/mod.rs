//! One connection, served by a process of its own: reads requests, checks them, stores bets, answers.
//!
//! Owns the client's socket, the child's end of the link, and this process's files. Started by the server in a forked
//! child, which ends with the code that [`Session::run`] returns. Never reads the parent's state: what it must know it
//! has inherited or asks for.
//!
//! ```text
//!             ┌────────────── bytes ───────────────┐
//!   receive ──┴─▶ decode ──▶ serve ──▶ answer ──▶ next │ spent (one-message generations) │ refused │ told to stop
//!      │                       │ asks the parent for a claim, or for the draw
//!      └── deadlines           └── any refusal: a code, then a lingering close
//! ```
//!
//! | waits for | at most | ends early |
//! |---|---|---|
//! | the first message | MESSAGE_TIMEOUT from accept | stop, end of stream |
//! | a message's rest | MESSAGE_TIMEOUT from its first byte | end of stream |
//! | the next message | IDLE_TIMEOUT | stop, end of stream |
//! | a claim | 1 s (the parent's clock) | stop |
//! | the draw | DRAW_WAIT (the parent's clock) | stop, end of stream |
//! | a client to take a byte | MESSAGE_TIMEOUT | a reset |

mod serve;
mod wire;

use std::io;
use std::net::{IpAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ipc::events::{self, PollFd, PollFlags};
use ipc::link::Incoming;
use ipc::process::Handover;
use ipc::signals::SignalSource;

use crate::bet::AgencyId;
use crate::config::server::Config;
use crate::draw::Ledger;
use crate::event;
use crate::logging;
use crate::messages::{ChildEnd, Order};
use crate::protocol::decoder::Decoder;
use crate::protocol::{Answer, Code, Generation, Request};
use crate::storage::{self, Files, Store, Tally};

/// Exit code of a child: its connection is over, however it went.
pub const DONE: u8 = 0;
/// Exit code of a child (and then of the server): data could not be made durable.
pub const STORAGE_BROKEN: u8 = 4;
/// How long a closing connection goes on reading, so that no reset destroys its last answer.
const LINGER: Duration = Duration::from_secs(1);

/// What a session is given by the parent.
pub struct Given {
    /// The connection.
    pub client: TcpStream,
    /// Whose it is.
    pub peer: IpAddr,
    /// To the parent.
    pub link: ChildEnd,
    /// What all sessions share.
    pub common: Rc<Common>,
    /// Who had ended when the connection came, and whether the draw had been held.
    pub ledger: Ledger,
}

/// What is the same for all sessions of a server.
#[derive(Debug)]
pub struct Common {
    /// The settings.
    pub config: Config,
    /// Where bets are.
    pub files: Files,
    /// What was stored when the server started.
    pub tally: Tally,
    /// Locked for as long as any process has it open: other servers keep out while a child of this one lives.
    pub server_lock: std::fs::File,
}

impl Handover for Given {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let own = [self.client.as_fd(), self.link.as_fd(), self.common.server_lock.as_fd()];
        own.into_iter().chain(logging::descriptor()).collect()
    }
}

/// The connection's agency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// No batch and no question for an agency has come.
    None,
    /// The connection has this agency to itself.
    Held {
        agency: AgencyId,
        /// Nothing more is stored for it.
        ended: bool,
    },
}

/// Why a request is not answered as it wished.
#[derive(Debug)]
struct Refusal {
    code: Code,
    /// For the log, where the code alone does not say it.
    detail: Option<String>,
}

/// Why a session ends.
#[derive(Debug)]
enum End {
    /// The client has closed between messages, or is gone.
    Closed,
    /// The client has closed, or gone silent, in the middle of a message.
    Cut(&'static str),
    /// It has said nothing for too long between messages.
    Idle,
    /// Its one message has been answered.
    Spent,
    /// It has been told the code, and gets no more.
    Refused,
    /// The server stops.
    Stopping,
    /// Data could not be made durable.
    StorageBroken,
    /// The connection or the link failed.
    Failed(io::Error),
}

impl From<io::Error> for End {
    fn from(e: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut};
        match e.kind() {
            ConnectionReset | BrokenPipe | TimedOut | HostUnreachable | NetworkUnreachable => Self::Closed,
            _ => Self::Failed(e),
        }
    }
}

/// What a wait ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    /// The socket is ready, or its client gone.
    Client,
    /// The parent says so.
    Order(Order),
    /// The session shall end; noted in [`Session::stopping`].
    Stop,
    /// The deadline has passed.
    Deadline,
}

/// One connection.
pub struct Session {
    client: TcpStream,
    peer: IpAddr,
    link: ChildEnd,
    stop: SignalSource,
    store: storage::Result<Store>,
    common: Rc<Common>,
    ledger: Ledger,
    decoder: Decoder,
    claim: Claim,
    /// Told to end: the current message is the last.
    stopping: bool,
    /// When the current message must be complete, or the next one have begun.
    deadline: Instant,
}

impl Session {
    /// Serves the connection to its end; returns the exit code of the process.
    pub fn run(given: Given, stop: SignalSource) -> u8 {
        let Given { client, peer, link, common, ledger } = given;
        if let Err(e) = wire::configure(&client, common.config.message_timeout) {
            event!(Error, "accept_connections", fail, ip = peer, error = e);
            return DONE;
        }
        let store = Store::open(&common.files, common.config.durability);
        let deadline = Instant::now() + common.config.message_timeout;
        let decoder = Decoder::new();
        let claim = Claim::None;
        let mut session =
            Self { client, peer, link, stop, store, common, ledger, decoder, claim, stopping: false, deadline };
        let end = match session.converse() {
            Err(End::Closed) if session.decoder.mid_message() => End::Cut("the connection was lost amid a message"),
            Err(end) => end,
            Ok(never) => match never {},
        };
        session.close(&end);
        let lost = logging::take_lost();
        if lost > 0 {
            // A parent that is gone has a log no more.
            let _ = session.link.report_lines_lost(lost);
        }
        if matches!(end, End::StorageBroken) { STORAGE_BROKEN } else { DONE }
    }

    /// Request by request, until there is a reason to end.
    fn converse(&mut self) -> Result<std::convert::Infallible, End> {
        loop {
            match self.decoder.next_request() {
                Ok(Some(request)) => self.answer(request)?,
                Ok(None) => self.receive()?,
                Err(malformed) => return Err(self.refuse_malformed(malformed)),
            }
        }
    }

    /// Waits for more bytes of the client and takes them.
    fn receive(&mut self) -> Result<(), End> {
        if self.stopping && !self.decoder.mid_message() {
            return Err(End::Stopping);
        }
        match self.wait(Some(PollFlags::POLLIN), Some(self.deadline))? {
            Wake::Client => self.take_bytes(),
            Wake::Stop | Wake::Order(_) => Ok(()),
            Wake::Deadline if self.decoder.mid_message() => Err(End::Cut("the message was not complete in time")),
            Wake::Deadline => Err(End::Idle),
        }
    }

    fn take_bytes(&mut self) -> Result<(), End> {
        let fresh = !self.decoder.mid_message();
        match wire::read(&self.client, self.decoder.space())? {
            None => Ok(()),
            Some(0) => self.end_of_stream(),
            Some(len) => {
                // The first message has its deadline from accept.
                if fresh && self.decoder.generation().is_some() {
                    self.deadline = Instant::now() + self.common.config.message_timeout;
                }
                self.decoder.filled(len);
                Ok(())
            }
        }
    }

    fn end_of_stream(&mut self) -> Result<(), End> {
        match self.decoder.end_of_stream() {
            Ok(Some(request)) => self.answer(request),
            Ok(None) if self.decoder.mid_message() => Err(End::Cut("the connection ended in the middle of a message")),
            Ok(None) => Err(End::Closed),
            Err(malformed) => Err(self.refuse_malformed(malformed)),
        }
    }

    /// Serves one request. Whatever its outcome is, it is the last one where the generation has one message a
    /// connection, where it is refused, and where the server stops.
    fn answer(&mut self, request: Request) -> Result<(), End> {
        let answer = match self.serve(request)? {
            Ok(answer) => answer,
            Err(refusal) => return Err(self.refuse(refusal.code)),
        };
        self.send(&answer)?;
        if self.decoder.generation() != Some(Generation::Typed) {
            return Err(End::Spent);
        }
        if self.stopping && self.decoder.mid_message() {
            return Err(self.refuse(Code::Stopping));
        }
        let config = &self.common.config;
        let patience = if self.decoder.mid_message() { config.message_timeout } else { config.idle_timeout };
        self.deadline = Instant::now() + patience;
        Ok(())
    }

    /// Sends the whole answer, however slowly the client takes it, as long as it takes any.
    fn send(&mut self, answer: &Answer) -> Result<(), End> {
        let Some(generation) = self.decoder.generation() else { return Ok(()) };
        let bytes = answer.encode(generation);
        let mut sent = 0;
        while sent < bytes.len() {
            sent += match wire::write(&self.client, &bytes[sent..])? {
                Some(len) => len,
                None => self.await_room()?,
            };
        }
        Ok(())
    }

    fn await_room(&mut self) -> Result<usize, End> {
        let deadline = Instant::now() + self.common.config.message_timeout;
        loop {
            match self.wait(Some(PollFlags::POLLOUT), Some(deadline))? {
                Wake::Client => return Ok(0),
                Wake::Stop | Wake::Order(_) => {}
                Wake::Deadline => return Err(End::Cut("the client takes no byte of its answer")),
            }
        }
    }

    /// Waits for the client (`None`: not at all), the parent, the signals and the deadline. What is there together is
    /// told in the order stop, order, client.
    fn wait(&mut self, client: Option<PollFlags>, deadline: Option<Instant>) -> Result<Wake, End> {
        loop {
            let mut fds = [
                PollFd::new(self.stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.link.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.client.as_fd(), client.unwrap_or(PollFlags::empty())),
            ];
            // Without the client's, which would report an error whether asked for or not.
            let watched = fds.len() - usize::from(client.is_none());
            if events::wait(&mut fds[..watched], deadline)? == 0 {
                return Ok(Wake::Deadline);
            }
            // nix has no name for POLLRDHUP and so no flags to show (`None`): something is there all the same.
            let [stop, order, client] = fds.map(|fd| fd.any().unwrap_or(true));
            if stop && self.stop.drain() > 0 {
                self.stopping = true;
                return Ok(Wake::Stop);
            }
            if order && let Some(wake) = self.take_order()? {
                return Ok(wake);
            }
            if client {
                return Ok(Wake::Client);
            }
        }
    }

    fn take_order(&mut self) -> Result<Option<Wake>, End> {
        match self.link.next_order()? {
            Incoming::Message(Order::Stop) => {
                self.stopping = true;
                Ok(Some(Wake::Stop))
            }
            Incoming::Message(order) => Ok(Some(Wake::Order(order))),
            Incoming::Nothing => Ok(None),
            Incoming::Closed => Err(End::Failed(io::Error::other("the parent is gone"))),
        }
    }

    /// Tells the client the code; the connection is over then.
    fn refuse(&mut self, code: Code) -> End {
        match self.send(&Answer::Confirmation(Err(code))) {
            Ok(()) if code == Code::Stopping => End::Stopping,
            Ok(()) => End::Refused,
            Err(end) => end,
        }
    }

    /// Logs why the session ends, unless that has been done, and closes the connection.
    fn close(&mut self, end: &End) {
        match end {
            End::Cut(why) => self.log_cut(why),
            End::Failed(e) => event!(Error, "close_connection", fail, ip = self.peer, error = e),
            End::Stopping => event!(Info, "close_connection", success, ip = self.peer),
            End::Idle => event!(Info, "close_connection", success, ip = self.peer, motivo = "silent for IDLE_TIMEOUT"),
            End::Closed | End::Spent | End::Refused | End::StorageBroken => {
                event!(Debug, "close_connection", success, ip = self.peer);
            }
        }
        if matches!(end, End::Spent | End::Refused | End::Stopping) {
            self.linger();
        }
    }

    /// Ends this side of the stream, then reads and discards until the client has ended its own: closing with bytes
    /// unread sends a reset, which can destroy an answer that the client has not read yet.
    fn linger(&mut self) {
        let deadline = Instant::now() + LINGER;
        let mut discarded = [0; 4096];
        if wire::end_of_answers(&self.client).is_err() || (self.stopping && !wire::has_unread(&self.client)) {
            return;
        }
        while Instant::now() < deadline {
            match self.wait(Some(PollFlags::POLLIN), Some(deadline)) {
                Ok(Wake::Client) if !matches!(wire::read(&self.client, &mut discarded), Ok(Some(0)) | Err(_)) => {}
                // A stop may come twice, from a terminal and from the parent.
                Ok(Wake::Stop) if wire::has_unread(&self.client) => {}
                _ => return,
            }
        }
    }
}
