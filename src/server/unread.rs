//! Ends that the parent could not read, and when it tries again.
//!
//! Pure: the caller passes the time. Used by the server's parent. The draw waits for every end, and a child reports its own
//! only once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::bet::AgencyId;

/// Pause after the first failure. Each later pause is twice the previous one, up to [`PAUSE_LONGEST`].
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// Longest pause between two attempts.
const PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// The agencies whose slots are to be read again.
#[derive(Debug, Default)]
pub struct Unread {
    agencies: BTreeSet<AgencyId>,
    /// When the next attempt begins, and the pause before it.
    next: Option<(Instant, Duration)>,
}

impl Unread {
    /// Notes a failed attempt to read the slot of `agency`.
    pub fn add(&mut self, agency: AgencyId, now: Instant) {
        self.agencies.insert(agency);
        self.next = Some(match self.next {
            // Several agencies wait for the same attempt.
            Some((until, pause)) if now < until => (until, pause),
            Some((_, pause)) => (now + (pause * 2).min(PAUSE_LONGEST), (pause * 2).min(PAUSE_LONGEST)),
            None => (now + PAUSE_FIRST, PAUSE_FIRST),
        });
    }

    /// When [`Unread::due`] has agencies next; `None` if there are none.
    pub fn deadline(&self) -> Option<Instant> {
        self.next.filter(|_| !self.agencies.is_empty()).map(|(until, _)| until)
    }

    /// Removes and returns the agencies whose slots are to be read at `now`.
    pub fn due(&mut self, now: Instant) -> BTreeSet<AgencyId> {
        match self.deadline() {
            Some(until) if until <= now => std::mem::take(&mut self.agencies),
            _ => BTreeSet::new(),
        }
    }

    /// Forgets the pauses: an attempt has succeeded.
    pub fn succeeded(&mut self) {
        if self.agencies.is_empty() {
            self.next = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_an_attempt_succeeds() {
        let (mut unread, agency, mut now) = (Unread::default(), AgencyId::new(7).unwrap(), Instant::now());
        assert_eq!(unread.deadline(), None);
        for pause in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            unread.add(agency, now);
            assert_eq!(unread.deadline(), Some(now + Duration::from_millis(pause)));
            assert!(unread.due(now).is_empty());
            now += Duration::from_millis(pause);
            assert_eq!(unread.due(now), BTreeSet::from([agency]));
            assert_eq!(unread.deadline(), None);
        }
        unread.succeeded();
        unread.add(agency, now);
        assert_eq!(unread.deadline(), Some(now + PAUSE_FIRST));
    }
}
