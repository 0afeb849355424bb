//! One step of the whole system.

use std::fmt;

use super::list::Agency;
use super::settings::Settings;
use super::world::{Session, State, World};
use super::{damage, draw, faults, repair, session, start};

/// The event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    pub what: &'static str,
    pub agency: Option<Agency>,
    pub untyped: bool,
    pub fault: bool,
}

impl Label {
    pub fn new(what: &'static str) -> Self {
        Self { what, agency: None, untyped: false, fault: false }
    }

    pub fn of(what: &'static str, agency: Agency) -> Self {
        Self { agency: Some(agency), ..Self::new(what) }
    }

    pub fn by(what: &'static str, session: &Session) -> Self {
        Self { untyped: session.untyped.is_some(), ..Self::of(what, session.agency) }
    }

    pub fn fault(self) -> Self {
        Self { fault: true, ..self }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.fault { "!" } else { " " };
        let untyped = if self.untyped { "untyped, " } else { "" };
        match self.agency {
            Some(agency) => write!(f, "{mark} {untyped}agency {}: {}", agency + 1, self.what),
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
    if world.server.state == State::Refused {
        repair::steps(world, settings, &mut steps);
    } else {
        session::steps(world, settings, &mut steps);
        session::connect(world, settings, &mut steps);
        draw::steps(world, settings, &mut steps);
        start::steps(world, settings, &mut steps);
        faults::orphans_die(world, settings, &mut steps);
    }
    faults::steps(world, settings, &mut steps);
    damage::steps(world, settings, &mut steps);
    steps.iter_mut().for_each(|step| step.world.sessions.sort_unstable());
    steps
}
