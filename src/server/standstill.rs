//! Whether the holder of the data lock stands still: for example a child that was stopped while it held the lock.
//!
//! Pure: the caller looks at the lock and passes the time. Used by the server's parent. Costs nothing while no process
//! reports a long wait for the lock.
//!
//! ```text
//!   report ──▶ first look ──── 1 s ────▶ second look ──▶ equal: verdict
//!                  └ holder unknown: resume the children    └ changed: nothing; after a new report, this look is a first one
//! ```
//!
//! The holder stands still if both looks find the same process and the same sequence number of the storage. A holder
//! that only works slowly, for example because it waits for a disk, gets the same verdict. A kill is safe in every case:
//! whatever the holder has done, the next holder recovers it.

use std::time::{Duration, Instant};

use ipc::process::Pid;

/// Time between two looks. Together with the wait before the report it is shorter than the patience of a waiter, so that
/// the waiter which reports can still get the lock.
pub const PAUSE: Duration = Duration::from_secs(1);

/// The process that holds the data lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The lock is free.
    Nobody,
    /// The process with this pid.
    Process(Pid),
    /// A process that cannot be found out.
    Unknown,
}

/// The state of the data lock at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The holder.
    pub holder: Holder,
    /// The sequence number of the storage; `None` if it cannot be read.
    pub sequence: Option<u64>,
}

/// The action that the looks call for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// None.
    Nothing,
    /// The holder is unknown. It may be a child that is stopped: let all children continue.
    ResumeChildren,
    /// This process holds the lock and stands still.
    StandsStill(Pid),
    /// The lock is still held, and the holder is still unknown.
    StillUnknown,
}

/// The looks at the data lock.
#[derive(Debug, Default)]
pub struct Standstill {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// No process has reported a long wait.
    #[default]
    Idle,
    /// The first look is due.
    Reported { due: Instant },
    /// The second look is due at this time.
    Looked { first: Look, due: Instant, reported_again: bool },
}

impl Standstill {
    /// A process has waited for the data lock for a long time.
    pub fn report(&mut self, now: Instant) {
        match &mut self.state {
            State::Idle => self.state = State::Reported { due: now },
            State::Reported { .. } => {}
            State::Looked { reported_again, .. } => *reported_again = true,
        }
    }

    /// When the caller must look; `None` if no look is needed.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Idle => None,
            State::Reported { due } | State::Looked { due, .. } => Some(due),
        }
    }

    /// Whether the caller must look now, and pass what it sees to [`Standstill::judge`].
    pub fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|due| due <= now)
    }

    /// Judges a look that was due at `now`.
    pub fn judge(&mut self, look: Look, now: Instant) -> Verdict {
        match std::mem::take(&mut self.state) {
            State::Looked { first, .. } if first == look => match look.holder {
                Holder::Nobody => Verdict::Nothing,
                Holder::Process(pid) => Verdict::StandsStill(pid),
                Holder::Unknown => Verdict::StillUnknown,
            },
            State::Idle | State::Looked { reported_again: false, .. } => Verdict::Nothing,
            State::Reported { .. } | State::Looked { .. } => self.begin(look, now),
        }
    }

    fn begin(&mut self, first: Look, now: Instant) -> Verdict {
        self.state = State::Looked { first, due: now + PAUSE, reported_again: false };
        if first.holder == Holder::Unknown { Verdict::ResumeChildren } else { Verdict::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::Holder::{Nobody, Process, Unknown};
    use super::*;

    const ONE: Holder = Process(Pid::from_raw(1001));
    const OTHER: Holder = Process(Pid::from_raw(1002));

    fn look(holder: Holder, sequence: u64) -> Look {
        Look { holder, sequence: Some(sequence) }
    }

    /// The verdicts on two looks after one report.
    fn verdicts(first: Look, second: Look) -> [Verdict; 2] {
        let (mut standstill, now) = (Standstill::default(), Instant::now());
        standstill.report(now);
        let verdicts = [standstill.judge(first, now), standstill.judge(second, now + PAUSE)];
        assert_eq!(standstill.deadline(), None, "the looks are over");
        verdicts
    }

    #[test]
    fn nothing_is_due_without_a_report() {
        let (mut standstill, now) = (Standstill::default(), Instant::now());
        assert_eq!((standstill.deadline(), standstill.is_due(now)), (None, false));
        assert_eq!(standstill.judge(look(ONE, 1), now), Verdict::Nothing);
        assert_eq!(standstill.deadline(), None);
    }

    #[test]
    fn second_look_follows_the_first_after_one_pause() {
        let (mut standstill, now) = (Standstill::default(), Instant::now());
        standstill.report(now);
        standstill.report(now + PAUSE / 2);
        assert_eq!((standstill.deadline(), standstill.is_due(now)), (Some(now), true));
        assert_eq!(standstill.judge(look(ONE, 1), now), Verdict::Nothing);
        assert_eq!(standstill.deadline(), Some(now + PAUSE));
        assert_eq!([now, now + PAUSE].map(|now| standstill.is_due(now)), [false, true]);
    }

    #[test]
    fn same_process_and_number_stand_still() {
        let equal = look(ONE, 7);
        assert_eq!(verdicts(equal, equal), [Verdict::Nothing, Verdict::StandsStill(Pid::from_raw(1001))]);
        let unreadable = Look { holder: ONE, sequence: None };
        assert_eq!(verdicts(unreadable, unreadable)[1], Verdict::StandsStill(Pid::from_raw(1001)));
    }

    #[test]
    fn a_changed_process_or_number_is_progress() {
        for second in [look(OTHER, 7), look(ONE, 8), look(Nobody, 7), look(Unknown, 7)] {
            assert_eq!(verdicts(look(ONE, 7), second), [Verdict::Nothing; 2], "{second:?}");
        }
        assert_eq!(verdicts(look(Nobody, 7), look(Nobody, 7)), [Verdict::Nothing; 2]);
    }

    #[test]
    fn unknown_holder_wakes_the_children_then_is_reported() {
        let unknown = look(Unknown, 7);
        assert_eq!(verdicts(unknown, unknown), [Verdict::ResumeChildren, Verdict::StillUnknown]);
        for second in [look(Unknown, 8), look(Nobody, 7), look(ONE, 7)] {
            assert_eq!(verdicts(unknown, second), [Verdict::ResumeChildren, Verdict::Nothing], "{second:?}");
        }
    }

    #[test]
    fn a_report_between_the_looks_begins_new_ones() {
        let (mut standstill, now) = (Standstill::default(), Instant::now());
        standstill.report(now);
        let mut verdict_at = |pauses: u32, holder| {
            let verdict = standstill.judge(look(holder, 7), now + PAUSE * pauses);
            standstill.report(now + PAUSE * pauses);
            (verdict, standstill.deadline().map(|due| due - now))
        };
        assert_eq!(verdict_at(0, ONE), (Verdict::Nothing, Some(PAUSE)));
        assert_eq!(verdict_at(1, Unknown), (Verdict::ResumeChildren, Some(PAUSE * 2)));
        assert_eq!(verdict_at(2, OTHER), (Verdict::Nothing, Some(PAUSE * 3)));
        // The verdict ends the looks, and the report that follows it begins new ones at once.
        assert_eq!(verdict_at(3, OTHER), (Verdict::StandsStill(Pid::from_raw(1002)), Some(PAUSE * 3)));
    }
}
