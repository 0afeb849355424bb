//! The bar `bets sent of total` for somebody who watches.
//!
//! Owns the bar. Used by the conversations that send the agency's file. It is there only where standard error is a
//! terminal; log lines on the same terminal make it step aside. Knows no bet.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::error::Error;
use super::reader::Reader;
use crate::logging;

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
        if !stderr().is_terminal() {
            return Ok(Self(None));
        }
        let bar = ProgressBar::with_draw_target(Some(reader.count_lines()?), ProgressDrawTarget::stderr());
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

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
