//! `server`: the national lottery. All it does is in `loteria::server`.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use loteria::{cli, server};

/// The national lottery: takes the bets of all agencies and holds the draw.
#[derive(clap::Parser)]
#[command(name = "server", version)]
struct Arguments {
    /// Settings [default: config/server.ini, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Move the files of an earlier lottery aside and begin a new one
    #[arg(long)]
    new_draw: bool,
}

fn main() -> ExitCode {
    server::main(|| cli::arguments().map(|args: Arguments| (args.config, args.new_draw.into())))
}
