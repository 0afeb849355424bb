//! The program `server`: the national lottery. Its code is in `loteria::server`.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use loteria::cli;
use loteria::server::{self, Purpose};

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
    /// Repair damaged files, or convert those of an older version, and end: prints a plan, and copies each file that it
    /// changes
    #[arg(long, conflicts_with = "new_draw")]
    repair: bool,
}

impl Arguments {
    fn purpose(&self) -> Purpose {
        match (self.new_draw, self.repair) {
            (true, _) => Purpose::NewLottery,
            (_, true) => Purpose::Repair,
            _ => Purpose::Continue,
        }
    }
}

fn main() -> ExitCode {
    server::main(|| {
        cli::arguments().map(|args: Arguments| {
            let purpose = args.purpose();
            (args.config, purpose)
        })
    })
}
