//! The part `distance`: bets a second through a relay that delays each direction by 5 ms.

use super::bench::{Bench, Outcome};
use super::ingest::{WINDOWS, window};
use super::load::{BATCH, Load, QUANTITIES, Way};
use super::rounds::Group;
use super::servers::Server;
use crate::Result;
use crate::relay::DELAY;
use crate::report::names;
use crate::traffic::AGENCIES;

/// Measures the project's server under the minimal client and its own one.
pub fn measure(bench: &Bench) -> Result<Outcome> {
    let load = Load::new(bench, 1, BATCH)?;
    let title = format!("round trip of {} ms; {}", 2 * DELAY.as_millis(), load.title());
    let server = Server::own(AGENCIES);
    let mut group = Group::new(title, QUANTITIES).compared_with(names::SERVER);
    group.add(names::SERVER, || load.minimal(server, Way::Relay));
    for size in WINDOWS {
        let load = &load;
        group.add(names::own(size), move || load.own(server, window(size), Way::Relay));
    }
    let figures = group.measure(bench.rounds(3, 7), &bench.stop)?;
    Ok(Outcome { figures, ..Outcome::default() })
}
