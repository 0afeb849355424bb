//! Damage to one file, once: while the server is stopped, in the same boot or together with a reboot. Afterwards exit
//! code 4 is right, but a wrong result is not.

use std::rc::Rc;

use super::books::{Books, Evidence, Presence};
use super::disk::{Bets, Cell, Record, Stored};
use super::list::{CHANGED, Set};
use super::settings::{Damage, Settings};
use super::step::{Label, Step};
use super::world::{DrawFile, State, World};

pub fn steps(world: &World, settings: &Settings, steps: &mut Vec<Step>) {
    if world.harm.left == 0 {
        return;
    }
    let is_up = world.server.is_up();
    if settings.makes_copies() && world.harm.copy.is_none() && is_up {
        let (mut copied, mut draw) = (world.clone(), world.draw);
        draw.sync();
        copied.harm.copy = Some(Rc::new((Bets::of(&world.bets.cells), world.books, draw)));
        steps.push(Step { label: Label::new("the files are copied").fault(), world: copied });
    }
    let mut harm = Harming { steps, settings, world: world.clone() };
    harm.world.harm.left -= 1;
    harm.world.harm.done = true;
    if is_up && settings.damage.contains(&Damage::ChangedRow) {
        harm.change_row();
    }
    if world.server.state == State::Down && world.sessions.is_empty() && world.drawing.is_none() {
        harm.all();
        if settings.reboots && world.books.presence == Presence::Ours && world.books.same_boot {
            harm.world.books.same_boot = false;
            harm.world.books.evidence = world.books.as_evidence();
            harm.all();
        }
    }
}

struct Harming<'a> {
    steps: &'a mut Vec<Step>,
    settings: &'a Settings,
    /// The state before the damage.
    world: World,
}

impl Harming<'_> {
    fn push(&mut self, what: &'static str, change: impl FnOnce(&mut World)) {
        let mut world = self.world.clone();
        change(&mut world);
        self.steps.push(Step { label: Label::new(what).fault(), world });
    }

    fn all(&mut self) {
        let copy = self.world.harm.copy.clone();
        for damage in &self.settings.damage {
            match (damage, copy.as_deref()) {
                (Damage::Bets, _) => self.bets(),
                (Damage::Draw, _) => self.draw(),
                (Damage::Books, _) => self.books(),
                (Damage::SlotBeforeHead, _) => self.slots(|slot, head| slot > head),
                (Damage::OldBets, Some((bets, ..))) => self.put_bets("an older bets.csv is restored", &bets.cells),
                (Damage::OldDraw, Some((.., draw))) => self.old_draw(draw),
                (Damage::OldDrawOnceHeld, Some((.., draw))) if self.world.promised.result.is_some() => {
                    self.old_draw(draw);
                }
                (Damage::OldBooks, Some((_, books, _))) => self.old_books(books, false),
                (Damage::OldBooksByOneGroup, Some((_, books, _))) => self.old_books(books, true),
                _ => {}
            }
        }
    }

    /// A file that is put in the place of `bets.csv`. Without the books, only ends are proved.
    fn put_bets(&mut self, what: &'static str, cells: &[Cell]) {
        let agencies = self.settings.agencies();
        self.push(what, |world| {
            world.bets = Bets::of(cells);
            for agency in agencies.filter(|_| !world.books.same_boot) {
                if world.promised.ends[usize::from(agency)].is_none() {
                    world.promised.bets[usize::from(agency)] = Set::EMPTY;
                    world.harm.tainted.insert(agency);
                }
            }
        });
    }

    fn bets(&mut self) {
        let cells = self.world.bets.cells;
        (0..cells.len()).for_each(|len| self.put_bets("bets.csv is cut", &cells[..len]));
        for at in (0..cells.len()).filter(|&at| cells[at].is_valid()) {
            for (what, cell) in [("a digit is changed", changed(cells[at])), ("a row is damaged", Cell::TORN)] {
                let mut cells = cells;
                cells[at] = cell;
                self.put_bets(what, &cells);
            }
        }
        for at in 1..cells.len() {
            if cells[at - 1].is_valid() && cells[at].is_valid() {
                let mut cells = cells;
                cells.swap(at - 1, at);
                self.put_bets("two rows are swapped", &cells);
            }
        }
    }

    fn draw(&mut self) {
        for at in self.settings.agencies().map(usize::from) {
            if self.world.draw.ends[at].now != Record::Zeros {
                self.push("an end is damaged", |world| world.draw.ends[at] = Stored::of(Record::Damaged));
            }
        }
        if self.world.draw.held.now != Record::Zeros {
            self.push("the held record is damaged", |world| world.draw.held = Stored::of(Record::Damaged));
        }
        if self.world.draw.result.now.is_whole() {
            self.push("the result is damaged", |world| world.draw.result = Stored::of(Record::Damaged));
        }
        self.push("draw is removed", |world| world.draw = DrawFile { removed: true, ..DrawFile::default() });
    }

    fn books(&mut self) {
        for half in 0..2 {
            if self.world.books.head[half].is_whole() {
                self.push("the head is damaged", |world| world.books.head[half] = Record::Damaged);
            }
        }
        self.slots(|slot, head| slot <= head);
        self.push("books is not ours", |world| world.books.presence = Presence::Foreign);
        self.push("books is removed", |world| {
            world.books.presence = Presence::Removed;
            world.books.same_boot = false;
        });
    }

    /// Damages each slot half whose seq, compared with the head's, is wanted.
    fn slots(&mut self, wanted: impl Fn(u8, u8) -> bool) {
        let head = self.world.books.head().map_or(u8::MAX, |head| head.seq);
        for at in self.settings.agencies().map(usize::from) {
            for half in 0..2 {
                let slot = self.world.books.slots[at][half].whole();
                if !slot.is_some_and(|slot| wanted(slot.seq, head)) {
                    continue;
                }
                self.push("a slot is damaged", |world| {
                    world.books.slots[at][half] = Record::Damaged;
                    if !world.books.same_boot {
                        let (ends, left) = (world.books.evidence.ends, world.books.as_evidence().ends);
                        world.books.evidence.ends = ends.common(left);
                    }
                });
            }
        }
    }

    fn old_draw(&mut self, draw: &DrawFile) {
        let mut draw = *draw;
        draw.sync();
        self.push("an older draw is restored", |world| world.draw = draw);
    }

    fn old_books(&mut self, books: &Books, by_one_group: bool) {
        let mut world = self.world.clone();
        (world.books.slots, world.books.head) = (books.slots, books.head);
        if !world.books.same_boot {
            world.books.evidence = Evidence::default();
        }
        let far = world.books.head().is_some()
            && world.bets.len() > world.committed(self.settings) + self.settings.largest_group();
        if !world.books.same_boot || far || by_one_group {
            self.steps.push(Step { label: Label::new("an older books is restored").fault(), world });
        }
    }

    /// A row of an agency that has ended becomes another valid row, while the server runs.
    fn change_row(&mut self) {
        for at in 0..self.world.committed(self.settings) {
            let cell = self.world.bets.cells[at];
            if cell.is_valid() && self.world.books.is_closed(cell.agency()) {
                self.push("a row of an agency that has ended is changed", |world| {
                    world.bets.damage(at, changed(cell));
                    world.harm.tainted.insert(cell.agency());
                });
            }
        }
    }
}

fn changed(cell: Cell) -> Cell {
    Cell::row(cell.agency(), cell.number() | CHANGED)
}
