//! Where connections come from: how many each source has, and which sources are refused for a while.
//!
//! Pure: the caller passes the time. Used by the server's parent. Every verb costs at most O(log n) of the sources that are remembered. A source without connections
//! is forgotten; at most [`MOST`] sources have a penalty.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::source::Source;

/// Sources whose penalties, or whose refusals, are remembered at most.
const MOST: usize = 4096;
/// The longest penalty.
const LONGEST: Duration = Duration::from_secs(600);
/// One refusal of a source is logged in this time.
const QUIET: Duration = Duration::from_secs(10);

/// A connection that must be closed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: &'static str,
    /// The number of earlier refusals of the source that no log line has counted, if this one is to be logged.
    pub unlogged: Option<u32>,
}

/// All sources.
#[derive(Debug)]
pub struct Sources {
    /// Most connections of a source; 0 for any number.
    most: u32,
    /// What garbage adds to the penalty of its source; `None` for no penalties.
    penalty: Option<Duration>,
    open: HashMap<Source, u32>,
    penalties: Penalties,
    /// When a refusal was last logged, and how many came after it.
    refusals: HashMap<Source, (Instant, u32)>,
}

impl Sources {
    /// No connections yet. `most` connections of a source are admitted, with 0 any number. Each connection that sends garbage adds
    /// `penalty`.
    pub fn new(most: u32, penalty: Option<Duration>) -> Self {
        let (open, penalties, refusals) = (HashMap::new(), Penalties::default(), HashMap::new());
        Self { most, penalty, open, penalties, refusals }
    }

    /// Whether a new connection from `ip` may be served. Counts a refusal, and no connection.
    ///
    /// # Errors
    /// [`Refused`] if the source has a penalty, or as many connections as it may have.
    pub fn admit(&mut self, ip: IpAddr, now: Instant) -> Result<(), Refused> {
        let source = Source::from(ip);
        let reason = match self.open.get(&source) {
            _ if self.penalties.has(source, now) => "penalty of the source",
            Some(&open) if self.most > 0 && open >= self.most => "MAX_PER_SOURCE",
            _ => return Ok(()),
        };
        Err(Refused { reason, unlogged: self.count_refusal(source, now) })
    }

    /// A connection from `ip` is served from now on.
    pub fn opened(&mut self, ip: IpAddr) {
        *self.open.entry(ip.into()).or_insert(0) += 1;
    }

    /// A connection that was [opened](Self::opened) is gone.
    pub fn closed(&mut self, ip: IpAddr) {
        if let Entry::Occupied(mut open) = self.open.entry(ip.into()) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }

    /// A connection from `ip` has sent garbage.
    pub fn penalize(&mut self, ip: IpAddr, now: Instant) {
        if let Some(penalty) = self.penalty {
            self.penalties.add(ip.into(), penalty, now);
        }
    }

    /// The number of earlier refusals, if this one is to be logged.
    fn count_refusal(&mut self, source: Source, now: Instant) -> Option<u32> {
        if self.refusals.len() >= MOST && !self.refusals.contains_key(&source) {
            // Rare, and as good as a list in the order of time: at worst, a few more lines are logged.
            self.refusals.clear();
        }
        match self.refusals.get_mut(&source) {
            Some((logged, unlogged)) if now < *logged + QUIET => {
                *unlogged = unlogged.saturating_add(1);
                None
            }
            _ => Some(self.refusals.insert(source, (now, 0)).map_or(0, |(_, unlogged)| unlogged)),
        }
    }
}

/// The sources that are refused, and until when.
#[derive(Debug, Default)]
struct Penalties {
    ends: HashMap<Source, Instant>,
    in_order: BTreeSet<(Instant, Source)>,
}

impl Penalties {
    fn has(&mut self, source: Source, now: Instant) -> bool {
        self.forget_ended(now);
        self.ends.contains_key(&source)
    }

    /// Makes the penalty of `source` longer by `penalty`, up to [`LONGEST`] from `now`. If too many sources have one, drops the one
    /// that ends first.
    fn add(&mut self, source: Source, penalty: Duration, now: Instant) {
        self.forget_ended(now);
        let before = self.ends.get(&source).copied();
        if let Some(end) = before {
            self.in_order.remove(&(end, source));
        }
        let end = (before.unwrap_or(now) + penalty.min(LONGEST)).min(now + LONGEST);
        self.ends.insert(source, end);
        self.in_order.insert((end, source));
        if self.ends.len() > MOST {
            self.forget_first();
        }
    }

    fn forget_ended(&mut self, now: Instant) {
        while self.in_order.first().is_some_and(|&(end, _)| end <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, source)) = self.in_order.pop_first() {
            self.ends.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::net::Ipv6Addr;

    const SECOND: Duration = Duration::from_secs(1);

    fn ip(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    fn is_admitted(sources: &mut Sources, ip: IpAddr, now: Instant) -> bool {
        sources.admit(ip, now).is_ok()
    }

    #[test]
    fn each_source_has_its_own_limit() {
        let (mut sources, now) = (Sources::new(2, None), Instant::now());
        [1, 1, 2].into_iter().for_each(|source| sources.opened(ip(source)));
        assert_eq!([1, 2, 3].map(|source| is_admitted(&mut sources, ip(source), now)), [false, true, true]);
        sources.closed(ip(1));
        assert!(is_admitted(&mut sources, ip(1), now));
        [1, 2].into_iter().for_each(|source| sources.closed(ip(source)));
        sources.closed(ip(9));
        assert!(sources.open.is_empty(), "closed connections leave nothing");
    }

    #[test]
    fn without_a_limit_any_number_is_admitted() {
        let (mut sources, now) = (Sources::new(0, None), Instant::now());
        for _ in 0..10_000 {
            assert!(is_admitted(&mut sources, ip(1), now));
            sources.opened(ip(1));
        }
        sources.penalize(ip(1), now);
        assert!(is_admitted(&mut sources, ip(1), now), "and no penalties");
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let (mut sources, now) = (Sources::new(1, None), Instant::now());
        let address = |text: &str| IpAddr::from(text.parse::<Ipv6Addr>().unwrap());
        sources.opened(address("2001:db8:0:1::7"));
        assert!(!is_admitted(&mut sources, address("2001:db8:0:1:ffff::"), now));
        assert!(is_admitted(&mut sources, address("2001:db8:0:2::7"), now));
        sources.opened(address("::ffff:10.0.0.1"));
        assert!(!is_admitted(&mut sources, "10.0.0.1".parse().unwrap(), now));
        assert!(is_admitted(&mut sources, address("::ffff:10.0.0.2"), now));
    }

    #[test]
    fn penalties_add_up_and_end() {
        let (mut sources, now) = (Sources::new(0, Some(SECOND)), Instant::now());
        [1, 1, 2].into_iter().for_each(|source| sources.penalize(ip(source), now));
        let mut admitted = |source, seconds| is_admitted(&mut sources, ip(source), now + SECOND * seconds);
        assert_eq!([admitted(1, 0), admitted(2, 0), admitted(3, 0)], [false, false, true]);
        assert_eq!([admitted(1, 1), admitted(2, 1)], [false, true]);
        assert!(admitted(1, 2));
        assert!(sources.penalties.ends.is_empty() && sources.penalties.in_order.is_empty());
    }

    #[test]
    fn a_penalty_is_never_longer_than_ten_minutes() {
        let (mut sources, now) = (Sources::new(0, Some(Duration::MAX / 4)), Instant::now());
        (0..10).for_each(|_| sources.penalize(ip(1), now));
        assert!(!is_admitted(&mut sources, ip(1), now + LONGEST - SECOND));
        assert!(is_admitted(&mut sources, ip(1), now + LONGEST));
    }

    #[test]
    fn the_penalty_that_ends_first_makes_room() {
        let (mut sources, now) = (Sources::new(0, Some(SECOND)), Instant::now());
        for source in 0..=MOST as u32 {
            sources.penalize(ip(source), now + SECOND / 10_000 * (MOST as u32 - source));
        }
        let last = MOST as u32;
        assert_eq!([last, last - 1, 0].map(|source| is_admitted(&mut sources, ip(source), now)), [true, false, false]);
        assert_eq!((sources.penalties.ends.len(), sources.penalties.in_order.len()), (MOST, MOST));
    }

    #[test]
    fn one_refusal_in_ten_seconds_is_logged() {
        let (mut sources, now) = (Sources::new(1, None), Instant::now());
        [1, 2].into_iter().for_each(|source| sources.opened(ip(source)));
        let mut unlogged = |source, seconds| sources.admit(ip(source), now + SECOND * seconds).unwrap_err().unlogged;
        assert_eq!([unlogged(1, 0), unlogged(1, 1), unlogged(2, 1), unlogged(1, 9)], [Some(0), None, Some(0), None]);
        assert_eq!([unlogged(1, 10), unlogged(1, 20)], [Some(2), Some(0)]);
        for source in 10..10 + 2 * MOST as u32 {
            sources.opened(ip(source));
            let _ = sources.admit(ip(source), now);
            assert!(sources.refusals.len() <= MOST);
        }
    }
}
