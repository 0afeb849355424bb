//! The lines of a file, read in blocks.
//!
//! Owns the file, the position in it, and one block of its bytes. Used by [`super::reader`]. Knows no bet. Memory: one
//! block, for lines and files of any size.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use super::defect::MAX_LINE;
use super::stop::StopSignal;

/// Bytes of a block. The request to stop is checked before each read(2), so a stop is noticed even while many rows are
/// skipped.
pub(super) const BLOCK: usize = 64 * 1024;
/// The byte order mark that some editors write before UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";
/// Bytes that are kept of a longer line: a BOM, the longest line, a carriage return, and one byte more.
const KEPT: usize = BOM.len() + MAX_LINE + 2;

/// A file as a sequence of lines.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    file: File,
    stop: &'a StopSignal,
    block: Box<[u8]>,
    /// The bytes of the file that are in the block and not read as lines yet: from `next` to `end`.
    next: usize,
    end: usize,
    /// Start of the current line in the block.
    start: usize,
    /// Number of the current line, from 1; 0 before the first.
    number: u64,
    at_end: bool,
}

/// A line without its terminator, which is LF or CR LF. The first line is also without its byte order mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'l> {
    Whole(&'l [u8]),
    /// More than [`MAX_LINE`] bytes, of which these are the first.
    TooLong(&'l [u8]),
}

impl<'a> Lines<'a> {
    /// The lines of `file`, which is read from its start. A request to `stop` ends the reading.
    pub(super) fn new(file: File, stop: &'a StopSignal) -> Self {
        let block = vec![0; BLOCK].into_boxed_slice();
        Self { file, stop, block, next: 0, end: 0, start: 0, number: 0, at_end: false }
    }

    /// The next line; `None` at the end of the file.
    ///
    /// # Errors
    /// The error of read(2), or any error after a request to stop.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.start = self.next;
        let end = match memchr::memchr(b'\n', &self.block[self.next..self.end]) {
            Some(len) => {
                self.next += len + 1;
                self.next - 1
            }
            None => match self.complete_line()? {
                Some(end) => end,
                None => return Ok(None),
            },
        };
        self.number += 1;
        Ok(Some(trimmed(&self.block[self.start..end], self.number)))
    }

    /// The bytes after the current line, as far as they are in the block; none before the first line, which may have a byte
    /// order mark.
    #[inline]
    pub(super) fn ahead(&self) -> &[u8] {
        if self.number == 0 { &[] } else { &self.block[self.next..self.end] }
    }

    /// Goes to the next line, which has `len` bytes with its terminator, all of them in [`Lines::ahead`].
    #[inline]
    pub(super) fn skip(&mut self, len: usize) {
        self.start = self.next;
        self.next += len;
        self.number += 1;
    }

    /// Makes the current line the next one again. It must be a [`Line::Whole`].
    pub(super) fn step_back(&mut self) {
        self.next = self.start;
        self.number -= 1;
        self.at_end = false;
    }

    /// The number of the current line, from 1; 0 before the first.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Goes back to the start of the file.
    ///
    /// # Errors
    /// The error of lseek(2).
    pub(super) fn rewind(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        (self.next, self.end, self.start, self.number, self.at_end) = (0, 0, 0, 0, false);
        Ok(())
    }

    /// Reads on until the line at `next` is complete. Returns its end in the block; `None` at the end of the file. Of a
    /// line longer than [`KEPT`], only the start is kept.
    #[cold]
    fn complete_line(&mut self) -> io::Result<Option<usize>> {
        self.block.copy_within(self.next..self.end, 0);
        (self.start, self.end, self.next) = (0, self.end - self.next, 0);
        let mut searched = self.end;
        while !self.at_end {
            // Of a line that is too long, later bytes replace those after its start.
            self.end = self.end.min(KEPT);
            searched = searched.min(KEPT);
            if self.fill()? == 0 {
                self.at_end = true;
            } else if let Some(len) = memchr::memchr(b'\n', &self.block[searched..self.end]) {
                self.next = searched + len + 1;
                return Ok(Some(self.next - 1));
            }
            searched = self.end;
        }
        self.next = self.end;
        Ok((self.end > 0).then_some(self.end))
    }

    /// Reads once, to the end of the block at most. Returns the number of bytes; 0 at the end of the file.
    fn fill(&mut self) -> io::Result<usize> {
        loop {
            self.stop.check().map_err(io::Error::other)?;
            match self.file.read(&mut self.block[self.end..]) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
                Ok(len) => {
                    self.end += len;
                    return Ok(len);
                }
            }
        }
    }
}

/// The line number `number`, given without its LF.
fn trimmed(line: &[u8], number: u64) -> Line<'_> {
    let mut line = line.strip_suffix(b"\r").unwrap_or(line);
    if number == 1 {
        line = line.strip_prefix(BOM).unwrap_or(line);
    }
    if line.len() <= MAX_LINE { Line::Whole(line) } else { Line::TooLong(&line[..line.len().min(KEPT)]) }
}
