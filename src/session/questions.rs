//! How many questions a connection without a claim may ask.
//!
//! Pure: the caller passes the time. Used by [`super::serve`]. Such a connection costs the lottery nothing but its questions,
//! so they are what is bounded.

use std::time::{Duration, Instant};

/// Questions that may follow each other at once.
const BURST: u32 = 8;
/// The time for which the connection gains one more.
const REFILL: Duration = Duration::from_secs(1);

/// A bucket of [`BURST`] questions, which gains one in each [`REFILL`].
#[derive(Debug)]
pub struct Questions {
    /// When the bucket is full again.
    full: Instant,
}

impl Questions {
    /// A full bucket.
    pub fn new(now: Instant) -> Self {
        Self { full: now }
    }

    /// Takes one question out.
    ///
    /// # Errors
    /// The time at which the next one can be taken, if the bucket is empty.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let full = self.full.max(now);
        let empty = now + REFILL * (BURST - 1);
        if full > empty {
            return Err(now + (full - empty));
        }
        self.full = full + REFILL;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ninth_question_waits_a_second() {
        let now = Instant::now();
        let mut questions = Questions::new(now);
        assert!((0..BURST).all(|_| questions.take(now) == Ok(())));
        let next = now + REFILL;
        assert_eq!([questions.take(now), questions.take(now + REFILL / 2)], [Err(next); 2]);
        assert_eq!([questions.take(next), questions.take(next)], [Ok(()), Err(next + REFILL)]);
    }

    #[test]
    fn a_bucket_never_has_more_than_its_burst() {
        let now = Instant::now();
        let later = now + REFILL * 100;
        let mut questions = Questions::new(now);
        assert_eq!((0..20).filter(|_| questions.take(later) == Ok(())).count(), BURST as usize);
        assert_eq!((0..20).filter(|_| questions.take(later + REFILL * 3) == Ok(())).count(), 3);
    }
}
