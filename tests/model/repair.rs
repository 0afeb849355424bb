//! `server --repair`: rows of agencies that do not match are taken out, together with their ends; the others stay.

use super::books::{Evidence, Presence};
use super::client::{Client, Phase};
use super::disk::{Bets, Record, Stored};
use super::list::{Agency, Each};
use super::settings::{Fault, Settings};
use super::step::{Label, Step};
use super::world::{Server, World};

pub fn steps(world: &World, settings: &Settings, steps: &mut Vec<Step>) {
    // Otherwise the operator decides: restore a file, or --new-draw.
    if world.draw.removed || world.books.presence == Presence::Foreign || may_be_held(world) {
        return;
    }
    let repaired = repaired(world.clone(), settings);
    if settings.kinds.contains(&Fault::KillParent) && world.faults_left > 0 {
        let label = Label::new("server --repair is killed").fault();
        let faults_left = world.faults_left - 1;
        // It writes bets.csv, then draw, then books.
        let (books, harm) = (world.books, world.harm.clone());
        let second = World { books, harm, faults_left, ..repaired.clone() };
        let first = World { draw: world.draw, ..second.clone() };
        steps.extend([first, second].map(|world| Step { label, world }));
    }
    steps.push(Step { label: Label::new("server --repair"), world: repaired });
}

fn is_of_this_boot(world: &World) -> bool {
    world.books.presence == Presence::Ours && world.books.same_boot
}

/// A held draw is never opened again.
fn may_be_held(world: &World) -> bool {
    let marked = match world.books.presence {
        Presence::Ours if world.books.same_boot => world.books.head().is_some_and(|head| head.drawn),
        Presence::Removed => false,
        _ => world.books.evidence.drawn,
    };
    marked || world.draw.held.now != Record::Zeros
}

/// The rows and the end of an agency that stay.
struct Kept {
    /// Its rows among so many cells at the front.
    front: usize,
    end: bool,
}

fn repaired(mut world: World, settings: &Settings) -> World {
    let mut kept: Each<Kept> = [(); 3].map(|()| Kept { front: 0, end: false });
    settings.agencies().for_each(|agency| kept[usize::from(agency)] = judge(&world, agency));
    let keep = |at: usize, agency: Agency| at < kept[usize::from(agency)].front;
    let cells = world.bets.cells.iter().enumerate();
    let cells: Vec<_> =
        cells.filter(|(at, cell)| cell.is_valid() && keep(*at, cell.agency())).map(|(_, cell)| *cell).collect();
    world.bets = Bets::of(&cells);
    for agency in settings.agencies() {
        let at = usize::from(agency);
        let rows = world.bets.rows_of(agency, cells.len());
        let end = if kept[at].end { Record::Whole(rows) } else { Record::Zeros };
        world.draw.ends[at] = Stored::of(end);
        if !kept[at].end {
            open_again(&mut world, agency);
        }
    }
    world.draw.held = Stored::default();
    world.draw.result = Stored::default();
    world.books.presence = Presence::Ours;
    world.books.same_boot = false;
    world.books.evidence = Evidence::default();
    world.server = Server::DOWN;
    world.harm.done = false;
    world
}

fn judge(world: &World, agency: Agency) -> Kept {
    let this_boot = is_of_this_boot(world);
    let head = world.books.head().filter(|_| this_boot);
    let limit = head.map_or(world.bets.len(), |head| {
        usize::from(world.books.commit_after(head.seq).map_or(head.len, |tally| tally.end))
    });
    let rows = world.bets.rows_of(agency, limit);
    let none = Kept { front: 0, end: false };
    match (world.draw.end(agency).whole(), world.books.slot(agency).filter(|_| this_boot)) {
        (Some(end), _) if rows == end => Kept { front: limit, end: true },
        (Some(_), _) => none,
        (None, Some(slot)) if rows.starts_with(slot.rows) => {
            Kept { front: limit, end: slot.closed && rows == slot.rows }
        }
        (None, Some(_)) => none,
        (None, None) => Kept { front: world.bets.valid_run(), end: false },
    }
}

/// Its client sends the missing bets again.
fn open_again(world: &mut World, agency: Agency) {
    let at = usize::from(agency);
    let stored = world.bets.rows_of(agency, world.bets.len()).numbers();
    world.promised.ends[at] = None;
    world.promised.bets[at] = world.promised.bets[at].common(stored);
    if world.clients[at].phase != Phase::Lost {
        world.clients[at] = Client::default();
    }
}
