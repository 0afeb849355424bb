//! Integers and texts at the front of the bytes that have arrived so far.

use super::malformed::Malformed;
use crate::bet::Name;

/// Why a decoder returns no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes are the beginning of a message. More bytes are needed.
    Incomplete,
    /// The bytes are not a message, whatever follows them.
    Malformed(Malformed),
}

/// The bytes that are still to be decoded. Every read takes from their front.
///
/// # Errors
/// Every read returns [`DecodeError::Incomplete`] if there are too few bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (front, rest) = self.0.split_at_checked(len).ok_or(DecodeError::Incomplete)?;
        self.0 = rest;
        Ok(front)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// `cstr(max)`: a text that a NUL closes within `max` bytes; returned without the NUL.
    pub(super) fn cstr(&mut self, max: usize) -> Result<&'a [u8], DecodeError> {
        let window = &self.0[..self.0.len().min(max)];
        match memchr::memchr(0, window) {
            Some(len) => {
                self.0 = &self.0[len + 1..];
                Ok(&window[..len])
            }
            None if window.len() == max => Err(DecodeError::Malformed(Malformed::Unterminated(max - 1))),
            None => Err(DecodeError::Incomplete),
        }
    }

    /// A [`Self::cstr`] of at most `longest` bytes that is a plain name; `None` for every other text.
    pub(super) fn plain_name(&mut self, longest: usize) -> Option<Name<'a>> {
        let window = &self.0[..self.0.len().min(longest + 1)];
        let (name, [0, ..]) = Name::plain(window)? else { return None };
        self.0 = &self.0[name.as_bytes().len() + 1..];
        Some(name)
    }

    /// `pstr`: one length byte, then that many bytes.
    pub(super) fn pstr(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u8()?;
        self.bytes(len.into())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }
}
