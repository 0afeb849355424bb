//! The logger of the process.
//!
//! Owns the only state of the log: its level and its open targets. Used by the programs; all other modules log through
//! [`event!`](crate::event). Before [`start`], every function here does nothing.

use std::io;
use std::os::fd::BorrowedFd;
use std::panic;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::level::Level;
use super::outputs::{Outputs, Targets};
use super::sink::Sink;
use super::zone;

struct Logger {
    level: Level,
    outputs: Mutex<Outputs>,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// A function that every line is written within; see [`around_lines`].
type Around = Box<dyn Fn(&mut dyn FnMut()) + Send + Sync>;
static AROUND: OnceLock<Around> = OnceLock::new();

/// Starts the log with lines up to `level`, once per process; a second call changes nothing. From then on, panics are
/// logged too. Logs a warning if the time zone of TZ is not understood.
///
/// # Errors
/// The error of fstat(2) or fcntl(2) on standard output, or of socket(2) for syslog; [`io::ErrorKind::InvalidInput`] if
/// the path of the syslog daemon can never take a line.
pub fn start(level: Level, targets: &Targets) -> io::Result<()> {
    let outputs = Outputs::open(targets)?;
    let logger = LOGGER.get_or_init(|| Logger { level, outputs: Mutex::new(outputs) });
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level.for_log().1.to_level_filter());
        panic::set_hook(Box::new(|info| {
            let message = info.payload_as_str().unwrap_or("no message");
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            event!(Critical, "panic", fail, error = message, place = place);
        }));
        // Reads the zone now. A process that has closed its sandbox could not.
        let utc_offset = zone::offset();
        if let Some(tz) = zone::not_understood() {
            let aviso = "TZ is not understood, the times of the log have another offset from UTC";
            event!(Warning, "config", in_progress, aviso = aviso, tz = tz, utc_offset = utc_offset);
        }
    }
    Ok(())
}

/// From now on `around` is called for every line, with a function that writes the line. Takes effect once per process.
/// A progress bar that shares the terminal with the log uses it to hide while a line is written. `around` must not log.
pub fn around_lines(around: impl Fn(&mut dyn FnMut()) + Send + Sync + 'static) {
    let _ = AROUND.set(Box::new(around));
}

/// For an event loop, which must never wait: lines that standard output does not accept are queued from now on. Call
/// [`flush`] while [`is_queued`].
pub fn queue_instead_of_waiting() {
    with_stdout(Sink::queue_instead_of_waiting);
}

/// Writes the lines that `log` logs in as few write(2) as possible. `log` must not wait for anything.
pub fn together(log: impl FnOnce()) {
    struct Release;
    impl Drop for Release {
        fn drop(&mut self) {
            if let Some(mut outputs) = outputs() {
                outputs.release();
            }
        }
    }
    if let Some(mut outputs) = outputs() {
        outputs.hold();
    }
    // Also if `log` panics.
    let _release = Release;
    log();
}

/// Whether lines of `level` are logged. For loops that log many lines; a single line is checked by
/// [`event!`](crate::event).
pub fn is_logged(level: Level) -> bool {
    level.for_log().1 <= log::max_level()
}

/// The descriptor, besides standard output, that a forked child must keep open to log to its parent's targets.
pub fn descriptor() -> Option<BorrowedFd<'static>> {
    outputs()?.descriptor()
}

/// Must be called in a forked child before its first line.
///
/// Trap: a child inherits the lines that its parent has not written yet, and would write them a second time.
pub fn forked() {
    if let Some(mut outputs) = outputs() {
        outputs.forked();
    }
}

/// Whether lines wait until standard output accepts them.
pub fn is_queued() -> bool {
    with_stdout(|stdout| stdout.is_queued()).unwrap_or(false)
}

/// Writes queued lines as far as standard output accepts them. Never blocks.
pub fn flush() {
    with_stdout(Sink::flush);
}

/// Takes the number of dropped log lines that have not been reported yet, so that the parent can report them.
pub fn take_lost() -> u32 {
    with_stdout(Sink::take_lost).unwrap_or(0)
}

/// Adds `lines` that another process has lost; this process reports them.
pub fn add_lost(lines: u32) {
    with_stdout(|stdout| stdout.lose(lines));
}

/// Writes queued lines, and waits a moment for a reader. The last step before the process ends.
pub fn finish() {
    with_stdout(Sink::finish);
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

fn with_stdout<T>(call: impl FnOnce(&mut Sink) -> T) -> Option<T> {
    outputs()?.stdout.as_mut().map(call)
}

fn outputs() -> Option<MutexGuard<'static, Outputs>> {
    LOGGER.get().map(|logger| locked(&logger.outputs))
}

fn locked(outputs: &Mutex<Outputs>) -> MutexGuard<'_, Outputs> {
    outputs.lock().unwrap_or_else(PoisonError::into_inner)
}
