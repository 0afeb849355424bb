//! The steps of the draw child (D1 to D6), and of the parent that forks and reaps it.

use super::books::{Head, Refused, Repair};
use super::disk::Record;
use super::end::mark_doubtful;
use super::list::Each;
use super::settings::{Mechanism, Settings};
use super::step::{Label, Step};
use super::world::{DrawNext, Drawing, Taken, World};

pub fn steps(world: &World, settings: &Settings, steps: &mut Vec<Step>) {
    let made = match world.drawing {
        None => fork(world, settings),
        Some(drawing) => go_on(world.clone(), drawing, settings),
    };
    steps.extend(made.map(|(what, world)| Step { label: Label::new(what), world }));
}

type Made = Option<(&'static str, World)>;

fn fork(world: &World, settings: &Settings) -> Made {
    let server = &world.server;
    let is_due = server.is_up() && !server.stopping && !server.drawn && server.ended.len() == settings.plans.len();
    is_due.then(|| {
        let mut world = world.clone();
        let result = Taken::default();
        world.drawing = Some(Drawing { next: DrawNext::Lock, committed: 0, result, orphan: false, warned: false });
        ("the draw child is forked", world)
    })
}

fn at(what: &'static str, mut world: World, drawing: Drawing, next: DrawNext) -> Made {
    world.drawing = Some(Drawing { next, ..drawing });
    Some((what, world))
}

fn go_on(mut world: World, drawing: Drawing, settings: &Settings) -> Made {
    match drawing.next {
        DrawNext::Lock | DrawNext::LockToMark if world.is_locked(settings) => None,
        DrawNext::Lock => take_lock(world, drawing, settings),
        DrawNext::Repair(step) => {
            let due = world.books.repair(&mut world.bets, step, settings);
            at("draw child: repairs", world, drawing, to_sync(due))
        }
        DrawNext::SyncBets | DrawNext::SyncEnds | DrawNext::SyncResult | DrawNext::SyncHeld => {
            sync(world, drawing, settings)
        }
        DrawNext::WriteEnds => {
            for agency in settings.agencies().filter(|_| settings.has(Mechanism::DrawWritesEnds)) {
                write_missing_end(&mut world, agency);
            }
            at("draw child: writes missing ends", world, drawing, DrawNext::SyncEnds)
        }
        DrawNext::Scan => scan(world, drawing, settings),
        DrawNext::WriteResult => {
            world.draw.result.write(Record::Whole(drawing.result));
            at("draw child: writes the result", world, drawing, DrawNext::SyncResult)
        }
        DrawNext::WriteHeld => {
            world.draw.held.write(Record::Whole(drawing.result));
            at("draw child: writes the held record", world, drawing, DrawNext::SyncHeld)
        }
        DrawNext::LockToMark => at("draw child: locks", world, drawing, DrawNext::Mark),
        DrawNext::Mark => {
            let head = world.books.head().unwrap_or_default();
            world.books.write_head(Record::Whole(Head { drawn: true, ..head }), settings);
            at("draw child: marks the head, syncs it", world, drawing, DrawNext::Exit)
        }
        DrawNext::Exit => Some(exit(world, drawing)),
        DrawNext::ReportBroken if settings.marks_late && world.is_locked(settings) => None,
        DrawNext::ReportBroken => {
            mark_doubtful(&mut world, settings);
            world.server.stopping |= world.server.is_up() && !drawing.orphan;
            world.drawing = None;
            Some(("draw child: reports a failed sync", world))
        }
    }
}

/// D1; a held draw is only synced and marked.
fn take_lock(mut world: World, drawing: Drawing, settings: &Settings) -> Made {
    let refuses = settings.has(Mechanism::DoubtStopsCompletion) && world.books.is_doubtful();
    if world.draw.held_result().is_some() && !refuses {
        world.draw.sync();
        return at("draw child: finds the draw held", world, drawing, DrawNext::LockToMark);
    }
    match world.books.due(&world.bets, settings) {
        Ok(due) => at("draw child: takes the lock", world, drawing, to_sync(due)),
        Err(Refused) if world.books.is_doubtful() => {
            at("draw child: finds the head doubtful", world, drawing, DrawNext::ReportBroken)
        }
        Err(Refused) => {
            world.end_all();
            Some(("draw child: rows are gone, the server ends", world))
        }
    }
}

/// The draw syncs all rows anyhow.
fn to_sync(due: Option<Repair>) -> DrawNext {
    due.filter(|due| *due != Repair::SyncCut).map_or(DrawNext::SyncBets, DrawNext::Repair)
}

fn sync(mut world: World, mut drawing: Drawing, settings: &Settings) -> Made {
    if drawing.warned {
        if !settings.marks_late {
            mark_doubtful(&mut world, settings);
        }
        return at("draw child: gets a report of the failed sync, too", world, drawing, DrawNext::ReportBroken);
    }
    match drawing.next {
        DrawNext::SyncBets => {
            if settings.has(Mechanism::DrawSyncsBets) {
                world.bets.sync();
            }
            drawing.committed = world.books.head().unwrap_or_default().len;
            at("draw child: syncs the bets", world, drawing, DrawNext::WriteEnds)
        }
        DrawNext::SyncEnds => {
            world.draw.sync();
            at("draw child: syncs the ends", world, drawing, DrawNext::Scan)
        }
        DrawNext::SyncResult => {
            if settings.has(Mechanism::SyncResult) {
                world.draw.sync();
            }
            at("draw child: syncs the result", world, drawing, DrawNext::WriteHeld)
        }
        _ => {
            if settings.has(Mechanism::SyncHeld) {
                world.draw.sync();
            }
            at("draw child: syncs the held record", world, drawing, DrawNext::LockToMark)
        }
    }
}

/// A closed slot without a valid end.
pub fn write_missing_end(world: &mut World, agency: u8) {
    let slot = world.books.slot(agency).filter(|slot| slot.closed && !world.draw.end(agency).is_whole());
    if let Some(slot) = slot {
        world.draw.write_end(agency, Record::Whole(slot.rows));
    }
}

/// D3.
fn scan(mut world: World, mut drawing: Drawing, settings: &Settings) -> Made {
    let committed = usize::from(drawing.committed);
    let mut found: Each<_> = Default::default();
    settings.agencies().for_each(|agency| found[usize::from(agency)] = world.bets.rows_of(agency, committed));
    let mut agencies = settings.agencies();
    let equal = agencies.all(|agency| world.draw.end(agency) == Record::Whole(found[usize::from(agency)]));
    let whole = world.bets.valid_run() >= committed;
    if settings.has(Mechanism::DrawCompares) && !(equal && whole) {
        if !world.harm.done && !world.harm.lenient {
            world.broken = Some("false alarm in the draw");
        }
        world.end_all();
        return Some(("draw child: the rows are not those of the ends, the server ends", world));
    }
    drawing.result = found;
    at("draw child: scans the rows", world, drawing, DrawNext::WriteResult)
}

fn exit(mut world: World, drawing: Drawing) -> (&'static str, World) {
    world.drawing = None;
    if drawing.orphan {
        return ("draw child: exits", world);
    }
    let held = world.draw.held.now.whole();
    if world.promised.announced {
        world.broken = Some("one draw: sorteo is logged twice");
    } else if world.promised.result.is_some_and(|reported| Some(reported) != held) {
        world.broken = Some("one draw: another result is announced");
    }
    world.server.drawn = true;
    world.promised.announced = true;
    world.promised.result = held;
    ("the parent logs sorteo and announces it", world)
}

/// The contents that a kill amid the next system call may leave, apart from none and all of it.
pub fn half_done(world: &World, next: DrawNext, settings: &Settings) -> Vec<World> {
    let mut half = world.clone();
    match next {
        DrawNext::WriteResult => half.draw.result.write(Record::Damaged),
        DrawNext::WriteHeld => {
            half.draw.held.write(Record::Damaged);
            // A power cut that follows makes this a damage.
            half.excuse(settings);
        }
        DrawNext::Mark | DrawNext::Repair(Repair::RollForward | Repair::SetCutFlag) => {
            half.books.write_head(Record::Damaged, settings);
        }
        DrawNext::WriteEnds => {
            let missing = |agency: &u8| !world.draw.end(*agency).is_whole() && world.books.is_closed(*agency);
            return settings.agencies().filter(missing).map(|agency| one_end_written(world, agency)).collect();
        }
        _ => return Vec::new(),
    }
    vec![half]
}

fn one_end_written(world: &World, agency: u8) -> World {
    let mut world = world.clone();
    write_missing_end(&mut world, agency);
    world
}
