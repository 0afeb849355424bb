//! `client`: one betting agency. All it does is in `loteria::agency`.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use loteria::{agency, cli};

/// A betting agency: sends its bets to the national lottery and asks for its winners.
#[derive(clap::Parser)]
#[command(name = "client", version)]
struct Arguments {
    /// Settings; variables that begin with CLI_ overrule them [default: config/client.yaml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    agency::main(|| cli::arguments().map(|args: Arguments| args.config))
}
