//! Which connections wait for the draw with a query.
//!
//! Pure: connections are numbers, time is given. Used by the server's parent.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::children::Token;
use crate::bet::AgencyId;

/// Most queries of one agency that wait; the next is answered at once.
const MAX_OF_AN_AGENCY: usize = 4;

/// Queries that wait.
#[derive(Debug)]
pub struct Waiters {
    patience: Option<Duration>,
    waiting: HashMap<Token, Query>,
    of_agency: HashMap<AgencyId, usize>,
    /// In their order, as the patience is the same for all; entries of queries long gone are passed over.
    deadlines: VecDeque<(Instant, Token)>,
}

#[derive(Debug)]
struct Query {
    agency: AgencyId,
    deadline: Option<Instant>,
}

impl Waiters {
    /// A query waits for `patience`, or for ever.
    pub fn new(patience: Option<Duration>) -> Self {
        Self { patience, waiting: HashMap::new(), of_agency: HashMap::new(), deadlines: VecDeque::new() }
    }

    /// True if the query of `token` waits from now on; false if it must be answered at once.
    pub fn wait(&mut self, agency: AgencyId, token: Token, now: Instant) -> bool {
        let others = self.of_agency.entry(agency).or_default();
        if self.patience.is_some_and(|patience| patience.is_zero()) || *others >= MAX_OF_AN_AGENCY {
            return false;
        }
        *others += 1;
        let deadline = self.patience.map(|patience| now + patience);
        self.deadlines.extend(deadline.map(|deadline| (deadline, token)));
        self.waiting.insert(token, Query { agency, deadline });
        true
    }

    /// The connection waits no longer.
    pub fn leave(&mut self, token: Token) {
        if let Some(query) = self.waiting.remove(&token) {
            self.of_agency.entry(query.agency).and_modify(|others| *others = others.saturating_sub(1));
        }
    }

    /// All that wait; none does afterwards.
    pub fn take_all(&mut self) -> Vec<Token> {
        self.of_agency.clear();
        self.deadlines.clear();
        self.waiting.drain().map(|(token, _)| token).collect()
    }

    /// A connection that has waited long enough, if there is one.
    pub fn expired(&mut self, now: Instant) -> Option<Token> {
        while let Some((deadline, token)) = self.deadlines.pop_front_if(|(deadline, _)| *deadline <= now) {
            if self.waiting.get(&token).is_some_and(|query| query.deadline == Some(deadline)) {
                self.leave(token);
                return Some(token);
            }
        }
        None
    }

    /// When to look for [`Waiters::expired`] again.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
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
        assert!((1..=4).all(|token| waiters.wait(agency(), token, now)));
        assert!(!waiters.wait(agency(), 5, now));
        assert!(waiters.wait(AgencyId::new(2).unwrap(), 6, now));
        waiters.leave(2);
        waiters.leave(2);
        assert!(waiters.wait(agency(), 5, now) && !waiters.wait(agency(), 7, now));
        let mut all = waiters.take_all();
        all.sort_unstable();
        assert_eq!(all, [1, 3, 4, 5, 6]);
    }

    #[test]
    fn a_query_waits_its_patience_and_not_that_of_an_earlier_one() {
        let patience = Duration::from_secs(2);
        let (mut waiters, now) = (Waiters::new(Some(patience)), Instant::now());
        assert!(waiters.wait(agency(), 1, now));
        waiters.leave(1);
        assert!(waiters.wait(agency(), 1, now + patience / 2));
        assert_eq!(waiters.expired(now + patience), None);
        assert_eq!(waiters.expired(now + patience * 2), Some(1));
        assert_eq!((waiters.expired(now + patience * 2), waiters.deadline()), (None, None));
        assert!(!Waiters::new(Some(Duration::ZERO)).wait(agency(), 1, now));
    }
}
