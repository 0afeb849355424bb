//! One line per event: `YYYY-MM-DD HH:MM:SS LEVEL     action: X | result: Y | key: value | …`.
//!
//! Owns the form of a line, the level, and the two targets, behind the `log` crate. Used by everything that has
//! something to tell, through [`event!`](crate::event). A line is one write(2) of at most [`LINE_MAX`] bytes, so that
//! lines of several processes never mix; where it goes, and what happens when nobody reads it, is in [`sink`].

pub mod sink;
mod syslog;

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::fd::BorrowedFd;
use std::panic;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use self::sink::Sink;
use self::syslog::Syslog;

/// Most bytes of a line, its line feed included: what a pipe takes in one piece (PIPE_BUF).
pub const LINE_MAX: usize = 4096;
/// Most bytes of one value: leaves room for the other fields of its line.
const VALUE_MAX: usize = 3000;
const SHORTENED: char = '…';
/// Targets in the sense of the `log` crate: CRITICAL is a level of Python's that `log` does not have.
const TARGET: &str = "loteria";
const TARGET_CRITICAL: &str = "loteria-critical";

/// How much a line matters, in Python's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The program ends because of this.
    Critical,
    /// Something was refused or failed.
    Error,
    /// Something is not as it should be.
    Warning,
    /// The course of events.
    Info,
    /// Details.
    Debug,
}

impl Level {
    /// What a setting may say.
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

    fn of(metadata: &log::Metadata<'_>) -> Option<Self> {
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

/// Logs one event: `event!(Info, "sorteo", success, agencias = 5)`. Every value is escaped ([`value`]).
#[macro_export]
macro_rules! event {
    ($level:ident, $action:literal, $result:ident $(, $key:ident = $value:expr)* $(,)?) => {{
        let (target, level) = $crate::logging::Level::$level.for_log();
        ::log::log!(
            target: target,
            level,
            concat!("action: ", $action, " | result: ", stringify!($result) $(, " | ", stringify!($key), ": {}")*)
            $(, $crate::logging::value(&$value))*
        );
    }};
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// To standard output.
    pub stdout: bool,
    /// To the syslog daemon behind this socket.
    pub syslog: Option<std::path::PathBuf>,
}

struct Logger {
    level: Level,
    outputs: Mutex<Outputs>,
}

struct Outputs {
    stdout: Option<Sink>,
    syslog: Option<Syslog>,
    clock: Clock,
    line: String,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// What every line is written inside of; see [`around_lines`].
type Around = Box<dyn Fn(&mut dyn FnMut()) + Send + Sync>;
static AROUND: OnceLock<Around> = OnceLock::new();

/// Starts logging at `level`, once a process; a second call changes nothing. Panics become lines, too.
///
/// # Errors
/// What looking at standard output reports.
pub fn start(level: Level, targets: &Targets) -> io::Result<()> {
    let outputs = Outputs {
        stdout: targets.stdout.then(Sink::stdout).transpose()?,
        syslog: targets.syslog.as_deref().map(Syslog::new).transpose()?,
        clock: Clock::default(),
        line: String::with_capacity(LINE_MAX),
    };
    let logger = LOGGER.get_or_init(|| Logger { level, outputs: Mutex::new(outputs) });
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level.for_log().1.to_level_filter());
        panic::set_hook(Box::new(|info| {
            let message = info.payload_as_str().unwrap_or("no message");
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            event!(Critical, "panic", fail, error = message, place = place);
        }));
    }
    Ok(())
}

/// From now on every line is written by a call of `around`'s argument inside of `around`, once a process: for what shares
/// a terminal with the log (a progress bar) and has to step aside meanwhile. `around` must not log.
pub fn around_lines(around: impl Fn(&mut dyn FnMut()) + Send + Sync + 'static) {
    let _ = AROUND.set(Box::new(around));
}

/// Tells that lines are written by an event loop from now on, which must never wait: what standard output does not take
/// is queued, and [`flush`] is called when [`is_queued`] says so.
pub fn queue_instead_of_waiting() {
    with_stdout(Sink::queue_instead_of_waiting);
}

/// What a forked child must keep open, besides standard output, for its lines to go where its parent's go.
pub fn descriptor() -> Option<BorrowedFd<'static>> {
    outputs()?.syslog.as_ref().map(Syslog::descriptor)
}

/// Tells that this process is a forked child.
///
/// Trap: a child inherits what its parent has not written yet, and would write it a second time.
pub fn forked() {
    if let Some(mut outputs) = outputs() {
        if let Some(stdout) = &mut outputs.stdout {
            stdout.forked();
        }
        if let Some(syslog) = &mut outputs.syslog {
            syslog.forked();
        }
    }
}

/// Whether lines wait for standard output to take them.
pub fn is_queued() -> bool {
    with_stdout(|stdout| stdout.is_queued()).unwrap_or(false)
}

/// Writes what is queued, as far as standard output takes it. Never blocks.
pub fn flush() {
    with_stdout(Sink::flush);
}

/// How many of this process's lines are lost that no line has told of, for somebody else to tell.
pub fn take_lost() -> u32 {
    with_stdout(Sink::take_lost).unwrap_or(0)
}

/// So many lines of another process are lost, and to be told of here.
pub fn add_lost(lines: u32) {
    with_stdout(|stdout| stdout.lose(lines));
}

/// Writes what is queued, and waits a moment for a reader: the last thing before the process ends.
pub fn finish() {
    with_stdout(Sink::finish);
}

/// `value` as it stands in a line: no `|`, no line break, no other control character, not longer than it should be.
pub fn value<T: fmt::Display + ?Sized>(value: &T) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let mut escaped = Escaped { out: f, room: VALUE_MAX };
        match write!(escaped, "{value}") {
            Err(fmt::Error) if escaped.room == 0 => f.write_char(SHORTENED),
            result => result,
        }
    })
}

/// Passes text on, escaped, until `room` bytes are used up; then `room` is 0 and it fails.
struct Escaped<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    room: usize,
}

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        let unsafe_in_a_line = c == '|' || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        let len = if unsafe_in_a_line { c.escape_unicode().len() } else { c.len_utf8() };
        self.room = self.room.checked_sub(len).filter(|&room| room > 0).unwrap_or(0);
        match (self.room, unsafe_in_a_line) {
            (0, _) => Err(fmt::Error),
            (_, true) => write!(self.out, "{}", c.escape_unicode()),
            (_, false) => self.out.write_char(c),
        }
    }
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        Level::of(metadata).is_some_and(|level| level <= self.level)
    }

    fn log(&self, record: &log::Record<'_>) {
        if let Some(level) = Level::of(record.metadata()).filter(|&level| level <= self.level) {
            let mut write = || locked(&self.outputs).write(level, record.args());
            match AROUND.get() {
                Some(around) => around(&mut write),
                None => write(),
            }
        }
    }

    fn flush(&self) {
        flush();
    }
}

impl Outputs {
    fn write(&mut self, level: Level, event: &fmt::Arguments<'_>) {
        if let Some(syslog) = &mut self.syslog {
            syslog.write(level, event);
        }
        if let Some(stdout) = &mut self.stdout {
            let line = &mut self.line;
            line.clear();
            // Writing to a string fails only where a Display does; the line then ends there.
            let _ = write!(line, "{} {:<8} {event}", self.clock.now(), level.as_str());
            end_line(line);
            stdout.write(line.as_bytes());
        }
    }
}

/// Shortens `line` to fit, and adds its line feed.
fn end_line(line: &mut String) {
    if line.len() >= LINE_MAX {
        line.truncate(line.floor_char_boundary(LINE_MAX - 1 - SHORTENED.len_utf8()));
        line.push(SHORTENED);
    }
    line.push('\n');
}

/// Local time as text, formatted once a second.
#[derive(Default)]
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

fn with_stdout<T>(call: impl FnOnce(&mut Sink) -> T) -> Option<T> {
    outputs()?.stdout.as_mut().map(call)
}

fn outputs() -> Option<MutexGuard<'static, Outputs>> {
    LOGGER.get().map(|logger| locked(&logger.outputs))
}

fn locked(outputs: &Mutex<Outputs>) -> MutexGuard<'_, Outputs> {
    outputs.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One line on standard error, for what is wrong before logging has started. Whatever it quotes stays in that line.
pub fn complain(program: &str, what: &dyn fmt::Display) {
    // With standard error closed there is nobody left to tell; the exit code still does.
    let _ = writeln!(io::stderr(), "{program}: {}", value(what));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_forge_fields_or_lines() {
        assert_eq!(
            value("a|b\nc\u{85}d\u{2028}e\x1b[2J ñ°").to_string(),
            "a\\u{7c}b\\u{a}c\\u{85}d\\u{2028}e\\u{1b}[2J ñ°"
        );
    }

    #[test]
    fn long_values_and_long_lines_are_shortened_and_say_so() {
        let long = value(&"ñ".repeat(5000)).to_string();
        assert!(long.len() <= VALUE_MAX + SHORTENED.len_utf8() && long.ends_with("ñ…"), "{}", long.len());
        let mut line = "ñ".repeat(3000);
        end_line(&mut line);
        assert!(line.len() <= LINE_MAX && line.ends_with("ñ…\n"));
        let mut exact = "x".repeat(LINE_MAX - 1);
        end_line(&mut exact);
        assert_eq!(exact.len(), LINE_MAX);
        assert!(exact.ends_with("x\n"));
    }

    #[test]
    fn levels_are_pythons() {
        assert_eq!("warning".parse(), Ok(Level::Warning));
        assert_eq!("WARN".parse::<Level>(), Err(()));
        assert!(Level::Critical < Level::Debug);
    }
}
