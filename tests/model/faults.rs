//! Faults: kills, cut connections, full disks, failed syncs, power cuts. Each one costs one of the allowed number.

use super::books::{Evidence, Presence};
use super::client::{Client, Phase};
use super::disk::Record;
use super::end::mark_doubtful;
use super::list::Set;
use super::session::committed;
use super::settings::{Fault, Level, Mechanism, Settings};
use super::step::{Label, Step};
use super::world::{DrawFile, DrawNext, Next, Server, Session, State, World};
use super::{draw, session};

/// All faults that may happen next.
pub fn steps(world: &World, settings: &Settings, steps: &mut Vec<Step>) {
    if world.faults_left == 0 || world.server.state == State::Refused {
        return;
    }
    let mut faults = Faults { steps, settings, world: world.clone() };
    faults.world.faults_left -= 1;
    for kind in &settings.kinds {
        match kind {
            Fault::PowerCut => faults.power_cut(),
            _ if !world.server.is_up() => {}
            Fault::KillChild => faults.kill_child(),
            Fault::KillParent => faults.kill_parent(),
            Fault::KillDraw => faults.kill_draw(),
            Fault::CutConnection => faults.disconnect("its connection is cut", None),
            Fault::LoseClient => faults.disconnect("its client is gone for good", Some(Phase::Lost)),
            Fault::NoRoom => faults.no_room(),
            Fault::SyncFails => faults.sync_fails(),
        }
    }
}

/// The death of orphans after their parent's: not a fault, but a step that the kernel guarantees.
pub fn orphans_die(world: &World, settings: &Settings, steps: &mut Vec<Step>) {
    if !settings.has(Mechanism::DieWithParent) {
        return;
    }
    for (index, session) in world.sessions.iter().enumerate().filter(|(_, session)| session.orphan) {
        for world in deaths(world, index, settings) {
            steps.push(Step { label: Label::by("its orphaned child dies", session), world });
        }
    }
    if world.drawing.is_some_and(|drawing| drawing.orphan) {
        let label = Label::new("the orphaned draw child dies");
        steps.extend(draw_deaths(world, settings).into_iter().map(|world| Step { label, world }));
    }
}

/// A kill before the next system call, or amid it.
fn deaths(world: &World, index: usize, settings: &Settings) -> Vec<World> {
    let mut left = session::half_done(world, world.sessions[index], settings);
    left.push(world.clone());
    left.into_iter().map(|world| session::gone(world, index, settings)).collect()
}

fn draw_deaths(world: &World, settings: &Settings) -> Vec<World> {
    let mut left = world.drawing.map_or(Vec::new(), |drawing| draw::half_done(world, drawing.next, settings));
    left.push(world.clone());
    left.iter_mut().for_each(|world| world.drawing = None);
    left
}

struct Faults<'a> {
    steps: &'a mut Vec<Step>,
    settings: &'a Settings,
    /// The state before the fault, with one fault less.
    world: World,
}

impl Faults<'_> {
    fn push(&mut self, label: Label, world: World) {
        self.steps.push(Step { label: label.fault(), world });
    }

    fn sessions(&self) -> impl Iterator<Item = (usize, Session)> + use<> {
        let sessions = self.world.sessions;
        (0..sessions.len()).map(move |index| (index, sessions[index]))
    }

    fn kill_child(&mut self) {
        for (index, session) in self.sessions().filter(|(_, session)| !session.orphan) {
            for world in deaths(&self.world, index, self.settings) {
                self.push(Label::by("its child is killed", &session), world);
            }
        }
    }

    fn kill_parent(&mut self) {
        let mut world = self.world.clone();
        world.server = Server::DOWN;
        world.sessions.iter_mut().for_each(|session| session.orphan = true);
        world.drawing.iter_mut().for_each(|drawing| drawing.orphan = true);
        if !self.settings.has(Mechanism::DieWithParent) {
            for (index, session) in self.sessions() {
                let mut world = world.clone();
                world.sessions[index].stopped = true;
                self.push(Label::by("the parent is killed, this child is stopped", &session), world);
            }
        }
        self.push(Label::new("the parent is killed"), world);
    }

    fn kill_draw(&mut self) {
        if self.world.drawing.is_some() {
            for world in draw_deaths(&self.world, self.settings) {
                self.push(Label::new("the draw child is killed"), world);
            }
        }
    }

    /// The client's side is closed; any first part of its messages has arrived.
    fn disconnect(&mut self, what: &'static str, phase: Option<Phase>) {
        for (index, session) in self.sessions().filter(|(_, session)| session.connected) {
            for arrived in 0..=session.inbox.len() {
                let mut world = self.world.clone();
                world.sessions[index].inbox.truncate(arrived);
                world.sessions[index].connected = false;
                let client = world.client(session.agency);
                *client = Client { connected: false, phase: phase.unwrap_or(client.phase) };
                self.push(Label::by(what, &session), world);
            }
        }
    }

    /// A write fails in its middle, and the process lives.
    fn no_room(&mut self) {
        for (index, session) in self.sessions() {
            let (agency, mut world) = (session.agency, self.world.clone());
            let what = match session.next {
                Next::AppendRows if self.settings.has(Mechanism::RowsBeforeSlot) => {
                    session::append(&mut world, session, session.rows_len() - 1, true);
                    world.end_session(index, self.settings);
                    "finds no room for rows"
                }
                Next::WriteSlot if self.settings.has(Mechanism::SlotBeforeHead) => {
                    world.books.write_slot(agency, Record::Damaged, self.settings);
                    world.end_session(index, self.settings);
                    "finds no room for its slot"
                }
                Next::WriteHead if self.settings.has(Mechanism::SlotBeforeHead) => {
                    world.books.write_head(Record::Damaged, self.settings);
                    if self.settings.has(Mechanism::NothingTakenBack) {
                        world.sessions[index].next = committed(self.settings);
                    } else {
                        take_back(&mut world, index, self.settings);
                    }
                    "finds no room for the head"
                }
                _ => continue,
            };
            self.push(Label::by(what, &session), world);
        }
    }

    /// The kernel drops data of the file, and reports that once to each process that had it open.
    fn sync_fails(&mut self) {
        for (index, session) in self.sessions() {
            let Some(of_bets) = synced_file(session.next, self.settings) else { continue };
            let mut world = self.world.clone();
            drop_data(&mut world, of_bets, self.settings);
            world.sessions[index].next = Next::ReportBroken;
            self.push(Label::by("its sync fails", &session), world);
        }
        let Some(drawing) = self.world.drawing else { return };
        let of_bets = match drawing.next {
            DrawNext::SyncBets => true,
            DrawNext::SyncEnds | DrawNext::SyncResult | DrawNext::SyncHeld => false,
            _ => return,
        };
        let mut world = self.world.clone();
        drop_data(&mut world, of_bets, self.settings);
        world.drawing = Some(super::world::Drawing { next: DrawNext::ReportBroken, ..drawing });
        self.push(Label::new("the draw child's sync fails"), world);
    }

    /// All processes end, and each block keeps one of its contents since its last sync. The clients are on other
    /// machines: they have lost their connections.
    fn power_cut(&mut self) {
        let world = &self.world;
        let mut dark = world.clone();
        dark.cancel_promises(self.settings);
        dark.end_all();
        dark.books.same_boot = false;
        dark.dropped = false;
        let mut heads = vec![world.books.head];
        if !self.settings.has(Mechanism::BootId) {
            let mut books = world.books;
            books.write_head(Record::Zeros, self.settings);
            heads.push(books.head);
        }
        let evidence = evidence(world, self.settings);
        let draws = world.draw.after_power_cut(self.settings);
        for bets in world.bets.after_power_cut() {
            for &draw in &draws {
                for &evidence in &evidence {
                    for &head in &heads {
                        let mut world = World { bets, draw, ..dark.clone() };
                        (world.books.evidence, world.books.head) = (evidence, head);
                        self.steps.push(Step { label: Label::new("the power is cut").fault(), world });
                    }
                }
            }
        }
    }
}

/// The evidence that `books` may give afterwards: its blocks have reached the disk or not. The draw's mark has, since it
/// is synced before the draw is announced (D6).
fn evidence(world: &World, settings: &Settings) -> Vec<Evidence> {
    let books = &world.books;
    if books.presence != Presence::Ours || !books.same_boot {
        return vec![books.evidence];
    }
    let all = books.as_evidence();
    let synced = world.promised.result.is_some() && settings.has(Mechanism::SyncMark);
    vec![all, Evidence { ends: Set::EMPTY, drawn: all.drawn && synced }]
}

impl DrawFile {
    /// Every content after a power cut.
    pub fn after_power_cut(&self, settings: &Settings) -> Vec<Self> {
        let mut whole = *self;
        whole.deaf = false;
        let mut all = vec![whole];
        for at in settings.agencies().map(usize::from) {
            all = Self::with_each(&all, &self.ends[at].after_power_cut(), |file, end| file.ends[at] = end);
        }
        all = Self::with_each(&all, &self.held.after_power_cut(), |file, held| file.held = held);
        Self::with_each(&all, &self.result.after_power_cut(), |file, result| file.result = result)
    }

    /// Each file with each value.
    fn with_each<T: Copy>(files: &[Self], values: &[T], set: impl Fn(&mut Self, T)) -> Vec<Self> {
        let mut all = Vec::with_capacity(files.len() * values.len());
        for file in files {
            for &value in values {
                let mut file = *file;
                set(&mut file, value);
                all.push(file);
            }
        }
        all
    }
}

/// Only without `NothingTakenBack`: the group is removed although readers may have seen its slot.
fn take_back(world: &mut World, index: usize, settings: &Settings) {
    let session = world.sessions[index];
    let newest = world.books.slot(session.agency).map_or(Record::Zeros, Record::Whole);
    let halves = &mut world.books.slots[usize::from(session.agency)];
    if let Some(half) = halves.iter_mut().find(|half| **half == newest) {
        *half = Record::Zeros;
    }
    world.bets.cut(world.bets.len() - session.rows_len());
    world.end_session(index, settings);
}

/// Whether the next system call syncs `bets.csv` or `draw`; `None` if it syncs neither.
fn synced_file(next: Next, settings: &Settings) -> Option<bool> {
    use super::books::Repair::SyncCut;
    match next {
        Next::Repair(SyncCut) | Next::SyncGroup => Some(true),
        Next::SyncBets if settings.level >= Level::End => Some(true),
        Next::SyncEnd if settings.level >= Level::End => Some(false),
        _ => None,
    }
}

fn drop_data(world: &mut World, of_bets: bool, settings: &Settings) {
    if of_bets {
        world.bets.deaf = true;
    } else {
        world.draw.deaf = true;
    }
    world.dropped = true;
    world.sessions.iter_mut().for_each(|session| session.warned = true);
    world.drawing.iter_mut().for_each(|drawing| drawing.warned = true);
    if !settings.marks_late {
        mark_doubtful(world, settings);
    }
}
