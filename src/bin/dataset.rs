//! The program `dataset`: writes synthetic agency files. Its code is in `loteria::dataset`.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;

use loteria::exit_code::ExitStatus;
use loteria::{cli, dataset, logging};

fn main() -> ExitCode {
    let arguments = match cli::arguments() {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    match dataset::run(&arguments, &mut io::stdout()) {
        Ok(()) => ExitStatus::Done.into(),
        Err(error) => {
            logging::complain("dataset", &error);
            error.exit_status().into()
        }
    }
}
