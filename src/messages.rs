//! What a child and its parent tell each other, over one link a child.
//!
//! Owns the two enums, one a direction, and the verbs at each end. Used by the session (child) and the server (parent).
//!
//! | report (child → parent) | order (parent → child) |
//! |---|---|
//! | claim an agency | granted, or busy |
//! | await the draw | drawn, or not drawn |
//! | an agency has ended | |
//! | the storage is broken | |
//! | lines of the log were lost | |
//! | | stop |

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use ipc::link::{Incoming, Link, MESSAGE_MAX, Message};

use crate::bet::AgencyId;

/// From a child to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// May this connection send batches of the agency? Answered by [`Order::Granted`] or [`Order::Busy`].
    Claim(AgencyId),
    /// A query of the agency's winners waits. Answered by [`Order::Drawn`] or [`Order::NotDrawn`].
    AwaitDraw(AgencyId),
    /// The agency's end is recorded.
    Ended(AgencyId),
    /// Data could not be made durable: nothing may be acknowledged any more.
    StorageBroken,
    /// Nobody read the log while the child had so many lines for it.
    LinesLost(u32),
}

/// From the parent to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The agency is the connection's, until its process is gone.
    Granted {
        /// Nothing more is stored for the agency: it has ended, or the draw has been held.
        ended: bool,
    },
    /// Another connection has the agency.
    Busy,
    /// The draw has been held, its result can be read.
    Drawn,
    /// The draw has not been held, and the query has waited as long as it may.
    NotDrawn,
    /// Finish the current message and end.
    Stop,
}

impl Message for Report {
    fn encode(&self, packet: &mut [u8; MESSAGE_MAX]) -> usize {
        let (kind, number) = match self {
            Self::Claim(agency) => (1, agency.get()),
            Self::AwaitDraw(agency) => (2, agency.get()),
            Self::Ended(agency) => (3, agency.get()),
            Self::StorageBroken => (4, 0),
            Self::LinesLost(lines) => (5, *lines),
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
            _ => None,
        }
    }
}

impl Message for Order {
    fn encode(&self, packet: &mut [u8; MESSAGE_MAX]) -> usize {
        packet[0] = match self {
            Self::Granted { ended: false } => 1,
            Self::Granted { ended: true } => 2,
            Self::Busy => 3,
            Self::Drawn => 4,
            Self::NotDrawn => 5,
            Self::Stop => 6,
        };
        1
    }

    fn decode(packet: &[u8]) -> Option<Self> {
        match packet {
            [1] => Some(Self::Granted { ended: false }),
            [2] => Some(Self::Granted { ended: true }),
            [3] => Some(Self::Busy),
            [4] => Some(Self::Drawn),
            [5] => Some(Self::NotDrawn),
            [6] => Some(Self::Stop),
            _ => None,
        }
    }
}

/// Two ends of a fresh link.
///
/// # Errors
/// What socketpair(2) reports.
pub fn link() -> io::Result<(ParentEnd, ChildEnd)> {
    let (parent, child) = Link::pair()?;
    Ok((ParentEnd(parent), ChildEnd(child)))
}

/// The parent's end.
#[derive(Debug)]
pub struct ParentEnd(Link<Order, Report>);

impl ParentEnd {
    /// Grants a claim.
    ///
    /// # Errors
    /// As [`Link::send`]: the child is gone, or has not listened for long.
    pub fn grant_claim(&self, ended: bool) -> io::Result<()> {
        self.0.send(&Order::Granted { ended })
    }

    /// Refuses a claim.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn refuse_claim(&self) -> io::Result<()> {
        self.0.send(&Order::Busy)
    }

    /// Tells that the draw has been held.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn announce_draw(&self) -> io::Result<()> {
        self.0.send(&Order::Drawn)
    }

    /// Tells that a query has waited long enough.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn announce_no_draw(&self) -> io::Result<()> {
        self.0.send(&Order::NotDrawn)
    }

    /// Tells the child to end.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn stop(&self) -> io::Result<()> {
        self.0.send(&Order::Stop)
    }

    /// The next report, if there is one.
    ///
    /// # Errors
    /// As [`Link::receive`].
    pub fn next_report(&self) -> io::Result<Incoming<Report>> {
        self.0.receive()
    }
}

impl AsFd for ParentEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The child's end.
#[derive(Debug)]
pub struct ChildEnd(Link<Report, Order>);

impl ChildEnd {
    /// Asks for an agency.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn claim(&self, agency: AgencyId) -> io::Result<()> {
        self.0.send(&Report::Claim(agency))
    }

    /// Asks to be told of the draw.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn await_draw(&self, agency: AgencyId) -> io::Result<()> {
        self.0.send(&Report::AwaitDraw(agency))
    }

    /// Tells that an agency's end is recorded.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn report_ended(&self, agency: AgencyId) -> io::Result<()> {
        self.0.send(&Report::Ended(agency))
    }

    /// Tells that data could not be made durable.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn report_storage_broken(&self) -> io::Result<()> {
        self.0.send(&Report::StorageBroken)
    }

    /// Tells that lines of the log were lost.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn report_lines_lost(&self, lines: u32) -> io::Result<()> {
        self.0.send(&Report::LinesLost(lines))
    }

    /// The next order, if there is one.
    ///
    /// # Errors
    /// As [`Link::receive`].
    pub fn next_order(&self) -> io::Result<Incoming<Order>> {
        self.0.receive()
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
        let of_agency = [Report::Claim(agency), Report::AwaitDraw(agency), Report::Ended(agency)];
        for report in of_agency.into_iter().chain([Report::StorageBroken, Report::LinesLost(0)]) {
            child.0.send(&report).unwrap();
            assert_eq!(parent.next_report().unwrap(), Incoming::Message(report));
        }
        let granted = [true, false].map(|ended| Order::Granted { ended });
        for order in granted.into_iter().chain([Order::Busy, Order::Drawn, Order::NotDrawn, Order::Stop]) {
            parent.0.send(&order).unwrap();
            assert_eq!(child.next_order().unwrap(), Incoming::Message(order));
        }
        assert_eq!(child.next_order().unwrap(), Incoming::Nothing);
    }
}
