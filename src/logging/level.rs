//! The levels of a log line, in Python's words, and how the `log` crate carries them.
//!
//! Used by the settings, by [`event!`](crate::event) and by the targets. Trap: Python has a level CRITICAL, which the
//! `log` crate does not have. It travels as the crate's level `Error` under a target of its own.

use std::str::FromStr;

/// Targets in the sense of the `log` crate.
const TARGET: &str = "loteria";
const TARGET_CRITICAL: &str = "loteria-critical";

/// How important a line is. The most important level is the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The program ends for this reason.
    Critical,
    /// Something was refused or failed.
    Error,
    /// Something is unusual, and the program continues.
    Warning,
    /// The main events.
    Info,
    /// Details.
    Debug,
}

impl Level {
    /// The words that a setting may have, for error messages. Settings ignore case.
    pub const ALLOWED: &str = "CRITICAL, ERROR, WARNING, INFO or DEBUG";

    /// The word in the line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "CRITICAL",
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }

    /// Target and level of the `log` crate.
    #[doc(hidden)]
    pub fn for_log(self) -> (&'static str, log::Level) {
        match self {
            Self::Critical => (TARGET_CRITICAL, log::Level::Error),
            Self::Error => (TARGET, log::Level::Error),
            Self::Warning => (TARGET, log::Level::Warn),
            Self::Info => (TARGET, log::Level::Info),
            Self::Debug => (TARGET, log::Level::Debug),
        }
    }

    /// The reverse of [`Level::for_log`]; `None` for lines of other crates.
    pub(super) fn of(metadata: &log::Metadata<'_>) -> Option<Self> {
        match (metadata.target(), metadata.level()) {
            (TARGET_CRITICAL, _) => Some(Self::Critical),
            (TARGET, log::Level::Error) => Some(Self::Error),
            (TARGET, log::Level::Warn) => Some(Self::Warning),
            (TARGET, log::Level::Info) => Some(Self::Info),
            (TARGET, _) => Some(Self::Debug),
            _ => None,
        }
    }
}

impl FromStr for Level {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Critical, Self::Error, Self::Warning, Self::Info, Self::Debug]
            .into_iter()
            .find(|level| level.as_str().eq_ignore_ascii_case(text))
            .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_pythons() {
        assert_eq!("warning".parse(), Ok(Level::Warning));
        assert_eq!("WARN".parse::<Level>(), Err(()));
        assert!(Level::Critical < Level::Debug);
    }
}
