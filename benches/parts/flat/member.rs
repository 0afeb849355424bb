//! A server with stored bets: its starts, its rounds, and its draw.

use std::fs;
use std::path::Path;
use std::slice;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::messages::{self, Messages};
use super::stored;
use crate::Result;
use crate::floor;
use crate::parts::rounds::Sample;
use crate::parts::servers::{PATIENCE, Server};
use crate::process::{Memory, Running, processor_time};
use crate::stop::Stop;
use crate::traffic::wire::{self, Framing};
use crate::traffic::{Crowd, all_at_once, connect};

/// Figures of a start.
pub const STARTS: [(&str, &str); 5] = [
    ("first start", "s"),
    ("first start, scan by processor time", "GB/s"),
    ("start with all files", "s"),
    ("start with all files, scan by processor time", "GB/s"),
    ("parent after a start, RSS", "kB"),
];
/// The agency that sends queries and batches to each server: the same bytes to all of them.
const SENDER: u32 = super::AGENCIES[0];
/// How long a start may take for each million bets, in addition to [`PATIENCE`]; and a round.
const PATIENCE_PER_MILLION: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(60);
const GB: f64 = 1e9;

/// A running server.
pub struct Member {
    /// In the tables.
    pub name: String,
    running: Running,
    agencies: u32,
    bets: u32,
}

impl Member {
    /// Writes `bets` bets and starts a server for `agencies` agencies several times: with the bets only, then with all its
    /// files. Returns the figures of each pair of starts.
    pub fn start(name: String, agencies: u32, bets: u32, samples: u32, stop: &Stop) -> Result<(Self, Vec<Sample<5>>)> {
        let mut dir = tempfile::tempdir()?;
        let file = dir.path().join(floor::FILE);
        stored::write(&file, agencies, bets, stop)?;
        let gigabytes = fs::metadata(&file)?.len() as f64 / GB;
        let timed = |dir: TempDir| -> Result<(Running, [f64; 2])> {
            let begin = Instant::now();
            let running = start(agencies, bets, dir, stop)?;
            let took = begin.elapsed().as_secs_f64();
            let rate = gigabytes / processor_time(running.pid())?.as_secs_f64();
            Ok((running, [took, rate]))
        };
        let mut figures = Vec::new();
        let running = loop {
            remove_all_but_bets(dir.path())?;
            let (running, [first, first_rate]) = timed(dir)?;
            let (running, [again, again_rate]) = timed(running.stop_and_keep()?.1)?;
            let resident = Memory::of(running.pid())?.resident;
            figures.push([first, first_rate, again, again_rate, resident]);
            if figures.len() >= samples as usize {
                break running;
            }
            dir = running.stop_and_keep()?.1;
        };
        Ok((Self { name, running, agencies, bets }, figures))
    }

    /// Starts the server again with nothing but its bets: no agency has ended.
    pub fn without_draw(self, stop: &Stop) -> Result<Self> {
        let Self { name, running, agencies, bets } = self;
        let (_, dir) = running.stop_and_keep()?;
        remove_all_but_bets(dir.path())?;
        Ok(Self { name, running: start(agencies, bets, dir, stop)?, agencies, bets })
    }

    /// The pid of the server.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// The times of a round, as [`Messages::times`] returns them.
    pub fn play_round(&mut self, round: u32, stop: &Stop) -> Result<[f64; 4]> {
        let (file, target) = (self.running.dir().join(floor::FILE), (self.running.port(), self.running.pid()));
        let messages = Messages::of(SENDER, SENDER - 1 - round);
        let times = all_at_once(&mut self.running, (stop, LIMIT), slice::from_ref(&messages), |messages| {
            messages.times(target, &file)
        })?;
        Ok(times[0])
    }

    /// Ends all agencies. Returns the seconds from the last acknowledgement to the winners, and the GB a second of the
    /// draw.
    pub fn hold_draw(&mut self, stop: &Stop) -> Result<[f64; 2]> {
        let bytes = fs::metadata(self.running.dir().join(floor::FILE))?.len();
        let port = self.running.port();
        let crowd = Crowd { agencies: self.agencies, bets: Vec::new(), winners: None };
        let ends = crowd.play((port, Framing::Plain), stop)?;
        if let Some(e) = ends.first_error {
            return Err(format!("{} agencies failed: {e}", ends.errors).into());
        }
        all_at_once(&mut self.running, (stop, LIMIT), &[()], |()| {
            messages::ask_for_winners(&mut connect(port)?, &wire::winners_query(SENDER))
        })?;
        let took = ends.last_acknowledgement.elapsed().as_secs_f64();
        Ok([took, bytes as f64 / GB / took])
    }

    /// The median time of a query for the winners, after the draw.
    pub fn ask_for_winners(&mut self, stop: &Stop) -> Result<[f64; 1]> {
        let port = self.running.port();
        let times = all_at_once(&mut self.running, (stop, LIMIT), &[()], |()| {
            messages::winners_query(&mut connect(port)?, SENDER)
        })?;
        Ok([times[0]])
    }

    /// Stops the server.
    pub fn stop(self) -> Result<()> {
        self.running.stop().map(drop)
    }
}

fn start(agencies: u32, bets: u32, dir: TempDir, stop: &Stop) -> Result<Running> {
    let patience = PATIENCE + PATIENCE_PER_MILLION * bets.div_ceil(super::MILLION);
    Server::own(agencies).start_in(dir, &[], (stop, patience))
}

/// So that the next start adopts the bets as if they were another program's.
fn remove_all_but_bets(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name() != floor::FILE {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
