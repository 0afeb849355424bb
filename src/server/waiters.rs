//! Which connections wait for the draw with a query.
//!
//! Pure: connections are numbers, time is given. Used by the server's parent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::children::Token;
use crate::bet::AgencyId;

/// Most queries of one agency that wait; the next is answered at once.
const MAX_OF_AN_AGENCY: usize = 4;

/// Queries that wait.
#[derive(Debug)]
pub struct Waiters {
    patience: Option<Duration>,
    /// In the order of their deadlines, as the patience is the same for all.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    agency: AgencyId,
    token: Token,
    deadline: Option<Instant>,
}

impl Waiters {
    /// A query waits for `patience`, or for ever.
    pub fn new(patience: Option<Duration>) -> Self {
        Self { patience, waiting: VecDeque::new() }
    }

    /// True if the query of `token` waits from now on; false if it must be answered at once.
    pub fn wait(&mut self, agency: AgencyId, token: Token, now: Instant) -> bool {
        let others = self.waiting.iter().filter(|waiting| waiting.agency == agency).count();
        if self.patience.is_some_and(|patience| patience.is_zero()) || others >= MAX_OF_AN_AGENCY {
            return false;
        }
        let deadline = self.patience.map(|patience| now + patience);
        self.waiting.push_back(Waiting { agency, token, deadline });
        true
    }

    /// The connection waits no longer.
    pub fn leave(&mut self, token: Token) {
        self.waiting.retain(|waiting| waiting.token != token);
    }

    /// All that wait; none does afterwards.
    pub fn take_all(&mut self) -> impl Iterator<Item = Token> + use<> {
        std::mem::take(&mut self.waiting).into_iter().map(|waiting| waiting.token)
    }

    /// A connection that has waited long enough, if there is one.
    pub fn expired(&mut self, now: Instant) -> Option<Token> {
        let is_over = |waiting: &mut Waiting| waiting.deadline.is_some_and(|deadline| deadline <= now);
        self.waiting.pop_front_if(is_over).map(|waiting| waiting.token)
    }

    /// When to look for [`Waiters::expired`] again.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.front().and_then(|waiting| waiting.deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agency() -> AgencyId {
        AgencyId::new(1).unwrap()
    }

    #[test]
    fn four_queries_of_an_agency_wait_and_the_fifth_does_not() {
        let (mut waiters, now) = (Waiters::new(None), Instant::now());
        assert!((1..=4).all(|token| waiters.wait(agency(), Token(token), now)));
        assert!(!waiters.wait(agency(), Token(5), now));
        assert!(waiters.wait(AgencyId::new(2).unwrap(), Token(6), now));
        waiters.leave(Token(2));
        waiters.leave(Token(2));
        assert!(waiters.wait(agency(), Token(5), now) && !waiters.wait(agency(), Token(7), now));
        assert!(waiters.take_all().eq([1, 3, 4, 6, 5].map(Token)));
        assert!(waiters.wait(agency(), Token(7), now));
    }

    #[test]
    fn a_query_waits_its_patience_and_not_that_of_an_earlier_one() {
        let patience = Duration::from_secs(2);
        let (mut waiters, now) = (Waiters::new(Some(patience)), Instant::now());
        assert!(waiters.wait(agency(), Token(1), now));
        waiters.leave(Token(1));
        assert_eq!(waiters.deadline(), None);
        assert!(waiters.wait(agency(), Token(1), now + patience / 2));
        assert_eq!(waiters.expired(now + patience), None);
        assert_eq!(waiters.expired(now + patience * 2), Some(Token(1)));
        assert_eq!((waiters.expired(now + patience * 2), waiters.deadline()), (None, None));
        assert!(!Waiters::new(Some(Duration::ZERO)).wait(agency(), Token(1), now));
    }
}
