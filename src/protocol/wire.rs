//! Integers and texts at the front of the bytes that have arrived so far.

use super::Malformed;

/// Why a decoder stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The bytes are the beginning of a message: more are needed.
    Incomplete,
    /// The bytes are no message, whatever follows.
    Malformed(Malformed),
}

/// What is left of the bytes to decode; every read takes from its front.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let (front, rest) = self.0.split_at_checked(len).ok_or(Stop::Incomplete)?;
        self.0 = rest;
        Ok(front)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Stop> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Stop> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Stop> {
        self.array().map(u64::from_be_bytes)
    }

    /// `cstr(max)`: a text closed by a NUL within `max` bytes, returned without it.
    pub(super) fn cstr(&mut self, max: usize) -> Result<&'a [u8], Stop> {
        let window = &self.0[..self.0.len().min(max)];
        match window.iter().position(|&b| b == 0) {
            Some(len) => {
                self.0 = &self.0[len + 1..];
                Ok(&window[..len])
            }
            None if window.len() == max => Err(Stop::Malformed(Malformed::Unterminated(max - 1))),
            None => Err(Stop::Incomplete),
        }
    }

    /// `pstr`: one length byte, then that many bytes.
    pub(super) fn pstr(&mut self) -> Result<&'a [u8], Stop> {
        let len = self.u8()?;
        self.bytes(len.into())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }
}
