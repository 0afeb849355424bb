//! A file with respect to power cuts: the content that processes read, and the contents that may be on the disk
//! afterwards.
//!
//! Used by the world for `bets.csv`, `ends`, `draw` and the record in `bets.lock`. Knows nothing of their contents.

use std::hash::{Hash, Hasher};
use std::rc::Rc;

use super::mix::mixed;

/// The content that is read (the page cache), and every content that may be on the disk if the power fails now: all
/// contents since the last sync, since the kernel writes back at any time. Shared by the many states in which it is the
/// same.
#[derive(Debug, Clone)]
pub struct File<T> {
    of: Rc<Contents<T>>,
    hash: u64,
}

#[derive(Debug, Clone, Hash)]
struct Contents<T> {
    cache: T,
    perhaps: Vec<T>,
    deaf: bool,
}

impl<T: Clone + Ord + Hash> File<T> {
    pub fn new(content: T) -> Self {
        Self::of(Contents { perhaps: vec![content.clone()], cache: content, deaf: false })
    }

    fn of(contents: Contents<T>) -> Self {
        Self { hash: mixed(&contents), of: Rc::new(contents) }
    }

    fn change(&mut self, change: impl FnOnce(&mut Contents<T>)) {
        let mut contents = (*self.of).clone();
        change(&mut contents);
        *self = Self::of(contents);
    }

    pub fn read(&self) -> &T {
        &self.of.cache
    }

    pub fn write(&mut self, content: T) {
        self.may_reach_disk(content.clone());
        self.change(|contents| contents.cache = content);
    }

    /// A content that exists during a write, visible only after a power cut.
    pub fn may_reach_disk(&mut self, content: T) {
        if let Err(place) = self.of.perhaps.binary_search(&content) {
            self.change(|contents| contents.perhaps.insert(place, content));
        }
    }

    pub fn sync(&mut self) {
        if !self.of.deaf {
            self.change(|contents| contents.perhaps = vec![contents.cache.clone()]);
        }
    }

    /// A sync failed, and the kernel has dropped what it could not write: the cache still shows it, later syncs succeed
    /// and write nothing.
    pub fn forget_silently(&mut self) {
        self.change(|contents| contents.deaf = true);
    }

    pub fn after_power_cut(&self) -> Vec<Self> {
        self.of.perhaps.iter().cloned().map(Self::new).collect()
    }

    /// The content that a process reads after it has synced the file and dropped the cache.
    pub fn read_from_disk(mut self) -> Vec<Self> {
        self.sync();
        self.after_power_cut()
    }
}

impl<T> Hash for File<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}
