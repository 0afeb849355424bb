//! Logs on demand: what `tests/logging.rs` judges from outside. Each argument is something to do, in order:
//!
//! | argument | does |
//! |---|---|
//! | `lines:WHO:COUNT` | logs lines 0 to COUNT - 1 of WHO |
//! | `long:BYTES` | logs one line of two values of so many bytes each |
//! | `queue` | from now on it queues instead of waiting |
//! | `serve` | flushes, as an event loop does, until nothing is queued |
//! | `finish` | flushes and waits a moment, as at the end of a program |
//! | `say:WORD` | tells standard error that it has come so far |
//! | `await` | waits for one byte on standard input |
//! | `fork:A+B` | has a child do A, then B |
//! | `reap` | waits for the child |
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use ipc::events::{self, PollFd, PollFlags};
use ipc::process::{self, Handover};
use ipc::signals::{Signal, SignalSource};
use loteria::event;
use loteria::logging::{self, Level, Targets};
use nix::sys::prctl;

fn main() -> io::Result<()> {
    // What a failed test leaves behind would run for ever.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    logging::start(Level::Info, &Targets { stdout: true, syslog: None })?;
    let child_ended = SignalSource::subscribe(&[Signal::SIGCHLD])?;
    std::env::args().skip(1).try_for_each(|deed| perform(&deed, &child_ended))
}

fn perform(deed: &str, child_ended: &SignalSource) -> io::Result<()> {
    let (verb, object) = deed.split_once(':').unwrap_or((deed, ""));
    match verb {
        "lines" => {
            let (who, count) = object.split_once(':').ok_or(io::ErrorKind::InvalidInput)?;
            (0..number(count)?).for_each(|n| event!(Info, "line", success, who = who, n = n));
        }
        "long" => {
            let text = "x".repeat(number(object)?);
            event!(Info, "line", success, one = text, two = text);
        }
        "queue" => logging::queue_instead_of_waiting(),
        "serve" => {
            while logging::is_queued() {
                events::wait(&mut [PollFd::new(io::stdout().as_fd(), PollFlags::POLLOUT)], None)?;
                logging::flush();
            }
        }
        "finish" => logging::finish(),
        "say" => writeln!(io::stderr(), "{object}")?,
        "await" => io::stdin().read_exact(&mut [0])?,
        "fork" => fork(object.to_owned())?,
        "reap" => {
            while process::reap().is_none() {
                events::wait(&mut [PollFd::new(child_ended.as_fd(), PollFlags::POLLIN)], None)?;
                child_ended.drain();
            }
        }
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    }
    Ok(())
}

fn fork(deeds: String) -> io::Result<()> {
    process::spawn(Nothing, &[], move |Nothing, signals| {
        logging::forked();
        u8::from(deeds.split('+').try_for_each(|deed| perform(deed, &signals)).is_err())
    })?;
    Ok(())
}

fn number(digits: &str) -> io::Result<usize> {
    digits.parse().map_err(io::Error::other)
}

struct Nothing;

impl Handover for Nothing {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
}
