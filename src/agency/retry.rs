//! Trying again: pauses that grow and are jittered, for as long as nothing gets on.
//!
//! Owns the clock of an outage, which begins with its first failure and ends with progress. Used by the conversations
//! around whatever needs a connection; knows of an error only whether it may pass.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::error::Error;
use super::stop::StopSignal;
use crate::event;

/// The pauses while the server cannot be had: short at first, since a restart takes well below a second.
const OUTAGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// The pauses while the draw has not been held.
const DRAW: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Lengths of pauses, each twice the one before up to a bound.
#[derive(Debug, Clone)]
pub struct Pauses {
    first: Duration,
    longest: Duration,
    taken: u32,
}

impl Pauses {
    /// From 100 ms to 2 s.
    pub fn of_an_outage() -> Self {
        Self { first: OUTAGE.0, longest: OUTAGE.1, taken: 0 }
    }

    /// From 100 ms to 1 s.
    pub fn before_the_draw() -> Self {
        Self { first: DRAW.0, longest: DRAW.1, taken: 0 }
    }

    /// The next length.
    pub fn next_length(&mut self) -> Duration {
        let factor = 2_u32.saturating_pow(self.taken);
        self.taken += 1;
        self.first.saturating_mul(factor).min(self.longest)
    }

    /// The next length, shortened by chance to at least a half of it: agencies that lost the same server do not all
    /// come back at once.
    pub fn next_jittered(&mut self) -> Duration {
        self.next_length().mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// How long to go on without progress.
#[derive(Debug)]
pub struct Retry<'a> {
    timeout: Duration,
    stop: &'a StopSignal,
    outage: Cell<Option<Instant>>,
}

impl<'a> Retry<'a> {
    /// Gives up when nothing has got on for `timeout` since the first failure.
    pub fn new(timeout: Duration, stop: &'a StopSignal) -> Self {
        Self { timeout, stop, outage: Cell::new(None) }
    }

    /// Something got on: the next failure is the first of another outage.
    pub fn progress(&self) {
        self.outage.set(None);
    }

    /// Calls `attempt` until it succeeds, fails for a reason that does not pass, or the time is over. A failure that is
    /// not the last one is logged as a warning; it is no `fail`, since the run may still succeed.
    ///
    /// # Errors
    /// What `attempt` returns and does not pass, [`Error::GaveUp`], [`Error::Stopped`].
    pub fn run<T>(&self, mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        let mut pauses = Pauses::of_an_outage();
        loop {
            let error = match attempt() {
                Err(error) if error.passes() => error,
                other => return other,
            };
            let began = self.outage.get().unwrap_or_else(|| {
                pauses = Pauses::of_an_outage();
                Instant::now()
            });
            self.outage.set(Some(began));
            let left = self.timeout.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(Error::GaveUp { after: self.timeout, last: Box::new(error), hint: "" });
            }
            let pause = pauses.next_jittered().min(left);
            event!(Warning, "connect", in_progress, error = error, retry_in = format_args!("{}ms", pause.as_millis()));
            self.stop.pause(pause)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agency::error::Lost;

    fn lost() -> Error {
        Lost::Closed { peer: "127.0.0.1:1".parse().unwrap() }.into()
    }

    #[test]
    fn pauses_double_up_to_their_bound() {
        let mut pauses = Pauses::before_the_draw();
        let lengths: Vec<_> = (0..6).map(|_| pauses.next_length().as_millis()).collect();
        assert_eq!(lengths, [100, 200, 400, 800, 1000, 1000]);
        let mut long = Pauses { taken: 31, ..Pauses::of_an_outage() };
        assert!((0..5).all(|_| long.next_length() == OUTAGE.1));
    }

    #[test]
    fn jitter_takes_away_at_most_a_half() {
        for _ in 0..200 {
            let pause = Pauses::of_an_outage().next_jittered();
            assert!(pause >= OUTAGE.0 / 2 && pause <= OUTAGE.0, "{pause:?}");
        }
    }

    #[test]
    fn a_failure_that_does_not_pass_is_returned_at_once() {
        let stop = StopSignal::never();
        let retry = Retry::new(Duration::from_secs(60), &stop);
        let error = retry.run(|| Err::<(), _>(Error::Mismatch("no".into()))).unwrap_err();
        assert!(matches!(error, Error::Mismatch(_)));
    }

    #[test]
    fn without_time_the_first_failure_is_the_last() {
        let stop = StopSignal::never();
        let mut tries = 0;
        let error = Retry::new(Duration::ZERO, &stop).run(|| {
            tries += 1;
            Err::<(), _>(lost())
        });
        assert!(matches!(error, Err(Error::GaveUp { .. })) && tries == 1);
    }

    #[test]
    fn progress_begins_the_time_anew() {
        let stop = StopSignal::never();
        let retry = Retry::new(Duration::from_millis(1), &stop);
        let mut tries = 0;
        let done = retry.run(|| {
            tries += 1;
            retry.progress();
            if tries < 4 { Err(lost()) } else { Ok(tries) }
        });
        assert_eq!(done.unwrap(), 4);
    }
}
