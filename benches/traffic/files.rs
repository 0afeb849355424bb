//! The agencies' files in `.data`, and copies of them that repeat all rows.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::wire::Bet;
use crate::Result;

/// Number of agencies in `.data`.
pub const AGENCIES: u32 = 5;

/// The bets of the agencies, agency 1 first.
pub struct Files {
    /// For each agency, the text of its file.
    texts: Vec<String>,
}

impl Files {
    /// Reads the files of the project.
    pub fn load() -> Result<Self> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join(".data");
        let read = |agency| fs::read_to_string(data.join(format!("agency-{agency}.csv")));
        Ok(Self { texts: (1..=AGENCIES).map(read).collect::<std::io::Result<_>>()? })
    }

    /// For each agency, its bets as bytes of a batch.
    pub fn encoded(&self) -> Result<Vec<Vec<Vec<u8>>>> {
        self.texts.iter().map(|text| encode(text)).collect()
    }

    /// For each agency, its rows with the agency's number before each of them, without line ends.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let numbered = |(text, agency): (&String, u32)| {
            text.lines().filter(|line| !line.is_empty()).map(|line| format!("{agency},{line}")).collect()
        };
        self.texts.iter().zip(1..).map(numbered).collect()
    }

    /// Writes each file with `repeat` repetitions of its rows. Returns the directory and the paths.
    pub fn repeated(&self, repeat: u32) -> Result<(TempDir, Vec<PathBuf>)> {
        let dir = tempfile::tempdir()?;
        let mut paths = Vec::new();
        for (text, agency) in self.texts.iter().zip(1..) {
            let path = dir.path().join(format!("agency-{agency}.csv"));
            let mut file = File::create_new(&path)?;
            for _ in 0..repeat {
                file.write_all(text.as_bytes())?;
            }
            paths.push(path);
        }
        Ok((dir, paths))
    }
}

fn encode(text: &str) -> Result<Vec<Vec<u8>>> {
    let mut rows = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let encode = |row: &csv::StringRecord| -> Result<_> {
        let field = |at| row.get(at).ok_or("a row has fewer than five fields");
        let names = [field(0)?, field(1)?];
        let [document, number] = [field(2)?.parse()?, field(4)?.parse()?];
        Ok(Bet { names, document, birthdate: field(3)?, number }.encode())
    };
    rows.records().map(|row| encode(&row?)).collect()
}
