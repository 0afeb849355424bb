//! The part `batch`: bets a second by the number of bets in a batch.

use super::bench::{Bench, Outcome};
use super::load::{Load, QUANTITIES, Way};
use super::rounds::Group;
use super::servers::Server;
use crate::Result;
use crate::floor::{Floor, Sync};
use crate::traffic::AGENCIES;

/// Most bets in a batch. The limit of 8000 bytes cuts the batches of these files at about 200.
const SIZES: [u8; 10] = [1, 2, 5, 10, 25, 50, 99, 101, 150, 255];

/// Measures the project's server under the minimal client, and the floor.
pub fn measure(bench: &Bench) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for size in SIZES {
        let load = Load::new(bench, 1, size)?;
        let title = format!("at most {size} bets in a batch; {}", load.title());
        let mut group = Group::new(title, QUANTITIES).compared_with(FLOOR);
        let floor = Server::Floor(Floor::Store(AGENCIES, Sync::AtEnd));
        group.add_point(FLOOR, (FLOOR, size), || load.minimal(floor, Way::Direct));
        group.add_point(SERVER, (SERVER, size), || load.minimal(Server::own(AGENCIES), Way::Direct));
        outcome.figures.extend(group.measure_warm(bench.rounds(3, 9), &bench.stop)?);
    }
    Ok(outcome)
}

const FLOOR: &str = "floor";
const SERVER: &str = "server";
