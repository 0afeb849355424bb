//! An agency's client: the messages that it sends after each answer. The session's steps drive it.

use super::list::{Number, Rows};
use super::settings::Plan;
use super::world::{Batch, Message};

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    #[default]
    Deliver,
    /// Its end is acknowledged.
    Query,
    Done,
    /// It has given up: the server has other bets.
    Failed,
    /// It does not come back.
    Lost,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client {
    pub phase: Phase,
    pub connected: bool,
}

/// The messages of a client that knows that `stored` are stored; `None` if they are not the front of its file.
pub fn after(stored: Rows, plan: Plan) -> Option<Vec<Message>> {
    let len = stored.len();
    if !stored.is_front() || len > plan.bets {
        return None;
    }
    if len == plan.bets {
        return Some(vec![Message::End]);
    }
    let mut messages = Vec::new();
    let mut sent = len;
    while sent < plan.bets && messages.len() < usize::from(plan.window) {
        let len = plan.batch.min(plan.bets - sent);
        messages.push(Message::Batch(Batch { first: sent as Number + 1, len }));
        sent += len;
    }
    Some(messages)
}
