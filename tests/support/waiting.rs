//! How long a test waits for something, and for how long it checks that nothing happens.

use std::time::{Duration, Instant};

/// How long anything that must happen may take: far longer than it does, so that a slow machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// The pause between two looks at a file or a process that gives no other sign.
pub const GLANCE: Duration = Duration::from_millis(1);
/// How long nothing must happen where that is the point. A slow machine makes such a check weaker, never wrong.
pub const QUIET: Duration = Duration::from_millis(150);
/// The same, for events that are slower to come.
pub const A_WHILE: Duration = Duration::from_millis(300);

/// Calls `look` until it returns a value or `time` has passed.
pub fn poll_until<T>(time: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + time;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        std::thread::sleep(GLANCE);
    }
}

/// Waits until the condition holds; `what` describes it.
#[track_caller]
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    within(PATIENCE, what, holds);
}

/// The same, where the time is promised.
#[track_caller]
pub fn within(time: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let held = poll_until(time, || holds().then_some(()));
    assert!(held.is_some(), "not within {time:?}: {what}");
}
