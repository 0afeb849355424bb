//! A bet: checked once when it is made, valid from then on.
//!
//! Owns the rules that make a bet valid, apart from the limits of one wire format. Pure. Knows neither messages nor rows of
//! a file.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::str;

use crate::plain;

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
        const FORM: u64 = u64::from_le_bytes(*b"0000-00-");
        // In each byte, 0x7f minus the greatest digit, which is 9, or 0 in place of a hyphen.
        const BELOW_SIGN: u64 = u64::from_le_bytes([0x76, 0x76, 0x76, 0x76, 0x7f, 0x76, 0x76, 0x7f]);
        let &text: &[u8; Self::LEN] = text.try_into().ok()?;
        let [year_and_month @ .., d1, d2] = text;
        let digits = u64::from_le_bytes(year_and_month) ^ FORM;
        let is_form = (digits | (digits & !HIGHS).wrapping_add(BELOW_SIGN)) & HIGHS == 0;
        // Each byte becomes the number that it and the next digit write.
        let [century, _, in_century, _, _, month, ..] =
            (digits.wrapping_mul(10).wrapping_add(digits >> 8)).to_le_bytes();
        let [d1, d2] = [d1, d2].map(|byte| byte.wrapping_sub(b'0'));
        let day = d1.wrapping_mul(10).wrapping_add(d2);
        let is_real = (1..=days_in(month, in_century, century)).contains(&day) && (century, in_century) != (0, 0);
        (is_form && d1 <= 9 && d2 <= 9 && is_real).then_some(Self(text))
    }

    /// The date as `YYYY-MM-DD`.
    pub fn bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The date as `YYYY-MM-DD`.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("parse accepts only ASCII digits and hyphens")
    }
}

/// The number of days of a month in the Gregorian calendar, in the year `century`·100 + `in_century`; 0 for a month that does
/// not exist.
fn days_in(month: u8, in_century: u8, century: u8) -> u8 {
    const DAYS: [u8; 13] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let is_leap = if in_century == 0 { century.is_multiple_of(4) } else { in_century.is_multiple_of(4) };
    DAYS.get(usize::from(month)).copied().unwrap_or(0) + u8::from(month == 2 && is_leap)
}

/// A name: UTF-8, not empty, without control characters. Usually borrowed from the bytes in which it arrived.
#[derive(Clone, PartialEq, Eq)]
pub struct Name<'a>(Cow<'a, [u8]>);

impl<'a> Name<'a> {
    /// Checks `bytes`; `field` names them in errors.
    ///
    /// # Errors
    /// [`InvalidBet::NotUtf8`], [`InvalidBet::Empty`], [`InvalidBet::Control`].
    pub fn new(field: &'static str, bytes: &'a [u8]) -> Result<Self, InvalidBet> {
        if bytes.is_empty() || plain::len(bytes) < bytes.len() {
            check_name(field, bytes)?;
        }
        Ok(Self(Cow::Borrowed(bytes)))
    }

    /// The longest plain name ([`plain`]) at the front of `bytes`, which may be any bytes, and the bytes after it; `None` if
    /// there is none.
    #[inline]
    pub fn plain(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (name, rest) = bytes.split_at(plain::len(bytes));
        (!name.is_empty()).then_some((Self(Cow::Borrowed(name)), rest))
    }

    /// The UTF-8 bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("every constructor checks for UTF-8")
    }

    /// The same name with bytes of its own.
    pub fn into_owned(self) -> Name<'static> {
        Name(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cold]
fn check_name(field: &'static str, bytes: &[u8]) -> Result<(), InvalidBet> {
    let text = str::from_utf8(bytes).map_err(|_| InvalidBet::NotUtf8(field))?;
    if text.is_empty() {
        return Err(InvalidBet::Empty(field));
    }
    if text.chars().any(char::is_control) { Err(InvalidBet::Control(field)) } else { Ok(()) }
}

const ONES: u64 = u64::MAX / 0xff;
/// The highest bit of each byte.
const HIGHS: u64 = ONES << 7;

/// One bet of one person, placed at one agency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bet<'a> {
    /// The agency where it was placed.
    pub agency: AgencyId,
    /// First name.
    pub first_name: Name<'a>,
    /// Last name.
    pub last_name: Name<'a>,
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
    /// The first defect in the order of the fields: that of [`Name::new`], or [`InvalidBet::Date`].
    pub fn new(
        agency: AgencyId,
        [first_name, last_name]: [&'a [u8]; 2],
        document: u32,
        birthdate: &[u8],
        number: u32,
    ) -> Result<Self, InvalidBet> {
        Ok(Self {
            agency,
            first_name: Name::new("first name", first_name)?,
            last_name: Name::new("last name", last_name)?,
            document,
            birthdate: Birthdate::parse(birthdate).ok_or(InvalidBet::Date)?,
            number,
        })
    }

    /// The same bet with names of its own.
    pub fn into_owned(self) -> Bet<'static> {
        let Self { agency, first_name, last_name, document, birthdate, number } = self;
        let [first_name, last_name] = [first_name, last_name].map(Name::into_owned);
        Bet { agency, first_name, last_name, document, birthdate, number }
    }
}

/// A number written only in decimal digits, leading zeros allowed; `None` for other text and above 4294967295.
/// (`str::parse` also accepts a sign, and needs text that was checked for UTF-8.)
pub fn decimal(digits: &[u8]) -> Option<u32> {
    let value = digits.iter().try_fold(0_u64, |so_far, byte| {
        let digit = byte.wrapping_sub(b'0');
        let value = so_far * 10 + u64::from(digit);
        (digit <= 9 && value <= u32::MAX.into()).then_some(value)
    });
    if digits.is_empty() { None } else { value?.try_into().ok() }
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
            let date = Birthdate::parse(good.as_bytes()).unwrap();
            assert_eq!((date.as_str(), &date.bytes()[..]), (good, good.as_bytes()));
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
        assert_eq!(format!("{:?}", Name::new("name", b"Ana").unwrap()), "\"Ana\"");
        let bet = |first: &'static [u8]| {
            Bet::new(AgencyId::new(1).unwrap(), [first, b"Paz"], 0, b"1999-03-17", 7)
                .map(|bet| bet.first_name.as_str().to_owned())
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
    fn every_byte_at_every_place_of_a_name_is_checked() {
        for (len, at) in (1..20).flat_map(|len| (0..len).map(move |at| (len, at))) {
            for byte in 0..=u8::MAX {
                let mut bytes = vec![b'x'; len];
                bytes[at] = byte;
                let is_plain = matches!(byte, b' '..0x7f) && !b",\"".contains(&byte);
                let plain = Name::plain(&bytes).map_or(0, |(name, _)| name.as_bytes().len());
                assert_eq!(plain, if is_plain { len } else { at }, "{bytes:?}");
                let expected = if byte >= 0x80 {
                    Err(InvalidBet::NotUtf8("x"))
                } else if byte.is_ascii_control() {
                    Err(InvalidBet::Control("x"))
                } else {
                    Ok(&bytes[..])
                };
                assert_eq!(Name::new("x", &bytes).as_ref().map(Name::as_bytes), expected.as_ref().copied());
            }
        }
    }

    #[test]
    fn every_byte_at_every_place_of_a_date_is_checked() {
        for (at, byte) in (0..Birthdate::LEN).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
            let mut text = *b"2012-12-12";
            text[at] = byte;
            let is_form = byte.is_ascii_digit() || byte == b'-' && [4, 7].contains(&at);
            let is_real = |text| chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok();
            let is_date = is_form && str::from_utf8(&text).is_ok_and(is_real);
            assert_eq!(Birthdate::parse(&text).is_some(), is_date, "{text:?}");
        }
    }

    #[test]
    fn decimals_are_digits_only() {
        assert_eq!(decimal(b"00000000"), Some(0));
        assert_eq!(decimal(b"4294967295"), Some(u32::MAX));
        assert_eq!(decimal(&[&[b'0'; 100][..], b"7"].concat()), Some(7));
        for bad in [&b""[..], b"+1", b"-1", b" 1", b"4294967296", b"1.0", b"1_0", &[b'9'; 100]] {
            assert_eq!(decimal(bad), None);
        }
    }
}
