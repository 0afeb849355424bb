//! Reading a file at an offset, whatever the descriptor's own offset is.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use crate::row;

/// Bytes of the buffer that lines are read into.
const BUFFER: usize = 256 * 1024;

/// The bytes of `file` from offset `from` up to offset `to`, or up to its end.
#[derive(Debug)]
pub struct Range<'a> {
    file: &'a File,
    from: u64,
    to: u64,
}

impl<'a> Range<'a> {
    /// The bytes from offset `from` up to offset `to`.
    pub fn new(file: &'a File, from: u64, to: u64) -> Self {
        Self { file, from, to }
    }

    /// The first `N` bytes; zeros for those past the end of the range or the file.
    ///
    /// # Errors
    /// The error of pread(2).
    pub fn array_or_zeros<const N: usize>(mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        let mut filled = 0;
        while filled < N {
            match self.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(bytes)
    }

    /// The bytes of the range that the file has.
    ///
    /// # Errors
    /// The error of pread(2).
    pub fn up_to_end(mut self) -> io::Result<Vec<u8>> {
        // Enough for one call to read a usual range whole; a damaged length reserves no more.
        let len = usize::try_from(self.to.saturating_sub(self.from)).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(len.min(BUFFER));
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The lines of the range.
    pub fn lines(self) -> Lines<'a> {
        let len = usize::try_from(self.to.saturating_sub(self.from)).unwrap_or(usize::MAX);
        Lines { buffer: vec![0; len.min(BUFFER)], start: 0, end: 0, range: self }
    }
}

impl Read for Range<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.to.saturating_sub(self.from)).unwrap_or(usize::MAX);
        let len = buffer.len().min(left);
        if len == 0 {
            return Ok(0);
        }
        let read = self.file.read_at(&mut buffer[..len], self.from)?;
        self.from += read as u64;
        Ok(read)
    }
}

/// Lines with their line feeds, read into one buffer.
#[derive(Debug)]
pub struct Lines<'a> {
    range: Range<'a>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Lines<'_> {
    /// The next line. A line without a line feed is the last one, or the front of a line that is longer than any row.
    ///
    /// # Errors
    /// The error of pread(2).
    pub fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        let mut searched = 0;
        let len = loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(at) = memchr::memchr(b'\n', &unread[searched..]) {
                break searched + at + 1;
            }
            searched = unread.len();
            if searched > row::MAX_LEN || !self.fill()? {
                break searched;
            }
        };
        let line = self.start..self.start + len;
        self.start = line.end;
        Ok((len > 0).then(|| &self.buffer[line]))
    }

    /// The next whole lines, as many as the buffer holds; otherwise as [`Lines::next_line`].
    ///
    /// # Errors
    /// The error of pread(2).
    pub fn next_lines(&mut self) -> io::Result<Option<&[u8]>> {
        if self.end - self.start <= row::MAX_LEN {
            self.fill()?;
        }
        let Some(at) = memchr::memrchr(b'\n', &self.buffer[self.start..self.end]) else { return self.next_line() };
        let lines = self.start..self.start + at + 1;
        self.start = lines.end;
        Ok(Some(&self.buffer[lines]))
    }

    /// Reads more bytes after the unread ones.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let read = loop {
            match self.range.read(&mut self.buffer[self.end..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.end += read;
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines(bytes: &[u8], from: u64, to: u64) -> Vec<Vec<u8>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut lines = Range::new(&file, from, to).lines();
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            found.push(line.to_vec());
        }
        found
    }

    #[test]
    fn lines_have_their_line_feeds_and_the_last_may_be_torn() {
        assert_eq!(lines(b"one\ntwo\n\nthree", 0, 100), ["one\n", "two\n", "\n", "three"].map(Vec::from));
        assert_eq!(lines(b"one\ntwo\n", 4, 7), [b"two"]);
        assert_eq!(lines(b"one\n", 2, 2), [[0; 0]; 0]);
    }

    #[test]
    fn bytes_past_the_end_are_zeros_or_missing() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abcdef").unwrap();
        assert_eq!(Range::new(&file, 2, 5).array_or_zeros().unwrap(), *b"cde\0");
        assert_eq!(Range::new(&file, 4, 9).array_or_zeros().unwrap(), *b"ef\0");
        assert_eq!(Range::new(&file, 4, 9).up_to_end().unwrap(), b"ef");
    }

    #[test]
    fn blocks_of_lines_end_with_a_line_feed_and_lose_nothing() {
        let mut text: String = (0..40_000).map(|n| format!("line {n}, which is not short\n")).collect();
        text += "torn";
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let mut lines = Range::new(&file, 0, u64::MAX).lines();
        let mut blocks = Vec::new();
        while let Some(block) = lines.next_lines().unwrap() {
            blocks.push(block.to_vec());
        }
        assert_eq!(blocks.concat(), text.as_bytes());
        assert!(blocks.len() < 20 && blocks.iter().rev().skip(1).all(|block| block.ends_with(b"\n")));
        assert_eq!(blocks.last().unwrap(), b"torn");
    }

    #[test]
    fn lines_across_the_ends_of_the_buffer_are_whole() {
        let text: String = (0..40_000).map(|n| format!("line {n}, which is not short\n")).collect();
        let found = lines(text.as_bytes(), 0, u64::MAX);
        assert!(text.len() > 4 * BUFFER && found.len() == 40_000);
        assert_eq!(found.concat(), text.as_bytes());
    }

    #[test]
    fn a_line_longer_than_any_row_is_returned_in_pieces() {
        let long = vec![b'x'; 3 * BUFFER];
        let found = lines(&long, 0, u64::MAX);
        assert!(found.iter().all(|piece| piece.len() > row::MAX_LEN || piece.len() <= BUFFER));
        assert_eq!(found.iter().map(Vec::len).sum::<usize>(), long.len());
    }
}
