//! What survives a power cut. The storage promises it, the setting DURABILITY chooses it.

/// A level of durability. A killed process loses no acknowledged bet at any level. Levels are ordered: each includes the
/// promises of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// After a power cut, only what the kernel had already written.
    Process,
    /// Every bet of an agency whose end was acknowledged.
    End,
    /// Every acknowledged batch.
    Batch,
}
