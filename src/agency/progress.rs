//! The bar `bets sent of total` for somebody who watches.
//!
//! Owns the bar. Used by the conversations that send the agency's file. It is there only where standard error is a
//! terminal; log lines on the same terminal make it step aside. A terminal that is stopped (Ctrl-S) loses pictures of the
//! bar, and stops nothing. Knows no bet.

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

/// How far the bets have got; shows nothing where nobody watches.
#[derive(Debug)]
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// For the bets of `reader`, which is read once for their number if somebody watches: its lines, blank and bad ones
    /// included.
    ///
    /// # Errors
    /// As [`Reader::count_lines`].
    pub fn of(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let Some(terminal) = terminal() else { return Ok(Self(None)) };
        let target = ProgressDrawTarget::term(terminal, PICTURES_A_SECOND);
        let bar = ProgressBar::with_draw_target(Some(reader.count_lines()?), target);
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        let shared = bar.clone();
        logging::around_lines(move |write| shared.suspend(write));
        Ok(Self(Some(bar)))
    }

    /// `sent` bets are acknowledged.
    pub fn show(&self, sent: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(sent);
        }
    }
}

/// Standard error, if it is a terminal, opened anew: O_NONBLOCK on the inherited description would be set for everybody who
/// shares it.
fn terminal() -> Option<Term> {
    let open = || -> io::Result<Term> {
        let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
        let file = OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/2")?;
        Ok(Term::read_write_pair(file.try_clone()?, file))
    };
    stderr().is_terminal().then(open)?.ok()
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
