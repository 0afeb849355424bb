//! How many reports of a child the parent reads in a second, and which children must wait.
//!
//! Pure: a child is a token, and the caller passes the time. Used by the server's parent. An honest child seldom sends more than a
//! few reports, but a client that asks for the draw again and again, or an attacker in a child, can send them without end. Then the
//! parent does not watch that link until the second is over. The link fills, and an honest child waits for its answer.
//!
//! Costs nothing for children within their budget. Every verb costs at most O(log n) of the children that wait.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ipc::events::Token;

/// Reports of a child that the parent reads in one [`PERIOD`].
const REPORTS: u32 = 256;
const PERIOD: Duration = Duration::from_secs(1);

/// The reports that the parent has read from one child.
#[derive(Debug, Default)]
pub struct Budget {
    /// When the current period ends; `None` before the first report.
    until: Option<Instant>,
    read: u32,
}

impl Budget {
    /// Counts a report that was read at `now`. A period begins with its first report.
    pub fn count(&mut self, now: Instant) {
        if self.until.is_none_or(|until| until <= now) {
            *self = Self { until: Some(now + PERIOD), read: 0 };
        }
        self.read += 1;
    }

    /// The end of the period, if no more reports may be read before it.
    pub fn exhausted(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|&until| now < until && self.read >= REPORTS)
    }
}

/// The children whose links are not watched, because they have used up their budget.
#[derive(Debug, Default)]
pub struct Resting(BTreeSet<(Instant, Token)>);

impl Resting {
    /// Adds a child until the end of its period.
    pub fn add(&mut self, token: Token, until: Instant) {
        self.0.insert((until, token));
    }

    /// Removes and returns a child whose period has ended at `now`. It may have died since then.
    pub fn due(&mut self, now: Instant) -> Option<Token> {
        self.deadline().filter(|&until| until <= now)?;
        self.0.pop_first().map(|(_, token)| token)
    }

    /// When [`Resting::due`] next returns a child.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.first().map(|&(until, _)| until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_for_one_second() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        for _ in 0..REPORTS {
            assert_eq!(budget.exhausted(now), None);
            budget.count(now);
        }
        let last = now + PERIOD - Duration::from_nanos(1);
        assert_eq!(
            [now, last, now + PERIOD].map(|now| budget.exhausted(now)),
            [Some(now + PERIOD), Some(now + PERIOD), None]
        );
        budget.count(now + PERIOD);
        assert_eq!(budget.exhausted(now + PERIOD), None);
    }

    #[test]
    fn slow_reports_never_exhaust_a_budget() {
        let (mut budget, mut now) = (Budget::default(), Instant::now());
        for _ in 0..3 * REPORTS {
            budget.count(now);
            now += PERIOD / (REPORTS - 1);
            assert_eq!(budget.exhausted(now), None);
        }
    }

    #[test]
    fn children_rest_until_their_own_times() {
        let (mut resting, now) = (Resting::default(), Instant::now());
        assert_eq!((resting.deadline(), resting.due(now)), (None, None));
        resting.add(Token(7), now + PERIOD);
        resting.add(Token(8), now);
        assert_eq!(resting.deadline(), Some(now));
        assert_eq!(
            [now, now, now + PERIOD, now + PERIOD].map(|now| resting.due(now)),
            [Some(Token(8)), None, Some(Token(7)), None]
        );
        assert_eq!(resting.deadline(), None);
    }
}
