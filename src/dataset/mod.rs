//! Synthetic agency files in the shape of the course's: people and their numbers, drawn from a seed.
//!
//! Owns the names, their frequencies and the `dataset` program's arguments; `bin/dataset` is its only user. It must
//! not know the wire, the store or the configuration: it writes files that the client later reads like any others.
//! Shape, sizes and winners are those of the files that the course hands out.

mod names;

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use chrono::{Days, NaiveDate};
use clap::Parser;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use self::names::{MEN, SURNAMES, WOMEN, urn};
use crate::exit_code::ExitStatus;

/// Rows and winners of the course's agencies 1 to 5; further agencies begin again at the first.
const SHAPES: [(u32, u32); 5] = [(26_936, 2), (25_518, 3), (16_014, 3), (9_238, 2), (991, 0)];
/// Most rows of one agency. A document appears once in a file, so rows must stay well below their 50 million.
const MAX_ROWS: u32 = 10_000_000;

/// The default of `LOTTERY_WINNER_NUMBER`.
const WINNING_NUMBER: u64 = 7574;
/// Numbers are 0..=9999.
const NUMBERS: u64 = 10_000;
/// Documents are the numbers of eight digits below 60 million, about as far as Argentina's have got.
const DOCUMENTS: RangeInclusive<u64> = 10_000_000..=59_999_999;
const FIRST_BIRTHDATE: NaiveDate = date(1930, 1, 1);
const LAST_BIRTHDATE: NaiveDate = date(2006, 12, 31);

/// Of a hundred people, those with two given names and those with two surnames. With the weights below they make
/// about 29 rows of a hundred hold a letter that is not ASCII, as in the course's files.
const SECOND_GIVEN_NAME: u64 = 60;
const SECOND_SURNAME: u64 = 5;

/// Why no file, or not every file, was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Wrong arguments: which, its value and what is allowed, in one line. Nothing was written.
    #[error("{0}")]
    Usage(String),
    /// The output folder is missing and cannot be made.
    #[error("cannot create the folder {path:?}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An agency's file could not be written; what stood in its place before still does.
    #[error("cannot write {path:?}: {source}")]
    Write {
        /// The agency's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// How the program ends because of this error.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Usage(_) => ExitStatus::WrongUse,
            Self::Folder { .. } | Self::Write { .. } => ExitStatus::Failed,
        }
    }
}

/// Writes synthetic agency files, the same ones for the same seed.
#[derive(Debug, Parser)]
#[command(name = "dataset", version)]
pub struct Arguments {
    /// Number of agencies: one file each, agency-1.csv to agency-N.csv
    #[arg(long, value_name = "N", value_parser = agency_count, allow_hyphen_values = true)]
    agencies: u32,
    /// Folder for the files, created if missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What the files are drawn from: 0 to 18446744073709551615
    #[arg(long, value_name = "S", value_parser = seed, allow_hyphen_values = true)]
    seed: u64,
    /// Rows of each agency, one count an agency [default: 26936,25518,16014,9238,991, repeated]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = row_count, allow_hyphen_values = true)]
    rows: Vec<u32>,
}

impl Arguments {
    fn check_rows(&self) -> Result<(), Error> {
        let (given, agencies) = (self.rows.len(), self.agencies);
        if given == 0 || u32::try_from(given) == Ok(agencies) {
            return Ok(());
        }
        let rows: Vec<String> = self.rows.iter().map(u32::to_string).collect();
        Err(Error::Usage(format!(
            "invalid value '{}' for '--rows <N,…>': allowed is one count for each of the {agencies} agencies",
            rows.join(",")
        )))
    }

    fn file(&self, agency: u32) -> AgencyFile {
        let place = agency as usize - 1;
        let (rows, winners) = SHAPES[place % SHAPES.len()];
        let rows = self.rows.get(place).copied().unwrap_or(rows);
        AgencyFile { agency, seed: self.seed, rows, winners: winners.min(rows) }
    }
}

fn agency_count(text: &str) -> Result<u32, String> {
    whole(text, 1..=u32::MAX)
}

fn row_count(text: &str) -> Result<u32, String> {
    whole(text, 0..=MAX_ROWS)
}

fn seed(text: &str) -> Result<u64, String> {
    whole(text, 0..=u64::MAX)
}

fn whole<N>(text: &str, allowed: RangeInclusive<N>) -> Result<N, String>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let number = text.parse().ok().filter(|number| allowed.contains(number));
    number.ok_or_else(|| format!("allowed is a whole number from {} to {}", allowed.start(), allowed.end()))
}

/// The program, behind its arguments: writes the files and tells `out` of each.
///
/// # Errors
/// [`Error::Usage`] before anything is written; [`Error::Folder`] or [`Error::Write`] at the first failure, with
/// the agencies' files before it complete.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<(), Error> {
    arguments.check_rows()?;
    let folder = &arguments.out;
    fs::create_dir_all(folder).map_err(|source| Error::Folder { path: folder.clone(), source })?;
    for agency in 1..=arguments.agencies {
        let file = arguments.file(agency);
        let path = file.write_to(folder)?;
        tell(out, &format!("{}: {} rows, {} winners\n", path.display(), file.rows, file.winners));
    }
    Ok(())
}

/// The files are the result: a reader that has left (`dataset … | head -1`) makes no failure of them.
fn tell(out: &mut impl Write, text: &str) {
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// One agency's file. It depends on these four numbers alone, not on the other agencies.
#[derive(Debug)]
struct AgencyFile {
    agency: u32,
    seed: u64,
    rows: u32,
    winners: u32,
}

impl AgencyFile {
    /// Under a temporary name first: whoever reads the final one, or finds it after a crash, sees a whole file.
    fn write_to(&self, folder: &Path) -> Result<PathBuf, Error> {
        let name = format!("agency-{}.csv", self.agency);
        let path = folder.join(&name);
        let draft = folder.join(format!(".{name}.{}", std::process::id()));
        match self.write_draft(&draft).and_then(|()| fs::rename(&draft, &path)) {
            Ok(()) => Ok(path),
            Err(source) => {
                // The first error is the one to report; a draft that cannot go either is only litter.
                let _ = fs::remove_file(&draft);
                Err(Error::Write { path, source })
            }
        }
    }

    fn write_draft(&self, draft: &Path) -> io::Result<()> {
        // Without the sync a power cut could leave the new name on an empty file.
        self.render(File::create(draft)?)?.sync_all()
    }

    fn render<W: Write>(&self, sink: W) -> io::Result<W> {
        let mut csv = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .quote_style(csv::QuoteStyle::Necessary)
            .from_writer(sink);
        let mut dice = Dice::new(self.seed, self.agency);
        let winning = dice.distinct(self.winners, self.rows);
        let mut people = People::new(dice);
        for row in 0..self.rows {
            csv.write_record(people.bet(winning.contains(&row)))?;
        }
        csv.into_inner().map_err(csv::IntoInnerError::into_error)
    }
}

/// The random numbers of one agency. ChaCha8 is the same on every machine and in every version, so files stay equal.
struct Dice(ChaCha8Rng);

impl Dice {
    fn new(seed: u64, agency: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(agency));
        Self(rng)
    }

    /// 0..bound; the remainder's bias is below 2⁻³⁸ for the bounds used here.
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    fn pick(&mut self, urn: &[&'static str]) -> &'static str {
        urn[self.below(urn.len() as u64) as usize]
    }

    /// `amount` different numbers of 0..bound; `amount` is at most `bound`.
    fn distinct(&mut self, amount: u32, bound: u32) -> BTreeSet<u32> {
        let mut numbers = BTreeSet::new();
        while numbers.len() < amount as usize {
            numbers.insert(self.below(u64::from(bound)) as u32);
        }
        numbers
    }
}

/// The people who bet at one agency.
struct People {
    dice: Dice,
    given: [Vec<&'static str>; 2],
    surnames: Vec<&'static str>,
    documents: HashSet<u64>,
}

impl People {
    fn new(dice: Dice) -> Self {
        Self { dice, given: [urn(&WOMEN), urn(&MEN)], surnames: urn(&SURNAMES), documents: HashSet::new() }
    }

    /// The next one's row: first name, last name, document, birthdate, number.
    fn bet(&mut self, wins: bool) -> [String; 5] {
        let given = &self.given[self.dice.below(2) as usize];
        let first_name = name(&mut self.dice, given, SECOND_GIVEN_NAME);
        let last_name = name(&mut self.dice, &self.surnames, SECOND_SURNAME);
        let (document, birthdate) = (self.document(), self.birthdate());
        let number = if wins { WINNING_NUMBER } else { self.losing_number() };
        [first_name, last_name, document.to_string(), birthdate.to_string(), number.to_string()]
    }

    /// One that no earlier row has, so that a row sent twice, or lost, shows in the stored bets.
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

/// One name of the urn, or, for `second` people of a hundred, two different ones.
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

/// A date known when this is compiled: a day that the calendar lacks does not compile.
const fn date(year: i32, month: u32, day: u32) -> NaiveDate {
    match NaiveDate::from_ymd_opt(year, month, day) {
        Some(date) => date,
        None => panic!("no such day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    /// The seed of the files in `.data`.
    const COMMITTED_SEED: u64 = 7574;

    fn arguments(extra: &[&str]) -> Result<Arguments, Error> {
        let fixed = ["dataset", "--seed", "7574", "--out", "unused"];
        let parsed = Arguments::try_parse_from(fixed.iter().chain(extra));
        let arguments = parsed.map_err(|error| Error::Usage(cli::one_line(&error)))?;
        arguments.check_rows()?;
        Ok(arguments)
    }

    fn bytes(file: &AgencyFile) -> Vec<u8> {
        file.render(Vec::new()).unwrap()
    }

    fn rows(file: &AgencyFile) -> Vec<csv::StringRecord> {
        let bytes = bytes(file);
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
        reader.records().map(Result::unwrap).collect()
    }

    fn winners(rows: &[csv::StringRecord]) -> usize {
        rows.iter().filter(|row| &row[4] == "7574").count()
    }

    fn refusal(extra: &[&str]) -> String {
        let error = arguments(extra).unwrap_err();
        assert_eq!(error.exit_status(), ExitStatus::WrongUse);
        error.to_string()
    }

    #[test]
    fn the_default_agencies_have_the_courses_rows_and_winners() {
        let arguments = arguments(&["--agencies", "7"]).unwrap();
        let shape = |agency| {
            let rows = rows(&arguments.file(agency));
            (rows.len(), winners(&rows))
        };
        let expected = [(26_936, 2), (25_518, 3), (16_014, 3), (9_238, 2), (991, 0), (26_936, 2), (25_518, 3)];
        assert_eq!((1..=7).map(shape).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn there_are_never_more_winners_than_rows() {
        let arguments = arguments(&["--agencies", "3", "--rows", "1,0,3"]).unwrap();
        let winners: Vec<usize> = (1..=3).map(|agency| winners(&rows(&arguments.file(agency)))).collect();
        assert_eq!(winners, [1, 0, 3]);
    }

    #[test]
    fn a_seed_always_gives_the_same_bytes() {
        // Taken from the committed agency-5.csv: another value means that `make dataset` no longer rebuilds it.
        let file = AgencyFile { agency: 5, seed: COMMITTED_SEED, rows: 991, winners: 0 };
        assert_eq!(crc32fast::hash(&bytes(&file)), 0x445f_e685);
        assert_ne!(bytes(&file), bytes(&AgencyFile { seed: 1, ..file }));
    }

    #[test]
    fn an_agencys_file_does_not_depend_on_the_others() {
        let few = arguments(&["--agencies", "2", "--rows", "5,40"]).unwrap();
        let more = arguments(&["--agencies", "3", "--rows", "900,40,7"]).unwrap();
        assert_eq!(bytes(&few.file(2)), bytes(&more.file(2)));
        let equal = arguments(&["--agencies", "2", "--rows", "40,40"]).unwrap();
        assert_ne!(bytes(&equal.file(1)), bytes(&equal.file(2)));
    }

    #[test]
    fn every_row_is_a_valid_bet() {
        let rows = rows(&AgencyFile { agency: 1, seed: COMMITTED_SEED, rows: 26_936, winners: 2 });
        let documents: HashSet<&str> = rows.iter().map(|row| &row[2]).collect();
        assert_eq!(documents.len(), rows.len());
        for row in &rows {
            assert_eq!(row.len(), 5);
            assert!((1..=29).contains(&row[0].len()) && (1..=29).contains(&row[1].len()));
            assert!(DOCUMENTS.contains(&row[2].parse().unwrap()));
            let birthdate: NaiveDate = row[3].parse().unwrap();
            assert!((FIRST_BIRTHDATE..=LAST_BIRTHDATE).contains(&birthdate) && row[3].len() == 10);
            assert!(row[4].parse::<u64>().unwrap() < NUMBERS);
        }
    }

    #[test]
    fn any_two_names_fit_a_bet() {
        for name in [WOMEN, MEN, SURNAMES].iter().flat_map(|tiers| urn(tiers)) {
            assert!((1..=14).contains(&name.len()), "{name}");
        }
    }

    #[test]
    fn about_29_rows_of_a_hundred_are_not_ascii() {
        let arguments = arguments(&["--agencies", "5"]).unwrap();
        let rows: Vec<_> = (1..=5).flat_map(|agency| rows(&arguments.file(agency))).collect();
        let accented = rows.iter().filter(|row| !row.as_slice().is_ascii()).count();
        let share = accented as f64 / rows.len() as f64;
        assert!((0.27..=0.31).contains(&share), "{share}");
    }

    #[test]
    fn lines_end_in_crlf() {
        let bytes = bytes(&AgencyFile { agency: 1, seed: 1, rows: 3, winners: 0 });
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches("\r\n").count(), 3);
        assert!(text.ends_with("\r\n") && text.matches(['\r', '\n']).count() == 6);
    }

    #[test]
    fn wrong_arguments_are_one_line_with_name_value_and_what_is_allowed() {
        assert_eq!(
            refusal(&["--agencies", "0"]),
            "invalid value '0' for '--agencies <N>': allowed is a whole number from 1 to 4294967295; see --help"
        );
        assert_eq!(
            refusal(&["--agencies", "3", "--rows", "1,2"]),
            "invalid value '1,2' for '--rows <N,…>': allowed is one count for each of the 3 agencies"
        );
        assert_eq!(
            refusal(&["--agencies", "1", "--rows", "x\n\ny"]),
            "invalid value 'x y' for '--rows <N,…>': allowed is a whole number from 0 to 10000000; see --help"
        );
        assert_eq!(refusal(&[]), "the following required arguments were not provided: --agencies <N>; see --help");
        for wrong in [&["--agencies", "-1"][..], &["--agencies", "1", "--rows", "-5,3"], &["--agencies", "1", "x"]] {
            assert!(!refusal(wrong).contains('\n'), "{wrong:?}");
        }
    }

    #[test]
    fn a_failed_write_names_the_file_and_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("agency-1.csv")).unwrap();
        let file = AgencyFile { agency: 1, seed: 1, rows: 3, winners: 0 };
        let error = file.write_to(folder.path()).unwrap_err();
        assert!(error.exit_status() == ExitStatus::Failed && error.to_string().contains("agency-1.csv"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
