//! What every program's command line has in common: `--help`, `--version`, and one line on standard error for the rest.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::logging;

/// Exit code for wrong use or configuration.
pub const WRONG_USE: u8 = 2;

/// The arguments of this process; or, where they ask for help or are wrong, how it ends, having said so.
///
/// # Errors
/// The exit code: 0 for `--help` and `--version`, [`WRONG_USE`] otherwise.
pub fn arguments<T: Parser>() -> Result<T, ExitCode> {
    T::try_parse().map_err(|answer| {
        if answer.use_stderr() {
            return wrong_use(T::command().get_name(), &one_line(&answer));
        }
        // Nobody may be reading, which is no failure.
        let _ = io::stdout().write_all(answer.to_string().as_bytes());
        ExitCode::SUCCESS
    })
}

/// Says in one line what is wrong with arguments or settings.
pub fn wrong_use(program: &str, what: &dyn Display) -> ExitCode {
    logging::complain(program, what);
    ExitCode::from(WRONG_USE)
}

/// What clap found wrong, without its explanations, which take several lines.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let head = match error.kind() {
        // The value comes first and may hold blank lines itself.
        ErrorKind::ValueValidation => text.rsplit_once("\n\n").map(|(head, _)| head),
        _ => text.split_once("\n\n").map(|(head, _)| head),
    };
    let plain = head.unwrap_or(&text).replace(char::is_control, " ");
    let words: Vec<&str> = plain.split_whitespace().collect();
    format!("{}; see --help", words.join(" ").trim_start_matches("error: "))
}
