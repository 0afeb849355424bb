//! How many refusals are logged: the first [`LOGGED`] of one source and reason in [`WINDOW`]. One line counts the others.
//!
//! Pure but for these lines: the caller passes the time. Used by the server's parent: each refusal comes from a child of its
//! own, so only the parent can count them. A refusal costs the same for any number of sources. At most [`MOST`] times [`LOGGED`] lines come
//! in one window, whatever the number of sources.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::source::Source;
use crate::event;
use crate::messages::Reason;

/// Refusals of one source and reason that are logged in one [`WINDOW`].
const LOGGED: u32 = 20;
/// It begins with the first refusal. The line with the others follows at its end.
const WINDOW: Duration = Duration::from_secs(10);
/// Most sources and reasons that are counted separately. All others are counted together.
const MOST: usize = 4096;

/// Whether a refusal is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Its line is logged.
    Log,
    /// It is only counted.
    Count,
}

/// A source and a reason; `None` for all that do not fit into the table.
type Key = Option<(Source, Reason)>;

/// The refusals of the windows that are not over.
#[derive(Debug, Default)]
pub struct Refusals {
    counts: HashMap<Key, u32>,
    /// When the windows end. All have the same length, so the first one ends first.
    ends: VecDeque<(Instant, Key)>,
}

impl Refusals {
    /// Counts a refusal of a client at `ip`.
    pub fn add(&mut self, ip: IpAddr, reason: Reason, now: Instant) -> Word {
        // A refusal after the end of its window does not belong to it.
        self.expire(now);
        let own = Some((Source::from(ip), reason));
        let key = if self.counts.len() < MOST || self.counts.contains_key(&own) { own } else { None };
        let count = self.counts.entry(key).or_insert(0);
        if *count == 0 {
            self.ends.push_back((now + WINDOW, key));
        }
        *count = count.saturating_add(1);
        if *count <= LOGGED { Word::Log } else { Word::Count }
    }

    /// When [`Refusals::expire`] next has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.ends.front().map(|(end, _)| *end)
    }

    /// Ends the windows that are over, and logs what they counted.
    pub fn expire(&mut self, now: Instant) {
        while self.deadline().is_some_and(|end| end <= now) {
            self.end_first().into_iter().for_each(log);
        }
    }

    /// Ends all windows, and logs what they counted.
    pub fn close(&mut self) {
        while self.deadline().is_some() {
            self.end_first().into_iter().for_each(log);
        }
    }

    /// Ends the first window. Returns its key, and the number of refusals that were only counted, if there are any.
    fn end_first(&mut self) -> Option<(Key, u32)> {
        let (_, key) = self.ends.pop_front()?;
        let count = self.counts.remove(&key)?;
        (count > LOGGED).then(|| (key, count - LOGGED))
    }
}

fn log((key, repeated): (Key, u32)) {
    match key {
        Some((source, Reason::Code(code))) => {
            event!(Error, "receive_message", fail, ip = source, codigo = code, repetidas = repeated);
        }
        Some((source, Reason::Cut(cut))) => {
            event!(Error, "receive_message", fail, ip = source, error = cut, repetidas = repeated);
        }
        None => event!(Error, "receive_message", fail, ip = "otras", codigo = "-", repetidas = repeated),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::messages::Cut;

    const SIX: Reason = Reason::Code(6);

    fn ip(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(number))
    }

    /// The number of refusals among so many that are logged.
    fn logged(refusals: &mut Refusals, times: u32, source: u32, reason: Reason, now: Instant) -> usize {
        (0..times).filter(|_| refusals.add(ip(source), reason, now) == Word::Log).count()
    }

    fn ended(refusals: &mut Refusals) -> Vec<(Key, u32)> {
        std::iter::from_fn(|| refusals.deadline().map(|_| refusals.end_first())).flatten().collect()
    }

    #[test]
    fn twenty_of_a_source_and_reason_are_logged() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let late = Reason::Cut(Cut::Late);
        for (source, reason) in [(1, SIX), (1, Reason::Code(1)), (1, late), (2, SIX)] {
            assert_eq!(logged(&mut refusals, 30, source, reason, now), 20);
        }
        assert_eq!(logged(&mut refusals, 20, 3, SIX, now), 20);
        assert_eq!(refusals.deadline(), Some(now + WINDOW));
        let key = |source, reason| (Some((ip(source).into(), reason)), 10);
        assert_eq!(ended(&mut refusals), [key(1, SIX), key(1, Reason::Code(1)), key(1, late), key(2, SIX)]);
        assert_eq!((refusals.deadline(), refusals.counts.len()), (None, 0));
    }

    #[test]
    fn a_window_begins_with_its_first_refusal() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        assert_eq!(logged(&mut refusals, 15, 1, SIX, now), 15);
        assert_eq!(logged(&mut refusals, 15, 1, SIX, now + WINDOW / 2), 5);
        assert_eq!(logged(&mut refusals, 15, 2, SIX, now + WINDOW / 2), 15);
        assert_eq!(refusals.deadline(), Some(now + WINDOW));
        refusals.expire(now + WINDOW - Duration::from_nanos(1));
        assert_eq!(refusals.counts.len(), 2);
        assert_eq!(logged(&mut refusals, 30, 1, SIX, now + WINDOW), 20, "the next window");
        assert_eq!(refusals.deadline(), Some(now + WINDOW + WINDOW / 2));
        refusals.expire(now + 2 * WINDOW);
        assert_eq!((refusals.deadline(), refusals.counts.len()), (None, 0));
    }

    #[test]
    fn a_full_table_counts_all_others_together() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        for source in 0..MOST as u32 {
            assert_eq!(logged(&mut refusals, 1, source, SIX, now), 1);
        }
        let others = (MOST as u32..MOST as u32 + 100).map(|source| logged(&mut refusals, 1, source, SIX, now));
        assert_eq!(others.sum::<usize>(), 20);
        assert_eq!(logged(&mut refusals, 30, 7, SIX, now), 19, "a source of the table has its own count");
        assert_eq!(refusals.counts.len(), MOST + 1);
        assert_eq!(ended(&mut refusals), [(Some((ip(7).into(), SIX)), 11), (None, 80)]);
    }
}
