//! Which connections wait for the draw with a query.
//!
//! Pure: a connection is a token, and the caller passes the time. Used by the server's parent.

use std::time::{Duration, Instant};

use ipc::events::Token;

use super::line::Line;
use crate::bet::AgencyId;

/// Most queries of one agency that wait. The next one is answered at once.
const MAX_OF_AN_AGENCY: usize = 4;

/// What happens to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queued {
    /// It waits.
    Waiting,
    /// It must be answered at once: queries do not wait, or enough of its agency do, or the connection waits already.
    AnswerNow,
}

/// The queries that wait.
#[derive(Debug)]
pub struct Waiters {
    patience: Option<Duration>,
    waiting: Line<AgencyId>,
}

impl Waiters {
    /// Queries will wait for `patience`; with `None`, for ever.
    pub fn new(patience: Option<Duration>) -> Self {
        Self { patience, waiting: Line::new() }
    }

    /// Queues a query of the connection `token` for the winners of `agency`. A connection waits with one query.
    pub fn queue(&mut self, agency: AgencyId, token: Token, now: Instant) -> Queued {
        let waits = self.patience.is_none_or(|patience| !patience.is_zero());
        if !waits || self.waiting.contains(token) || self.waiting.has(MAX_OF_AN_AGENCY, agency) {
            return Queued::AnswerNow;
        }
        self.waiting.join(agency, token, self.patience.map(|patience| now + patience));
        Queued::Waiting
    }

    /// Removes the queries of a connection.
    pub fn remove(&mut self, token: Token) {
        self.waiting.leave(token);
    }

    /// Removes and returns all connections that wait.
    pub fn take_all(&mut self) -> impl Iterator<Item = Token> + use<> {
        self.waiting.take_all()
    }

    /// Removes and returns a connection that has waited long enough.
    pub fn expired(&mut self, now: Instant) -> Option<Token> {
        self.waiting.expired(now)
    }

    /// When [`Waiters::expired`] next returns a connection.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.deadline()
    }
}

#[cfg(test)]
mod tests {
    use super::Queued::{AnswerNow, Waiting};
    use super::*;

    fn agency() -> AgencyId {
        AgencyId::new(1).unwrap()
    }

    #[test]
    fn a_fifth_query_of_an_agency_does_not_wait() {
        let (mut waiters, now) = (Waiters::new(None), Instant::now());
        assert!((1..=4).all(|token| waiters.queue(agency(), Token(token), now) == Waiting));
        assert_eq!(waiters.queue(agency(), Token(5), now), AnswerNow);
        assert_eq!(waiters.queue(AgencyId::new(2).unwrap(), Token(6), now), Waiting);
        waiters.remove(Token(2));
        waiters.remove(Token(2));
        assert_eq!([5, 7].map(|token| waiters.queue(agency(), Token(token), now)), [Waiting, AnswerNow]);
        assert!(waiters.take_all().eq([1, 3, 4, 6, 5].map(Token)));
        assert_eq!(waiters.queue(agency(), Token(7), now), Waiting);
    }

    #[test]
    fn a_query_waits_for_its_own_patience() {
        let patience = Duration::from_secs(2);
        let (mut waiters, now) = (Waiters::new(Some(patience)), Instant::now());
        assert_eq!(waiters.queue(agency(), Token(1), now), Waiting);
        waiters.remove(Token(1));
        assert_eq!(waiters.deadline(), None);
        assert_eq!(waiters.queue(agency(), Token(1), now + patience / 2), Waiting);
        assert_eq!(waiters.deadline(), Some(now + patience / 2 + patience));
        assert_eq!(waiters.expired(now + patience), None);
        assert_eq!(waiters.expired(now + patience * 2), Some(Token(1)));
        assert_eq!((waiters.expired(now + patience * 2), waiters.deadline()), (None, None));
        assert_eq!(Waiters::new(Some(Duration::ZERO)).queue(agency(), Token(1), now), AnswerNow);
    }
}
