//! The form of a log line on standard output: `YYYY-MM-DD HH:MM:SS LEVEL     event`.
//!
//! Owns the time stamp and the maximum length of a line. Used by `outputs`, `sink` and `syslog`. Knows no target.

use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use super::escape::SHORTENED;
use super::level::Level;

/// Maximum length of a line in bytes, line feed included. It equals PIPE_BUF: a pipe never mixes the bytes of two
/// writes of at most this length, so lines of several processes never mix.
pub const LINE_MAX: usize = 4096;

/// Builds lines. All of them use the same buffer, one after the other.
#[derive(Debug)]
pub(super) struct Line {
    clock: Clock,
    text: String,
}

impl Line {
    /// Reserves the buffer: [`LINE_MAX`] bytes.
    pub(super) fn new() -> Self {
        Self { clock: Clock::default(), text: String::with_capacity(LINE_MAX) }
    }

    /// Builds the line of `event`, line feed included. A line longer than [`LINE_MAX`] is shortened.
    pub(super) fn build(&mut self, level: Level, event: &fmt::Arguments<'_>) -> &[u8] {
        self.text.clear();
        // Writing to a string fails only if the `Display` of a value fails. Then the line ends at that value.
        let _ = write!(self.text, "{} {:<8} {event}", self.clock.now(), level.as_str());
        terminate(&mut self.text);
        self.text.as_bytes()
    }
}

/// Builds the line that reports `count` lost lines: lines that this process dropped because nobody read the log in
/// time.
pub(super) fn lost_lines(count: u32) -> String {
    let mut line = Line::new();
    line.build(Level::Warning, &format_args!("action: log | result: fail | lost_lines: {count}"));
    line.text
}

/// Appends the line feed. If `line` would then exceed [`LINE_MAX`], shortens and marks it first.
fn terminate(line: &mut String) {
    if line.len() >= LINE_MAX {
        line.truncate(line.floor_char_boundary(LINE_MAX - 1 - SHORTENED.len_utf8()));
        line.push(SHORTENED);
    }
    line.push('\n');
}

/// Local time as text, formatted at most once per second.
#[derive(Debug, Default)]
struct Clock {
    second: u64,
    text: String,
}

impl Clock {
    fn now(&mut self) -> &str {
        let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        if self.second != second || self.text.is_empty() {
            self.second = second;
            self.text = chrono::Local::now().format("%Y-%m-%d %H:%M:%S").to_string();
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_shortened_and_marked() {
        let mut line = "ñ".repeat(3000);
        terminate(&mut line);
        assert!(line.len() <= LINE_MAX && line.ends_with("ñ…\n"));
        let mut exact = "x".repeat(LINE_MAX - 1);
        terminate(&mut exact);
        assert_eq!(exact.len(), LINE_MAX);
        assert!(exact.ends_with("x\n"));
    }

    #[test]
    fn lost_lines_are_a_warning() {
        let line = lost_lines(3);
        assert_eq!(&line[19..], " WARNING  action: log | result: fail | lost_lines: 3\n");
    }
}
