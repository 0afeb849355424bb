//! The steps of the parent, of the child that holds the draw, and of a start (`src/server/`, `src/storage/start.rs`).

use super::client::Phase;
use super::settings::{Mechanism, Settings};
use super::step::{Label, Step};
use super::world::{AGENCIES, Claim, Draw, DrawNext, Drawing, Next, Server, Session, World};

pub fn steps(world: &World, settings: &Settings, steps: &mut Vec<Step>) {
    let mut to = |what, world: Option<World>| {
        steps.extend(world.map(|world| Step { label: Label::new(what), world }));
    };
    for world in start(world, settings) {
        to("the server starts", Some(world));
    }
    to("the draw's child is forked", fork_draw(world));
    for index in 0..world.drawings.len() {
        let (what, world) = draw(world, index, settings);
        to(what, world);
    }
    connect(world, settings, steps);
}

/// `Server::fork_session`, and the client's first message.
fn connect(world: &World, settings: &Settings, steps: &mut Vec<Step>) {
    let accepts = world.server.up && !world.server.stopping;
    for agency in AGENCIES.into_iter().filter(|_| accepts) {
        let client = &world.clients[usize::from(agency)];
        if client.connected || !matches!(client.phase, Phase::Deliver | Phase::Query) {
            continue;
        }
        let mut world = world.clone();
        let inbox = world.clients[usize::from(agency)].connect(settings.plans[usize::from(agency)], settings);
        let fresh = Session {
            agency,
            next: Next::Idle,
            inbox,
            connected: true,
            claim: Claim::None,
            orphan: false,
            stopped: false,
            warned: false,
        };
        world.sessions.push(fresh);
        steps.push(Step { label: Label::of("connects", agency), world });
    }
}

/// `lock_out_others`, `prepare`: a living child of the previous server still has the lock.
fn start(world: &World, settings: &Settings) -> Vec<World> {
    let Server { up, stopping, .. } = world.server;
    let own_children =
        world.sessions.iter().any(|session| !session.orphan) || world.drawings.iter().any(|it| !it.orphan);
    let others = world.sessions.iter().any(|session| session.orphan) || world.drawings.iter().any(|it| it.orphan);
    let is_down = !up || (stopping && !own_children);
    if !is_down || (others && settings.has(Mechanism::ServerLock)) || world.is_locked(settings) {
        return Vec::new();
    }
    let found = if settings.has(Mechanism::ReadFromDisk) { read_from_disk(world) } else { vec![world.clone()] };
    found.into_iter().map(|world| adopt(world, settings)).collect()
}

/// `read_from_disk`, of each file: what may be there.
fn read_from_disk(world: &World) -> Vec<World> {
    let mut found = Vec::new();
    for bets in world.bets.clone().read_from_disk() {
        for ends in world.ends.clone().read_from_disk() {
            for draw in world.draw.clone().read_from_disk() {
                found.push(World { bets: bets.clone(), ends: ends.clone(), draw, ..world.clone() });
            }
        }
    }
    found
}

/// `adopt`, and the ledger.
fn adopt(mut world: World, settings: &Settings) -> World {
    if std::mem::take(&mut world.dropped) {
        // It is dropped, as by a power cut.
        world.power_is_cut(settings.promised);
        if settings.has(Mechanism::DoubtRecord) {
            world.shorten_record(settings);
        }
    }
    // A file that is shorter than the record is left unchanged: every write will be refused.
    let _ = world.repair(settings);
    let ended = world.recorded_ends(settings);
    let drawn = world.result(settings).is_some();
    world.server = Server { up: true, stopping: false, ended, drawn };
    world
}

/// `Server::adopt_ends`.
pub fn adopt_ends(world: &mut World, settings: &Settings) {
    if !world.server.up || !settings.has(Mechanism::AdoptEnds) {
        return;
    }
    let recorded = world.recorded_ends(settings);
    for agency in AGENCIES.map(usize::from) {
        world.server.ended[agency] |= recorded[agency];
    }
}

/// `Server::hold_draw_if_due`.
fn fork_draw(world: &World) -> Option<World> {
    let Server { up, stopping, ended, drawn } = world.server;
    let runs = world.drawings.iter().any(|drawing| !drawing.orphan);
    (up && !stopping && !drawn && !runs && ended == [true; 2]).then(|| {
        let mut world = world.clone();
        world.drawings.push(Drawing { next: DrawNext::Scan, result: [0; 2], orphan: false, warned: false });
        world
    })
}

/// `try_hold`, then `Server::draw_child_ended`.
fn draw(world: &World, index: usize, settings: &Settings) -> (&'static str, Option<World>) {
    let mut world = world.clone();
    let warned = world.drawings[index].warned;
    let syncs = |mechanism| settings.has(mechanism);
    let (what, next) = match world.drawings[index].next {
        DrawNext::Scan => {
            if world.is_locked(settings) {
                return ("", None);
            }
            if world.repair(settings).is_none() {
                world.drawings.remove(index);
                return ("the draw's child finds rows gone", Some(world));
            }
            world.drawings[index].result = world.counted(settings);
            ("the draw's child scans the bets", DrawNext::SyncBets)
        }
        DrawNext::SyncBets | DrawNext::SyncEnds | DrawNext::SyncResult if warned => {
            ("the failed sync is also reported to the draw's child", DrawNext::ReportBroken { result: false })
        }
        DrawNext::SyncBets => {
            if syncs(Mechanism::DrawSyncsBets) {
                world.bets.sync();
            }
            ("the draw's child syncs the bets", DrawNext::SyncEnds)
        }
        DrawNext::SyncEnds => {
            if syncs(Mechanism::DrawSyncsEnds) {
                world.ends.sync();
            }
            ("the draw's child syncs the ends", DrawNext::Write)
        }
        DrawNext::Write => {
            let result = world.drawings[index].result;
            write_half(&mut world, Draw::Torn);
            world.draw.write(Draw::Result(result));
            ("the draw's child writes the result", DrawNext::SyncResult)
        }
        DrawNext::SyncResult => {
            if syncs(Mechanism::SyncResult) {
                world.draw.sync();
            }
            ("the draw's child syncs the result", DrawNext::Finish)
        }
        DrawNext::Finish => return finish_draw(world, index, settings),
        DrawNext::ReportBroken { result } => {
            if result {
                world.draw.write(Draw::Empty);
            }
            world.server.stopping |= !world.drawings[index].orphan;
            world.drawings.remove(index);
            return ("the draw's child reports a failed sync", Some(world));
        }
    };
    world.drawings[index].next = next;
    (what, Some(world))
}

fn finish_draw(mut world: World, index: usize, settings: &Settings) -> (&'static str, Option<World>) {
    let drawing = world.drawings.remove(index);
    if !drawing.orphan && world.result(settings).is_some() {
        world.server.drawn = true;
        world.promised.announced += 1;
        world.promised.result = true;
    }
    ("the parent logs sorteo and announces it", Some(world))
}

/// `results::write`, as far as `left`.
pub fn write_half(world: &mut World, left: Draw) {
    world.draw.write(Draw::Empty);
    if left != Draw::Empty {
        world.draw.write(left);
    }
}
