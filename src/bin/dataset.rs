//! `dataset`: writes synthetic agency files. All it does is in `loteria::dataset`.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;

use loteria::{cli, dataset, logging};

fn main() -> ExitCode {
    let arguments = match cli::arguments() {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    match dataset::run(&arguments, &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::complain("dataset", &error);
            ExitCode::from(error.exit_code())
        }
    }
}
