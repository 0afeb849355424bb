//! Why a row is not a bet, and how a file of such rows looks.
//!
//! Owns the defects of a row, and the rule that describes a file in which no row is a bet. Used by [`super::reader`], and
//! by [`super::error`] for the last log line. Pure. Memory: a constant, for any number of rows.

use std::fmt;

use crate::bet::InvalidBet;

/// Most bytes of a line, without its terminator: about twenty times the longest row that any CSV writer makes of a bet.
pub const MAX_LINE: usize = 4096;
/// Rows that a [`Sample`] holds: enough for a majority that one title or comment does not change.
const SAMPLE: usize = 100;

/// Why a row is not a bet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// The row is CSV, but not a bet.
    #[error(transparent)]
    Bet(#[from] InvalidBet),
    /// The line has more than [`MAX_LINE`] bytes.
    #[error("the line is longer than {MAX_LINE} bytes")]
    Line,
    /// The line is not CSV.
    #[error("the line is not CSV: a quote is not closed")]
    Csv,
}

/// The first refused rows of a file.
#[derive(Debug, Default)]
pub struct Sample {
    shapes: Vec<Shape>,
    utf16: bool,
    /// Number of the first refused line, and its defect.
    first: Option<(u64, Defect)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// The row holds a NUL.
    Binary,
    /// The row is separated by these characters.
    Separated(&'static str),
    /// The row has this many columns, and a bet has another number of them.
    Columns(usize),
    Other,
}

/// How a file looks in which no row is a bet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appearance {
    /// The file is text in UTF-16.
    Utf16,
    /// The file is not text.
    Binary,
    /// Most rows are separated by these characters.
    Separated(&'static str),
    /// Most rows have this many columns.
    Columns(usize),
    /// The rows have no common shape. Number of the first refused line, and its defect.
    Unclear(u64, Defect),
}

impl Sample {
    /// Adds a refused row: the number of its line, and the start of it.
    pub fn add(&mut self, line: u64, row: &[u8], defect: Defect) {
        if self.shapes.len() < SAMPLE {
            self.utf16 |= line == 1 && is_utf16(row);
            self.shapes.push(shape(row, &defect));
            self.first.get_or_insert((line, defect));
        }
    }

    /// How the file looks if none of its rows is a bet; `None` if no row was refused.
    pub fn appearance(&self) -> Option<Appearance> {
        let (line, defect) = self.first.clone()?;
        let majority = self.shapes.iter().copied().find(|shape| 2 * self.count(*shape) > self.shapes.len());
        Some(match majority {
            _ if self.utf16 => Appearance::Utf16,
            // A text never holds a NUL.
            _ if self.count(Shape::Binary) > 0 => Appearance::Binary,
            Some(Shape::Separated(separators)) => Appearance::Separated(separators),
            Some(Shape::Columns(columns)) => Appearance::Columns(columns),
            _ => Appearance::Unclear(line, defect),
        })
    }

    fn count(&self, shape: Shape) -> usize {
        self.shapes.iter().filter(|other| **other == shape).count()
    }
}

impl fmt::Display for Appearance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utf16 => f.write_str("the file looks like UTF-16, not UTF-8"),
            Self::Binary => f.write_str("the file looks binary, not like CSV"),
            Self::Separated(separators) => write!(f, "the rows look separated by {separators}, not commas"),
            Self::Columns(1) => f.write_str("the rows have 1 column, a bet has 5"),
            Self::Columns(columns) => write!(f, "the rows have {columns} columns, a bet has 5"),
            Self::Unclear(line, defect) => write!(f, "line {line}: {defect}"),
        }
    }
}

fn shape(row: &[u8], defect: &Defect) -> Shape {
    let count = |wanted| row.iter().filter(|byte| **byte == wanted).count();
    let commas = count(b',');
    match defect {
        _ if row.contains(&0) => Shape::Binary,
        Defect::Bet(InvalidBet::Fields(_)) if count(b';') > commas => Shape::Separated("semicolons"),
        Defect::Bet(InvalidBet::Fields(_)) if count(b'\t') > commas => Shape::Separated("tabs"),
        Defect::Bet(InvalidBet::Fields(columns)) => Shape::Columns(*columns),
        _ => Shape::Other,
    }
}

/// Whether a file that starts with these bytes is text in UTF-16: it has a byte order mark, or one byte of each pair is
/// 0, as in all text of ASCII and Latin-1.
fn is_utf16(start: &[u8]) -> bool {
    let (pairs, _) = start.as_chunks::<2>();
    let all = |zero: usize| !pairs.is_empty() && pairs.iter().all(|pair| pair[zero] == 0 && pair[1 - zero] != 0);
    start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") || all(0) || all(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(rows: &[(&str, usize)]) -> String {
        let mut sample = Sample::default();
        for (line, (row, columns)) in (1..).zip(rows) {
            sample.add(line, row.as_bytes(), InvalidBet::Fields(*columns).into());
        }
        sample.appearance().map_or_else(String::new, |appearance| appearance.to_string())
    }

    #[test]
    fn most_rows_decide() {
        assert_eq!(fields(&[]), "");
        assert_eq!(fields(&[("Bets", 1), ("a;b", 1), ("a;b", 1)]), "the rows look separated by semicolons, not commas");
        assert_eq!(fields(&[("a,b", 2), ("a,b", 2), ("a,b,c", 3)]), "the rows have 2 columns, a bet has 5");
        assert_eq!(fields(&[("a", 1)]), "the rows have 1 column, a bet has 5");
        assert_eq!(fields(&[("a,b", 2), ("a,b,c", 3)]), "line 1: the row has 2 fields, a bet has 5");
        assert_eq!(fields(&[("a\0,b", 2), ("a,b", 2), ("a,b", 2)]), "the file looks binary, not like CSV");
    }

    #[test]
    fn sample_does_not_grow_without_limit() {
        let mut sample = Sample::default();
        (1..10_000).for_each(|line| sample.add(line, b"a", Defect::Line));
        assert_eq!(sample.shapes.len(), SAMPLE);
        assert_eq!(sample.appearance(), Some(Appearance::Unclear(1, Defect::Line)));
    }

    #[test]
    fn utf16_is_recognized_with_and_without_its_mark() {
        for start in [&b"\xff\xfe"[..], b"\xff\xfe\x4d\x26", b"\xfe\xff\0A", b"A\0\xf1\0", b"\0A\0\r\0"] {
            assert!(is_utf16(start), "{start:?}");
        }
        for start in [&b""[..], b"\0", b"\0\0\0\0", b"Ana", b"\xef\xbb\xbfA", b"PK\x03\x04\x14\0"] {
            assert!(!is_utf16(start), "{start:?}");
        }
    }
}
