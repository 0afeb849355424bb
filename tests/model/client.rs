//! An agency's client: what it sends after each answer (`src/agency/delivery.rs`, `src/agency/winners.rs`).
//!
//! Only answers drive it; connecting and losing the connection are steps of the world.

use super::settings::{Mechanism, Plan, Settings};
use super::world::Message;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    Deliver,
    /// Its end is acknowledged: it sends only message 3.
    Query,
    Done,
    /// Killed, and not started again.
    Lost,
    /// It has given up: the server has other bets, or refuses permanently.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 7: the number of bets, whether they are its first ones, and whether the agency has ended.
    Received {
        count: u8,
        own: bool,
        ended: bool,
    },
    /// 2: the number of bets that are stored.
    Stored(u8),
    Ended,
    Winners,
    /// Code 3.
    AlreadyEnded,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Client {
    pub phase: Phase,
    pub connected: bool,
    acknowledged: u8,
    sent: u8,
}

impl Client {
    pub fn in_phase(phase: Phase) -> Self {
        Self { phase, connected: false, acknowledged: 0, sent: 0 }
    }

    /// Its first messages on a connection (`Delivery::attempt`, `WinnersQuery::ask`).
    pub fn connect(&mut self, plan: Plan, settings: &Settings) -> Vec<Message> {
        self.connected = true;
        match self.phase {
            Phase::Query => vec![Message::Query],
            _ if settings.has(Mechanism::ResumeQuery) => vec![Message::Ask],
            _ => self.fill_window(plan),
        }
    }

    /// Its messages after an answer.
    pub fn take(&mut self, answer: Answer, plan: Plan) -> Vec<Message> {
        match answer {
            Answer::Received { count, own, ended } if own && count <= plan.bets && !(ended && count < plan.bets) => {
                (self.acknowledged, self.sent) = (count, count);
                if ended { self.query() } else { self.fill_window(plan) }
            }
            Answer::Received { .. } | Answer::AlreadyEnded => {
                self.phase = Phase::Failed;
                Vec::new()
            }
            Answer::Stored(len) => {
                self.acknowledged += len;
                self.fill_window(plan)
            }
            Answer::Ended => self.query(),
            Answer::Winners => {
                self.phase = Phase::Done;
                Vec::new()
            }
        }
    }

    /// The connection is gone.
    pub fn disconnect(&mut self, settings: &Settings) {
        self.connected = false;
        if settings.has(Mechanism::ResumeQuery) {
            self.acknowledged = 0;
        }
        self.sent = self.acknowledged;
    }

    fn query(&mut self) -> Vec<Message> {
        self.phase = Phase::Query;
        (self.acknowledged, self.sent) = (0, 0);
        vec![Message::Query]
    }

    fn fill_window(&mut self, plan: Plan) -> Vec<Message> {
        let mut messages = Vec::new();
        while self.sent < plan.bets && (self.sent - self.acknowledged).div_ceil(plan.batch) < plan.window {
            let len = plan.batch.min(plan.bets - self.sent);
            messages.push(Message::Batch { first: self.sent, len });
            self.sent += len;
        }
        if self.acknowledged == plan.bets {
            messages.push(Message::End);
        }
        messages
    }
}
