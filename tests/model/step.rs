//! One step of the whole system.

use std::fmt;

use super::settings::Settings;
use super::world::{Agency, World};
use super::{faults, server, session};

/// The event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    pub what: &'static str,
    pub agency: Option<Agency>,
    pub fault: bool,
}

impl Label {
    pub fn new(what: &'static str) -> Self {
        Self { what, agency: None, fault: false }
    }

    pub fn of(what: &'static str, agency: Agency) -> Self {
        Self { agency: Some(agency), ..Self::new(what) }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.fault { "!" } else { " " };
        match self.agency {
            Some(agency) => write!(f, "{mark} agency {}: {}", agency + 1, self.what),
            None => write!(f, "{mark} {}", self.what),
        }
    }
}

/// An event and the state after it.
#[derive(Debug, Clone)]
pub struct Step {
    pub label: Label,
    pub world: World,
}

/// All possible next steps. Children are kept in order, since it does not matter which one is which.
pub fn steps(world: &World, settings: &Settings) -> Vec<Step> {
    let mut steps = Vec::new();
    session::steps(world, settings, &mut steps);
    server::steps(world, settings, &mut steps);
    faults::orphans_die(world, settings, &mut steps);
    faults::steps(world, settings, &mut steps);
    for step in &mut steps {
        step.world.sessions.sort_unstable();
        step.world.drawings.sort_unstable();
    }
    steps
}
