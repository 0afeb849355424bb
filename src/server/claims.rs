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
    Waiting {
        /// The holder, if it must be asked to yield.
        ask: Option<Token>,
    },
}

/// The claims that are held, and those that wait.
#[derive(Debug)]
pub struct Claims {
    holders: HashMap<AgencyId, Holder>,
    waiting: Line<AgencyId>,
}

#[derive(Debug)]
struct Holder {
    token: Token,
    /// When it may next be asked to yield: a holder that is busy must not collect orders.
    next_ask: Instant,
}

impl Claims {
    /// No agency is claimed.
    pub fn new() -> Self {
        Self { holders: HashMap::new(), waiting: Line::new() }
    }

    /// Claims `agency` for the connection `token`. A repetition by the holder is granted again; a connection that waits keeps
    /// its place. The holder is asked to yield at most once in each [`PATIENCE`].
    pub fn claim(&mut self, agency: AgencyId, token: Token, now: Instant) -> Claimed {
        let holder = self.holders.entry(agency).or_insert(Holder { token, next_ask: now });
        if holder.token == token {
            return Claimed::Granted;
        }
        self.waiting.join(agency, token, Some(now + PATIENCE));
        let may_ask = holder.next_ask <= now;
        if may_ask {
            holder.next_ask = now + PATIENCE;
        }
        Claimed::Waiting { ask: may_ask.then_some(holder.token) }
    }

    /// Frees the claim that the connection holds or waits for; returns the connection that holds the claim now, if one
    /// waited for it.
    pub fn release(&mut self, agency: Option<AgencyId>, token: Token) -> Option<Token> {
        self.waiting.leave(token);
        let agency = agency.filter(|&agency| self.is_holder(agency, token))?;
        let next = self.waiting.pop_of(agency);
        match (next, self.holders.get_mut(&agency)) {
            (Some(next), Some(holder)) => holder.token = next,
            _ => _ = self.holders.remove(&agency),
        }
        next
    }

    /// Whether the connection holds the claim of `agency`.
    pub fn is_holder(&self, agency: AgencyId, token: Token) -> bool {
        self.holders.get(&agency).is_some_and(|holder| holder.token == token)
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
    use super::Claimed::Granted;
    use super::*;

    const WAITING: Claimed = Claimed::Waiting { ask: None };

    fn asking(token: u64) -> Claimed {
        Claimed::Waiting { ask: Some(Token(token)) }
    }

    #[test]
    fn a_released_claim_goes_to_the_next_in_line() {
        let (mut claims, now, agency) = (Claims::new(), Instant::now(), AgencyId::new(1).unwrap());
        for (token, claimed) in [(1, Granted), (1, Granted), (2, asking(1)), (3, WAITING)] {
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
        let (mut claims, now, agency) = (Claims::new(), Instant::now(), AgencyId::new(1).unwrap());
        assert_eq!([1, 2].map(|token| claims.claim(agency, Token(token), now)), [Granted, asking(1)]);
        assert_eq!(claims.deadline(), Some(now + PATIENCE));
        assert_eq!(claims.expired(now), None);
        assert_eq!(claims.expired(now + PATIENCE), Some(Token(2)));
        assert_eq!(claims.expired(now + PATIENCE), None);
        assert_eq!(claims.release(Some(agency), Token(1)), None);
    }

    #[test]
    fn a_holder_is_asked_once_in_each_patience() {
        let (mut claims, now, agency) = (Claims::new(), Instant::now(), AgencyId::new(1).unwrap());
        let mut claim = |token, time| claims.claim(agency, Token(token), time);
        assert_eq!([claim(1, now), claim(2, now), claim(2, now)], [Granted, asking(1), WAITING]);
        assert_eq!([claim(3, now + PATIENCE), claim(4, now + PATIENCE)], [asking(1), WAITING]);
        assert_eq!(claims.release(Some(agency), Token(1)), Some(Token(2)));
        assert_eq!(claims.claim(agency, Token(5), now + PATIENCE), WAITING);
        assert_eq!(claims.claim(agency, Token(5), now + PATIENCE * 2), asking(2));
    }
}
