//! Which generation a connection speaks, decided by its first bytes. Never waits for more bytes than the complete message
//! has.

use super::generation::Generation;

/// The kind of a connection's first message.
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

/// The generation of a connection whose first byte is `first`. Untyped messages begin with an agency number below 2^24,
/// so their first byte is 0.
pub fn generation(first: u8) -> Generation {
    match first {
        0 => Generation::Untyped,
        1..=0x1f => Generation::Typed,
        0x20.. => Generation::Echo,
    }
}

/// The kind of the message that begins with `bytes`, the first bytes of a connection; `None` while it is undecided.
///
/// After the agency an untyped message has a byte X: the length of the first name in a single bet, or the number of bets
/// in a batch. In a single bet X bytes of a name follow, then a length L > 0, then L bytes of another name; names hold no
/// NUL and are not empty. In a batch two NULs always come that early.
pub fn kind(bytes: &[u8]) -> Option<Kind> {
    match generation(*bytes.first()?) {
        Generation::Echo => return Some(Kind::Echo),
        Generation::Typed => return Some(Kind::Typed),
        Generation::Untyped => {}
    }
    let (&x, rest) = bytes.get(4..)?.split_first()?;
    let x = usize::from(x);
    if x == 0 || has_nul(rest, x) {
        return Some(Kind::UntypedBatch);
    }
    let (&l, rest) = rest.get(x..)?.split_first()?;
    let l = usize::from(l);
    if l == 0 || has_nul(rest, l) {
        return Some(Kind::UntypedBatch);
    }
    (rest.len() >= l).then_some(Kind::Single)
}

/// Whether a NUL is among the first `window` bytes, as far as they have arrived.
fn has_nul(bytes: &[u8], window: usize) -> bool {
    bytes.iter().take(window).any(|&b| b == 0)
}
