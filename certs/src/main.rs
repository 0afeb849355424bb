//! The program `certs`: makes certificates for development, and prints the settings that use them.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use certs::Order;
use clap::Parser;

/// Makes an authority, a server's certificate and the certificates of agencies, for development.
#[derive(Parser)]
#[command(name = "certs", version)]
struct Arguments {
    /// Agencies 1 to N get a certificate
    #[arg(long, value_name = "N", default_value_t = 5)]
    agencies: u32,
    /// The folder of the files
    #[arg(long, value_name = "FOLDER", default_value = ".data/certs")]
    out: PathBuf,
    /// Days until the certificates expire
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
    /// A name or an address of the server; may be repeated
    #[arg(long = "name", value_name = "NAME", default_values_t = ["server", "localhost", "127.0.0.1", "::1"].map(str::to_owned))]
    names: Vec<String>,
    /// Replace an existing authority and all its certificates
    #[arg(long)]
    replace: bool,
}

fn main() -> ExitCode {
    let Arguments { agencies, out, days, names, replace } = Arguments::parse();
    match certs::write(&Order { out: &out, agencies, days, names: &names, replace }) {
        Ok(()) => {
            // A reader that has gone away is not a failure.
            let _ = io::stdout().write_all(settings(&out.display().to_string(), agencies).as_bytes());
            ExitCode::SUCCESS
        }
        Err(e) => {
            let _ = writeln!(io::stderr(), "certs: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The settings for the server and the agencies.
fn settings(out: &str, agencies: u32) -> String {
    let mut text = format!(
        "server:   TLS_CERTIFICATE={out}/server.pem TLS_KEY={out}/server.key TLS_AGENCY_CA={out}/ca.pem TLS=required\n"
    );
    for agency in (1..=agencies).take(2) {
        let _ = writeln!(
            text,
            "agency {agency}: CLI_TLS_CA={out}/ca.pem CLI_TLS_CERTIFICATE={out}/agency-{agency}.pem CLI_TLS_KEY={out}/agency-{agency}.key"
        );
    }
    if agencies > 2 {
        text.push_str("and so on for the other agencies\n");
    }
    text
}
