//! Breadth first through all states, so that the trace to a broken promise is the shortest there is.
//!
//! States are identified by a hash of 64 bits and not kept; a trace is found by repeating its steps. At the end, the
//! search goes backwards from the finished states: a state that reaches none of them without a further fault is stuck.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fmt;

use super::mix::{MixBuilder, mixed};
use super::promises::{broken, is_done};
use super::settings::Settings;
use super::step::{Label, steps};
use super::world::World;

/// The result of a search.
#[derive(Debug)]
pub struct Found {
    pub states: usize,
    pub depth: usize,
    /// The kinds of steps that were made.
    pub made: BTreeSet<&'static str>,
    pub violation: Option<Violation>,
}

/// A broken promise, and the way to it.
#[derive(Debug)]
pub struct Violation {
    pub what: String,
    pub trace: Vec<Label>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.trace.iter().enumerate().try_for_each(|(at, label)| writeln!(f, "  {:3} {label}", at + 1))?;
        write!(f, "   => {}", self.what)
    }
}

type Id = u32;

#[derive(Default)]
struct Search {
    ids: HashMap<u64, Id, MixBuilder>,
    parents: Vec<Id>,
    /// Steps that are no faults, backwards.
    back: Vec<(Id, Id)>,
    done: Vec<Id>,
    made: BTreeSet<&'static str>,
}

/// Searches all states that `settings` allow.
pub fn search(settings: &Settings) -> Found {
    let (mut search, mut depth) = (Search::default(), 0);
    let first = World::new(settings);
    search.meet(&first, 0, settings);
    let mut frontier = vec![(0, first)];
    while !frontier.is_empty() {
        depth += 1;
        let mut next = Vec::new();
        for (from, world) in &frontier {
            for step in steps(world, settings) {
                search.made.insert(step.label.what);
                let (id, is_new) = search.meet(&step.world, *from, settings);
                if !step.label.fault {
                    search.back.push((id, *from));
                }
                if !is_new {
                    continue;
                }
                if let Some(what) = broken(&step.world, settings) {
                    return search.found(depth, Some((id, what)), settings);
                }
                next.push((id, step.world));
            }
        }
        frontier = next;
    }
    let stuck = search.stuck().map(|id| (id, "stuck: the clients cannot all be answered any more".to_owned()));
    search.found(depth, stuck, settings)
}

impl Search {
    fn meet(&mut self, world: &World, from: Id, settings: &Settings) -> (Id, bool) {
        let fresh = self.parents.len() as Id;
        match self.ids.entry(mixed(world)) {
            Entry::Occupied(known) => (*known.get(), false),
            Entry::Vacant(place) => {
                place.insert(fresh);
                self.parents.push(from);
                if is_done(world, settings) {
                    self.done.push(fresh);
                }
                (fresh, true)
            }
        }
    }

    /// The first state from which no finished state can be reached.
    fn stuck(&mut self) -> Option<Id> {
        self.back.sort_unstable();
        let mut reaches = vec![false; self.parents.len()];
        let mut open = self.done.clone();
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut reaches[id as usize], true) {
                continue;
            }
            let begin = self.back.partition_point(|&(to, _)| to < id);
            let into = self.back[begin..].iter().take_while(|&&(to, _)| to == id);
            open.extend(into.map(|&(_, from)| from).filter(|&from| !reaches[from as usize]));
        }
        reaches.iter().position(|reaches| !reaches).map(|id| id as Id)
    }

    fn found(mut self, depth: usize, violation: Option<(Id, String)>, settings: &Settings) -> Found {
        let violation = violation.map(|(id, what)| Violation { what, trace: self.trace(id, settings) });
        Found { states: self.parents.len(), depth, made: std::mem::take(&mut self.made), violation }
    }

    fn trace(&self, to: Id, settings: &Settings) -> Vec<Label> {
        let mut way = vec![to];
        while let Some(&last) = way.last().filter(|&&last| last != 0) {
            way.push(self.parents[last as usize]);
        }
        let (mut world, mut trace) = (World::new(settings), Vec::new());
        for wanted in way.into_iter().rev().skip(1) {
            let is_wanted = |world: &World| self.ids.get(&mixed(world)) == Some(&wanted);
            let Some(step) = steps(&world, settings).into_iter().find(|step| is_wanted(&step.world)) else { break };
            trace.push(step.label);
            world = step.world;
        }
        trace
    }
}
