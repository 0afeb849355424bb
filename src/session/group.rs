//! The messages with bets that a session stores together.
//!
//! A client may send many batches without waiting for answers. The session stores all of them that have arrived as one
//! group: one lock, one write, one sync. Each batch is still stored whole or not at all, and the answers keep their order.
//! Pure: the session decides when a group is stored.

use crate::bet::AgencyId;
use crate::protocol::Form;
use crate::row::Rows;
use crate::storage::{LARGEST_GROUP, Origin};

/// A group with more bytes than this takes no further message. The rows of one more message still fit into
/// [`LARGEST_GROUP`]: those of the largest batch, 255 bets with two names of 29 quotes each, have 42,585 bytes.
const FULL: u64 = LARGEST_GROUP / 2;

/// Messages of one agency, and the rows of their bets.
#[derive(Debug, Default)]
pub struct Group {
    agency: Option<AgencyId>,
    messages: Vec<Message>,
    rows: Rows,
}

/// A message with bets: its form, and the number of its bets.
pub type Message = (Form, u8);

impl Group {
    /// Adds a message with its rows. All messages of a group are of the same agency.
    pub fn add(&mut self, agency: AgencyId, message: Message, rows: &Rows) {
        self.agency = Some(agency);
        self.messages.push(message);
        self.rows.append(rows);
    }

    /// The agency; `None` while the group has no message.
    pub fn agency(&self) -> Option<AgencyId> {
        self.agency
    }

    /// The messages, in order.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The kind of its messages. A client sends only one kind.
    pub fn origin(&self) -> Origin {
        let is_typed = self.messages.iter().any(|(form, _)| *form == Form::TypedBatch);
        if is_typed { Origin::Typed } else { Origin::Untyped }
    }

    /// The rows of all messages.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Whether the group must be stored before another message joins it.
    pub fn is_full(&self) -> bool {
        self.rows.bytes().len() as u64 > FULL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bet::Bet;

    #[test]
    fn largest_message_still_fits_into_a_group_that_is_not_full() {
        let (agency, quotes) = (AgencyId::new(u32::MAX).unwrap(), [b'"'; 29]);
        let bet = Bet::new(agency, [&quotes; 2], u32::MAX, b"1999-03-17", u32::MAX).unwrap();
        let largest: Rows = std::iter::repeat_n(&bet, 255).collect();
        assert_eq!(largest.bytes().len(), 42_585);
        let mut group = Group::default();
        assert_eq!((group.agency(), group.is_full()), (None, false));
        while !group.is_full() {
            group.add(agency, (Form::TypedBatch, 255), &largest);
        }
        assert!(group.rows().bytes().len() as u64 <= LARGEST_GROUP);
        assert_eq!((group.agency(), group.messages().len()), (Some(agency), 4));
        assert_eq!(group.rows().count(), 4 * 255);
    }
}
