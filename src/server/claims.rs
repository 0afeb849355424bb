//! Which connection holds the claim of which agency, and which connections wait for one.
//!
//! Pure: a connection is a token, and the caller passes the time. Used by the server's parent. This table is the only place
//! where claims exist. A claim is free when its connection's process has released it or has been reaped, and not before.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ipc::events::Token;

use super::line::Line;
use crate::bet::AgencyId;

/// How long a claim waits for an agency that is claimed: the older connection of a client that reconnects may be about to
/// end.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// The answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// The connection holds the claim.
    Granted,
    /// Another connection holds it. The claim waits for at most [`PATIENCE`].
    Waiting,
}

/// The claims that are held, and those that wait.
#[derive(Debug, Default)]
pub struct Claims {
    holders: HashMap<AgencyId, Token>,
    waiting: Line,
}

impl Claims {
    /// Claims `agency` for the connection `token`. A repetition by the holder is granted again; a connection that waits keeps
    /// its place.
    pub fn claim(&mut self, agency: AgencyId, token: Token, now: Instant) -> Claimed {
        if *self.holders.entry(agency).or_insert(token) == token {
            return Claimed::Granted;
        }
        self.waiting.join(agency, token, Some(now + PATIENCE));
        Claimed::Waiting
    }

    /// Frees the claim that the connection holds or waits for; returns the connection that holds the claim now, if one
    /// waited for it.
    pub fn release(&mut self, agency: Option<AgencyId>, token: Token) -> Option<Token> {
        self.waiting.leave(token);
        let agency = agency.filter(|&agency| self.is_holder(agency, token))?;
        self.holders.remove(&agency);
        let next = self.waiting.pop_of(agency)?;
        self.holders.insert(agency, next);
        Some(next)
    }

    /// Whether the connection holds the claim of `agency`.
    pub fn is_holder(&self, agency: AgencyId, token: Token) -> bool {
        self.holders.get(&agency) == Some(&token)
    }

    /// Removes and returns a connection whose claim has waited for [`PATIENCE`].
    pub fn expired(&mut self, now: Instant) -> Option<Token> {
        self.waiting.expired(now)
    }

    /// When [`Claims::expired`] next returns a connection.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.deadline()
    }
}

#[cfg(test)]
mod tests {
    use super::Claimed::{Granted, Waiting};
    use super::*;

    #[test]
    fn a_released_claim_goes_to_the_next_in_line() {
        let (mut claims, now, agency) = (Claims::default(), Instant::now(), AgencyId::new(1).unwrap());
        for (token, claimed) in [(1, Granted), (1, Granted), (2, Waiting), (3, Waiting)] {
            assert_eq!(claims.claim(agency, Token(token), now), claimed);
        }
        assert_eq!(claims.claim(AgencyId::new(2).unwrap(), Token(4), now), Granted);
        assert_eq!(claims.release(None, Token(2)), None);
        assert_eq!(claims.release(Some(agency), Token(1)), Some(Token(3)));
        assert_eq!(claims.release(Some(agency), Token(1)), None);
        assert_eq!(claims.release(Some(agency), Token(3)), None);
        assert_eq!(claims.claim(agency, Token(5), now), Granted);
    }

    #[test]
    fn a_claim_that_waits_too_long_expires_once() {
        let (mut claims, now, agency) = (Claims::default(), Instant::now(), AgencyId::new(1).unwrap());
        assert_eq!([1, 2].map(|token| claims.claim(agency, Token(token), now)), [Granted, Waiting]);
        assert_eq!(claims.deadline(), Some(now + PATIENCE));
        assert_eq!(claims.expired(now), None);
        assert_eq!(claims.expired(now + PATIENCE), Some(Token(2)));
        assert_eq!(claims.expired(now + PATIENCE), None);
        assert_eq!(claims.release(Some(agency), Token(1)), None);
    }
}
