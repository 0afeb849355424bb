//! A start (S1 to S6): reads all files, decides, and only then changes them.

use super::books::{Books, Evidence, Head, Presence, Tally};
use super::disk::Record;
use super::list::{Agency, Set};
use super::settings::{Fault, Mechanism, Settings};
use super::step::{Label, Step};
use super::world::{Server, State, Taken, World};

pub fn steps(world: &World, settings: &Settings, steps: &mut Vec<Step>) {
    if !is_possible(world, settings) {
        return;
    }
    for found in read_from_disk(world, settings) {
        match decide(&found, settings) {
            Err(refusal) => steps.push(refused(found, refusal)),
            Ok(decision) => {
                let mut made = changes(found, &decision, settings);
                let served = made.pop().map(serve);
                steps.extend(served.map(|world| Step { label: Label::new("the server starts"), world }));
                if settings.kinds.contains(&Fault::KillParent) && world.faults_left > 0 {
                    steps.extend(made.into_iter().map(killed));
                }
            }
        }
    }
}

/// S1: the previous server and its children are gone, or the life lock does not stop a second one.
fn is_possible(world: &World, settings: &Settings) -> bool {
    let mut own = world.sessions.iter().filter(|session| !session.orphan);
    let is_down = match world.server.state {
        State::Down => true,
        State::Up => world.server.stopping && own.next().is_none(),
        State::Refused => false,
    };
    is_down && world.drawing.is_none() && (world.sessions.is_empty() || !settings.has(Mechanism::LifeLock))
}

fn killed(mut world: World) -> Step {
    world.faults_left -= 1;
    Step { label: Label::new("a start is killed amid its changes").fault(), world }
}

/// Exit code 4.
fn refused(mut world: World, (what, agency): Refusal) -> Step {
    world.server.state = State::Refused;
    if !world.harm.done && !world.harm.lenient {
        world.broken = Some(what);
    }
    Step { label: Label { agency, ..Label::new(what) }, world }
}

/// S2: the contents that may be found after a sync of `bets.csv` and `draw` and a read from the disk.
fn read_from_disk(world: &World, settings: &Settings) -> Vec<World> {
    let mut world = world.clone();
    world.server = Server::DOWN;
    world.bets.sync();
    world.draw.sync();
    if std::mem::take(&mut world.dropped) {
        // It is dropped, as by a power cut.
        world.cancel_promises(settings);
    }
    if !settings.has(Mechanism::ReadFromDisk) || !(world.bets.deaf || world.draw.deaf) {
        return vec![world];
    }
    let mut found = Vec::new();
    for bets in world.bets.after_power_cut() {
        for draw in world.draw.after_power_cut(settings) {
            found.push(World { bets, draw, ..world.clone() });
        }
    }
    found
}

/// The reason for exit code 4, and the agency.
type Refusal = (&'static str, Option<Agency>);

/// The changes that a start is going to make.
struct Decision {
    committed: usize,
    /// Closed slots without an end.
    missing: Set,
    held: Option<Taken>,
}

fn decide(world: &World, settings: &Settings) -> Result<Decision, Refusal> {
    let books = &world.books;
    if world.draw.removed && books.presence != Presence::Removed && settings.has(Mechanism::DrawMustExist) {
        return Err(("exit 4: draw is gone", None));
    }
    if books.presence == Presence::Foreign {
        return Err(("exit 4: books is not ours", None));
    }
    let this_boot = books.presence == Presence::Ours && (books.same_boot || !settings.has(Mechanism::BootId));
    let doubtful = books.is_doubtful() && settings.has(Mechanism::Doubt);
    if this_boot && !doubtful { of_this_boot(world, settings) } else { of_another_boot(world, this_boot, settings) }
}

/// The books are believed.
fn of_this_boot(world: &World, settings: &Settings) -> Result<Decision, Refusal> {
    let head = world.books.head().ok_or(("exit 4: no head", None))?;
    let bets = &world.bets;
    let unfinished = world.books.commit_after(head.seq).filter(|_| settings.has(Mechanism::RollForward));
    let unfinished = unfinished.filter(|tally| usize::from(tally.end) <= bets.len());
    let committed = usize::from(unfinished.map_or(head.len, |tally| tally.end));
    if bets.len() < committed {
        return Err(("exit 4: rows are gone", None));
    }
    if bets.valid_run() < committed {
        return Err(("exit 4: damaged row", None));
    }
    if settings.has(Mechanism::LongestTail) && bets.len() - committed > settings.largest_group() {
        return Err(("exit 4: books is older than bets.csv", None));
    }
    let mut missing = Set::EMPTY;
    for agency in settings.agencies() {
        let slot = world.books.slot(agency).unwrap_or_default();
        let rows = bets.rows_of(agency, committed);
        let refuse = |what| Err((what, Some(agency)));
        match world.draw.end(agency) {
            _ if settings.has(Mechanism::CompareSlots) && slot.rows != rows => {
                return refuse("exit 4: its rows are not those of the books");
            }
            Record::Zeros | Record::Damaged if slot.closed => missing.insert(agency),
            Record::Zeros => {}
            Record::Damaged => return refuse("exit 4: its end is damaged"),
            Record::Whole(_) if !slot.closed => return refuse("exit 4: the books do not know its end"),
            Record::Whole(end) if end != rows && settings.has(Mechanism::CompareEnds) => {
                return refuse("exit 4: it has ended with other rows");
            }
            Record::Whole(_) => {}
        }
    }
    Ok(Decision { committed, missing, held: held(world, true, head.drawn, settings)? })
}

/// The books are only evidence; those of this boot are doubtful, and limit the committed length.
fn of_another_boot(world: &World, this_boot: bool, settings: &Settings) -> Result<Decision, Refusal> {
    let books = &world.books;
    let limit = books.head().filter(|_| this_boot).map_or(usize::MAX, |_| books.committed(&world.bets, settings));
    let committed = world.bets.valid_run().min(limit);
    let evidence = match books.presence {
        Presence::Ours if this_boot => books.as_evidence(),
        Presence::Ours => books.evidence,
        Presence::Removed | Presence::Foreign => Evidence::default(),
    };
    for agency in settings.agencies() {
        let refuse = |what| Err((what, Some(agency)));
        match world.draw.end(agency) {
            Record::Damaged => return refuse("exit 4: its end is damaged"),
            Record::Zeros if evidence.ends.contains(agency) && settings.has(Mechanism::Evidence) => {
                return refuse("exit 4: its end is gone");
            }
            Record::Whole(end)
                if end != world.bets.rows_of(agency, committed) && settings.has(Mechanism::CompareEnds) =>
            {
                return refuse("exit 4: it has ended with other rows");
            }
            Record::Zeros | Record::Whole(_) => {}
        }
    }
    Ok(Decision { committed, missing: Set::EMPTY, held: held(world, false, evidence.drawn, settings)? })
}

/// The result that counts. `marked`: the books know that the draw is held.
fn held(world: &World, this_boot: bool, marked: bool, settings: &Settings) -> Result<Option<Taken>, Refusal> {
    let held = match world.draw.held.now {
        Record::Damaged if !this_boot || marked => return Err(("exit 4: the held record is damaged", None)),
        Record::Zeros | Record::Damaged => None,
        Record::Whole(held) => Some(held),
    };
    match held {
        None if marked && settings.has(Mechanism::Evidence) => Err(("exit 4: the held draw is gone", None)),
        Some(_) if world.draw.held_result().is_some() => Ok(held),
        Some(_) if settings.has(Mechanism::HeldRecord) => Err(("exit 4: the result is damaged", None)),
        _ => Ok(None),
    }
}

/// S4 to S6: the state after each change, in their order.
fn changes(mut world: World, decision: &Decision, settings: &Settings) -> Vec<World> {
    let mut made = Vec::new();
    world.draw.removed = false;
    if world.bets.len() > decision.committed {
        world.bets.cut(decision.committed);
        world.bets.sync();
        made.push(world.clone());
    }
    let missing = || settings.agencies().filter(|agency| decision.missing.contains(*agency));
    for agency in missing() {
        let rows = world.bets.rows_of(agency, decision.committed);
        world.draw.write_end(agency, Record::Whole(rows));
    }
    if decision.held.is_none() {
        world.draw.held.write(Record::Zeros);
        world.draw.result.write(Record::Zeros);
    }
    world.draw.sync();
    if !decision.missing.is_empty() {
        made.push(world.clone());
    }
    world.books = new_books(&world, decision, settings);
    made.push(world);
    made
}

fn new_books(world: &World, decision: &Decision, settings: &Settings) -> Books {
    let len = world.bets.len() as u8;
    let mut tallies = [Tally { seq: 1, ..Tally::default() }; 3];
    for agency in settings.agencies() {
        let tally = &mut tallies[usize::from(agency)];
        tally.end = len;
        tally.rows = world.bets.rows_of(agency, len.into());
        tally.closed = world.draw.end(agency).is_whole();
        tally.durable = tally.closed;
    }
    Books::made(tallies, Head { seq: 1, len, drawn: decision.held.is_some(), ..Head::default() })
}

/// S7, and the parent's knowledge.
fn serve(mut world: World) -> World {
    let ended = (0u8..).zip(&world.draw.ends).filter(|(_, end)| end.now.is_whole()).map(|(agency, _)| agency);
    let ended = ended.collect();
    let drawn = world.draw.held.now.is_whole();
    world.server = Server { state: State::Up, stopping: false, ended, drawn };
    world
}
