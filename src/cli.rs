//! The common part of every command line: `--help`, `--version`, and one line on standard error for wrong arguments.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::exit_code::ExitStatus;
use crate::logging;

/// The arguments of this process. For `--help`, `--version` and wrong arguments it prints the answer and returns the exit
/// code.
///
/// # Errors
/// The exit code: [`ExitStatus::Done`] for `--help` and `--version`, otherwise [`ExitStatus::WrongUse`].
pub fn arguments<T: Parser>() -> Result<T, ExitCode> {
    T::try_parse().map_err(|answer| {
        if answer.use_stderr() {
            return wrong_use(T::command().get_name(), &one_line(&answer));
        }
        // A reader that has gone away is not a failure.
        let _ = io::stdout().write_all(answer.to_string().as_bytes());
        ExitStatus::Done.into()
    })
}

/// Prints on standard error, in one line, what is wrong with arguments or settings; returns the exit code.
pub fn wrong_use(program: &str, what: &dyn Display) -> ExitCode {
    logging::complain(program, what);
    ExitStatus::WrongUse.into()
}

/// The first line of an error of clap, without the explanations that follow it.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let head = match error.kind() {
        // The value comes first and may itself hold blank lines.
        ErrorKind::ValueValidation => text.rsplit_once("\n\n").map(|(head, _)| head),
        _ => text.split_once("\n\n").map(|(head, _)| head),
    };
    let plain = head.unwrap_or(&text).replace(char::is_control, " ");
    let words: Vec<&str> = plain.split_whitespace().collect();
    format!("{}; see --help", words.join(" ").trim_start_matches("error: "))
}
