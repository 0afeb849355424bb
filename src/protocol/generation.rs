//! The generations of clients, and the forms of the messages that carry bets.
//!
//! Owns two enums. Used by the decoder, the encoder and the session. Knows no bytes.

/// The protocol that a client uses on its connection. The first byte of the connection decides ([`super::detect`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Text, exercises 1–4.
    Echo,
    /// One bet or one batch without a type byte, exercises 5 and 6.
    Untyped,
    /// Messages with a type byte, exercises 7 and 8.
    Typed,
}

/// The form of a message that carries bets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A single bet without a type byte.
    Single,
    /// A batch without a type byte.
    UntypedBatch,
    /// A batch with a type byte (message 1).
    TypedBatch,
}
