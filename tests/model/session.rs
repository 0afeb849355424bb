//! The steps of a session's child: its messages, and how it stores a group of batches (steps 1 to 6).

use super::books::{Head, Refused, Repair, Tally};
use super::client::{self, Client, Phase};
use super::disk::{Cell, Record};
use super::end;
use super::list::{List, UNTYPED};
use super::settings::{Level, Mechanism, Settings};
use super::step::{Label, Step};
use super::world::{Batch, Message, Next, Session, Untyped, World, untyped_row};

/// A step of one session: its label and the state after it.
pub type Made = Option<(&'static str, World)>;

/// The next steps of every session.
pub fn steps(world: &World, settings: &Settings, steps: &mut Vec<Step>) {
    for (index, session) in world.sessions.iter().enumerate().filter(|(_, session)| !session.stopped) {
        let made = if session.next == Next::Idle {
            serve(world.clone(), index, settings)
        } else {
            go_on(world.clone(), index, settings)
        };
        steps.extend(made.map(|(what, world)| Step { label: Label::by(what, session), world }));
        if world.server.stopping && session.next == Next::Idle && !session.orphan {
            steps.push(Step { label: Label::by("stops", session), world: gone(world.clone(), index, settings) });
        }
    }
}

/// A connection, and the client's first message.
pub fn connect(world: &World, settings: &Settings, steps: &mut Vec<Step>) {
    if !world.server.is_up() || world.server.stopping || world.sessions.len() >= settings.most_sessions {
        return;
    }
    for agency in settings.agencies() {
        let Client { phase, connected } = world.clients[usize::from(agency)];
        let own = |session: &&Session| session.agency == agency && session.untyped.is_none();
        let is_active = matches!(phase, Phase::Deliver | Phase::Query) && !connected;
        if is_active && world.sessions.iter().filter(own).count() < 2 {
            let mut world = world.clone();
            let inbox = List::of(&[Message::Ask]);
            world.sessions.push(Session { agency, inbox, connected: true, ..Session::default() });
            world.client(agency).connected = true;
            steps.push(Step { label: Label::of("connects", agency), world });
        }
    }
    for (sender, &agency) in (0u8..).zip(&settings.untyped) {
        if world.untyped[usize::from(sender)] == Untyped::Waits {
            let mut world = world.clone();
            world.untyped[usize::from(sender)] = Untyped::Sent;
            let inbox = List::of(&[Message::Batch(Batch { first: untyped_row(sender), len: 1 })]);
            let session = Session { agency, untyped: Some(sender), inbox, ..Session::default() };
            world.sessions.push(session);
            steps.push(Step { label: Label::by("connects", &session), world });
        }
    }
}

pub fn gone(mut world: World, index: usize, settings: &Settings) -> World {
    world.end_session(index, settings);
    world
}

pub fn at(what: &'static str, mut world: World, index: usize, next: Next) -> Made {
    world.sessions[index].next = next;
    Some((what, world))
}

/// Takes the next message.
fn serve(mut world: World, index: usize, settings: &Settings) -> Made {
    let Session { inbox, connected, orphan, .. } = world.sessions[index];
    match inbox.first() {
        None if !connected || orphan => Some(("closes", gone(world, index, settings))),
        None => None,
        Some(Message::Ask) => claim(world, index, settings),
        Some(Message::Batch(_)) => {
            let due = lock(&world, settings)?;
            let session = &mut world.sessions[index];
            while let Some(&Message::Batch(batch)) = session.inbox.first() {
                session.group.push(batch);
                session.inbox.remove(0);
            }
            begin(due, "takes the lock", world, index, |due| due.map_or(Next::AppendRows, Next::Repair), settings)
        }
        Some(Message::End) => end::serve(world, index, settings),
        Some(Message::Query) => query(world, index, settings),
    }
}

/// The repair that is due after the lock was taken; `None` while another process holds it.
pub fn lock(world: &World, settings: &Settings) -> Option<Result<Option<Repair>, Refused>> {
    (!world.is_locked(settings)).then(|| world.books.due(&world.bets, settings))
}

/// Goes on under the lock, or refuses with code 4.
pub fn begin(
    due: Result<Option<Repair>, Refused>,
    what: &'static str,
    world: World,
    index: usize,
    next: impl Fn(Option<Repair>) -> Next,
    settings: &Settings,
) -> Made {
    match due {
        Ok(due) => at(what, world, index, next(due)),
        Err(Refused) if world.books.is_doubtful() => at("finds the head doubtful", world, index, Next::ReportBroken),
        Err(Refused) => Some(("refused: rows are gone", gone(world, index, settings))),
    }
}

/// A child without a parent gets no new claim.
fn claim(mut world: World, index: usize, settings: &Settings) -> Made {
    let Session { agency, orphan, connected, .. } = world.sessions[index];
    if orphan {
        return None;
    }
    let mut others = world.sessions.iter().enumerate().filter(|(other, _)| *other != index);
    if settings.has(Mechanism::Claim) && others.any(|(_, other)| other.agency == agency && other.claims) {
        return (!connected).then(|| ("refused: connected elsewhere", gone(world, index, settings)));
    }
    world.sessions[index].inbox.remove(0);
    world.sessions[index].claims = true;
    at("claims its agency", world, index, Next::ReadSlot)
}

/// The winners, once the draw is held.
fn query(mut world: World, index: usize, settings: &Settings) -> Made {
    let Session { agency, connected, orphan, .. } = world.sessions[index];
    if !connected {
        return Some(("closes", gone(world, index, settings)));
    }
    if !world.server.drawn || orphan {
        return None;
    }
    world.sessions[index].inbox.remove(0);
    let found = world.draw.held_result();
    if found.is_none() {
        world.broken = Some("one draw: a client asks for a result that is not there");
    } else if world.promised.result.is_some_and(|reported| Some(reported) != found) {
        world.broken = Some("one draw: another result is reported");
    }
    world.promised.result = found;
    *world.client(agency) = Client { phase: Phase::Done, connected: true };
    Some(("gets its winners", world))
}

/// The next system call.
fn go_on(mut world: World, index: usize, settings: &Settings) -> Made {
    let session = world.sessions[index];
    match session.next {
        Next::Idle => None,
        Next::ReadSlot => end::read_slot(world, index, settings),
        Next::Repair(Repair::SyncCut) if session.warned => end::fails(world, index, settings),
        Next::Repair(step) => {
            let due = world.books.repair(&mut world.bets, step, settings);
            at(step.label(), world, index, due.map_or(Next::AppendRows, Next::Repair))
        }
        Next::AppendRows => append_rows(world, index, settings),
        Next::WriteSlot => write_slot(world, index, settings),
        Next::WriteHead => write_head(world, index, settings),
        Next::AppendRowsLast => {
            commit_head(&mut world, session, settings);
            append(&mut world, session, session.rows_len(), false);
            at("writes the head, then its rows", world, index, committed(settings))
        }
        Next::SyncGroup if session.warned => end::fails(world, index, settings),
        Next::SyncGroup => {
            world.bets.sync();
            at("syncs its group", world, index, Next::Acknowledge)
        }
        Next::Acknowledge => acknowledge(world, index, settings),
        _ => end::go_on(world, index, settings),
    }
}

/// Step 3. A closed slot refuses the group.
fn append_rows(mut world: World, index: usize, settings: &Settings) -> Made {
    let session = world.sessions[index];
    if world.books.is_closed(session.agency) && settings.has(Mechanism::ClosedUnderLock) {
        return Some(("refused: ended", gone(world, index, settings)));
    }
    if !settings.has(Mechanism::RowsBeforeSlot) {
        let begin = world.bets.len();
        commit_slot(&mut world, session, begin, settings);
        return at("writes the slot first", world, index, Next::AppendRowsLast);
    }
    append(&mut world, session, session.rows_len(), false);
    at("writes its rows", world, index, Next::WriteSlot)
}

/// Step 4: the commit.
fn write_slot(mut world: World, index: usize, settings: &Settings) -> Made {
    let session = world.sessions[index];
    if !settings.has(Mechanism::SlotBeforeHead) {
        let head = world.books.head().unwrap_or_default();
        let head = Head { seq: head.seq + 1, len: world.bets.len() as u8, cut: false, ..head };
        world.books.write_head(Record::Whole(head), settings);
        return at("writes the head first", world, index, Next::WriteHead);
    }
    // Without the life lock, another start may have cut off these rows.
    let begin = world.bets.len().saturating_sub(session.rows_len());
    commit_slot(&mut world, session, begin, settings);
    at("writes its slot", world, index, Next::WriteHead)
}

/// Step 5, and the unlock.
fn write_head(mut world: World, index: usize, settings: &Settings) -> Made {
    let session = world.sessions[index];
    if !settings.has(Mechanism::SlotBeforeHead) {
        let Head { seq, len, .. } = world.books.head().unwrap_or_default();
        let slot = world.books.slot(session.agency).unwrap_or_default();
        let tally = Tally { seq, end: len, rows: slot.rows.followed_by(session.rows()), ..slot };
        world.books.write_slot(session.agency, Record::Whole(tally), settings);
        return at("writes its slot last", world, index, committed(settings));
    }
    commit_head(&mut world, session, settings);
    at("writes the head, unlocks", world, index, committed(settings))
}

pub fn committed(settings: &Settings) -> Next {
    if settings.level == Level::Batch { Next::SyncGroup } else { Next::Acknowledge }
}

/// The first `whole` rows of the group in one write; `torn`: a part of the next row follows.
pub fn append(world: &mut World, session: Session, whole: usize, torn: bool) {
    let rows = session.rows().take(whole).map(|number| Cell::row(session.agency, number));
    world.bets.append(rows.chain(torn.then_some(Cell::TORN)));
}

fn commit_slot(world: &mut World, session: Session, begin: usize, settings: &Settings) {
    let seq = world.books.head().unwrap_or_default().seq + 1;
    let slot = world.books.slot(session.agency).unwrap_or_default();
    let end = (begin + session.rows_len()) as u8;
    let tally = Tally { seq, end, rows: slot.rows.followed_by(session.rows()), ..slot };
    world.books.write_slot(session.agency, Record::Whole(tally), settings);
}

pub fn commit_head(world: &mut World, session: Session, settings: &Settings) {
    let head = world.books.head().unwrap_or_default();
    let slot = world.books.slot(session.agency);
    let new = slot.map_or(head, |slot| Head { seq: slot.seq, len: slot.end, cut: false, ..head });
    world.books.write_head(Record::Whole(new), settings);
}

/// One batch of the group. After the last one, the client's next messages have arrived.
fn acknowledge(mut world: World, index: usize, settings: &Settings) -> Made {
    let session = world.sessions[index];
    let Session { agency, group, connected, .. } = session;
    world.promise_bets(agency, group[0].numbers().collect());
    if let Some(sender) = session.untyped {
        world.untyped[usize::from(sender)] = Untyped::Acknowledged;
        return Some(("acknowledges", gone(world, index, settings)));
    }
    world.sessions[index].group.remove(0);
    if group.len() > 1 {
        return Some(("acknowledges a batch", world));
    }
    let known = world.books.rows_of(agency).iter().filter(|&number| number < UNTYPED).collect();
    let more = client::after(known, settings.plan(agency)).filter(|_| connected).unwrap_or_default();
    more.into_iter().for_each(|message| world.sessions[index].inbox.push(message));
    at("acknowledges", world, index, Next::Idle)
}

/// The contents that a kill amid the next system call may leave, apart from none and all of it.
pub fn half_done(world: &World, session: Session, settings: &Settings) -> Vec<World> {
    let mut left = Vec::new();
    let mut leaves = |change: &dyn Fn(&mut World)| {
        let mut world = world.clone();
        change(&mut world);
        left.push(world);
    };
    match session.next {
        Next::AppendRows if settings.has(Mechanism::RowsBeforeSlot) => {
            for whole in 0..session.rows_len() {
                if whole > 0 {
                    leaves(&|world| append(world, session, whole, false));
                }
                leaves(&|world| append(world, session, whole, true));
            }
        }
        Next::AppendRowsLast => {
            leaves(&|world| commit_head(world, session, settings));
            leaves(&|world| {
                commit_head(world, session, settings);
                append(world, session, 0, true);
            });
        }
        Next::WriteSlot | Next::Close | Next::MarkDurable => {
            leaves(&|world| world.books.write_slot(session.agency, Record::Damaged, settings));
        }
        Next::WriteHead | Next::Repair(Repair::RollForward | Repair::SetCutFlag) => {
            leaves(&|world| world.books.write_head(Record::Damaged, settings));
        }
        Next::RepairForEnd(Repair::RollForward | Repair::SetCutFlag) => {
            leaves(&|world| world.books.write_head(Record::Damaged, settings));
        }
        Next::WriteEnd if !world.draw.end(session.agency).is_whole() => leaves(&|world| {
            world.draw.write_end(session.agency, Record::Damaged);
            // A power cut that follows makes this a damage.
            world.excuse(settings);
        }),
        _ => {}
    }
    left
}
