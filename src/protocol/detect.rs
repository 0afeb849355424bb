//! Which generation a connection speaks, from its first bytes. Never asks for more bytes than the complete message has.

use super::Generation;

/// The kind of the message that begins with `bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Echo,
    /// A single bet without a type byte.
    Single,
    /// A batch without a type byte.
    UntypedBatch,
    /// A message with a type byte.
    Typed,
}

impl Kind {
    /// The generation that it belongs to.
    pub fn generation(self) -> Generation {
        match self {
            Self::Echo => Generation::Echo,
            Self::Single | Self::UntypedBatch => Generation::Untyped,
            Self::Typed => Generation::Typed,
        }
    }
}

/// The generation that the first byte of a connection tells; an agency number below 2^24 begins with 0.
pub fn generation(first: u8) -> Generation {
    match first {
        0 => Generation::Untyped,
        1..=0x1f => Generation::Typed,
        0x20.. => Generation::Echo,
    }
}

/// What `bytes`, all that a connection has brought so far, is the beginning of; `None` while it could be several.
///
/// After the agency an untyped message goes on with X: the length of the first name of a single bet, or the number of
/// bets in a batch. In a single bet the X bytes behind it are a name, then comes a length L > 0, then a name; names
/// hold no NUL, and no single bet has an empty one. In a batch two NULs come that early, always.
pub fn kind(bytes: &[u8]) -> Option<Kind> {
    match generation(*bytes.first()?) {
        Generation::Echo => return Some(Kind::Echo),
        Generation::Typed => return Some(Kind::Typed),
        Generation::Untyped => {}
    }
    let (&x, behind) = bytes.get(4..)?.split_first()?;
    let x = usize::from(x);
    if x == 0 || has_nul(behind, x) {
        return Some(Kind::UntypedBatch);
    }
    let (&l, behind) = behind.get(x..)?.split_first()?;
    let l = usize::from(l);
    if l == 0 || has_nul(behind, l) {
        return Some(Kind::UntypedBatch);
    }
    (behind.len() >= l).then_some(Kind::Single)
}

/// Whether a NUL is among the first `window` bytes, as far as they have arrived.
fn has_nul(bytes: &[u8], window: usize) -> bool {
    bytes.iter().take(window).any(|&b| b == 0)
}
