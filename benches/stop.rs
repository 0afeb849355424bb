//! The request to stop: a signal sets a flag, and every loop of the benchmark checks it.
//!
//! An interrupted benchmark returns an error through all its functions, so every destructor runs: it leaves no process
//! and no file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::Result;

/// Longest time until a pause notices a signal.
const INTERVAL: Duration = Duration::from_millis(20);

/// Whether a signal has asked for the end.
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Subscribes to SIGINT, SIGTERM and SIGHUP.
    pub fn subscribe() -> Result<Self> {
        let requested = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register(signal, Arc::clone(&requested))?;
        }
        Ok(Self(requested))
    }

    /// # Errors
    /// A signal has arrived.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) { Err("interrupted".into()) } else { Ok(()) }
    }

    /// Calls `look` every few milliseconds until it returns a value. Returns `None` after `limit`.
    ///
    /// # Errors
    /// A signal has arrived, or `look` has failed.
    pub fn until<T>(&self, limit: Duration, look: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
        self.until_every(INTERVAL / 10, limit, look)
    }

    /// As [`Stop::until`], with a pause of `interval` between two calls.
    pub fn until_every<T>(
        &self,
        interval: Duration,
        limit: Duration,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let end = Instant::now() + limit;
        loop {
            self.check()?;
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            thread::sleep(left.min(interval));
        }
    }
}
