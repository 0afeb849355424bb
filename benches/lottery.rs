//! The benchmark of the server: compares the release binaries with floors ([`floor`]), the least that a server of this
//! architecture can do, and with other stores ([`peers`]), all over 127.0.0.1 and in turn.
//!
//! Owns the options and the run. Run by `make bench`; docs/performance.md explains the figures. Without the argument
//! `--bench`, which `cargo bench` adds, it does nothing, so `cargo test --all-targets` is not delayed.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `stop`, `report`, `relay` | the request to stop; figures, goals, tables and plots; a network with a delay |
//! | `process` | processes, their memory and processor time |
//! | `floor` | the servers that do the least |
//! | `traffic` | the clients |
//! | `peers` | Redis and PostgreSQL |
//! | `parts` | what is measured, and in which order |
//! | `output` | the machine's facts and the files of a report |

#![deny(unsafe_code)]

mod floor;
mod output;
mod parts;
mod peers;
mod process;
mod relay;
mod report;
mod stop;
mod traffic;

use std::error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use self::output::Output;
use self::parts::{Bench, Extent, Part};
use self::stop::Stop;
use self::traffic::Files;

/// An error ends the benchmark. It is printed as one line.
type Result<T> = std::result::Result<T, Box<dyn error::Error + Send + Sync>>;

/// Compares the server with the least that a server of this architecture can do.
#[derive(Parser)]
#[command(name = "lottery", version)]
struct Options {
    /// Parts to measure [default: all]
    parts: Vec<Part>,
    /// Measures more, and for longer: about half an hour instead of a few minutes
    #[arg(long)]
    full: bool,
    /// Number of rounds [default: depends on the part]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Flat: millions of bets in a large file; three times 50 MB each in TMPDIR until the end [default: 10; full: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    millions: Option<u32>,
    /// Writes results, plots and the table of docs/performance.md into docs instead of target/benchmarks
    #[arg(long)]
    save: bool,
    /// Measures nothing, and writes plots and tables again from the results
    #[arg(long)]
    render: bool,
    /// Added by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    if let Some(role) = process::role_of_this_process() {
        return conclude(role.and_then(|arguments| serve(&arguments)));
    }
    if !std::env::args().any(|argument| argument == "--bench") {
        // Run by `cargo test` or a similar command, with other arguments.
        return ExitCode::SUCCESS;
    }
    conclude(Options::try_parse().map_or_else(|e| e.exit(), |options| run(&options)))
}

fn conclude(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // If standard error is closed, the exit code is still there.
            let _ = writeln!(io::stderr(), "lottery: {e}");
            ExitCode::FAILURE
        }
    }
}

/// A server of this program, in a process of its own.
fn serve(arguments: &[String]) -> Result<()> {
    match arguments {
        [role, name, number] if role == "floor" => floor::run(name, number),
        [role, port] if role == "relay" => Ok(relay::run(port.parse()?)?),
        _ => Err("unknown server".into()),
    }
}

fn run(options: &Options) -> Result<()> {
    let mut output = Output::open(options.save)?;
    if options.render {
        return output.write();
    }
    let bench = Bench {
        stop: Stop::subscribe()?,
        extent: if options.full { Extent::Full } else { Extent::Quick },
        rounds: options.rounds,
        millions: options.millions,
        files: Files::load()?,
        descriptors: process::raise_descriptors()?,
    };
    output.print_machine()?;
    let mut failures = Vec::new();
    for part in Part::value_variants() {
        if options.parts.is_empty() || options.parts.contains(part) {
            let load = output::load()?;
            let outcome = match part.measure(&bench) {
                Ok(outcome) => outcome,
                Err(e) => {
                    bench.stop.check()?;
                    failures.push(format!("{}: {e}", part.name()));
                    continue;
                }
            };
            failures.extend(outcome.failures);
            output.add(part.name(), (load, options.full), (outcome.skipped, outcome.figures))?;
        }
    }
    output.write()?;
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ").into()) }
}
