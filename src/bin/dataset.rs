//! `dataset`: writes synthetic agency files. All it does is in `loteria::dataset`.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use loteria::{cli, dataset};

fn main() -> ExitCode {
    let arguments = match cli::arguments() {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    match dataset::run(&arguments, &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With stderr closed there is nobody left to tell; the exit code still does.
            let _ = writeln!(io::stderr(), "dataset: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
