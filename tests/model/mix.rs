//! A hash of 64 bits that costs a few nanoseconds. It identifies states.

use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Odd, with its bits well spread (2^64 divided by the golden ratio).
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// Mixes word by word; for a given word, each step is injective.
#[derive(Debug, Default)]
pub struct Mix(u64);

/// For tables whose keys are hashes already.
pub type MixBuilder = BuildHasherDefault<Mix>;

pub fn mixed<T: Hash>(value: &T) -> u64 {
    let mut mix = Mix::default();
    value.hash(&mut mix);
    mix.finish()
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_add(1).wrapping_mul(FACTOR);
        self.0 ^= self.0 >> 32;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }
}
