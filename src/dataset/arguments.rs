//! The command line of the `dataset` program.
//!
//! Owns the number of rows and winners of each agency. Used by [`super::program`]. Writes no file.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;

use super::agency_file::AgencyFile;
use super::error::Error;

/// Rows and winners of the course's agencies 1 to 5. Agency 6 has the shape of agency 1, and so on.
const SHAPES: [(u32, u32); 5] = [(26_936, 2), (25_518, 3), (16_014, 3), (9_238, 2), (991, 0)];
/// Most rows of one agency. A document appears once in a file, so this must stay well below 50 million documents.
const MAX_ROWS: u32 = 10_000_000;

/// Writes synthetic agency files, the same ones for the same seed.
#[derive(Debug, Parser)]
#[command(name = "dataset", version)]
pub struct Arguments {
    /// Number of agencies: one file each, agency-1.csv to agency-N.csv
    #[arg(long, value_name = "N", value_parser = agency_count, allow_hyphen_values = true)]
    pub(super) agencies: u32,
    /// Folder for the files, created if missing
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Seed of the random numbers: 0 to 18446744073709551615
    #[arg(long, value_name = "S", value_parser = seed, allow_hyphen_values = true)]
    seed: u64,
    /// Rows of each agency, one count per agency [default: 26936,25518,16014,9238,991, repeated]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = row_count, allow_hyphen_values = true)]
    rows: Vec<u32>,
}

impl Arguments {
    /// Checks that `--rows` fits `--agencies`.
    ///
    /// # Errors
    /// [`Error::Usage`] if it does not.
    pub(super) fn check_rows(&self) -> Result<(), Error> {
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

    /// The file of `agency`, which is at least 1.
    pub(super) fn file(&self, agency: u32) -> AgencyFile {
        let index = agency as usize - 1;
        let (rows, winners) = SHAPES[index % SHAPES.len()];
        let rows = self.rows.get(index).copied().unwrap_or(rows);
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
    N: FromStr + PartialOrd + Display,
{
    let number = text.parse().ok().filter(|number| allowed.contains(number));
    number.ok_or_else(|| format!("allowed is a whole number from {} to {}", allowed.start(), allowed.end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use crate::exit_code::ExitStatus;

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
    fn default_shape_is_that_of_the_course() {
        let arguments = arguments(&["--agencies", "7"]).unwrap();
        let shape = |agency| {
            let rows = rows(&arguments.file(agency));
            (rows.len(), winners(&rows))
        };
        let expected = [(26_936, 2), (25_518, 3), (16_014, 3), (9_238, 2), (991, 0), (26_936, 2), (25_518, 3)];
        assert_eq!((1..=7).map(shape).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn winners_never_exceed_rows() {
        let arguments = arguments(&["--agencies", "3", "--rows", "1,0,3"]).unwrap();
        let winners: Vec<usize> = (1..=3).map(|agency| winners(&rows(&arguments.file(agency)))).collect();
        assert_eq!(winners, [1, 0, 3]);
    }

    #[test]
    fn file_does_not_depend_on_other_agencies() {
        let few = arguments(&["--agencies", "2", "--rows", "5,40"]).unwrap();
        let more = arguments(&["--agencies", "3", "--rows", "900,40,7"]).unwrap();
        assert_eq!(bytes(&few.file(2)), bytes(&more.file(2)));
        let equal = arguments(&["--agencies", "2", "--rows", "40,40"]).unwrap();
        assert_ne!(bytes(&equal.file(1)), bytes(&equal.file(2)));
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
    fn wrong_argument_is_one_line_with_value_and_range() {
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
}
