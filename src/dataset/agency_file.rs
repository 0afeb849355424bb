//! One agency's file: its rows, and how it is written.
//!
//! Used by [`super::arguments`] and [`super::program`]. Knows no arguments.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::dice::Dice;
use super::error::Error;
use super::people::People;
use super::stop::{Stop, UntilStopped};

/// The file of one agency. Its content depends only on these four numbers, and not on the other agencies.
#[derive(Debug)]
pub(super) struct AgencyFile {
    pub(super) agency: u32,
    pub(super) seed: u64,
    pub(super) rows: u32,
    /// Rows with the winning number, at most `rows`.
    pub(super) winners: u32,
}

impl AgencyFile {
    /// Writes the file into `folder`, first under a temporary name: so the final name always refers to a whole file,
    /// even for a reader at the same time or after a crash. Returns the path.
    ///
    /// # Errors
    /// [`Error::Write`] if the file cannot be written; [`Error::Stopped`] if `stop` was requested before it was complete.
    pub(super) fn write_to(&self, folder: &Path, stop: &Stop) -> Result<PathBuf, Error> {
        let name = format!("agency-{}.csv", self.agency);
        let path = folder.join(&name);
        if stop.is_requested() {
            return Err(Error::Stopped { path });
        }
        let draft = folder.join(format!(".{name}.{}", std::process::id()));
        match self.write_draft(&draft, stop).and_then(|()| fs::rename(&draft, &path)) {
            Ok(()) => Ok(path),
            Err(source) => {
                // The first error is reported. A draft that cannot be removed does no harm.
                let _ = fs::remove_file(&draft);
                Err(if stop.is_requested() { Error::Stopped { path } } else { Error::Write { path, source } })
            }
        }
    }

    fn write_draft(&self, draft: &Path, stop: &Stop) -> io::Result<()> {
        let draft = self.render(UntilStopped { inner: File::create(draft)?, stop })?;
        // Without the sync, the final name could refer to an empty file after a power failure.
        draft.inner.sync_all()
    }

    /// Writes the rows to `sink`, and returns it.
    pub(super) fn render<W: Write>(&self, sink: W) -> io::Result<W> {
        let mut csv = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .quote_style(csv::QuoteStyle::Necessary)
            .from_writer(sink);
        let mut dice = Dice::new(self.seed, self.agency);
        let winning = dice.distinct(self.winners, self.rows);
        let mut people = People::new(dice);
        for row in 0..self.rows {
            let bet = if winning.contains(&row) { people.winning_bet() } else { people.losing_bet() };
            csv.write_record(bet)?;
        }
        csv.into_inner().map_err(csv::IntoInnerError::into_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::people::{DOCUMENTS, FIRST_BIRTHDATE, LAST_BIRTHDATE, NUMBERS};
    use crate::exit_code::ExitStatus;
    use chrono::NaiveDate;
    use std::collections::HashSet;

    /// The seed of the files in `.data`.
    const COMMITTED_SEED: u64 = 7574;

    fn bytes(file: &AgencyFile) -> Vec<u8> {
        file.render(Vec::new()).unwrap()
    }

    #[test]
    fn same_seed_gives_the_same_bytes() {
        // The checksum of the committed agency-5.csv. With another value, `make dataset` no longer rebuilds that file.
        let file = AgencyFile { agency: 5, seed: COMMITTED_SEED, rows: 991, winners: 0 };
        assert_eq!(crc32fast::hash(&bytes(&file)), 0x445f_e685);
        assert_ne!(bytes(&file), bytes(&AgencyFile { seed: 1, ..file }));
    }

    #[test]
    fn every_row_is_a_valid_bet() {
        let bytes = bytes(&AgencyFile { agency: 1, seed: COMMITTED_SEED, rows: 26_936, winners: 2 });
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
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
    fn lines_end_in_crlf() {
        let bytes = bytes(&AgencyFile { agency: 1, seed: 1, rows: 3, winners: 0 });
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches("\r\n").count(), 3);
        assert!(text.ends_with("\r\n") && text.matches(['\r', '\n']).count() == 6);
    }

    #[test]
    fn failed_write_names_the_file_and_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("agency-1.csv")).unwrap();
        let file = AgencyFile { agency: 1, seed: 1, rows: 3, winners: 0 };
        let error = file.write_to(folder.path(), &Stop::subscribe().unwrap()).unwrap_err();
        assert!(error.exit_status() == ExitStatus::Failed && error.to_string().contains("agency-1.csv"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
