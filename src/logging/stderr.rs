//! One line on standard error, for errors before the log has started.
//!
//! Used by the three programs.

use std::fmt;
use std::io::{self, Write};

use super::escape::value;

/// Prints `program: error` as one line on standard error; escapes the error as a log line does.
pub fn complain(program: &str, error: &dyn fmt::Display) {
    // If standard error is closed, the exit code is still there.
    let _ = writeln!(io::stderr(), "{program}: {}", value(error));
}
