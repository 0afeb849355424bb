//! Which connections have a seat, which are newcomers, and which newcomers must leave.
//!
//! Pure: a connection is a token, and the caller passes the time. Used by the server's parent. A connection is *seated* if it
//! holds the claim of its agency, or was the last one to hold it. Every other connection is a *newcomer*. Every verb costs at
//! most O(log n) of the connections.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use ipc::events::Token;

use super::line::Line;
use crate::bet::AgencyId;

/// How long a newcomer may take to leave. Then it is killed.
const LEAVING: Duration = Duration::from_millis(100);
/// If the newcomer that leaves takes longer than this, another one must leave for the same new connection. So slow ones do not
/// keep connections waiting, and few leave without need.
const NEXT: Duration = Duration::from_millis(10);
/// One connection is asked for its seat in this time: one that is busy must not collect orders.
const ASKING: Duration = Duration::from_secs(1);
/// Most newcomers that leave at the same time because of their age: with more, the processor could be too busy for
/// [`LEAVING`].
const MOST_LEAVING: usize = 16;

/// The seats, and the newcomers in the order in which they must leave.
#[derive(Debug)]
pub struct Newcomers {
    timeout: Duration,
    most_seats: usize,
    seats: HashMap<AgencyId, Token>,
    /// The connections with a seat, in the order in which they are asked to give it up.
    seated: Line<()>,
    /// Until when no other connection is asked for its seat.
    asked: Option<Instant>,
    /// In the order of their arrival, or of the loss of their seat.
    staying: Line<()>,
    /// Those that have been told to leave and have not been killed.
    leaving: Line<()>,
    /// Those that have been told to leave.
    told: HashSet<Token>,
    /// Until when no other newcomer has to make room.
    rest: Option<Instant>,
}

impl Newcomers {
    /// No connection yet. There will be at most `most_seats` seats, and a newcomer leaves after `timeout`.
    pub fn new(most_seats: usize, timeout: Duration) -> Self {
        Self {
            timeout,
            most_seats,
            seats: HashMap::new(),
            seated: Line::new(),
            asked: None,
            staying: Line::new(),
            leaving: Line::new(),
            told: HashSet::new(),
            rest: None,
        }
    }

    /// Adds a connection.
    pub fn arrive(&mut self, token: Token, now: Instant) {
        self.staying.join((), token, Some(now + self.timeout));
    }

    /// Whether a connection with the claim of `agency` would have a seat: the agency has one, or one is free.
    pub fn has_seat(&self, agency: AgencyId) -> bool {
        self.seats.len() < self.most_seats || self.seats.contains_key(&agency)
    }

    /// Gives the seat of `agency` to a connection. The connection that had it becomes a newcomer.
    pub fn seat(&mut self, agency: AgencyId, token: Token, now: Instant) {
        self.staying.leave(token);
        self.seated.join((), token, None);
        if let Some(before) = self.seats.insert(agency, token).filter(|&before| before != token) {
            self.seated.leave(before);
            self.arrive(before, now);
        }
    }

    /// Returns the connection that must be asked to give up its seat, because an agency found none: each in turn, and one in
    /// each [`ASKING`].
    pub fn ask_for_seat(&mut self, now: Instant) -> Option<Token> {
        if self.asked.is_some_and(|until| now < until) {
            return None;
        }
        let token = self.seated.pop_of(())?;
        self.seated.join((), token, None);
        self.asked = Some(now + ASKING);
        Some(token)
    }

    /// Whether the connection has been told to leave.
    pub fn was_told(&self, token: Token) -> bool {
        self.told.contains(&token)
    }

    /// Whether a newcomer can make room for a connection that waits.
    pub fn can_make_room(&self) -> bool {
        self.rest.is_none() && self.staying.len() > 0
    }

    /// Returns the newcomer that must make room: the one that came first. The caller tells it to leave.
    pub fn make_room(&mut self, now: Instant) -> Option<Token> {
        let token = self.rest.is_none().then(|| self.staying.pop_of(()))??;
        self.tell(token, now);
        Some(token)
    }

    /// Returns a newcomer that is too old. The caller tells it to leave.
    pub fn expired(&mut self, now: Instant) -> Option<Token> {
        if self.leaving.len() >= MOST_LEAVING {
            return None;
        }
        let token = self.staying.expired(now)?;
        self.tell(token, now);
        Some(token)
    }

    /// Returns a connection that was told to leave and has not. The caller kills it.
    pub fn overdue(&mut self, now: Instant) -> Option<Token> {
        self.rest = self.rest.filter(|&until| now < until);
        self.leaving.expired(now)
    }

    /// When [`Newcomers::expired`] or [`Newcomers::overdue`] next has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let oldest = self.staying.deadline().filter(|_| self.leaving.len() < MOST_LEAVING);
        [oldest, self.leaving.deadline(), self.rest].into_iter().flatten().min()
    }

    /// Removes a connection that has ended; `agency` is the one that it has claimed.
    pub fn remove(&mut self, agency: Option<AgencyId>, token: Token) {
        if let Some(agency) = agency.filter(|agency| self.seats.get(agency) == Some(&token)) {
            self.seats.remove(&agency);
            self.seated.leave(token);
        }
        self.staying.leave(token);
        self.leaving.leave(token);
        self.told.remove(&token);
        if self.told.is_empty() {
            self.rest = None;
        }
    }

    /// Lets the newcomers stay that have not been told to leave: the server is stopping.
    pub fn keep_all(&mut self) {
        self.staying = Line::new();
    }

    fn tell(&mut self, token: Token, now: Instant) {
        self.told.insert(token);
        self.leaving.join((), token, Some(now + LEAVING));
        self.rest = Some(now + NEXT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn agency(id: u32) -> AgencyId {
        AgencyId::new(id).unwrap()
    }

    /// Newcomers 1 to `last`, one per second from `now` on.
    fn arrived(last: u64, now: Instant) -> Newcomers {
        let mut newcomers = Newcomers::new(2, TIMEOUT);
        (1..=last).for_each(|token| newcomers.arrive(Token(token), now + Duration::from_secs(token - 1)));
        newcomers
    }

    #[test]
    fn the_first_newcomer_makes_room_and_seats_do_not() {
        let now = Instant::now();
        let mut newcomers = arrived(3, now);
        newcomers.seat(agency(1), Token(1), now);
        newcomers.seat(agency(1), Token(1), now);
        assert_eq!([newcomers.make_room(now), newcomers.make_room(now)], [Some(Token(2)), None]);
        assert_eq!([1, 2, 3].map(|token| newcomers.was_told(Token(token))), [false, true, false]);
    }

    #[test]
    fn each_seat_is_asked_for_in_turn_once_a_second() {
        let now = Instant::now();
        let mut newcomers = arrived(3, now);
        assert_eq!(newcomers.ask_for_seat(now), None);
        newcomers.seat(agency(1), Token(1), now);
        newcomers.seat(agency(2), Token(2), now);
        let at = |tenths: u32| now + ASKING * tenths / 10;
        assert_eq!(
            [0, 9, 10, 20].map(|tenths| newcomers.ask_for_seat(at(tenths))),
            [1, 0, 2, 1].map(|token| (token > 0).then_some(Token(token)))
        );
        newcomers.seat(agency(1), Token(3), now);
        newcomers.remove(Some(agency(2)), Token(2));
        assert_eq!([30, 40].map(|tenths| newcomers.ask_for_seat(at(tenths))), [Some(Token(3)); 2]);
    }

    #[test]
    fn the_next_one_leaves_when_the_first_is_gone_or_slow() {
        let now = Instant::now();
        let mut newcomers = arrived(4, now);
        assert!(newcomers.can_make_room() && newcomers.make_room(now) == Some(Token(1)));
        assert!(!newcomers.can_make_room());
        newcomers.remove(None, Token(1));
        assert!(newcomers.can_make_room() && newcomers.make_room(now) == Some(Token(2)));
        assert_eq!((newcomers.deadline(), newcomers.overdue(now)), (Some(now + NEXT), None));
        assert!(!newcomers.can_make_room());
        assert_eq!(newcomers.overdue(now + NEXT), None);
        assert!(newcomers.can_make_room() && newcomers.make_room(now + NEXT) == Some(Token(3)));
        newcomers.remove(None, Token(2));
        assert!(!newcomers.can_make_room(), "the other one still leaves");
    }

    #[test]
    fn one_that_does_not_leave_is_killed_once() {
        let now = Instant::now();
        let mut newcomers = arrived(1, now);
        newcomers.make_room(now);
        let late = now + LEAVING;
        assert_eq!([newcomers.overdue(now + NEXT), newcomers.overdue(late)], [None, Some(Token(1))]);
        assert_eq!((newcomers.overdue(late), newcomers.deadline()), (None, None));
        assert!(newcomers.was_told(Token(1)));
        newcomers.remove(None, Token(1));
        assert!(!newcomers.was_told(Token(1)) && !newcomers.can_make_room());
    }

    #[test]
    fn newcomers_leave_after_their_timeout() {
        let now = Instant::now();
        let mut newcomers = arrived(2, now);
        newcomers.arrive(Token(1), now + TIMEOUT);
        assert_eq!((newcomers.deadline(), newcomers.expired(now)), (Some(now + TIMEOUT), None));
        assert_eq!([(); 2].map(|()| newcomers.expired(now + TIMEOUT)), [Some(Token(1)), None]);
        newcomers.keep_all();
        assert_eq!(newcomers.expired(now + TIMEOUT * 2), None);
    }

    #[test]
    fn few_leave_at_once_because_of_their_age() {
        let now = Instant::now();
        let mut newcomers = arrived(0, now);
        (0..20).for_each(|token| newcomers.arrive(Token(token), now));
        let leaving: Vec<_> = std::iter::from_fn(|| newcomers.expired(now + TIMEOUT)).collect();
        assert_eq!(leaving.len(), MOST_LEAVING);
        assert_eq!(newcomers.deadline(), Some(now + TIMEOUT + NEXT));
        newcomers.remove(None, Token(3));
        assert_eq!(newcomers.deadline(), Some(now + TIMEOUT));
        assert_eq!(newcomers.expired(now + TIMEOUT), Some(Token(16)));
    }

    #[test]
    fn a_connection_that_loses_its_seat_is_the_last_newcomer() {
        let now = Instant::now();
        let mut newcomers = arrived(3, now);
        newcomers.seat(agency(1), Token(1), now);
        newcomers.seat(agency(1), Token(2), now + TIMEOUT);
        assert_eq!(newcomers.make_room(now), Some(Token(3)));
        newcomers.remove(None, Token(3));
        assert_eq!(newcomers.deadline(), Some(now + TIMEOUT * 2));
        assert_eq!(newcomers.make_room(now), Some(Token(1)));
        newcomers.remove(Some(agency(1)), Token(1));
        assert!(!newcomers.can_make_room());
    }

    #[test]
    fn seats_are_limited_and_are_freed() {
        let (now, mut newcomers) = (Instant::now(), Newcomers::new(2, TIMEOUT));
        [1, 2].into_iter().for_each(|n| newcomers.seat(agency(n), Token(n.into()), now));
        assert_eq!([1, 2, 3].map(|n| newcomers.has_seat(agency(n))), [true, true, false]);
        newcomers.remove(Some(agency(2)), Token(1));
        assert!(!newcomers.has_seat(agency(3)), "another connection has that seat");
        newcomers.remove(Some(agency(2)), Token(2));
        assert!(newcomers.has_seat(agency(3)));
    }
}
