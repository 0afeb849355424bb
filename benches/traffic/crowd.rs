//! Thousands of agencies in one draw, driven by this one process with epoll(7).
//!
//! Each agency connects, sends one batch, ends, asks for its winners, and stays connected until all have their winners.
//! Without a query for winners it leaves after its end. A new agency connects while fewer than [`AHEAD`] wait for the
//! answer to their first message: more would overflow the kernel's queue of connections, and then the benchmark would
//! measure TCP's retransmissions.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::wire::{self, Frame, Framing};
use crate::Result;
use crate::stop::Stop;

/// Most agencies that have connected and wait for the acknowledgement of their first message.
const AHEAD: usize = 1000;
/// Events of one epoll_wait(2).
const EVENTS: usize = 512;
/// Longest wait for events, in milliseconds; then the loop looks for a signal.
const INTERVAL: u16 = 100;
/// Longest time of all conversations: a longer one is a failure.
const LIMIT: Duration = Duration::from_secs(120);

/// The agencies 1 to `agencies`.
pub struct Crowd {
    /// Number of agencies.
    pub agencies: u32,
    /// The bets of each, encoded; no batch if there are none.
    pub bets: Vec<Vec<u8>>,
    /// Number of winners that each must get. If `None`, no agency asks for its winners.
    pub winners: Option<u32>,
}

/// A draw with its agencies still connected.
pub struct Draw {
    /// The last acknowledgement of an end.
    pub last_acknowledgement: Instant,
    /// From the first connection to the last acknowledgement of an end.
    pub acknowledged: Duration,
    /// From that to the first answer with winners: the draw.
    pub drawn: Duration,
    /// From the last acknowledgement to the last answer with winners.
    pub answered: Duration,
    /// Number of agencies whose conversation failed.
    pub errors: usize,
    /// The first failure.
    pub first_error: Option<io::Error>,
    /// The connections. They end when this value is dropped.
    pub connections: Vec<TcpStream>,
}

impl Crowd {
    /// Runs all conversations.
    ///
    /// # Errors
    /// A signal has arrived, the conversations take longer than two minutes, or a connection is refused. The failure of a
    /// conversation is counted in the draw.
    pub fn play(&self, (port, framing): (u16, Framing), stop: &Stop) -> Result<Draw> {
        let mut play = Play::new(self, framing)?;
        let mut events = vec![EpollEvent::empty(); EVENTS];
        while play.open() > 0 {
            play.connect_some(port)?;
            stop.check()?;
            let count = play.epoll.wait(&mut events, INTERVAL)?;
            events[..count].iter().for_each(|event| play.continue_with(event.data() as usize));
            if play.start.elapsed() > LIMIT {
                return Err(format!("{} agencies are not done within {LIMIT:?}", play.open()).into());
            }
        }
        Ok(play.draw())
    }
}

/// A running draw.
struct Play<'a> {
    crowd: &'a Crowd,
    framing: Framing,
    epoll: Epoll,
    members: Vec<Member>,
    /// Number of members whose first message was answered, and whose conversation is over.
    answered: usize,
    over: usize,
    errors: usize,
    first_error: Option<io::Error>,
    start: Instant,
    last_acknowledgement: Instant,
    first_winners: Option<Instant>,
    last_winners: Instant,
}

/// An agency.
struct Member {
    connection: TcpStream,
    step: Step,
    /// Whether its first message was answered, or its conversation has failed.
    answered: bool,
    received: Vec<u8>,
}

/// The message whose answer a member waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Batch,
    End,
    Winners,
    Over,
}

impl<'a> Play<'a> {
    fn new(crowd: &'a Crowd, framing: Framing) -> Result<Self> {
        let now = Instant::now();
        Ok(Self {
            crowd,
            framing,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            members: Vec::with_capacity(crowd.agencies as usize),
            answered: 0,
            over: 0,
            errors: 0,
            first_error: None,
            start: now,
            last_acknowledgement: now,
            first_winners: None,
            last_winners: now,
        })
    }

    /// Number of agencies whose conversation is not over.
    fn open(&self) -> usize {
        self.crowd.agencies as usize - self.over
    }

    fn connect_some(&mut self, port: u16) -> Result<()> {
        while self.members.len() < self.crowd.agencies as usize && self.members.len() - self.answered < AHEAD {
            let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            connection.set_nodelay(true)?;
            connection.set_nonblocking(true)?;
            let at = self.members.len();
            self.epoll.add(&connection, EpollEvent::new(EpollFlags::EPOLLIN, at as u64))?;
            let step = if self.crowd.bets.is_empty() { Step::End } else { Step::Batch };
            self.members.push(Member { connection, step, answered: false, received: Vec::new() });
            if let Err(e) = self.send(at) {
                self.fail(at, e);
            }
        }
        Ok(())
    }

    /// Sends the message of the current step. It always fits into the empty send buffer of the socket.
    fn send(&mut self, at: usize) -> io::Result<()> {
        let message = self.message(at);
        let bytes = message.bytes(self.framing);
        let sent = self.members[at].connection.write(bytes)?;
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    fn message(&self, at: usize) -> Frame {
        let agency = at as u32 + 1;
        match self.members[at].step {
            Step::Batch => wire::batch(agency, &self.crowd.bets),
            Step::End => wire::end(agency),
            Step::Winners | Step::Over => wire::winners_query(agency),
        }
    }

    /// Reads what has arrived for a member, and goes to its next step if the answer is complete.
    fn continue_with(&mut self, at: usize) {
        let answered = self.members[at].receive().and_then(|()| self.members[at].has_answer(self.crowd.winners));
        let continued = match answered {
            Ok(false) => Ok(()),
            Ok(true) => self.advance(at),
            Err(e) => Err(e),
        };
        if let Err(e) = continued {
            self.fail(at, e);
        }
    }

    /// Notes the time of an answer, and sends the next message.
    fn advance(&mut self, at: usize) -> io::Result<()> {
        let (now, asks) = (Instant::now(), self.crowd.winners.is_some());
        let member = &mut self.members[at];
        let answered = member.step;
        member.received.clear();
        member.step = match answered {
            Step::Batch => Step::End,
            Step::End if asks => Step::Winners,
            Step::End | Step::Winners | Step::Over => Step::Over,
        };
        self.count_answer(at);
        match answered {
            Step::Batch => {}
            Step::End => self.last_acknowledgement = now,
            Step::Winners | Step::Over => {
                self.first_winners.get_or_insert(now);
                self.last_winners = now;
            }
        }
        if self.members[at].step == Step::Over {
            self.over += 1;
            // Without a draw to wait for, it leaves.
            return if asks { Ok(()) } else { self.members[at].connection.shutdown(Shutdown::Both) };
        }
        self.send(at)
    }

    /// Counts the first answer to a member.
    fn count_answer(&mut self, at: usize) {
        self.answered += usize::from(!std::mem::replace(&mut self.members[at].answered, true));
    }

    fn fail(&mut self, at: usize, error: io::Error) {
        // Fails only if the connection is not watched; then there is nothing to do.
        let _ = self.epoll.delete(&self.members[at].connection);
        // A server may close after a conversation that is over.
        if self.members[at].step == Step::Over {
            return;
        }
        self.count_answer(at);
        self.members[at].step = Step::Over;
        self.over += 1;
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }

    fn draw(self) -> Draw {
        let since = |point: Instant| point.saturating_duration_since(self.last_acknowledgement);
        Draw {
            last_acknowledgement: self.last_acknowledgement,
            acknowledged: self.last_acknowledgement - self.start,
            drawn: since(self.first_winners.unwrap_or(self.last_acknowledgement)),
            answered: since(self.last_winners),
            errors: self.errors,
            first_error: self.first_error,
            connections: self.members.into_iter().map(|member| member.connection).collect(),
        }
    }
}

impl Member {
    /// Reads what has arrived.
    fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        match self.connection.read(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => {
                self.received.extend_from_slice(&buffer[..len]);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Whether the answer to the current message is complete.
    ///
    /// # Errors
    /// It is another answer.
    fn has_answer(&self, winners: Option<u32>) -> io::Result<bool> {
        let received = &self.received;
        match self.step {
            Step::Batch | Step::End if received.len() < wire::ACKNOWLEDGEMENT.len() => Ok(false),
            Step::Batch | Step::End if *received == wire::ACKNOWLEDGEMENT => Ok(true),
            Step::Winners => {
                let Some(header) = received.first_chunk() else { return Ok(false) };
                let count = wire::winners(*header)?;
                let expected = winners.is_none_or(|winners| winners == count);
                let len = wire::WINNERS_HEADER + count as usize * wire::DOCUMENT;
                if expected { Ok(received.len() >= len) } else { Err(io::Error::other(format!("{count} winners"))) }
            }
            _ => Err(io::Error::other(format!("the answer to {:?} is {received:?}", self.step))),
        }
    }
}
