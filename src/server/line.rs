//! Connections that wait, each for its turn at one thing, for example at an agency.
//!
//! Pure: a connection is a token, and the caller passes the times. Used by [`super::claims`], [`super::waiters`] and
//! [`super::newcomers`]. Every verb costs at most O(log n) of the connections that wait.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use ipc::events::Token;

/// Connections in the order in which they came. Each of them waits once, for one `Thing`.
#[derive(Debug)]
pub struct Line<Thing> {
    /// By a number that grows with each arrival. This is also the order of their deadlines: all wait for the same time.
    places: BTreeMap<u64, Place<Thing>>,
    of_thing: BTreeSet<(Thing, u64)>,
    of_token: HashMap<Token, u64>,
    next: u64,
}

#[derive(Debug)]
struct Place<Thing> {
    thing: Thing,
    token: Token,
    /// `None`: it waits for ever.
    deadline: Option<Instant>,
}

impl<Thing: Copy + Ord> Line<Thing> {
    /// A line without connections.
    pub fn new() -> Self {
        Self { places: BTreeMap::new(), of_thing: BTreeSet::new(), of_token: HashMap::new(), next: 0 }
    }

    /// Adds a connection at the end. Its deadline must not be before those of the others. A connection that waits already
    /// keeps its place.
    pub fn join(&mut self, thing: Thing, token: Token, deadline: Option<Instant>) {
        if self.of_token.contains_key(&token) {
            return;
        }
        self.of_token.insert(token, self.next);
        self.of_thing.insert((thing, self.next));
        self.places.insert(self.next, Place { thing, token, deadline });
        self.next += 1;
    }

    /// Removes a connection, if it waits.
    pub fn leave(&mut self, token: Token) {
        if let Some(&number) = self.of_token.get(&token) {
            self.remove(number);
        }
    }

    /// The number of connections.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether the connection waits.
    pub fn contains(&self, token: Token) -> bool {
        self.of_token.contains_key(&token)
    }

    /// Removes and returns the first connection that waits for `thing`.
    pub fn pop_of(&mut self, thing: Thing) -> Option<Token> {
        let number = self.numbers_of(thing).next()?;
        self.remove(number)
    }

    /// Whether at least `count` connections wait for `thing`. Costs O(`count`).
    pub fn has(&self, count: usize, thing: Thing) -> bool {
        self.numbers_of(thing).take(count).count() == count
    }

    /// Removes and returns a connection whose deadline is not after `now`.
    pub fn expired(&mut self, now: Instant) -> Option<Token> {
        self.deadline().filter(|&deadline| deadline <= now)?;
        let (&number, _) = self.places.first_key_value()?;
        self.remove(number)
    }

    /// When [`Line::expired`] next returns a connection.
    pub fn deadline(&self) -> Option<Instant> {
        self.places.first_key_value().and_then(|(_, place)| place.deadline)
    }

    /// Removes and returns all connections, in their order.
    pub fn take_all(&mut self) -> impl Iterator<Item = Token> + use<Thing> {
        let next = self.next;
        std::mem::replace(self, Self { next, ..Self::new() }).places.into_values().map(|place| place.token)
    }

    fn numbers_of(&self, thing: Thing) -> impl Iterator<Item = u64> {
        self.of_thing.range((thing, 0)..=(thing, u64::MAX)).map(|&(_, number)| number)
    }

    fn remove(&mut self, number: u64) -> Option<Token> {
        let Place { thing, token, .. } = self.places.remove(&number)?;
        self.of_thing.remove(&(thing, number));
        self.of_token.remove(&token);
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bet::AgencyId;

    fn agency(id: u32) -> AgencyId {
        AgencyId::new(id).unwrap()
    }

    #[test]
    fn each_agency_has_its_own_order() {
        let mut line = Line::new();
        (1..=6).for_each(|token| line.join(agency(u32::try_from(token).unwrap() % 2 + 1), Token(token), None));
        assert!(line.has(3, agency(1)) && !line.has(4, agency(1)) && !line.has(1, agency(3)));
        line.leave(Token(4));
        line.leave(Token(4));
        assert_eq!([(); 3].map(|()| line.pop_of(agency(1))), [Some(Token(2)), Some(Token(6)), None]);
        line.join(agency(2), Token(2), None);
        assert!(line.contains(Token(2)) && !line.contains(Token(4)));
        assert!(line.take_all().eq([1, 3, 5, 2].map(Token)));
        assert_eq!((line.pop_of(agency(2)), line.contains(Token(1))), (None, false));
    }

    #[test]
    fn a_connection_that_waits_keeps_its_place() {
        let (mut line, now) = (Line::new(), Instant::now());
        line.join(agency(1), Token(1), Some(now));
        line.join(agency(2), Token(1), None);
        assert_eq!((line.deadline(), line.has(1, agency(2))), (Some(now), false));
        assert_eq!([line.expired(now), line.expired(now)], [Some(Token(1)), None]);
        assert!(!line.has(1, agency(1)) && !line.contains(Token(1)));
    }

    #[test]
    fn connections_expire_in_order() {
        let (mut line, now) = (Line::new(), Instant::now());
        let at = |seconds| now + std::time::Duration::from_secs(seconds);
        [1, 2, 2]
            .into_iter()
            .zip(1..)
            .for_each(|(seconds, token)| line.join(agency(1), Token(token), Some(at(seconds))));
        assert_eq!((line.expired(now), line.deadline()), (None, Some(at(1))));
        assert_eq!(
            [(); 4].map(|()| line.expired(at(2))),
            [1, 2, 3].map(|token| Some(Token(token))).into_iter().chain([None]).collect::<Vec<_>>()[..]
        );
        assert_eq!(line.deadline(), None);
    }
}
