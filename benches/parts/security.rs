//! The part `security`: what the sandbox of a child costs a connection, and what TLS costs the ingest.

use std::io;
use std::time::Duration;

use super::bench::{Bench, Outcome};
use super::connections::measured;
use super::load::{BATCH, Load, QUANTITIES, Way};
use super::rounds::{Group, Sample};
use super::servers::{PATIENCE, Server};
use crate::Result;
use crate::report::names;
use crate::traffic::{AGENCIES, Line, Window, echo, tally};

/// Repetitions of the files: a handshake is then a small part of the time.
const REPEAT: u32 = 20;
/// Length of a run of connections. Many short runs are better pairs than few long ones.
const LENGTH: Duration = Duration::from_millis(500);

/// One client with its port and its number.
type Client = fn(u16, u32) -> io::Result<u64>;

/// Measures connections with and without the sandbox, and the project's client with and without TLS.
pub fn measure(bench: &Bench) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let clients: [(&str, Client); 2] = [
        (names::WITH_ECHO, |port, _| echo(port, Line::Sent, LENGTH)),
        (names::WITH_TALLY, |port, agency| tally(port, agency, LENGTH)),
    ];
    for (what, client) in clients {
        let quantities = [(names::CONNECTIONS, "1/s"), ("processor time a connection", "µs")];
        let title = format!("two clients, {what} a connection");
        let mut group = Group::new(title, quantities).compared_with(&names::sandboxed(what, "off"));
        for sandbox in ["off", "on"] {
            group.add(names::sandboxed(what, sandbox), move || connections(bench, sandbox, client));
        }
        outcome.figures.extend(group.measure_warm(bench.rounds(9, 25), &bench.stop)?);
    }
    let folder = tempfile::tempdir()?;
    let names = ["127.0.0.1".to_owned()];
    let order = certs::Order { out: folder.path(), agencies: AGENCIES, days: 1, names: &names, replace: false };
    if let Err(e) = certs::write(&order) {
        outcome.skipped.push(format!("TLS: no certificates: {e}"));
        return Ok(outcome);
    }
    let load = Load::new(bench, REPEAT, BATCH)?;
    let mut group = Group::new(load.title(), QUANTITIES).compared_with(names::PLAINTEXT);
    let server = Server::own(AGENCIES);
    group.add(names::PLAINTEXT, || load.own(server, Window::Default, Way::Direct));
    group.add(names::TLS, || load.own_tls(server, folder.path()));
    outcome.figures.extend(group.measure_warm(bench.rounds(5, 11), &bench.stop)?);
    Ok(outcome)
}

fn connections(bench: &Bench, sandbox: &str, client: Client) -> Result<Sample<2>> {
    let settings = [("SANDBOX", sandbox.to_owned())];
    let mut running = Server::own(AGENCIES).start_in(tempfile::tempdir()?, &settings, (&bench.stop, PATIENCE))?;
    let port = running.port();
    let [connections, rate] = measured(&mut running, (&bench.stop, LENGTH), |number| client(port, number))?;
    Ok([rate, running.stop()?.as_secs_f64() * 1e6 / connections])
}
