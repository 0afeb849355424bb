//! A bet: checked once when it is made, valid from then on.
//!
//! Owns the rules that make a bet valid, apart from the limits of one wire format. Pure. Knows neither messages nor rows of
//! a file.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::str;

/// The number of an agency: 1 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgencyId(NonZeroU32);

impl AgencyId {
    /// `None` for 0.
    pub fn new(id: u32) -> Option<Self> {
        NonZeroU32::new(id).map(Self)
    }

    /// The number, 1 or more.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for AgencyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A real day between 0001-01-01 and 9999-12-31, as the ten ASCII bytes `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birthdate([u8; Self::LEN]);

impl Birthdate {
    /// Length of the text in bytes.
    pub const LEN: usize = 10;

    /// `None` for another form, and for a day that does not exist.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let &text: &[u8; Self::LEN] = text.try_into().ok()?;
        // A byte that is not a digit becomes greater than 9.
        let [y1, y2, y3, y4, dash, m1, m2, other_dash, d1, d2] = text.map(|byte| u32::from(byte.wrapping_sub(b'0')));
        let is_digits = [y1, y2, y3, y4, m1, m2, d1, d2].iter().all(|&digit| digit <= 9);
        let [year, month, day] = [y1 * 1000 + y2 * 100 + y3 * 10 + y4, m1 * 10 + m2, d1 * 10 + d2];
        let is_form = is_digits && dash == other_dash && text[4] == b'-';
        (is_form && year >= 1 && day >= 1 && day <= days_in(month, year)).then_some(Self(text))
    }

    /// The ASCII bytes of the date.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The date as `YYYY-MM-DD`.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("parse accepts only ASCII digits and hyphens")
    }
}

/// The number of days of a month in the Gregorian calendar; 0 for a month that does not exist.
fn days_in(month: u32, year: u32) -> u32 {
    const DAYS: [u8; 13] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = DAYS.get(month as usize).copied().unwrap_or(0);
    u32::from(days) + u32::from(month == 2 && is_leap)
}

/// One bet of one person, placed at one agency. Its names are usually borrowed from the bytes in which it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bet<'a> {
    /// The agency where it was placed.
    pub agency: AgencyId,
    /// Not empty, no control characters.
    pub first_name: Cow<'a, str>,
    /// Not empty, no control characters.
    pub last_name: Cow<'a, str>,
    /// Number of the identity document (DNI): any value, 0 included.
    pub document: u32,
    /// Day of birth.
    pub birthdate: Birthdate,
    /// The number that was bet on: any value.
    pub number: u32,
}

/// Why a bet is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBet {
    /// A name is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// A name holds a control character, a line break among them.
    #[error("{0} holds a control character")]
    Control(&'static str),
    /// A name is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    /// A name has more bytes than the batch formats can carry.
    #[error("{0} is longer than 29 bytes")]
    TooLong(&'static str),
    /// The birthdate is not a date.
    #[error("birthdate is not a date YYYY-MM-DD")]
    Date,
    /// A number is not within 0..4294967295.
    #[error("{0} is not a number from 0 to 4294967295")]
    Number(&'static str),
    /// A row has another number of fields than a bet.
    #[error("the row has {0} fields, a bet has 5")]
    Fields(usize),
}

impl<'a> Bet<'a> {
    /// Checks names and birthdate, which are still bytes.
    ///
    /// # Errors
    /// The first defect in the order of the fields: that of [`name`], or [`InvalidBet::Date`].
    pub fn new(
        agency: AgencyId,
        [first_name, last_name]: [&'a [u8]; 2],
        document: u32,
        birthdate: &[u8],
        number: u32,
    ) -> Result<Self, InvalidBet> {
        Ok(Self {
            agency,
            first_name: name("first name", first_name)?.into(),
            last_name: name("last name", last_name)?.into(),
            document,
            birthdate: Birthdate::parse(birthdate).ok_or(InvalidBet::Date)?,
            number,
        })
    }

    /// The same bet with names of its own.
    pub fn into_owned(self) -> Bet<'static> {
        let Self { agency, first_name, last_name, document, birthdate, number } = self;
        let [first_name, last_name] = [first_name, last_name].map(|name| Cow::Owned(name.into_owned()));
        Bet { agency, first_name, last_name, document, birthdate, number }
    }
}

/// A number written only in decimal digits, leading zeros allowed; `None` for other text and above 4294967295.
/// (`str::parse` also accepts a sign, and needs text that was checked for UTF-8.)
pub fn decimal(digits: &[u8]) -> Option<u32> {
    let value = |so_far: u32, &digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
        so_far.checked_mul(10)?.checked_add(digit)
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, value) }
}

/// Checks a name; `field` names it in errors.
///
/// # Errors
/// [`InvalidBet::NotUtf8`], [`InvalidBet::Empty`], [`InvalidBet::Control`].
pub fn name<'a>(field: &'static str, bytes: &'a [u8]) -> Result<&'a str, InvalidBet> {
    let text = str::from_utf8(bytes).map_err(|_| InvalidBet::NotUtf8(field))?;
    if text.is_empty() {
        return Err(InvalidBet::Empty(field));
    }
    // A control character is ASCII, or begins with this byte. Few names hold either, so most need no second pass.
    const C1_LEAD: u8 = 0xc2;
    let suspect = |byte: &u8| byte.is_ascii_control() || *byte == C1_LEAD;
    if bytes.iter().any(suspect) && text.chars().any(char::is_control) {
        return Err(InvalidBet::Control(field));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agency_numbers_start_at_1() {
        assert_eq!(AgencyId::new(0), None);
        for number in [1, 5, u32::MAX] {
            let agency = AgencyId::new(number).unwrap();
            assert_eq!((agency.get(), agency.to_string()), (number, number.to_string()));
        }
    }

    #[test]
    fn birthdates_are_real_days_in_ten_bytes() {
        for good in ["1999-03-17", "2000-02-29", "0001-01-01", "9999-12-31"] {
            assert_eq!(Birthdate::parse(good.as_bytes()).unwrap().as_str(), good);
        }
        for bad in [
            "2023-02-30",
            "1900-02-29",
            "2023-2-3",
            "2023-2-033",
            "0000-01-01",
            "1999-03-1x",
            "1999/03/17",
            "+999-03-17",
            "1999-03-170",
            "",
            "1999-00-10",
            "1999-13-01",
            "１999-3-1",
        ] {
            assert_eq!(Birthdate::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn the_calendar_is_that_of_a_calendar_crate() {
        for year in 0..=9999 {
            for (month, day) in (0..=13).flat_map(|month| (0..=32).map(move |day| (month, day))) {
                let text = format!("{year:04}-{month:02}-{day:02}");
                let expected = year > 0 && chrono::NaiveDate::from_ymd_opt(year, month, day).is_some();
                assert_eq!(Birthdate::parse(text.as_bytes()).is_some(), expected, "{text}");
            }
        }
    }

    #[test]
    fn names_are_checked() {
        let bet = |first: &'static [u8]| {
            Bet::new(AgencyId::new(1).unwrap(), [first, b"Paz"], 0, b"1999-03-17", 7).map(|b| b.first_name)
        };
        assert_eq!(bet("Ñandú, \"O'Brien\" =x|".as_bytes()).unwrap(), "Ñandú, \"O'Brien\" =x|");
        // º and ª begin with the same byte as the control character U+0085.
        assert_eq!(bet("Mª 2º".as_bytes()).unwrap(), "Mª 2º");
        assert_eq!(bet(b""), Err(InvalidBet::Empty("first name")));
        assert_eq!(bet(b"a\nb"), Err(InvalidBet::Control("first name")));
        assert_eq!(bet("a\u{85}b".as_bytes()), Err(InvalidBet::Control("first name")));
        assert_eq!(bet(b"ab\xc3"), Err(InvalidBet::NotUtf8("first name")));
    }

    #[test]
    fn decimals_are_digits_only() {
        assert_eq!(decimal(b"00000000"), Some(0));
        assert_eq!(decimal(b"4294967295"), Some(u32::MAX));
        for bad in [&b""[..], b"+1", b"-1", b" 1", b"4294967296", b"1.0", b"1_0"] {
            assert_eq!(decimal(bad), None);
        }
    }
}
