//! `dataset`: writes synthetic agency files. Owns the exit code and the line on stderr; all else is `loteria::dataset`.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use loteria::dataset;

fn main() -> ExitCode {
    match dataset::run(std::env::args_os(), &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With stderr closed there is nobody left to tell; the exit code still does.
            let _ = writeln!(io::stderr(), "dataset: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
