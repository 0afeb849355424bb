//! The rows of a `bets.csv` that may be damaged: counting them, and copying a part of them.
//!
//! Used by `--repair`. A start and the draw stop at the first row that is not valid. A survey goes on after it, because the
//! rows of an agency may be complete although those of another one are damaged. It needs memory for each agency, not for
//! each row.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::error::{Error, Result};
use super::files::StopCheck;
use super::reader::Range;
use crate::bet::AgencyId;
use crate::row::Tally;
use crate::row_scan::{self, Run};

/// The rows of one agency, in different parts of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All valid rows up to the limit of the survey.
    pub limited: Tally,
    /// The same, but only before the first row that is not valid.
    pub front: Tally,
    /// All valid rows of the file.
    pub whole: Tally,
}

/// The rows of a file.
#[derive(Debug, Default)]
pub struct Survey {
    /// Bytes of the file.
    pub len: u64,
    /// Bytes past this offset are not bets, as far as anything records that.
    pub limit: u64,
    /// Where the first row begins that is not valid; [`Survey::len`] if there is none.
    pub front: u64,
    by_agency: HashMap<AgencyId, Counts>,
}

impl Survey {
    /// Counts the rows in the first `len` bytes of `bets`. `path` is its name for errors.
    ///
    /// # Errors
    /// [`Error::Stopped`] if `stop` returns true; [`Error::Io`] if pread(2) fails.
    pub fn take(bets: &File, path: &Path, [len, limit]: [u64; 2], stop: StopCheck<'_>) -> Result<Self> {
        let mut by_agency: HashMap<AgencyId, Counts> = HashMap::new();
        let mut walk = Walk { at: 0, limit, front: None, is_inside_line: false };
        let front = walk.over(bets, len, stop, &mut |rows| {
            let counts = by_agency.entry(rows.agency).or_default();
            counts.whole.add_rows(rows.bytes, rows.count);
            if rows.end() <= limit {
                counts.limited.add_rows(rows.bytes, rows.count);
                if rows.is_front {
                    counts.front.add_rows(rows.bytes, rows.count);
                }
            }
            Ok(())
        });
        Ok(Self { len, limit, front: front.map_err(stopped_or("read", path))?, by_agency })
    }

    /// The rows of `agency`.
    pub fn of(&self, agency: AgencyId) -> Counts {
        self.by_agency.get(&agency).copied().unwrap_or_default()
    }

    /// The agencies that have rows, in any order.
    pub fn agencies(&self) -> impl Iterator<Item = AgencyId> {
        self.by_agency.keys().copied()
    }
}

/// The rows of a `bets.csv` that are kept.
#[derive(Debug, Default)]
pub struct Kept {
    /// Bytes of the file.
    pub len: u64,
    /// The limit of the survey.
    pub limit: u64,
    /// For each agency, the offset up to which its valid rows are kept: 0, the length, the limit, or a smaller
    /// [`Survey::front`]. Nothing is kept of other agencies.
    pub by_agency: HashMap<AgencyId, u64>,
}

impl Kept {
    /// Copies the kept rows of `bets`, in their order.
    ///
    /// # Errors
    /// [`Error::Stopped`] if `stop` returns true; [`Error::Io`] if pread(2) or write(2) fails.
    pub fn copy(&self, bets: &File, path: &Path, into: &mut impl Write, stop: StopCheck<'_>) -> Result<()> {
        let mut walk = Walk { at: 0, limit: self.limit, front: None, is_inside_line: false };
        let copied = walk.over(bets, self.len, stop, &mut |rows| {
            let to = self.by_agency.get(&rows.agency).copied().unwrap_or(0);
            if rows.end() <= to { into.write_all(rows.bytes) } else { Ok(()) }
        });
        copied.map(drop).map_err(stopped_or("copy", path))
    }
}

/// For `map_err`: a scan that was interrupted has been stopped.
fn stopped_or(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |e| match e.kind() {
        io::ErrorKind::Interrupted => Error::Stopped,
        _ => Error::io(action, path)(e),
    }
}

/// Valid rows of one agency that follow each other. They end at or before the limit, or begin at or after it.
struct Rows<'a> {
    agency: AgencyId,
    /// Their offset in the file.
    at: u64,
    bytes: &'a [u8],
    count: u64,
    /// Every row before them is valid.
    is_front: bool,
}

impl Rows<'_> {
    fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }
}

type Each<'a> = &'a mut dyn FnMut(Rows<'_>) -> io::Result<()>;

/// A pass over the valid rows of a file.
struct Walk {
    at: u64,
    limit: u64,
    /// Where the first row begins that is not valid.
    front: Option<u64>,
    /// The bytes at `at` belong to a line that is longer than any row.
    is_inside_line: bool,
}

impl Walk {
    /// Calls `each` with all valid rows in the first `len` bytes. Returns where the valid rows at the front end.
    fn over(&mut self, bets: &File, len: u64, stop: StopCheck<'_>, each: Each<'_>) -> io::Result<u64> {
        let mut lines = Range::new(bets, 0, len).lines();
        while let Some(block) = lines.next_lines()? {
            if stop() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.block(block, each)?;
        }
        Ok(self.front.unwrap_or(self.at))
    }

    fn block(&mut self, block: &[u8], each: Each<'_>) -> io::Result<()> {
        let mut rest = block;
        while !rest.is_empty() {
            let run = if self.is_inside_line { None } else { row_scan::first_run(rest) };
            let len = match run {
                Some(run) => {
                    self.run(run, &rest[..run.len], each)?;
                    run.len
                }
                None => self.invalid_line(rest),
            };
            self.at += len as u64;
            rest = &rest[len..];
        }
        Ok(())
    }

    /// The length of the line at the front of `rest`, which is not a valid row, or of the part of it that `rest` has.
    fn invalid_line(&mut self, rest: &[u8]) -> usize {
        self.front.get_or_insert(self.at);
        let end = memchr::memchr(b'\n', rest);
        self.is_inside_line = end.is_none();
        end.map_or(rest.len(), |end| end + 1)
    }

    /// Splits the rows at the limit. A row that crosses it counts as one after it.
    fn run(&self, Run { agency, count, .. }: Run, bytes: &[u8], each: Each<'_>) -> io::Result<()> {
        let before = usize::try_from(self.limit.saturating_sub(self.at)).unwrap_or(usize::MAX).min(bytes.len());
        // Each row has one line feed, its last byte.
        let split = memchr::memrchr(b'\n', &bytes[..before]).map_or(0, |at| at + 1);
        let (first, second) = bytes.split_at(split);
        let counted = if second.is_empty() { count } else { memchr::memchr_iter(b'\n', first).count() as u64 };
        let parts = [(self.at, first, counted), (self.at + split as u64, second, count - counted)];
        let is_front = self.front.is_none();
        for (at, bytes, count) in parts.into_iter().filter(|(_, bytes, _)| !bytes.is_empty()) {
            each(Rows { agency, at, bytes, count, is_front })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(agency: u32, document: u32) -> String {
        format!("{agency},Ana,Paz,{document},1999-03-17,7574\r\n")
    }

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn tally(rows: &[String]) -> Tally {
        let mut tally = Tally::default();
        rows.iter().for_each(|row| tally.add(row.as_bytes()));
        tally
    }

    fn survey(text: &str, limit: u64) -> Survey {
        Survey::take(&file(text), Path::new("x"), [text.len() as u64, limit], &|| false).unwrap()
    }

    #[test]
    fn rows_after_an_invalid_one_are_counted() {
        let rows: Vec<_> = (0..6).map(|n| row(1 + n % 2, n)).collect();
        let text = [&rows[..3].concat(), "1,Ana\0,Paz,7,1999-03-17,7574\r\n", &rows[3..].concat()].concat();
        let found = survey(&text, text.len() as u64);
        assert_eq!(found.front, rows[..3].concat().len() as u64);
        for agency in [1, 2] {
            let own: Vec<_> = rows.iter().filter(|row| row.starts_with(&agency.to_string())).cloned().collect();
            let counts = found.of(AgencyId::new(agency).unwrap());
            assert_eq!((counts.whole, counts.limited), (tally(&own), tally(&own)));
            assert_eq!(counts.front, tally(&own[..if agency == 1 { 2 } else { 1 }]));
        }
    }

    #[test]
    fn a_row_across_the_limit_is_counted_after_it() {
        let rows: Vec<_> = (0..10).map(|n| row(1, n)).collect();
        let text = rows.concat();
        let one = AgencyId::new(1).unwrap();
        for limit in 0..=text.len() {
            let found = survey(&text, limit as u64);
            let whole = rows
                .iter()
                .scan(0, |end, row| {
                    *end += row.len();
                    Some(*end)
                })
                .filter(|&end| end <= limit);
            assert_eq!(found.of(one).limited, tally(&rows[..whole.count()]), "limit {limit}");
            assert_eq!((found.of(one).whole, found.front), (tally(&rows), text.len() as u64));
        }
    }

    #[test]
    fn the_rest_of_a_line_longer_than_the_buffer_is_not_a_row() {
        // The buffer has 256 KiB. The next bytes look like a row, and are the end of a line.
        let long = "x".repeat((256 << 10) - row(1, 1).len());
        let text = [&row(1, 1), &*long, &row(1, 2), &row(2, 3)].concat();
        let found = survey(&text, text.len() as u64);
        assert_eq!(found.of(AgencyId::new(1).unwrap()).whole.count, 1);
        assert_eq!(found.of(AgencyId::new(2).unwrap()).whole.count, 1);
    }

    #[test]
    fn kept_rows_are_copied_in_their_order() {
        let text = [row(1, 1), row(2, 2), "?\n".to_owned(), row(1, 3), row(3, 4), row(2, 5)].concat();
        let len = text.len() as u64;
        let by_agency = [(1, len), (2, 0)].into_iter().map(|(id, to)| (AgencyId::new(id).unwrap(), to)).collect();
        let kept = Kept { len, limit: len, by_agency };
        let mut copied = Vec::new();
        kept.copy(&file(&text), Path::new("x"), &mut copied, &|| false).unwrap();
        assert_eq!(String::from_utf8(copied).unwrap(), row(1, 1) + &row(1, 3));
        let stopped = kept.copy(&file(&text), Path::new("x"), &mut Vec::new(), &|| true);
        assert!(matches!(stopped, Err(Error::Stopped)));
    }
}
