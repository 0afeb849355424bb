//! Retries with growing, random pauses, until nothing has progressed for a configured time.
//!
//! Owns the clock of an outage: it starts at the first failure and ends with progress. Used by the conversations for
//! each step that needs a connection. Knows only one thing about an error: whether it is temporary.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::error::Error;
use super::stop::StopSignal;
use crate::event;

/// First and longest pause while the server cannot be reached. The first is short, because a restart takes much less
/// than a second.
const OUTAGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// First and longest pause before the draw.
const DRAW: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Lengths of pauses: each is twice the previous one, up to a limit.
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

    /// The next length, reduced at random to between a half and all of it. So agencies that lost the same server do not
    /// all reconnect at the same time.
    pub fn next_jittered(&mut self) -> Duration {
        self.next_length().mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// Repeats a step that may fail.
#[derive(Debug)]
pub struct Retry<'a> {
    timeout: Duration,
    stop: &'a StopSignal,
    /// Start of the current outage.
    outage: Cell<Option<Instant>>,
}

impl<'a> Retry<'a> {
    /// Gives up when an outage has lasted for `timeout`.
    pub fn new(timeout: Duration, stop: &'a StopSignal) -> Self {
        Self { timeout, stop, outage: Cell::new(None) }
    }

    /// Ends the outage: the next failure starts another one.
    pub fn progress(&self) {
        self.outage.set(None);
    }

    /// Calls `attempt` until it succeeds, fails with an error that is not temporary, or the time is over. Every other
    /// failure is logged as a warning with result `in_progress`, because the run may still succeed.
    ///
    /// # Errors
    /// The first error of `attempt` that is not temporary; [`Error::GaveUp`] if the time is over; [`Error::Stopped`]
    /// after a request to stop.
    pub fn run<T>(&self, mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        let mut pauses = Pauses::of_an_outage();
        loop {
            let error = match attempt() {
                Err(error) if error.is_temporary() => error,
                other => return other,
            };
            let start = self.outage.get().unwrap_or_else(|| {
                pauses = Pauses::of_an_outage();
                Instant::now()
            });
            self.outage.set(Some(start));
            let left = self.timeout.saturating_sub(start.elapsed());
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
    fn pauses_double_up_to_their_limit() {
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
    fn lasting_failure_is_returned_at_once() {
        let stop = StopSignal::never();
        let retry = Retry::new(Duration::from_secs(60), &stop);
        let error = retry.run(|| Err::<(), _>(Error::Mismatch("no".into()))).unwrap_err();
        assert!(matches!(error, Error::Mismatch(_)));
    }

    #[test]
    fn timeout_of_zero_allows_one_attempt() {
        let stop = StopSignal::never();
        let mut tries = 0;
        let error = Retry::new(Duration::ZERO, &stop).run(|| {
            tries += 1;
            Err::<(), _>(lost())
        });
        assert!(matches!(error, Err(Error::GaveUp { .. })) && tries == 1);
    }

    #[test]
    fn progress_restarts_the_time() {
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
