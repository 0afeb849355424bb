//! The program `server`: the national lottery. Its code is in `loteria::server`.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use loteria::{cli, server};

/// The national lottery: receives the bets of all agencies and holds the draw.
#[derive(clap::Parser)]
#[command(name = "server", version)]
struct Arguments {
    /// Settings file; environment variables override it [default: config/server.ini, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Move the files of an earlier lottery aside and start a new one
    #[arg(long)]
    new_draw: bool,
}

fn main() -> ExitCode {
    server::main(|| cli::arguments().map(|args: Arguments| (args.config, args.new_draw.into())))
}
