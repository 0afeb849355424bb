//! The progress bar `N of M bets sent` on a terminal.
//!
//! Owns the bar. Used by the conversations that send the agency's file. The bar exists only if standard error is a
//! terminal. It is hidden while a log line is written to the same terminal. A stopped terminal (Ctrl-S) loses pictures
//! of the bar but never blocks the agency. Knows no bet.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, stderr};
use std::os::unix::fs::OpenOptionsExt;

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::error::Error;
use super::reader::Reader;
use crate::logging;

const PICTURES_A_SECOND: u8 = 10;
const TEMPLATE: &str = "{wide_bar} {human_pos} of {human_len} bets sent";

/// The bar; `None` without a terminal.
#[derive(Debug)]
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar for the bets of `reader`. With a terminal, reads the file once to count its lines; blank lines and bad
    /// rows count too.
    ///
    /// # Errors
    /// As [`Reader::count_lines`].
    pub fn of(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let Some(terminal) = terminal() else { return Ok(Self(None)) };
        let target = ProgressDrawTarget::term(terminal, PICTURES_A_SECOND);
        let bar = ProgressBar::with_draw_target(Some(reader.count_lines()?), target).with_style(style());
        let shared = bar.clone();
        logging::around_lines(move |write| shared.suspend(write));
        Ok(Self(Some(bar)))
    }

    /// Shows that `sent` bets are acknowledged.
    pub fn show(&self, sent: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(sent);
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template(TEMPLATE).expect("a test checks that the template is valid")
}

/// Standard error, if it is a terminal. It is reopened, because O_NONBLOCK on the inherited open file description would
/// affect all processes that share it.
fn terminal() -> Option<Term> {
    let reopen = || -> io::Result<Term> {
        let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
        let file = OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/2")?;
        Ok(Term::read_write_pair(file.try_clone()?, file))
    };
    stderr().is_terminal().then(reopen)?.ok()
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn template_is_valid() {
        super::style();
    }
}
