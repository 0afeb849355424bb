//! The parts `ingest` and `durable`: bets a second of clients and servers, against the floors, Redis and PostgreSQL.

use std::cell::RefCell;

use super::bench::{Bench, Outcome};
use super::load::{BATCH, Load, QUANTITIES, Way};
use super::rounds::{Group, Sample};
use super::servers::{Durability, Server};
use crate::Result;
use crate::floor::{Floor, Sync};
use crate::peers::{Commit, Postgres, Redis};
use crate::report::names;
use crate::traffic::{AGENCIES, Window};

/// Windows of the project's client; `None` is its default.
pub const WINDOWS: [Option<u32>; 4] = [Some(1), Some(4), Some(16), None];
/// Commands that a pipelining client of Redis sends before it waits.
const IN_FLIGHT: usize = 16;

/// The setting for one of [`WINDOWS`].
pub fn window(window: Option<u32>) -> Window {
    window.map_or(Window::Default, Window::Of)
}

/// Bets that need not be durable when they are acknowledged.
pub fn measure(bench: &Bench) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let redis = start(Redis::start(&bench.files.rows(), BATCH, &bench.stop)?, "redis-server", &mut outcome);
    let postgres = start(Postgres::start(&bench.files.rows(), BATCH, &bench.stop)?, "PostgreSQL", &mut outcome);
    for (repeat, rounds) in [(1, bench.rounds(7, 15)), (20, bench.rounds(5, 11))] {
        let load = Load::new(bench, repeat, BATCH)?;
        let mut group = Group::new(load.title(), QUANTITIES).compared_with(names::FLOCK);
        add_own(&mut group, &load, names::FLOCK, Sync::AtEnd, Durability::End);
        let process = Server::Own { agencies: AGENCIES, durability: Durability::Process };
        group.add("server, DURABILITY=process, minimal client", || load.minimal(process, Way::Direct));
        for size in [Some(1), None] {
            let name = format!("server, DURABILITY=process, own client, {}", in_words(size));
            let load = &load;
            group.add(name, move || load.own(process, window(size), Way::Direct));
        }
        if let Some(redis) = &redis {
            for (name, in_flight) in [(names::REDIS, 1), (names::REDIS_PIPELINED, IN_FLIGHT)] {
                let load = &load;
                group.add(name, move || {
                    let took = redis.borrow_mut().play(repeat, in_flight, load.limit())?;
                    Ok(peer(load, took))
                });
            }
        }
        if let Some(postgres) = &postgres {
            add_postgres(&mut group, &load, postgres, Commit::Later, repeat);
        }
        outcome.figures.extend(group.measure_warm(rounds, &bench.stop)?);
    }
    Ok(outcome)
}

/// Bets that must be durable when they are acknowledged.
pub fn measure_durable(bench: &Bench) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let postgres = start(Postgres::start(&bench.files.rows(), BATCH, &bench.stop)?, "PostgreSQL", &mut outcome);
    for (repeat, rounds) in [(1, bench.rounds(3, 9)), (bench.extent.of(4, 20), bench.rounds(3, 5))] {
        let load = Load::new(bench, repeat, BATCH)?;
        let mut group = Group::new(load.title(), QUANTITIES).compared_with(names::FDATASYNC);
        add_own(&mut group, &load, names::FDATASYNC, Sync::EachBatch, Durability::Batch);
        if let Some(postgres) = &postgres {
            add_postgres(&mut group, &load, postgres, Commit::Durable, repeat);
        }
        outcome.figures.extend(group.measure_warm(rounds, &bench.stop)?);
    }
    Ok(outcome)
}

/// Shares a peer between subjects; notes that it is not installed.
fn start<T>(peer: Option<T>, name: &str, outcome: &mut Outcome) -> Option<RefCell<T>> {
    if peer.is_none() {
        outcome.skipped.push(format!("{name} is not installed"));
    }
    peer.map(RefCell::new)
}

/// Adds a floor, and the project's server with the minimal client and its own one.
fn add_own<'a>(group: &mut Group<'a, 3>, load: &'a Load<'_>, floor: &str, sync: Sync, durability: Durability) {
    group.add(floor, move || load.minimal(Server::Floor(Floor::Store(AGENCIES, sync)), Way::Direct));
    let server = Server::Own { agencies: AGENCIES, durability };
    group.add(names::SERVER, move || load.minimal(server, Way::Direct));
    for size in WINDOWS {
        group.add(names::own(size), move || load.own(server, window(size), Way::Direct));
    }
}

fn add_postgres<'a>(
    group: &mut Group<'a, 3>,
    load: &'a Load<'_>,
    postgres: &'a RefCell<Postgres>,
    commit: Commit,
    repeat: u32,
) {
    let name = if commit == Commit::Durable { names::COPY_DURABLE } else { names::COPY_LATER };
    group.add(name, move || Ok(peer(load, postgres.borrow_mut().play(repeat, commit, load.limit())?)));
}

/// The figures of a peer: it knows no winners, and its processor time is not comparable.
fn peer(load: &Load<'_>, took: std::time::Duration) -> Sample<3> {
    [load.rate(took), f64::NAN, f64::NAN]
}

fn in_words(window: Option<u32>) -> String {
    window.map_or_else(|| "default window".to_owned(), |window| format!("window {window}"))
}
