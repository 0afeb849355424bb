//! Counts by name. A run prints them for its parent, one line each.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

const MARK: &str = "tally";

/// Counts by two names: a group, and a kind in that group.
#[derive(Default)]
pub struct Tally(BTreeMap<(String, String), u64>);

impl Tally {
    pub fn add(&mut self, group: &str, name: &str, count: usize) {
        if count > 0 {
            *self.0.entry((group.to_owned(), name.to_owned())).or_default() += count as u64;
        }
    }

    pub fn one(&mut self, group: &str, name: &str) {
        self.add(group, name, 1);
    }

    pub fn count(&self, group: &str, name: &str) -> u64 {
        self.group(group).filter(|(of, _)| *of == name).map(|(_, count)| count).sum()
    }

    pub fn of(&self, group: &str) -> u64 {
        self.group(group).map(|(_, count)| count).sum()
    }

    /// Adds the counts in the lines of `output`.
    pub fn take(&mut self, output: &str) {
        for line in output.lines() {
            if let [MARK, group, name, count] = line.split('\t').collect::<Vec<_>>()[..] {
                self.add(group, name, count.parse().unwrap_or(0));
            }
        }
    }

    /// `name count, name count`, the most frequent first.
    pub fn listed(&self, group: &str) -> String {
        let mut counts: Vec<_> = self.group(group).collect();
        counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let counts: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {}", grouped(*count))).collect();
        counts.join(", ")
    }

    fn group(&self, group: &str) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().filter(move |((of, _), _)| of == group).map(|((_, name), &count)| (name.as_str(), count))
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|((group, name), count)| writeln!(f, "{MARK}\t{group}\t{name}\t{count}"))
    }
}

/// 5123 as 5,123.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let from_end = |index: usize| digits.len() - index;
    let comma = |index: usize| index > 0 && from_end(index).is_multiple_of(3);
    digits.char_indices().flat_map(|(index, digit)| comma(index).then_some(',').into_iter().chain([digit])).collect()
}
