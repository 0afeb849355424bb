//! The part `flat`: whether the cost of a message depends on the number of agencies or on the bets stored; and a start
//! and a draw, whose cost does.
//!
//! Owns servers that run at the same time and are measured in turn. Each adopts a `bets.csv` that was written for it.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `stored` | the file of the bets |
//! | `messages` | the messages of a round, and their times |
//! | `member` | a server, its starts and its draw |

mod member;
mod messages;
mod stored;

use std::slice;

use self::member::Member;
use self::messages::REPETITIONS;
use super::bench::{Bench, Outcome};
use super::rounds::Sample;
use crate::Result;
use crate::process::OneProcessor;
use crate::report::{Figure, names};

/// Number of agencies of a small server and of a large one.
const AGENCIES: [u32; 2] = [10, 10_000];
/// Bets of a small server: about 1 MB.
const FEW: u32 = 20_000;
const MILLION: u32 = 1_000_000;
/// Most rounds: in each, one more of the agencies before the sender ends.
const MOST_ROUNDS: u32 = AGENCIES[0] - 2;
/// The server that all others are compared with.
const SMALLEST: &str = "10 agencies, few bets";

/// Samples of members in turn: rounds, and in each the members.
type Rounds<const N: usize> = Vec<Vec<Sample<N>>>;

/// Measures all servers.
pub fn measure(bench: &Bench) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let many = MILLION * bench.millions.unwrap_or(bench.extent.of(10, 100));
    let mut members = start(bench, many, &mut outcome)?;
    let rounds = bench.rounds(4, 8).min(MOST_ROUNDS);
    let title = format!("few: {FEW} bets, many: {many}; {REPETITIONS} messages of each kind a round");
    let [tally, batch, end, winners] = names::MESSAGES.map(|name| (name, "µs"));

    let bound = OneProcessor::bind(members.iter().map(Member::pid))?;
    let mut times = Rounds::new();
    for round in 0..=rounds {
        times.push(in_turn(bench, &mut members, |member| member.play_round(round, &bench.stop))?);
    }
    let quantities = [tally, batch, end, ("processor time of an end", "µs")];
    outcome.figures.extend(figures((&title, Some(SMALLEST)), &members, quantities, &times[1..]));

    // A draw may use all processors.
    drop(bound);
    let mut draws = vec![in_turn(bench, &mut members, |member| member.hold_draw(&bench.stop))?];
    for _ in 1..bench.rounds(2, 3) {
        members = members.into_iter().map(|member| member.without_draw(&bench.stop)).collect::<Result<_>>()?;
        draws.push(in_turn(bench, &mut members, |member| member.hold_draw(&bench.stop))?);
    }
    outcome.figures.extend(figures(
        (&title, Some(SMALLEST)),
        &members,
        [("time of the draw", "s"), (names::SCAN, "GB/s")],
        &draws,
    ));

    let bound = OneProcessor::bind(members.iter().map(Member::pid))?;
    let mut queries = Rounds::new();
    for _ in 0..=rounds {
        queries.push(in_turn(bench, &mut members, |member| member.ask_for_winners(&bench.stop))?);
    }
    outcome.figures.extend(figures((&title, Some(SMALLEST)), &members, [winners], &queries[1..]));
    drop(bound);
    members.into_iter().try_for_each(Member::stop)?;
    Ok(outcome)
}

/// Starts the servers, and adds the figures of their starts.
fn start(bench: &Bench, many: u32, outcome: &mut Outcome) -> Result<Vec<Member>> {
    let [few_agencies, many_agencies] = AGENCIES;
    let mut servers =
        vec![(few_agencies, FEW, "few"), (few_agencies, MILLION, "1 million"), (few_agencies, many, "many")];
    match bench.too_many(many_agencies) {
        Some(reason) => outcome.skipped.push(reason),
        None => servers.extend([(many_agencies, FEW, "few"), (many_agencies, many, "many")]),
    }
    let title = format!("starts; few: {FEW} bets, many: {many}");
    let mut members = Vec::new();
    for (agencies, bets, word) in servers {
        let name = format!("{agencies} agencies, {word} bets");
        let (member, starts) = Member::start(name, agencies, bets, bench.rounds(2, 3), &bench.stop)?;
        let starts: Rounds<5> = starts.into_iter().map(|start| vec![start]).collect();
        outcome.figures.extend(figures((&title, None), slice::from_ref(&member), member::STARTS, &starts));
        members.push(member);
    }
    Ok(members)
}

/// Calls `measure` for each member.
fn in_turn<const N: usize>(
    bench: &Bench,
    members: &mut [Member],
    mut measure: impl FnMut(&mut Member) -> Result<Sample<N>>,
) -> Result<Vec<Sample<N>>> {
    let mut run = |member: &mut Member| {
        bench.stop.check()?;
        measure(member).map_err(|e| format!("{}: {e}", member.name).into())
    };
    members.iter_mut().map(&mut run).collect()
}

fn figures<const N: usize>(
    (title, base): (&str, Option<&str>),
    members: &[Member],
    quantities: [(&str, &str); N],
    rounds: &[Vec<Sample<N>>],
) -> Vec<Figure> {
    let figure = |at: usize, quantity: usize| Figure {
        group: title.to_owned(),
        subject: members[at].name.clone(),
        quantity: quantities[quantity].0.to_owned(),
        unit: quantities[quantity].1.to_owned(),
        base: base.map(str::to_owned),
        point: None,
        samples: rounds.iter().map(|members| members[at][quantity]).collect(),
    };
    (0..members.len()).flat_map(|at| (0..N).map(move |quantity| (at, quantity))).map(|(at, q)| figure(at, q)).collect()
}
