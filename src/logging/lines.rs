//! The form of a log line on standard output: `YYYY-MM-DD HH:MM:SS LEVEL     event`.
//!
//! Owns the time stamp and the greatest length. Used by the targets.

use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use super::escape::SHORTENED;
use super::level::Level;

/// Most bytes of a line, line feed included: the bytes that a pipe accepts in one piece (PIPE_BUF). So lines of several
/// processes never mix.
pub const LINE_MAX: usize = 4096;

/// Builds lines, one after the other, in the same buffer.
#[derive(Debug)]
pub(super) struct Line {
    clock: Clock,
    text: String,
}

impl Line {
    /// An empty buffer.
    pub(super) fn new() -> Self {
        Self { clock: Clock::default(), text: String::with_capacity(LINE_MAX) }
    }

    /// The line of `event`, with its line feed, shortened to [`LINE_MAX`].
    pub(super) fn build(&mut self, level: Level, event: &fmt::Arguments<'_>) -> &[u8] {
        self.text.clear();
        // Writing to a string fails only if a `Display` of the event fails; then the line ends there.
        let _ = write!(self.text, "{} {:<8} {event}", self.clock.now(), level.as_str());
        terminate(&mut self.text);
        self.text.as_bytes()
    }
}

/// The line that reports `count` lost lines.
pub(super) fn lost_lines(count: u32) -> String {
    let mut line = Line::new();
    line.build(Level::Warning, &format_args!("action: log | result: fail | lost_lines: {count}"));
    line.text
}

/// Shortens `line` to fit, and appends its line feed.
fn terminate(line: &mut String) {
    if line.len() >= LINE_MAX {
        line.truncate(line.floor_char_boundary(LINE_MAX - 1 - SHORTENED.len_utf8()));
        line.push(SHORTENED);
    }
    line.push('\n');
}

/// Local time as text, formatted once per second.
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
