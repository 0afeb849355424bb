//! The faults, at any time, up to a given number.

use super::client::{Client, Phase};
use super::server::{adopt_ends, write_half};
use super::session::{HALF_A_RESULT, append, closed, half_done, with_slot};
use super::settings::{Fault, Mechanism, Settings};
use super::step::{Label, Step};
use super::world::{AGENCIES, Agency, Draw, DrawNext, Next, Row, Session, Slot, World};

/// All faults that can happen now.
pub fn steps(world: &World, settings: &Settings, steps: &mut Vec<Step>) {
    if world.faults_left == 0 {
        return;
    }
    let mut faults = Vec::new();
    for kind in &settings.kinds {
        match kind {
            Fault::KillChild => kill_child(world, settings, &mut faults),
            Fault::KillParent => kill_parent(world, settings, &mut faults),
            Fault::KillDraw => kill_draw(world, &mut faults),
            Fault::KillClient => lose_client(world, settings, Phase::Deliver, &mut faults),
            Fault::LoseClient => lose_client(world, settings, Phase::Lost, &mut faults),
            Fault::CutConnection => cut(world, settings, &mut faults),
            Fault::NoRoom => no_room(world, settings, &mut faults),
            Fault::SyncFails => sync_fails(world, settings, &mut faults),
            Fault::PowerCut => power_cut(world, settings, &mut faults),
        }
    }
    steps.extend(faults.into_iter().map(|(what, agency, mut world)| {
        world.faults_left -= 1;
        Step { label: Label { what, agency, fault: true }, world }
    }));
}

type Faults = Vec<(&'static str, Option<Agency>, World)>;

/// The death of orphans after their parent's: not a fault, but a step that the kernel guarantees.
pub fn orphans_die(world: &World, settings: &Settings, steps: &mut Vec<Step>) {
    if !settings.has(Mechanism::DieWithParent) {
        return;
    }
    for (index, session) in world.sessions.iter().enumerate().filter(|(_, session)| session.orphan) {
        for world in deaths(world, index, settings) {
            steps.push(Step { label: Label::of("its orphaned child dies", session.agency), world });
        }
    }
    for index in (0..world.drawings.len()).filter(|&index| world.drawings[index].orphan) {
        for world in draw_deaths(world, index) {
            steps.push(Step { label: Label::new("the orphaned draw's child dies"), world });
        }
    }
}

fn kill_child(world: &World, settings: &Settings, faults: &mut Faults) {
    for (index, session) in world.sessions.iter().enumerate().filter(|(_, session)| !session.orphan) {
        for mut world in deaths(world, index, settings) {
            adopt_ends(&mut world, settings);
            faults.push(("its child is killed", Some(session.agency), world));
        }
    }
}

/// A kill before the next system call, or amid it.
fn deaths(world: &World, index: usize, settings: &Settings) -> Vec<World> {
    let Session { next, agency, .. } = world.sessions[index];
    let mut left = half_done(world, next, agency);
    left.push(world.clone());
    left.iter().map(|world| closed(world, index, settings)).collect()
}

fn kill_parent(world: &World, settings: &Settings, faults: &mut Faults) {
    if !world.server.up {
        return;
    }
    let mut orphaned = world.clone();
    orphaned.server.up = false;
    orphaned.server.stopping = false;
    (orphaned.server.ended, orphaned.server.drawn) = ([false; 2], false);
    orphaned.sessions.iter_mut().for_each(|session| session.orphan = true);
    orphaned.drawings.iter_mut().for_each(|drawing| drawing.orphan = true);
    if !settings.has(Mechanism::DieWithParent) {
        for index in 0..orphaned.sessions.len() {
            let mut world = orphaned.clone();
            world.sessions[index].stopped = true;
            faults.push(("the parent is killed, a child is stopped", Some(world.sessions[index].agency), world));
        }
    }
    faults.push(("the parent is killed", None, orphaned));
}

fn kill_draw(world: &World, faults: &mut Faults) {
    for index in (0..world.drawings.len()).filter(|&index| !world.drawings[index].orphan) {
        faults.extend(draw_deaths(world, index).into_iter().map(|world| ("the draw's child is killed", None, world)));
    }
}

fn draw_deaths(world: &World, index: usize) -> Vec<World> {
    let mut left = vec![world.clone()];
    if world.drawings[index].next == DrawNext::Write {
        left.extend(HALF_A_RESULT.map(|half| {
            let mut world = world.clone();
            write_half(&mut world, half);
            world
        }));
    }
    for world in &mut left {
        world.drawings.remove(index);
    }
    left
}

fn lose_client(world: &World, settings: &Settings, phase: Phase, faults: &mut Faults) {
    let what = if phase == Phase::Lost { "the client is gone for good" } else { "the client is killed" };
    for agency in AGENCIES {
        if !matches!(world.clients[usize::from(agency)].phase, Phase::Deliver | Phase::Query) {
            continue;
        }
        for mut world in disconnections(world, agency, settings) {
            world.clients[usize::from(agency)] = Client::in_phase(phase);
            faults.push((what, Some(agency), world));
        }
    }
}

fn cut(world: &World, settings: &Settings, faults: &mut Faults) {
    for agency in AGENCIES.into_iter().filter(|&agency| world.clients[usize::from(agency)].connected) {
        let cut = disconnections(world, agency, settings).into_iter();
        faults.extend(cut.map(|world| ("the connection is cut", Some(agency), world)));
    }
}

/// The client's side is closed; any first part of its messages has arrived.
fn disconnections(world: &World, agency: Agency, settings: &Settings) -> Vec<World> {
    let connected = |session: &Session| session.agency == agency && session.connected;
    let Some(index) = world.sessions.iter().position(connected) else { return vec![world.clone()] };
    let arrived = (0..=world.sessions[index].inbox.len()).map(|arrived| {
        let mut world = world.clone();
        world.sessions[index].inbox.truncate(arrived);
        world.sessions[index].connected = false;
        world.clients[usize::from(agency)].disconnect(settings);
        world
    });
    arrived.collect()
}

/// A write without room, for all of it or for its second half: taken back, code 4 (`Locked::append`, `ends::append`).
fn no_room(world: &World, settings: &Settings, faults: &mut Faults) {
    let keep = !settings.has(Mechanism::TakeBack);
    for (index, session) in world.sessions.iter().enumerate() {
        let agency = session.agency;
        let before = (world.bets.read().clone(), world.ends.read().clone());
        let mut failed = match session.next {
            Next::AppendRows { first, len } => {
                let mut world = world.clone();
                append(&mut world, agency, first, len - 1, true);
                world
            }
            Next::WriteRecord { .. } => world.clone(),
            Next::WriteEnd { at } if !world.ends.read().contains(&Slot::Whole(agency)) => {
                let mut world = world.clone();
                world.ends.write(with_slot(&world, at, Slot::Short));
                world
            }
            _ => continue,
        };
        if !keep {
            take_back(&mut failed, session.next, before);
        }
        faults.push(("finds no room, is refused", Some(agency), closed(&failed, index, settings)));
    }
    for index in (0..world.drawings.len()).filter(|&index| world.drawings[index].next == DrawNext::Write) {
        let mut world = world.clone();
        write_half(&mut world, Draw::Torn);
        world.drawings.remove(index);
        faults.push(("the draw's child finds no room", None, world));
    }
}

fn take_back(world: &mut World, failed: Next, (mut bets, mut ends): (Vec<super::world::Row>, Vec<Slot>)) {
    match failed {
        Next::WriteRecord { len } => {
            bets.truncate(bets.len() - usize::from(len));
            world.bets.write(bets);
        }
        Next::AppendRows { .. } => world.bets.write(bets),
        _ => {
            ends.retain(|slot| *slot != Slot::Short);
            world.ends.write(ends);
        }
    }
}

fn sync_fails(world: &World, settings: &Settings, faults: &mut Faults) {
    for (index, session) in world.sessions.iter().enumerate() {
        let mut world = world.clone();
        match session.next {
            Next::SyncBatch { .. } | Next::SyncBeforeEnd if settings.sync_lies => world.bets.forget_silently(),
            Next::SyncEnd | Next::SyncAdoptedEnd { .. } if settings.sync_lies => world.ends.forget_silently(),
            Next::SyncBatch { .. } | Next::SyncBeforeEnd | Next::SyncEnd | Next::SyncAdoptedEnd { .. } => {}
            _ => continue,
        }
        warn_others(&mut world, settings);
        world.sessions[index].next = Next::ReportBroken;
        faults.push(("its sync fails", Some(session.agency), world));
    }
    for (index, drawing) in world.drawings.iter().enumerate() {
        let mut world = world.clone();
        match drawing.next {
            DrawNext::SyncBets if settings.sync_lies => world.bets.forget_silently(),
            DrawNext::SyncEnds if settings.sync_lies => world.ends.forget_silently(),
            DrawNext::SyncResult if settings.sync_lies => world.draw.forget_silently(),
            DrawNext::SyncBets | DrawNext::SyncEnds | DrawNext::SyncResult => {}
            _ => continue,
        }
        warn_others(&mut world, settings);
        let result = drawing.next == DrawNext::SyncResult;
        world.drawings[index].next = DrawNext::ReportBroken { result };
        faults.push(("the draw's sync fails", None, world));
    }
}

/// Data are dropped; the kernel reports that once to each process that had the file open, whichever process wrote it.
fn warn_others(world: &mut World, settings: &Settings) {
    if settings.sync_lies {
        world.sessions.iter_mut().for_each(|session| session.warned = true);
        world.drawings.iter_mut().for_each(|drawing| drawing.warned = true);
        world.dropped = true;
    }
}

/// All processes end, and each file keeps one of the contents that may be on the disk. The clients are on other
/// machines: they have lost their connections.
fn power_cut(world: &World, settings: &Settings, faults: &mut Faults) {
    let mut dark = world.clone();
    dark.server.up = false;
    dark.server.stopping = false;
    (dark.server.ended, dark.server.drawn) = ([false; 2], false);
    dark.sessions.clear();
    dark.drawings.clear();
    dark.clients.iter_mut().for_each(|client| client.disconnect(settings));
    dark.power_is_cut(settings.promised);
    dark.dropped = false;
    if settings.has(Mechanism::BootId) {
        dark.record = super::disk::File::new(None);
    }
    for bets in world.bets.after_power_cut() {
        if settings.has(Mechanism::BootId) && bets.read().contains(&Row::Torn) {
            // The start cuts it, which makes it equal to another of these contents.
            continue;
        }
        for ends in world.ends.after_power_cut() {
            for draw in world.draw.after_power_cut() {
                for record in dark.record.after_power_cut() {
                    let (bets, ends, draw) = (bets.clone(), ends.clone(), draw.clone());
                    faults.push(("the power is cut", None, World { bets, ends, draw, record, ..dark.clone() }));
                }
            }
        }
    }
}
