//! The steps of a session's child that ends its agency, or meets an ended one (E1 to E6), and the answer to message 6.

use super::books::{Head, Repair, Tally};
use super::client::{self, Client, Phase};
use super::disk::Record;
use super::list::{List, Rows};
use super::session::{Made, at, begin, gone, lock};
use super::settings::{Level, Mechanism, Settings};
use super::world::{Asked, Message, Next, Session, World};

/// Message 4.
pub fn serve(mut world: World, index: usize, settings: &Settings) -> Made {
    let session = world.sessions[index];
    if world.books.is_closed(session.agency) {
        world.sessions[index].inbox.remove(0);
        world.sessions[index].asked = Asked::ToEnd;
        return found_ended(world, index, settings);
    }
    if !settings.has(Mechanism::CloseBeforeSync) && session.asked != Asked::SyncedEarly {
        if settings.level >= Level::End {
            world.bets.sync();
        }
        world.sessions[index].asked = Asked::SyncedEarly;
        return Some(("syncs the bets too early", world));
    }
    let due = lock(&world, settings)?;
    world.sessions[index].inbox.remove(0);
    world.sessions[index].asked = Asked::ToEnd;
    begin(due, "takes the lock to end", world, index, to_close, settings)
}

/// An end syncs all rows anyhow.
fn to_close(due: Option<Repair>) -> Next {
    due.filter(|due| *due != Repair::SyncCut).map_or(Next::Close, Next::RepairForEnd)
}

fn found_ended(world: World, index: usize, settings: &Settings) -> Made {
    let what = "finds its agency ended";
    if world.books.slot(world.sessions[index].agency).is_some_and(|slot| slot.durable) {
        return at(what, world, index, Next::AcknowledgeEnd);
    }
    if world.books.is_doubtful() && settings.has(Mechanism::DoubtStopsCompletion) {
        return at("finds the head doubtful", world, index, Next::ReportBroken);
    }
    at(what, world, index, Next::SyncBets)
}

/// Message 6: reads the slot without the lock.
pub fn read_slot(mut world: World, index: usize, settings: &Settings) -> Made {
    let slot = world.books.slot(world.sessions[index].agency).unwrap_or_default();
    if slot.closed && !slot.durable && settings.has(Mechanism::CompleteFoundEnd) {
        world.sessions[index].asked = Asked::ForTally;
        return found_ended(world, index, settings);
    }
    Some(("gets the tally of its stored bets", answer(world, index, slot.rows, slot.closed, settings)))
}

/// The client knows its tally, and its next messages have arrived; or it is gone, and the answer is lost.
fn answer(mut world: World, index: usize, rows: Rows, ended: bool, settings: &Settings) -> World {
    let Session { agency, connected, .. } = world.sessions[index];
    if settings.level < Level::Batch {
        world.promise_bets(agency, rows.numbers());
    }
    world.sessions[index].next = Next::Idle;
    world.sessions[index].asked = Asked::Nothing;
    if !connected {
        return world;
    }
    if ended {
        world.promise_end(agency, rows);
    }
    let plan = settings.plan(agency);
    let known = if settings.has(Mechanism::AskFirst) || ended { rows } else { Rows::default() };
    let messages = client::after(known, plan).filter(|_| !ended || rows.len() == plan.bets);
    let Some(messages) = messages else {
        world.end_session(index, settings);
        *world.client(agency) = Client { phase: Phase::Failed, connected: false };
        return world;
    };
    if ended {
        world.sessions[index].inbox = List::of(&[Message::Query]);
        *world.client(agency) = Client { phase: Phase::Query, connected: true };
    } else {
        world.sessions[index].inbox = List::of(&messages);
    }
    world
}

/// The next system call.
pub fn go_on(mut world: World, index: usize, settings: &Settings) -> Made {
    let Session { agency, next, warned, .. } = world.sessions[index];
    let syncs = settings.level >= Level::End;
    match next {
        Next::RepairForEnd(step) => {
            let due = world.books.repair(&mut world.bets, step, settings);
            at(step.label(), world, index, to_close(due))
        }
        Next::Close => close(world, index, settings),
        Next::SyncBets | Next::SyncEnd if warned && syncs => fails(world, index, settings),
        Next::SyncBets => {
            if syncs && settings.has(Mechanism::SyncBeforeEnd) && settings.has(Mechanism::CloseBeforeSync) {
                world.bets.sync();
            }
            at("syncs the bets", world, index, Next::WriteEnd)
        }
        Next::WriteEnd => {
            let rows = world.books.rows_of(agency);
            world.draw.write_end(agency, Record::Whole(rows));
            at("writes its end", world, index, Next::SyncEnd)
        }
        Next::SyncEnd => {
            if syncs && settings.has(Mechanism::SyncEnd) {
                world.draw.sync();
            }
            at("syncs its end", world, index, if syncs { Next::MarkDurable } else { Next::AcknowledgeEnd })
        }
        Next::MarkDurable => {
            let slot = world.books.slot(agency).unwrap_or_default();
            world.books.write_slot(agency, Record::Whole(Tally { durable: true, ..slot }), settings);
            at("marks its slot", world, index, Next::AcknowledgeEnd)
        }
        Next::AcknowledgeEnd => Some(acknowledge(world, index, settings)),
        Next::ReportBroken if settings.marks_late && world.is_locked(settings) => None,
        Next::ReportBroken => {
            mark_doubtful(&mut world, settings);
            world.server.stopping |= world.server.is_up() && !world.sessions[index].orphan;
            Some(("reports a failed sync", gone(world, index, settings)))
        }
        _ => None,
    }
}

/// E1.
fn close(mut world: World, index: usize, settings: &Settings) -> Made {
    let agency = world.sessions[index].agency;
    let slot = world.books.slot(agency).unwrap_or_default();
    if slot.closed {
        return found_ended(world, index, settings);
    }
    let tally = Tally { closed: true, durable: false, ..slot };
    world.books.write_slot(agency, Record::Whole(tally), settings);
    at("closes its slot, unlocks", world, index, Next::SyncBets)
}

/// E6.
fn acknowledge(mut world: World, index: usize, settings: &Settings) -> (&'static str, World) {
    let Session { agency, orphan, asked, connected, .. } = world.sessions[index];
    if !orphan {
        world.server.ended.insert(agency);
    }
    let rows = world.books.rows_of(agency);
    if asked == Asked::ForTally {
        return ("gets the tally of its stored bets", answer(world, index, rows, true, settings));
    }
    world.promise_end(agency, rows);
    world.sessions[index].asked = Asked::Nothing;
    world.sessions[index].next = Next::Idle;
    if connected {
        world.sessions[index].inbox.push(Message::Query);
        *world.client(agency) = Client { phase: Phase::Query, connected: true };
    }
    ("acknowledges the end", world)
}

/// A sync has failed: no process may rely on the rows that it can read.
pub fn fails(mut world: World, index: usize, settings: &Settings) -> Made {
    if !settings.marks_late {
        mark_doubtful(&mut world, settings);
    }
    at("gets a report of the failed sync, too", world, index, Next::ReportBroken)
}

/// One step, although it is a write under the lock: the time in between is not modelled.
pub fn mark_doubtful(world: &mut World, settings: &Settings) {
    for half in world.books.head.iter_mut().filter(|_| settings.has(Mechanism::Doubt)) {
        if let Record::Whole(Head { doubtful, .. }) = half {
            *doubtful = true;
        }
    }
}
