//! A line of the agency's file as a bet.
//!
//! Pure. Used by [`super::reader`]. The fast path accepts only lines that are surely bets: no quotes, numbers of at most ten
//! digits. Every other line goes to the slow path, which decides, and which the csv crate helps if the line holds a quote.
//! So the fast path never accepts a line that the slow path refuses or reads differently; the tests compare both.

use std::borrow::Cow;

use super::defect::Defect;
use crate::bet::{self, AgencyId, Bet, Birthdate, InvalidBet, decimal};
use crate::protocol::batch::{self, MAX_NAME};
use crate::row;

/// Fields of a line: first name, last name, document, birthdate, number.
const FIELDS: usize = 5;
/// Most digits of a number that the fast path reads.
const DIGITS: usize = 10;

/// The bet of `agency` in `line`, which is given without its terminator.
///
/// # Errors
/// [`Defect::Csv`], or [`Defect::Bet`] with the first defect, if the line is not a bet that a batch can carry.
#[inline]
pub(super) fn parse(line: &[u8], agency: AgencyId) -> Result<Bet<'_>, Defect> {
    match plain(line, agency) {
        Some(bet) => Ok(bet),
        None => unusual(line, agency),
    }
}

/// As [`parse`], for the most usual lines; `None` leaves the decision to [`unusual`].
fn plain(line: &[u8], agency: AgencyId) -> Option<Bet<'_>> {
    let mut rest = line;
    let [first_name, last_name] = [name(&mut rest)?, name(&mut rest)?];
    let document = number(&mut rest)?;
    let (date, after) = rest.strip_prefix(b",")?.split_at_checked(Birthdate::LEN)?;
    let birthdate = Birthdate::parse(date)?;
    rest = after.strip_prefix(b",")?;
    let number = number(&mut rest)?;
    let [first_name, last_name] = [first_name, last_name].map(Cow::Borrowed);
    rest.is_empty().then_some(Bet { agency, first_name, last_name, document, birthdate, number })
}

/// Takes a valid name without quotes, and the comma after it.
fn name<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let mut len = 0;
    let mut others = 0;
    loop {
        // The fields after a name have more than eight bytes.
        let word = u64::from_le_bytes(*rest.get(len..)?.first_chunk()?);
        let specials = specials(word);
        if specials != 0 {
            let plain = specials.trailing_zeros() / 8;
            others |= word & !(u64::MAX << (8 * plain));
            len += plain as usize;
            break;
        }
        others |= word;
        len += 8;
    }
    let (name, after) = rest.split_at(len);
    *rest = after.strip_prefix(b",")?;
    let is_len = (1..=MAX_NAME).contains(&name.len());
    let is_ascii = others & HIGHS == 0;
    let name = if is_ascii { str::from_utf8(name).ok() } else { bet::name("name", name).ok() };
    name.filter(|_| is_len)
}

const ONES: u64 = u64::MAX / 0xff;
/// The highest bit of each byte.
const HIGHS: u64 = ONES << 7;

/// Not 0 if a byte of `word` is an ASCII control character, a comma or a quote. Then the lowest bit that is set is the
/// highest bit of the first such byte, in little-endian order.
fn specials(word: u64) -> u64 {
    // The highest bit of each byte that is below `limit`. Bits above the first such byte may be wrong.
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGHS;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    below(word, b' ') | equal(b',') | equal(b'"') | equal(0x7f)
}

/// Takes a number of at most [`DIGITS`] digits.
fn number(rest: &mut &[u8]) -> Option<u32> {
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

/// As [`parse`], for any line.
#[cold]
fn unusual(line: &[u8], agency: AgencyId) -> Result<Bet<'_>, Defect> {
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

    /// The fast path accepts nothing else than the csv crate, and both paths together decide as it does.
    fn same_as_csv(line: &[u8]) -> Result<(), TestCaseError> {
        // No line holds a line feed, and the csv crate skips an empty line.
        if line.is_empty() || line.contains(&b'\n') {
            return Ok(());
        }
        let expected = by_csv(line);
        if let Some(bet) = plain(line, one()) {
            prop_assert_eq!(Ok(bet), expected.clone());
        }
        prop_assert_eq!(parse(line, one()), expected);
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
    fn usual_lines_take_the_fast_path() {
        for line in [GOOD, "Pérez Ana,De la Ñandú,30904465,1999-03-17,7574", "A,B,0,2000-02-29,4294967295"] {
            assert!(plain(line.as_bytes(), one()).is_some(), "{line}");
        }
    }
}
