//! A line of the agency's file as a bet.
//!
//! Pure. Used by [`super::reader`]. [`usual`] accepts only lines that are surely bets: plain names, numbers of at most eight
//! digits. [`parse`] decides every other line, with the csv crate's help if it holds a quote. So [`usual`] never accepts a line
//! that [`parse`] refuses or reads differently; the tests compare both.

use super::defect::Defect;
use crate::bet::{AgencyId, Bet, Birthdate, InvalidBet, Name, decimal};
use crate::protocol::batch::{self, MAX_NAME};
use crate::row;

/// Fields of a line: first name, last name, document, birthdate, number.
const FIELDS: usize = 5;

/// The bet of `agency` in the line at the front of `bytes`, and the length of that line with its terminator; `None` leaves
/// the decision to [`parse`].
#[inline]
pub(super) fn usual(bytes: &[u8], agency: AgencyId) -> Option<(Bet<'_>, usize)> {
    let (first_name, rest) = name(bytes)?;
    let (last_name, rest) = name(rest)?;
    let (document, rest) = number(rest)?;
    let (date, rest) = rest.strip_prefix(b",")?.split_at_checked(Birthdate::LEN)?;
    let birthdate = Birthdate::parse(date)?;
    let (number, rest) = number(rest.strip_prefix(b",")?)?;
    let rest = rest.strip_prefix(b"\r").unwrap_or(rest).strip_prefix(b"\n")?;
    Some((Bet { agency, first_name, last_name, document, birthdate, number }, bytes.len() - rest.len()))
}

/// The plain name at the front of `bytes`, and the bytes after its comma.
#[inline]
fn name(bytes: &[u8]) -> Option<(Name<'_>, &[u8])> {
    let (name, rest) = Name::plain(bytes)?;
    let rest = rest.strip_prefix(b",")?;
    (name.as_bytes().len() <= MAX_NAME).then_some((name, rest))
}

/// The number of at most eight digits at the front of `bytes`, and the bytes after it. `None` if fewer than eight bytes are
/// left.
#[inline]
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHS: u64 = ONES << 7;
    let digits = u64::from_le_bytes(*bytes.first_chunk()?) ^ (ONES * u64::from(b'0'));
    // The highest bit of each byte that is greater than 9. No byte has a carry.
    let others = (digits | (digits & !HIGHS).wrapping_add(ONES * 0x76)) & HIGHS;
    let len = others.trailing_zeros() / 8;
    if len == 0 {
        return None;
    }
    // Zeros before the digits fill the word.
    let value = eight_digits(digits << (64 - 8 * len));
    Some((value, &bytes[len as usize..]))
}

/// The number that the bytes of `digits` write, each from 0 to 9, the first in the lowest byte.
fn eight_digits(digits: u64) -> u32 {
    const FIRST_OF_FOUR: u64 = 0x0000_00ff_0000_00ff;
    // Each even byte becomes the number that it and the next digit write. Then the high half adds up all four.
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let high = (pairs & FIRST_OF_FOUR).wrapping_mul((1_000_000 << 32) + 100);
    let low = (pairs >> 16 & FIRST_OF_FOUR).wrapping_mul((10_000 << 32) + 1);
    (high.wrapping_add(low) >> 32) as u32
}

/// The bet of `agency` in `line`, which is given without its terminator.
///
/// # Errors
/// [`Defect::Csv`], or [`Defect::Bet`] with the first defect, if the line is not a bet that a batch can carry.
#[cold]
pub(super) fn parse(line: &[u8], agency: AgencyId) -> Result<Bet<'_>, Defect> {
    if line.contains(&b'"') {
        let fields = row::quoted_fields(line).ok_or(Defect::Csv)?;
        from_fields(fields.iter(), agency).map(Bet::into_owned)
    } else {
        from_fields(line.split(|&b| b == b','), agency)
    }
}

fn from_fields<'a>(fields: impl Iterator<Item = &'a [u8]>, agency: AgencyId) -> Result<Bet<'a>, Defect> {
    let mut row = [&[][..]; FIELDS];
    let mut count = 0;
    for field in fields {
        if let Some(slot) = row.get_mut(count) {
            *slot = field;
        }
        count += 1;
    }
    if count != FIELDS {
        return Err(InvalidBet::Fields(count).into());
    }
    let [first_name, last_name, document, birthdate, number] = row;
    let document = decimal(document).ok_or(InvalidBet::Number("document"))?;
    let number = decimal(number).ok_or(InvalidBet::Number("number"))?;
    let bet = Bet::new(agency, [first_name, last_name], document, birthdate, number)?;
    batch::check_len(&bet)?;
    Ok(bet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "Ana,Paz,7,1999-03-17,8";

    fn one() -> AgencyId {
        AgencyId::new(1).unwrap()
    }

    /// The csv crate decides every line, with a quote or without.
    fn by_csv(line: &[u8]) -> Result<Bet<'static>, Defect> {
        let fields = row::quoted_fields(line).ok_or(Defect::Csv)?;
        from_fields(fields.iter(), one()).map(Bet::into_owned)
    }

    /// Both functions read `line` as the csv crate does, as far as they accept it.
    fn same_as_csv(line: &[u8]) -> Result<(), TestCaseError> {
        // No line holds a line feed, and the csv crate skips an empty line.
        if line.is_empty() || line.contains(&b'\n') {
            return Ok(());
        }
        for end in ["\n", "\r\n", "\nAna,Paz,7,1999-03-17,8\n", ""] {
            let bytes = [line, end.as_bytes()].concat();
            if let Some((bet, len)) = usual(&bytes, one()) {
                // A carriage return at the end of the line is part of its terminator.
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                prop_assert_eq!(Ok(bet), by_csv(line));
                prop_assert_eq!(len, bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1);
            }
        }
        prop_assert_eq!(parse(line, one()), by_csv(line));
        Ok(())
    }

    prop_compose! {
        fn any_line()(
            mark in "\u{feff}?",
            first in "[a-zA-Zñº \\\\.'|]{0,31}",
            last in "\\PC{0,9}|[a-z\"]{1,9}|[\r\0\u{7f}\u{85} a]{1,4}|x{28,31}",
            numbers in proptest::array::uniform2("0{0,3}[0-9]{1,10}|42949672(9|5)[0-9]{1,3}"),
            date in "(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]",
            end in "\r?| |,",
        ) -> Vec<u8> {
            let [document, number] = numbers;
            format!("{mark}{first},{last},{document},{date},{number}{end}").into_bytes()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn lines_are_read_as_by_the_csv_crate(line in any_line()) {
            same_as_csv(&line)?;
        }

        #[test]
        fn damaged_lines_are_read_as_by_the_csv_crate(
            line in any_line(),
            at in any::<prop::sample::Index>(),
            byte in prop_oneof![any::<u8>(), Just(b'"'), Just(b','), Just(0)],
            kind in 0..3,
        ) {
            let mut line = line;
            let at = at.index(line.len());
            match kind {
                0 => line[at] = byte,
                1 => drop(line.remove(at)),
                _ => line.insert(at, byte),
            }
            same_as_csv(&line)?;
        }
    }

    #[test]
    fn every_byte_at_every_place_is_read_as_by_the_csv_crate() {
        for line in [GOOD, "Pérez Ana,De la Ñandú,30904465,1999-03-17,7574"] {
            for (at, byte) in (0..line.len()).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
                let mut line = line.as_bytes().to_vec();
                line[at] = byte;
                same_as_csv(&line).unwrap();
                line.truncate(at);
                same_as_csv(&line).unwrap();
            }
        }
    }

    #[test]
    fn usual_lines_are_read_at_once() {
        for line in [GOOD, "Pérez Ana,De la Ñandú,30904465,1999-03-17,7574", "A,B,0,2000-02-29,99999999"] {
            let bytes = format!("{line}\r\nEva,Paz,7\n");
            let (bet, len) = usual(bytes.as_bytes(), one()).unwrap();
            assert_eq!((Ok(bet), len), (parse(line.as_bytes(), one()), line.len() + 2));
        }
    }

    #[test]
    fn every_number_of_digits_is_read() {
        for number_of in [0, 1, 7, 10, 99, 12_345, 1_234_567, 30_904_465, 98_765_432, 99_999_999] {
            for text in [format!("{number_of}"), format!("{number_of:08}")] {
                let bytes = format!("{text},0000000");
                assert_eq!(number(bytes.as_bytes()), Some((number_of, &bytes.as_bytes()[text.len()..])));
            }
        }
        assert_eq!((number(b"1234567"), number(b",1234567")), (None, None));
    }
}
