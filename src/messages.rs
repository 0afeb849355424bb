//! The messages between a child and its parent, over one link for each child.
//!
//! Owns the two enums, one for each direction, and the verbs at each end. Used by the session (child) and the server
//! (parent). Knows nothing about how either side reacts.
//!
//! | report (child → parent) | order (parent → child) |
//! |---|---|
//! | claim an agency | granted, or busy |
//! | release the claim | |
//! | ask for an agency's slot | its number, or none |
//! | await the draw | drawn, or not drawn |
//! | an agency has ended | |
//! | the storage is broken | |
//! | log lines were lost | |
//! | the data lock is held for too long | |
//! | the client has sent garbage | |
//! | a request is refused: is a log line wanted? | log it, or count it only |
//! | | stop |
//! | | leave: a connection without a seat |
//! | | yield: another connection claims the agency |

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipc::link::{Incoming, Link, MESSAGE_MAX, Message};

use crate::bet::AgencyId;

/// From a child to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The child claims the agency for its connection. Answered by [`Order::Granted`] or [`Order::Busy`].
    Claim(AgencyId),
    /// The child needs the slot of an agency that was new after its fork. Answered by [`Order::Slot`] or
    /// [`Order::NoSlot`].
    Slot(AgencyId),
    /// A query for the agency's winners waits. Answered by [`Order::Drawn`] or [`Order::NotDrawn`].
    AwaitDraw(AgencyId),
    /// The agency's end is recorded.
    Ended(AgencyId),
    /// A sync failed: nothing may be acknowledged from now on.
    StorageBroken,
    /// The child dropped this many log lines, because nobody read them in time.
    LinesLost(u32),
    /// The child has waited for the data lock for a long time, and goes on waiting.
    LockHeld,
    /// The child gives up its claim of the agency, and may claim it again. Everything that it wrote is stored.
    Released(AgencyId),
    /// The client has sent bytes that are no message, so its connection ends. Counts once.
    Garbage,
    /// The child refuses its client for this reason. Answered by [`Order::Log`] or [`Order::Count`].
    Refused(Reason),
}

/// Why a child refuses its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The client gets this code.
    Code(u8),
    /// The connection closes without a code.
    Cut(Cut),
}

/// Why a connection is closed inside a message or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Cut {
    /// The connection failed.
    #[error("the connection was lost inside a message")]
    Lost,
    /// The client ended its side of the stream.
    #[error("the connection ended in the middle of a message")]
    Ended,
    /// MESSAGE_TIMEOUT passed.
    #[error("the message was not complete in time")]
    Late,
    /// The client takes no byte of its answer within MESSAGE_TIMEOUT.
    #[error("the client takes no byte of its answer")]
    Unread,
    /// TLS failed.
    #[error("TLS failed")]
    Tls,
}

impl Reason {
    /// The number of a cut is this plus its place in [`Reason::CUTS`].
    const FIRST_CUT: u32 = 256;
    const CUTS: [Cut; 5] = [Cut::Lost, Cut::Ended, Cut::Late, Cut::Unread, Cut::Tls];

    fn number(self) -> u32 {
        match self {
            Self::Code(code) => code.into(),
            Self::Cut(cut) => Self::FIRST_CUT + cut as u32,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        match number.checked_sub(Self::FIRST_CUT) {
            None => u8::try_from(number).ok().map(Self::Code),
            Some(place) => Self::CUTS.get(place as usize).copied().map(Self::Cut),
        }
    }
}

/// From the parent to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The child holds the agency's claim until it releases the claim, or until the parent has reaped it.
    Granted(Intake),
    /// Another connection holds the agency's claim.
    Busy,
    /// The agency has the slot with this number.
    Slot(u32),
    /// No slot is free.
    NoSlot,
    /// The draw has been held, and its result can be read.
    Drawn,
    /// The draw has not been held, and the query has waited as long as it may.
    NotDrawn,
    /// Finish the current message, then end.
    Stop,
    /// End at the next wait: the connection has no seat. A later claim is not answered.
    Leave(Dismissal),
    /// Another connection claims the agency. If the client is silent, give way to it.
    Yield,
    /// Log the refusal.
    Log,
    /// Do not log the refusal: the parent has counted it.
    Count,
}

/// Why a connection without a seat must leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dismissal {
    /// All connections are taken, and another one waits.
    Room,
    /// It has been without a seat for NEWCOMER_TIMEOUT.
    Age,
}

/// Whether the server still takes bets of an agency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    /// It does.
    Open,
    /// It does not: the agency has ended, or the draw has been held.
    Ended,
}

impl Message for Report {
    fn encode(&self, packet: &mut [u8; MESSAGE_MAX]) -> usize {
        let (kind, number) = match self {
            Self::Claim(agency) => (1, agency.get()),
            Self::AwaitDraw(agency) => (2, agency.get()),
            Self::Ended(agency) => (3, agency.get()),
            Self::StorageBroken => (4, 0),
            Self::LinesLost(lines) => (5, *lines),
            Self::Slot(agency) => (6, agency.get()),
            Self::LockHeld => (7, 0),
            Self::Released(agency) => (8, agency.get()),
            Self::Garbage => (9, 0),
            Self::Refused(reason) => (10, reason.number()),
        };
        packet[0] = kind;
        packet[1..5].copy_from_slice(&number.to_ne_bytes());
        5
    }

    fn decode(packet: &[u8]) -> Option<Self> {
        let (&kind, number) = packet.split_first()?;
        let number = u32::from_ne_bytes(number.try_into().ok()?);
        let agency = AgencyId::new(number);
        match kind {
            1 => agency.map(Self::Claim),
            2 => agency.map(Self::AwaitDraw),
            3 => agency.map(Self::Ended),
            4 => Some(Self::StorageBroken),
            5 => Some(Self::LinesLost(number)),
            6 => agency.map(Self::Slot),
            7 => Some(Self::LockHeld),
            8 => agency.map(Self::Released),
            9 => Some(Self::Garbage),
            10 => Reason::from_number(number).map(Self::Refused),
            _ => None,
        }
    }
}

impl Message for Order {
    fn encode(&self, packet: &mut [u8; MESSAGE_MAX]) -> usize {
        packet[0] = match self {
            Self::Granted(Intake::Open) => 1,
            Self::Granted(Intake::Ended) => 2,
            Self::Busy => 3,
            Self::Drawn => 4,
            Self::NotDrawn => 5,
            Self::Stop => 6,
            Self::NoSlot => 7,
            Self::Log => 11,
            Self::Count => 12,
            Self::Yield => 10,
            Self::Leave(why) => {
                packet[1] = match why {
                    Dismissal::Room => 1,
                    Dismissal::Age => 2,
                };
                packet[0] = 9;
                return 2;
            }
            Self::Slot(number) => {
                packet[1..5].copy_from_slice(&number.to_ne_bytes());
                packet[0] = 8;
                return 5;
            }
        };
        1
    }

    fn decode(packet: &[u8]) -> Option<Self> {
        match packet {
            [1] => Some(Self::Granted(Intake::Open)),
            [2] => Some(Self::Granted(Intake::Ended)),
            [3] => Some(Self::Busy),
            [4] => Some(Self::Drawn),
            [5] => Some(Self::NotDrawn),
            [6] => Some(Self::Stop),
            [7] => Some(Self::NoSlot),
            [9, 1] => Some(Self::Leave(Dismissal::Room)),
            [9, 2] => Some(Self::Leave(Dismissal::Age)),
            [10] => Some(Self::Yield),
            [11] => Some(Self::Log),
            [12] => Some(Self::Count),
            [8, number @ ..] => Some(Self::Slot(u32::from_ne_bytes(number.try_into().ok()?))),
            _ => None,
        }
    }
}

/// Creates a link; returns its two ends. The parent's end has a high number, so that later children need not copy it.
///
/// # Errors
/// The error of socketpair(2).
pub fn link() -> io::Result<(ParentEnd, ChildEnd)> {
    let (parent, child) = Link::pair()?;
    Ok((ParentEnd(parent.park()), ChildEnd(child)))
}

/// The parent's end. Every verb but [`ParentEnd::next_report`] sends one order.
///
/// # Errors
/// A verb that sends fails as [`Link::send`] does: the child is gone, or has left hundreds of orders unread.
#[derive(Debug)]
pub struct ParentEnd(Link<Order, Report>);

impl ParentEnd {
    /// Sends [`Order::Granted`].
    pub fn grant_claim(&self, intake: Intake) -> io::Result<()> {
        self.0.send(&Order::Granted(intake))
    }

    /// Sends [`Order::Busy`].
    pub fn refuse_claim(&self) -> io::Result<()> {
        self.0.send(&Order::Busy)
    }

    /// Sends [`Order::Slot`], or [`Order::NoSlot`] for `None`.
    pub fn assign_slot(&self, number: Option<u32>) -> io::Result<()> {
        self.0.send(&number.map_or(Order::NoSlot, Order::Slot))
    }

    /// Sends [`Order::Drawn`].
    pub fn announce_draw(&self) -> io::Result<()> {
        self.0.send(&Order::Drawn)
    }

    /// Sends [`Order::NotDrawn`].
    pub fn announce_no_draw(&self) -> io::Result<()> {
        self.0.send(&Order::NotDrawn)
    }

    /// Sends [`Order::Stop`].
    pub fn stop(&self) -> io::Result<()> {
        self.0.send(&Order::Stop)
    }

    /// Sends [`Order::Leave`].
    pub fn dismiss(&self, why: Dismissal) -> io::Result<()> {
        self.0.send(&Order::Leave(why))
    }

    /// Sends [`Order::Yield`].
    pub fn ask_to_yield(&self) -> io::Result<()> {
        self.0.send(&Order::Yield)
    }

    /// Sends [`Order::Log`].
    pub fn log_refusal(&self) -> io::Result<()> {
        self.0.send(&Order::Log)
    }

    /// Sends [`Order::Count`].
    pub fn count_refusal(&self) -> io::Result<()> {
        self.0.send(&Order::Count)
    }

    /// Takes the next report. Fails as [`Link::receive`] does.
    pub fn next_report(&self) -> io::Result<Incoming<Report>> {
        self.0.receive()
    }
}

impl AsFd for ParentEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The child's end. Every verb but [`ChildEnd::next_order`] sends one report.
///
/// # Errors
/// A verb that sends fails as [`Link::send`] does: the parent is gone, or has left hundreds of reports unread.
#[derive(Debug)]
pub struct ChildEnd(Link<Report, Order>);

impl ChildEnd {
    /// Sends [`Report::Claim`].
    pub fn claim(&self, agency: AgencyId) -> io::Result<()> {
        self.0.send(&Report::Claim(agency))
    }

    /// Sends [`Report::Released`].
    pub fn release(&self, agency: AgencyId) -> io::Result<()> {
        self.0.send(&Report::Released(agency))
    }

    /// Sends [`Report::Slot`].
    pub fn ask_slot(&self, agency: AgencyId) -> io::Result<()> {
        self.0.send(&Report::Slot(agency))
    }

    /// Sends [`Report::AwaitDraw`].
    pub fn await_draw(&self, agency: AgencyId) -> io::Result<()> {
        self.0.send(&Report::AwaitDraw(agency))
    }

    /// Sends [`Report::Ended`].
    pub fn report_ended(&self, agency: AgencyId) -> io::Result<()> {
        self.0.send(&Report::Ended(agency))
    }

    /// Sends [`Report::StorageBroken`].
    pub fn report_storage_broken(&self) -> io::Result<()> {
        self.0.send(&Report::StorageBroken)
    }

    /// Sends [`Report::LinesLost`].
    pub fn report_lines_lost(&self, lines: u32) -> io::Result<()> {
        self.0.send(&Report::LinesLost(lines))
    }

    /// Sends [`Report::LockHeld`].
    pub fn report_lock_held(&self) -> io::Result<()> {
        self.0.send(&Report::LockHeld)
    }

    /// Sends [`Report::Garbage`].
    pub fn report_garbage(&self) -> io::Result<()> {
        self.0.send(&Report::Garbage)
    }

    /// Sends [`Report::Refused`].
    pub fn report_refused(&self, reason: Reason) -> io::Result<()> {
        self.0.send(&Report::Refused(reason))
    }

    /// Takes the next order. Fails as [`Link::receive`] does.
    pub fn next_order(&self) -> io::Result<Incoming<Order>> {
        self.0.receive()
    }
}

impl From<ChildEnd> for OwnedFd {
    fn from(end: ChildEnd) -> Self {
        end.0.into()
    }
}

impl AsFd for ChildEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_arrives_as_sent() {
        let (parent, child) = link().unwrap();
        let agency = AgencyId::new(u32::MAX).unwrap();
        let of_agency = [Report::Claim(agency), Report::Slot(agency), Report::AwaitDraw(agency), Report::Ended(agency)];
        let others = [Report::StorageBroken, Report::LinesLost(0), Report::LockHeld, Report::Released(agency)];
        let cuts = Reason::CUTS.map(Reason::Cut).map(Report::Refused);
        let refused = [0, 1, 255].map(Reason::Code).map(Report::Refused).into_iter().chain(cuts);
        for report in of_agency.into_iter().chain(others).chain([Report::Garbage]).chain(refused) {
            child.0.send(&report).unwrap();
            assert_eq!(parent.next_report().unwrap(), Incoming::Message(report));
        }
        let granted = [Intake::Open, Intake::Ended].map(Order::Granted);
        let slots = [Order::Slot(0), Order::Slot(u32::MAX), Order::NoSlot];
        let leave = [Dismissal::Room, Dismissal::Age].map(Order::Leave);
        let others = [Order::Busy, Order::Drawn, Order::NotDrawn, Order::Stop, Order::Yield, Order::Log, Order::Count];
        for order in granted.into_iter().chain(slots).chain(leave).chain(others) {
            parent.0.send(&order).unwrap();
            assert_eq!(child.next_order().unwrap(), Incoming::Message(order));
        }
        assert_eq!(child.next_order().unwrap(), Incoming::Nothing);
    }

    #[test]
    fn every_verb_sends_its_message() {
        let (parent, child) = link().unwrap();
        let agency = AgencyId::new(7).unwrap();
        child.claim(agency).unwrap();
        child.ask_slot(agency).unwrap();
        child.await_draw(agency).unwrap();
        child.report_ended(agency).unwrap();
        child.report_storage_broken().unwrap();
        child.report_lines_lost(9).unwrap();
        child.report_lock_held().unwrap();
        child.release(agency).unwrap();
        child.report_garbage().unwrap();
        child.report_refused(Reason::Cut(Cut::Late)).unwrap();
        let reports = [Report::Claim(agency), Report::Slot(agency), Report::AwaitDraw(agency), Report::Ended(agency)];
        let others = [Report::StorageBroken, Report::LinesLost(9), Report::LockHeld, Report::Released(agency)];
        let last = [Report::Garbage, Report::Refused(Reason::Cut(Cut::Late))];
        for report in reports.into_iter().chain(others).chain(last) {
            assert_eq!(parent.next_report().unwrap(), Incoming::Message(report));
        }
        assert_eq!(parent.next_report().unwrap(), Incoming::Nothing);

        parent.grant_claim(Intake::Open).unwrap();
        parent.grant_claim(Intake::Ended).unwrap();
        parent.refuse_claim().unwrap();
        parent.assign_slot(Some(7)).unwrap();
        parent.assign_slot(None).unwrap();
        parent.announce_draw().unwrap();
        parent.announce_no_draw().unwrap();
        parent.stop().unwrap();
        parent.dismiss(Dismissal::Age).unwrap();
        parent.ask_to_yield().unwrap();
        parent.log_refusal().unwrap();
        parent.count_refusal().unwrap();
        let granted = [Intake::Open, Intake::Ended].map(Order::Granted);
        let others = [Order::Busy, Order::Slot(7), Order::NoSlot, Order::Drawn, Order::NotDrawn, Order::Stop];
        let last = [Order::Leave(Dismissal::Age), Order::Yield, Order::Log, Order::Count];
        for order in granted.into_iter().chain(others).chain(last) {
            assert_eq!(child.next_order().unwrap(), Incoming::Message(order));
        }
        assert_eq!(child.next_order().unwrap(), Incoming::Nothing);
    }

    #[test]
    fn packets_that_are_not_messages_are_refused() {
        for packet in [
            &[][..],
            &[1],
            &[1, 0, 0, 0, 0],
            &[4, 0, 0, 0],
            &[5, 0, 0, 0, 0, 0],
            &[6, 0, 0, 0, 0],
            &[8, 0, 0, 0, 0],
            &[10, 5, 1, 0, 0],
            &[13, 0, 0, 0, 1],
        ] {
            assert_eq!(Report::decode(packet), None, "{packet:?}");
        }
        for packet in [
            &[][..],
            &[0],
            &[8],
            &[9],
            &[9, 0],
            &[9, 3],
            &[10, 1],
            &[11, 0],
            &[13],
            &[1, 1],
            &[8, 0, 0, 0],
            &[8, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(Order::decode(packet), None, "{packet:?}");
        }
    }
}
