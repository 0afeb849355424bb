//! Which connection has claimed which agency, and who waits for one.
//!
//! Pure: connections are numbers, time is given. Used by the server's parent, whose table is the only place where claims
//! exist; a claim is free once its connection's process has been reaped, and not before.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::children::Token;
use crate::bet::AgencyId;

/// How long a claim waits for the agency: the older connection of a client that reconnects is just going away.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Claims held and claims waiting.
#[derive(Debug, Default)]
pub struct Claims {
    holders: HashMap<AgencyId, Token>,
    /// In the order of their deadlines, as the patience is the same for all.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    agency: AgencyId,
    token: Token,
    deadline: Instant,
}

impl Claims {
    /// True if `token` has the agency now; else it waits.
    pub fn claim(&mut self, agency: AgencyId, token: Token, now: Instant) -> bool {
        if *self.holders.entry(agency).or_insert(token) == token {
            return true;
        }
        self.waiting.push_back(Waiting { agency, token, deadline: now + PATIENCE });
        false
    }

    /// Frees whatever the connection had and waited for; returns who has its agency now.
    pub fn release(&mut self, agency: Option<AgencyId>, token: Token) -> Option<Token> {
        self.waiting.retain(|waiting| waiting.token != token);
        let agency = agency.filter(|agency| self.holders.get(agency) == Some(&token))?;
        self.holders.remove(&agency);
        let next = self.waiting.iter().position(|waiting| waiting.agency == agency)?;
        let next = self.waiting.remove(next)?;
        self.holders.insert(agency, next.token);
        Some(next.token)
    }

    /// A connection that has waited in vain, if there is one.
    pub fn expired(&mut self, now: Instant) -> Option<Token> {
        self.waiting.pop_front_if(|waiting| waiting.deadline <= now).map(|waiting| waiting.token)
    }

    /// When [`Claims::expired`] has something next.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_connection_at_a_time_has_an_agency_and_the_next_gets_it_when_it_is_gone() {
        let (mut claims, now, agency) = (Claims::default(), Instant::now(), AgencyId::new(1).unwrap());
        assert!(claims.claim(agency, Token(1), now));
        assert!(claims.claim(agency, Token(1), now));
        assert!(!claims.claim(agency, Token(2), now) && !claims.claim(agency, Token(3), now));
        assert!(claims.claim(AgencyId::new(2).unwrap(), Token(4), now));
        assert_eq!(claims.release(None, Token(2)), None);
        assert_eq!(claims.release(Some(agency), Token(1)), Some(Token(3)));
        assert_eq!(claims.release(Some(agency), Token(1)), None);
        assert_eq!(claims.release(Some(agency), Token(3)), None);
        assert!(claims.claim(agency, Token(5), now));
    }

    #[test]
    fn who_waits_too_long_is_told_so_once() {
        let (mut claims, now, agency) = (Claims::default(), Instant::now(), AgencyId::new(1).unwrap());
        assert!(claims.claim(agency, Token(1), now) && !claims.claim(agency, Token(2), now));
        assert_eq!(claims.deadline(), Some(now + PATIENCE));
        assert_eq!(claims.expired(now), None);
        assert_eq!(claims.expired(now + PATIENCE), Some(Token(2)));
        assert_eq!(claims.expired(now + PATIENCE), None);
        assert_eq!(claims.release(Some(agency), Token(1)), None);
    }
}
