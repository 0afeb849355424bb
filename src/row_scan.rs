//! Checks rows of `bets.csv` at the speed that a start over a large file needs, without making bets.
//!
//! Pure. Used by the storage when it counts rows. The fast path accepts only rows that are surely valid: no quotes, numbers
//! of at most ten digits. Every other row goes to [`row::parse`], which decides. So this module never accepts a row that
//! [`row::parse`] refuses, nor the other way round; the tests compare both.

use crate::bet::{AgencyId, Birthdate, Name};
use crate::plain;
use crate::row;

/// Rows of one agency at the front of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The agency of all its rows.
    pub agency: AgencyId,
    /// Bytes of the rows.
    pub len: usize,
    /// Number of rows.
    pub count: u64,
}

/// The longest run of valid rows of one agency at the front of `rows`; `None` if the first row is not valid.
pub fn first_run(rows: &[u8]) -> Option<Run> {
    let (agency, mut len) = first_row(rows)?;
    let mut count = 1;
    while let Some((other, more)) = first_row(&rows[len..])
        && other == agency
    {
        len += more;
        count += 1;
    }
    Some(Run { agency, len, count })
}

/// The longest run of lines at the front of `rows` that begin with the bytes of one agency, up to the first comma; `None` if
/// the first line begins with none. Lines may be invalid; those that are valid rows belong to the agency.
///
/// For a comparison with the tally of rows that were validated before.
pub fn first_likely_run(rows: &[u8]) -> Option<Run> {
    let mut ends = memchr::memchr_iter(b'\n', rows).map(|at| at + 1);
    let mut len = ends.next()?;
    let first = &rows[..len];
    let agency = row::agency(first)?;
    let beginning = &first[..=first.iter().position(|&byte| byte == b',')?];
    let mut count = 1;
    for end in ends {
        if !rows[len..].starts_with(beginning) {
            break;
        }
        len = end;
        count += 1;
    }
    Some(Run { agency, len, count })
}

/// The agency and the length of the row at the front of `rows`; `None` if it is not valid.
fn first_row(rows: &[u8]) -> Option<(AgencyId, usize)> {
    plain_row(rows).or_else(|| {
        let window = &rows[..rows.len().min(row::MAX_LEN)];
        let len = memchr::memchr(b'\n', window)? + 1;
        Some((row::parse(&rows[..len])?.agency, len))
    })
}

/// As [`first_row`], for the most usual rows; `None` leaves the decision to [`row::parse`].
fn plain_row(rows: &[u8]) -> Option<(AgencyId, usize)> {
    let mut rest = &rows[..rows.len().min(row::MAX_LEN)];
    let agency = AgencyId::new(number(&mut rest)?)?;
    take(&mut rest, b",")?;
    for _ in 0..2 {
        name(&mut rest)?;
        take(&mut rest, b",")?;
    }
    number(&mut rest)?;
    take(&mut rest, b",")?;
    let (date, after) = rest.split_at_checked(Birthdate::LEN)?;
    Birthdate::parse(date)?;
    rest = after;
    take(&mut rest, b",")?;
    number(&mut rest)?;
    take(&mut rest, row::TERMINATOR)?;
    Some((agency, rows.len().min(row::MAX_LEN) - rest.len()))
}

fn take(rest: &mut &[u8], expected: &[u8]) -> Option<()> {
    *rest = rest.strip_prefix(expected)?;
    Some(())
}

/// A number of at most ten digits.
fn number(rest: &mut &[u8]) -> Option<u32> {
    const DIGITS: usize = 10;
    let mut value = 0_u64;
    let mut len = 0;
    for &byte in &rest[..rest.len().min(DIGITS)] {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value * 10 + u64::from(digit);
        len += 1;
    }
    *rest = &rest[len..];
    if len == 0 { None } else { value.try_into().ok() }
}

/// A valid name without quotes, up to the next comma.
fn name(rest: &mut &[u8]) -> Option<()> {
    let mut len = plain::len(rest);
    if rest.get(len)? != &b',' || len == 0 {
        len = memchr::memchr(b',', rest)?;
        let name = &rest[..len];
        if name.contains(&b'"') || Name::new("name", name).is_err() {
            return None;
        }
    }
    *rest = &rest[len..];
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As [`first_row`], by [`row::parse`] only.
    fn by_parse(rows: &[u8]) -> Option<(AgencyId, usize)> {
        let line = rows.split_inclusive(|&byte| byte == b'\n').next()?;
        row::parse(line).map(|bet| (bet.agency, line.len()))
    }

    fn row_of(names: [&str; 2], numbers: [&str; 3], date: &str) -> Vec<u8> {
        let ([first, last], [agency, document, number]) = (names, numbers);
        format!("{agency},{first},{last},{document},{date},{number}\r\n").into_bytes()
    }

    prop_compose! {
        fn any_row()(
            first in "[a-zA-Zñ \\\\.',\"|]{0,12}",
            last in "\\PC{0,9}",
            numbers in proptest::array::uniform3("0{0,3}[0-9]{0,11}"),
            date in "(19|20|00)[0-9]{2}-[01][0-9]-[0-3][0-9]",
        ) -> Vec<u8> {
            row_of([&first, &last], numbers.each_ref().map(String::as_str), &date)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn rows_are_judged_as_by_parse(row in any_row()) {
            prop_assert_eq!(first_row(&row), by_parse(&row));
        }

        #[test]
        fn valid_rows_of_a_likely_run_have_its_agency(
            rows in prop::collection::vec(prop_oneof![any_row(), "(\"?\"?0?[12]?\"?,\"?a,b,1,1999-03-17,2|[0-9,]{0,3})\r?\n?".prop_map(String::into_bytes)], 1..9),
        ) {
            let rows = rows.concat();
            let Some(Run { agency, len, count }) = first_likely_run(&rows) else {
                prop_assert_eq!(by_parse(&rows), None);
                return Ok(());
            };
            let lines = rows[..len].split_inclusive(|&byte| byte == b'\n');
            prop_assert!(rows[..len].ends_with(b"\n"));
            prop_assert_eq!(lines.clone().count() as u64, count);
            for line in lines {
                prop_assert!(by_parse(line).is_none_or(|(own, _)| own == agency), "{}", line.escape_ascii());
            }
        }

        #[test]
        fn damaged_rows_are_judged_as_by_parse(row in any_row(), at in any::<prop::sample::Index>(), byte: u8, kind in 0..3) {
            let mut row = row;
            let at = at.index(row.len());
            match kind {
                0 => row[at] = byte,
                1 => drop(row.remove(at)),
                _ => row.insert(at, byte),
            }
            prop_assert_eq!(first_row(&row), by_parse(&row));
        }
    }

    #[test]
    fn a_run_ends_at_another_agency_at_a_torn_row_and_at_a_defect() {
        let row = |agency| row_of(["Ana", "Paz"], [agency, "7", "8"], "1999-03-17");
        let one = AgencyId::new(1).unwrap();
        let rows = [row("1"), row("01"), row("\"1\""), row("2")].concat();
        let len = row("1").len() + row("01").len() + row("\"1\"").len();
        assert_eq!(first_run(&rows), Some(Run { agency: one, len, count: 3 }));
        assert_eq!(first_run(&rows[..len - 1]).unwrap().count, 2);
        assert_eq!(first_run(b""), None);
        assert_eq!(first_run(b"1,Ana,Paz,7,1999-02-29,8\r\n"), None);
    }

    #[test]
    fn a_line_longer_than_any_row_is_not_valid() {
        let at_most = row_of([&"x".repeat(row::MAX_LEN - 21), "y"], ["1", "7", "8"], "1999-03-17");
        assert_eq!((at_most.len(), first_row(&at_most)), (row::MAX_LEN, by_parse(&at_most)));
        assert!(first_row(&at_most).is_some());
        let longer = row_of([&"x".repeat(row::MAX_LEN - 20), "y"], ["1", "7", "8"], "1999-03-17");
        assert_eq!((first_row(&longer), by_parse(&longer)), (None, None));
    }
}
