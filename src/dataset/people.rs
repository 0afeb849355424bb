//! The people who bet at one agency, each with one bet.
//!
//! Owns the ranges of documents, birthdates and numbers, and the frequencies of second names. Used by
//! [`super::agency_file`]. Knows no file.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use chrono::{Days, NaiveDate};

use super::dice::Dice;
use super::names::{MEN, SURNAMES, WOMEN, urn};

/// The default of `LOTTERY_WINNER_NUMBER`.
pub(super) const WINNING_NUMBER: u64 = 7574;
/// Numbers are 0..=9999.
pub(super) const NUMBERS: u64 = 10_000;
/// Documents are numbers of eight digits below 60 million, about the range that is in use in Argentina.
pub(super) const DOCUMENTS: RangeInclusive<u64> = 10_000_000..=59_999_999;
pub(super) const FIRST_BIRTHDATE: NaiveDate = date(1930, 1, 1);
pub(super) const LAST_BIRTHDATE: NaiveDate = date(2006, 12, 31);

/// How many people of 100 have two given names, and how many have two surnames. With the weights of the names, about
/// 29 rows of 100 contain a letter that is not ASCII, as in the course's files.
const SECOND_GIVEN_NAME: u64 = 60;
const SECOND_SURNAME: u64 = 5;

/// The people of one agency.
pub(super) struct People {
    dice: Dice,
    given: [Vec<&'static str>; 2],
    surnames: Vec<&'static str>,
    documents: HashSet<u64>,
}

impl People {
    /// People who are drawn with `dice`.
    pub(super) fn new(dice: Dice) -> Self {
        Self { dice, given: [urn(&WOMEN), urn(&MEN)], surnames: urn(&SURNAMES), documents: HashSet::new() }
    }

    /// The row of a bet that wins: first name, last name, document, birthdate, number.
    pub(super) fn winning_bet(&mut self) -> [String; 5] {
        self.bet(|_| WINNING_NUMBER)
    }

    /// The row of a bet that does not win.
    pub(super) fn losing_bet(&mut self) -> [String; 5] {
        self.bet(Self::losing_number)
    }

    fn bet(&mut self, number: impl FnOnce(&mut Self) -> u64) -> [String; 5] {
        let given = &self.given[self.dice.below(2) as usize];
        let first_name = name(&mut self.dice, given, SECOND_GIVEN_NAME);
        let last_name = name(&mut self.dice, &self.surnames, SECOND_SURNAME);
        let (document, birthdate, number) = (self.document(), self.birthdate(), number(self));
        [first_name, last_name, document.to_string(), birthdate.to_string(), number.to_string()]
    }

    /// A document that no earlier row has. So a row that is sent twice, or lost, is visible in the stored bets.
    fn document(&mut self) -> u64 {
        loop {
            let document = DOCUMENTS.start() + self.dice.below(DOCUMENTS.end() - DOCUMENTS.start() + 1);
            if self.documents.insert(document) {
                return document;
            }
        }
    }

    fn birthdate(&mut self) -> NaiveDate {
        let days = (LAST_BIRTHDATE - FIRST_BIRTHDATE).num_days().unsigned_abs();
        FIRST_BIRTHDATE + Days::new(self.dice.below(days + 1))
    }

    fn losing_number(&mut self) -> u64 {
        let number = self.dice.below(NUMBERS - 1);
        number + u64::from(number >= WINNING_NUMBER)
    }
}

/// One name from `urn`, or two different ones for `second` people of 100.
fn name(dice: &mut Dice, urn: &[&'static str], second: u64) -> String {
    let first = dice.pick(urn);
    if !dice.percent(second) {
        return first.to_owned();
    }
    match dice.pick(urn) {
        same if same == first => first.to_owned(),
        other => format!("{first} {other}"),
    }
}

/// A date that is known at compile time. A day that does not exist is a compile error.
const fn date(year: i32, month: u32, day: u32) -> NaiveDate {
    match NaiveDate::from_ymd_opt(year, month, day) {
        Some(date) => date,
        None => panic!("this day does not exist"),
    }
}
