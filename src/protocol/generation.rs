//! The three generations of clients, and the forms in which bets arrive.

/// What a client speaks. The first bytes of its connection decide ([`super::detect`]).
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
    /// A batch of type 1.
    TypedBatch,
}
