//! The program `client`: one betting agency. Its code is in `loteria::agency`.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use loteria::{agency, cli};

/// A betting agency: sends its bets to the national lottery and asks for its winners.
#[derive(clap::Parser)]
#[command(name = "client", version)]
struct Arguments {
    /// Settings file; environment variables CLI_… override it [default: config/client.yaml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    agency::main(|| cli::arguments().map(|args: Arguments| args.config))
}
