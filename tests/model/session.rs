//! The steps of a session's child (`src/session/serve.rs`, `Store::store_bets`, `Store::end`, `Store::tally`).

use super::client::Answer;
use super::settings::{Level, Mechanism, Settings};
use super::step::{Label, Step};
use super::world::{Agency, Claim, Draw, Message, Next, Row, Session, Slot, World};

/// The next steps of every session.
pub fn steps(world: &World, settings: &Settings, steps: &mut Vec<Step>) {
    for (index, session) in world.sessions.iter().enumerate().filter(|(_, session)| !session.stopped) {
        let mut to = |what, world| steps.push(Step { label: Label::of(what, session.agency), world });
        if session.next == Next::Idle {
            if let Some((what, world)) = serve(world, index, settings) {
                to(what, world);
            }
            if may_close(world, session) {
                to("its child closes", closed(world, index, settings));
            }
        } else if let Some((what, world)) = go_on(world, index, settings) {
            to(what, world);
        }
    }
}

/// The process ends, in any state: its client sees the close.
pub fn closed(world: &World, index: usize, settings: &Settings) -> World {
    let mut world = world.clone();
    let session = world.sessions.remove(index);
    if session.connected {
        world.clients[usize::from(session.agency)].disconnect(settings);
    }
    world
}

/// Between messages, after an order to stop, without a client, or without a parent (the link is closed). A session that
/// waits for the draw notices when its client hangs up.
fn may_close(world: &World, session: &Session) -> bool {
    let nothing_to_do = session.inbox.iter().all(|message| *message == Message::Query);
    session.orphan || world.server.stopping || (!session.connected && nothing_to_do)
}

/// `Session::serve`: takes the next message.
fn serve(world: &World, index: usize, settings: &Settings) -> Option<(&'static str, World)> {
    let mut world = world.clone();
    let message = *world.sessions[index].inbox.first()?;
    if message == Message::Query {
        return query(world, index, settings);
    }
    let ended = claim(&mut world, index, settings)?;
    world.sessions[index].inbox.remove(0);
    match message {
        Message::Ask if ended => adopted_end(world, index, settings, true),
        Message::Ask => received(world, index, settings, false),
        Message::Batch { .. } if ended => {
            Some(("refused: ended", answered(world, index, Answer::AlreadyEnded, settings)))
        }
        Message::Batch { first, len } => lock(world, index, settings, Next::AppendRows { first, len }),
        Message::End if ended => adopted_end(world, index, settings, false),
        Message::End if settings.level >= Level::End && settings.has(Mechanism::SyncBeforeEnd) => {
            Some(at("takes its end", world, index, Next::SyncBeforeEnd))
        }
        _ => Some(at("takes its end", world, index, Next::LockForEnd)),
    }
}

/// `Session::claim`, `Server::take`, `Claims::claim`: whether the agency has ended; `None` while another child has it.
/// A child without a parent gets no new claim.
fn claim(world: &mut World, index: usize, settings: &Settings) -> Option<bool> {
    let session = &world.sessions[index];
    if let Claim::Held { ended } = session.claim {
        return Some(ended);
    }
    let rival = |other: &Session| other.agency == session.agency && !other.orphan && other.claim != Claim::None;
    if session.orphan || (settings.has(Mechanism::AgencyClaim) && world.sessions.iter().any(rival)) {
        return None;
    }
    let ended = world.server.drawn || world.server.ended[usize::from(session.agency)];
    world.sessions[index].claim = Claim::Held { ended };
    Some(ended)
}

/// The end stands in `ends`, and another process has written it there.
fn adopted_end(world: World, index: usize, settings: &Settings, asked: bool) -> Option<(&'static str, World)> {
    if settings.level >= Level::End && settings.has(Mechanism::SyncAdoptedEnd) {
        return Some(at("finds its agency ended", world, index, Next::SyncAdoptedEnd { asked }));
    }
    acknowledge_adopted(world, index, settings, asked)
}

fn acknowledge_adopted(world: World, index: usize, settings: &Settings, asked: bool) -> Option<(&'static str, World)> {
    if asked { received(world, index, settings, true) } else { acknowledge_end(world, index, settings) }
}

/// `Session::received`: counts up to the committed length, under the lock.
fn received(mut world: World, index: usize, settings: &Settings, ended: bool) -> Option<(&'static str, World)> {
    if world.is_locked(settings) {
        return None;
    }
    let agency = world.sessions[index].agency;
    world.sessions[index].next = Next::Idle;
    if world.repair(settings).is_none() {
        return Some(refused(world, index, settings));
    }
    let count = world.counted(settings)[usize::from(agency)];
    let own = is_prefix(world.visible(settings), agency);
    promise_end(&mut world, agency, ended);
    Some((
        "gets the count of its stored bets",
        answered(world, index, Answer::Received { count, own, ended }, settings),
    ))
}

fn promise_end(world: &mut World, agency: Agency, ended: bool) {
    world.promised.ends[usize::from(agency)] |= ended;
}

/// The meaning of the CRC in message 7.
pub fn is_prefix(rows: &[Row], wanted: Agency) -> bool {
    let mut next = 0..;
    rows.iter().all(|row| match row {
        Row::Whole { agency, number } => *agency != wanted || next.next() == Some(*number),
        Row::Torn => true,
    })
}

/// `Session::winners`: waits for the announcement, then reads the result.
fn query(mut world: World, index: usize, settings: &Settings) -> Option<(&'static str, World)> {
    if !world.server.drawn || world.sessions[index].orphan {
        return None;
    }
    world.sessions[index].inbox.remove(0);
    if world.result(settings).is_none() {
        return Some(("refused: no result", closed(&world, index, settings)));
    }
    world.promised.result = true;
    Some(("gets its winners", answered(world, index, Answer::Winners, settings)))
}

/// `Locked::take`, `Locked::committed`.
fn lock(mut world: World, index: usize, settings: &Settings, next: Next) -> Option<(&'static str, World)> {
    if world.is_locked(settings) {
        return None;
    }
    if world.repair(settings).is_none() {
        return Some(refused(world, index, settings));
    }
    Some(at("takes the lock, cuts the tail", world, index, next))
}

/// `Locked::committed`: of rows that are gone, or where a sync has failed.
fn refused(world: World, index: usize, settings: &Settings) -> (&'static str, World) {
    if world.dropped && settings.has(Mechanism::DoubtRecord) {
        at("finds the record doubtful", world, index, Next::ReportBroken)
    } else {
        ("refused: rows are gone", closed(&world, index, settings))
    }
}

/// The next system call.
fn go_on(world: &World, index: usize, settings: &Settings) -> Option<(&'static str, World)> {
    let mut world = world.clone();
    let agency = world.sessions[index].agency;
    match world.sessions[index].next {
        Next::Idle => None,
        Next::AppendRows { first, len } => {
            append(&mut world, agency, first, len, false);
            Some(at("writes its rows", world, index, Next::WriteRecord { len }))
        }
        Next::WriteRecord { len } => {
            if let Some(committed) = *world.record.read() {
                world.set_record(settings, committed + len);
            }
            let syncs = settings.level >= Level::Batch && settings.has(Mechanism::SyncBatch);
            let next = if syncs { Next::SyncBatch { len } } else { Next::AcknowledgeBatch { len } };
            Some(at("writes the record, unlocks", world, index, next))
        }
        Next::AcknowledgeBatch { len } => {
            let stored = world.counted(settings)[usize::from(agency)];
            world.promised.bets[usize::from(agency)] = stored.max(world.promised.bets[usize::from(agency)]);
            Some(("acknowledges a batch", answered(world, index, Answer::Stored(len), settings)))
        }
        Next::LockForEnd => {
            let at = world.ends.read().iter().filter(|slot| **slot != Slot::Short).count() as u8;
            lock(world, index, settings, Next::WriteEnd { at })
        }
        Next::WriteEnd { at: place } => {
            write_end(&mut world, agency, place);
            let syncs = settings.level >= Level::End && settings.has(Mechanism::SyncEnd);
            let next = if syncs { Next::SyncEnd } else { Next::AcknowledgeEnd };
            Some(at("writes its end", world, index, next))
        }
        Next::AcknowledgeEnd => acknowledge_end(world, index, settings),
        Next::SyncBatch { .. } | Next::SyncBeforeEnd | Next::SyncEnd | Next::SyncAdoptedEnd { .. } => {
            sync(world, index, settings)
        }
        Next::ReportBroken => {
            world.server.stopping |= !world.sessions[index].orphan;
            Some(("reports a failed sync", closed(&world, index, settings)))
        }
    }
}

fn sync(mut world: World, index: usize, settings: &Settings) -> Option<(&'static str, World)> {
    if world.sessions[index].warned {
        return Some(at("gets a report of the failed sync, too", world, index, Next::ReportBroken));
    }
    match world.sessions[index].next {
        Next::SyncBatch { len } => {
            world.bets.sync();
            Some(at("syncs its batch", world, index, Next::AcknowledgeBatch { len }))
        }
        Next::SyncBeforeEnd => {
            world.bets.sync();
            Some(at("syncs the bets", world, index, Next::LockForEnd))
        }
        Next::SyncEnd => {
            world.ends.sync();
            Some(at("syncs the ends", world, index, Next::AcknowledgeEnd))
        }
        Next::SyncAdoptedEnd { asked } => {
            world.ends.sync();
            acknowledge_adopted(world, index, settings, asked)
        }
        _ => None,
    }
}

/// Reports the end and acknowledges it.
fn acknowledge_end(mut world: World, index: usize, settings: &Settings) -> Option<(&'static str, World)> {
    let Session { agency, orphan, .. } = world.sessions[index];
    if !orphan {
        world.server.ended[usize::from(agency)] = true;
    }
    world.sessions[index].claim = Claim::Held { ended: true };
    promise_end(&mut world, agency, true);
    Some(("acknowledges the end", answered(world, index, Answer::Ended, settings)))
}

/// Rows at the end of the file, in one write; `torn`: a part of the next row follows.
pub fn append(world: &mut World, agency: Agency, first: u8, len: u8, torn: bool) {
    let mut rows = world.bets.read().clone();
    let whole = (first..first + len).map(|number| Row::Whole { agency, number });
    for row in whole.chain(torn.then_some(Row::Torn)) {
        rows.push(row);
        world.bets.write(rows.clone());
    }
}

/// `ends::append`, after the ends that were counted before.
fn write_end(world: &mut World, agency: Agency, place: u8) {
    if world.ends.read().contains(&Slot::Whole(agency)) {
        return;
    }
    world.ends.may_reach_disk(with_slot(world, place, Slot::Garbled(agency)));
    world.ends.write(with_slot(world, place, Slot::Whole(agency)));
}

pub fn with_slot(world: &World, place: u8, slot: Slot) -> Vec<Slot> {
    let mut slots = world.ends.read().clone();
    slots.truncate(usize::from(place).max(slots.iter().filter(|slot| **slot != Slot::Short).count()));
    match slots.get_mut(usize::from(place)) {
        Some(there) => *there = slot,
        None => slots.push(slot),
    }
    slots
}

/// The client has the answer, and its next messages have arrived; or the client is gone, and the answer is lost.
fn answered(mut world: World, index: usize, answer: Answer, settings: &Settings) -> World {
    let session = &mut world.sessions[index];
    session.next = Next::Idle;
    if session.connected {
        let agency = usize::from(session.agency);
        session.inbox.extend(world.clients[agency].take(answer, settings.plans[agency]));
    }
    world
}

fn at(what: &'static str, mut world: World, index: usize, next: Next) -> (&'static str, World) {
    world.sessions[index].next = next;
    (what, world)
}

/// The contents that a kill amid the current system call may leave, apart from none and all of it.
pub fn half_done(world: &World, next: Next, agency: Agency) -> Vec<World> {
    let mut left = Vec::new();
    match next {
        Next::AppendRows { first, len } => {
            for whole in 0..len {
                let mut world = world.clone();
                append(&mut world, agency, first, whole, true);
                left.push(world);
            }
        }
        Next::WriteEnd { at } if !world.ends.read().contains(&Slot::Whole(agency)) => {
            let mut world = world.clone();
            let slots = with_slot(&world, at, Slot::Short);
            world.ends.write(slots);
            left.push(world);
        }
        _ => {}
    }
    left
}

/// The result as it may be in the file amid a write.
pub const HALF_A_RESULT: [Draw; 2] = [Draw::Empty, Draw::Torn];
