//! The program `dataset`: writes synthetic agency files. Its code is in `loteria::dataset`.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;

use loteria::dataset::{self, Error, Stop};
use loteria::exit_code::ExitStatus;
use loteria::{cli, logging, signals};

fn main() -> ExitCode {
    let stop = signals::begin().and_then(|()| Stop::subscribe()).map_err(Error::Signals);
    let arguments = match cli::arguments() {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    match stop.and_then(|stop| dataset::run(&arguments, &stop, &mut io::stdout())) {
        Ok(()) => ExitStatus::Done.into(),
        Err(error) => {
            logging::complain("dataset", &error);
            error.exit_status().into()
        }
    }
}
