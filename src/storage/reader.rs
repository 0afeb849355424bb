//! Reading a file at an offset, whatever the descriptor's own offset is.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;

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

    /// The first `N` bytes; `None` if the range ends before.
    ///
    /// # Errors
    /// The error of pread(2).
    pub fn array<const N: usize>(mut self) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        match self.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// All bytes of the range; `None` if the file ends before. Reserves no memory for bytes that the file does not have.
    ///
    /// # Errors
    /// The error of fstat(2) or pread(2).
    pub fn whole(mut self) -> io::Result<Option<Vec<u8>>> {
        if self.file.metadata()?.len() < self.to {
            return Ok(None);
        }
        let len = usize::try_from(self.to - self.from).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = vec![0; len];
        self.read_exact(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// The lines of the range.
    pub fn lines(self) -> Lines<'a> {
        Lines { offset: self.from, from: BufReader::new(self), line: Vec::new() }
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

/// Lines with their line feeds, one at a time in one buffer.
#[derive(Debug)]
pub struct Lines<'a> {
    from: BufReader<Range<'a>>,
    offset: u64,
    line: Vec<u8>,
}

impl Lines<'_> {
    /// The offset in the file at which the next line begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line. The last one may lack its line feed.
    ///
    /// # Errors
    /// The error of pread(2).
    pub fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let len = self.from.read_until(b'\n', &mut self.line)?;
        self.offset += len as u64;
        Ok((len > 0).then_some(&self.line))
    }
}
