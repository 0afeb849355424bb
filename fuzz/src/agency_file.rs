//! The agency's file: each line is a bet or refused by its number, nothing is cut or altered, and reading again gives the
//! same rows and their checksum.
//!
//! Input: how many bets a batch has; a place to go on from, two bytes; then the file, in which [`REPEAT`] n stands for 16
//! n more of the byte before it, so that long lines are short inputs.

use std::sync::{Mutex, Once, PoisonError};

use loteria::agency::batches::{Batches, Limits, MAX_PACKET};
use loteria::agency::reader::Reader;
use loteria::agency::stop::StopSignal;
use loteria::bet::{AgencyId, Bet};
use loteria::protocol::{Tally, typed};

use super::oracle::{crc32, csv, number};
use super::scratch;

/// In no valid text, and another invalid byte does as well.
const REPEAT: u8 = 0xfe;
const REPEATED: usize = 16;
/// Most bytes of a file: several of the reader's buffers.
const LONGEST: usize = 200_000;
/// The longest line that is read.
const MAX_LINE: usize = 4096;
const BOM: &[u8] = b"\xef\xbb\xbf";
const AGENCY: u32 = 3;

/// What a file holds.
#[derive(Debug, Default, PartialEq)]
struct Content {
    bets: Vec<Bet>,
    /// Line numbers, from 1 on.
    refused: Vec<u64>,
    lines: u64,
}

/// Judges one input.
pub fn check(input: &[u8]) {
    let Some((&[bets, place @ ..], text)) = input.split_first_chunk::<3>() else { return };
    let text = expand(text);
    let expected = read_slowly(&text);
    let limits = Limits { bets: bets.max(1), header: typed::BATCH_HEADER };
    with_reader(&text, |mut reader| {
        assert_eq!(reader.count_lines().unwrap(), expected.lines);
        let mut batches = Batches::new(reader, limits);
        let (first, refused) = listening(|| take_all(&mut batches, limits));
        assert_eq!(first, expected.bets);
        assert_eq!(refused, expected.refused);
        goes_on_from(&mut batches, number(&place), &expected.bets, limits);
        assert_eq!(batches.reader().refused(), expected.refused.len() as u64, "each once, however often it is read");
    });
}

fn expand(input: &[u8]) -> Vec<u8> {
    let mut text: Vec<u8> = Vec::with_capacity(input.len());
    let mut bytes = input.iter();
    while let Some(&byte) = bytes.next() {
        match (byte, text.last().copied()) {
            (REPEAT, Some(last)) => {
                let times = REPEATED * bytes.next().map_or(0, |&times| usize::from(times));
                text.extend(std::iter::repeat_n(last, times.min(LONGEST.saturating_sub(text.len()))));
            }
            _ => text.push(byte),
        }
    }
    text
}

fn read_slowly(text: &[u8]) -> Content {
    let mut content = Content::default();
    for (number, line) in (1..).zip(text.split_inclusive(|&byte| byte == b'\n')) {
        content.lines = number;
        let line = line.strip_prefix(BOM).filter(|_| number == 1).unwrap_or(line);
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let bet = csv::agency_bet(line, AGENCY).filter(|_| line.len() <= MAX_LINE);
        let blank = line.len() <= MAX_LINE && line.iter().all(|byte| b" \t\r\x0c".contains(byte));
        match bet {
            Some(bet) => content.bets.push(bet),
            None if blank => {}
            None => content.refused.push(number),
        }
    }
    content
}

fn with_reader(text: &[u8], judge: impl FnOnce(Reader<'_>)) {
    thread_local! {
        static STOP: StopSignal = StopSignal::subscribe().unwrap();
    }
    let path = scratch::file("agency.csv", text);
    let agency = AgencyId::new(AGENCY).unwrap();
    STOP.with(|stop| judge(Reader::open(agency, &path, stop).unwrap()));
}

/// The bets of all batches that are left, each as full as it may be.
fn take_all(batches: &mut Batches<'_>, limits: Limits) -> Vec<Bet> {
    let agency = AgencyId::new(AGENCY).unwrap();
    let mut all = Vec::new();
    let mut room = None;
    while let Some(bets) = batches.next_batch().unwrap() {
        let first = typed::encode_batch(agency, &bets[..1]).len() - limits.header;
        assert!(room.is_none_or(|room| first > room), "the batch before had room for the first bet of this one");
        let len = typed::encode_batch(agency, bets).len();
        assert!(len <= MAX_PACKET && bets.len() <= limits.bets.into());
        room = (bets.len() < limits.bets.into()).then_some(MAX_PACKET - len);
        all.extend(bets.iter().cloned());
    }
    all
}

/// As a client does whose server holds `count` bets.
fn goes_on_from(batches: &mut Batches<'_>, count: u64, bets: &[Bet], limits: Limits) {
    let passed = bets.len().min(usize::try_from(count).unwrap());
    let rows: Vec<u8> = bets[..passed].iter().flat_map(csv::row).collect();
    let holding = Tally { count: passed as u64, crc: crc32(&rows) };
    assert_eq!(batches.restart_checking(count).unwrap(), holding);
    assert_eq!(batches.has_more().unwrap(), passed < bets.len());
    assert_eq!(take_all(batches, limits), bets[passed..]);
    batches.restart_behind(count).unwrap();
    let (rest, refused) = listening(|| take_all(batches, limits));
    assert_eq!(rest, bets[passed..]);
    assert!(refused.is_empty(), "told already: {refused:?}");
}

/// The lines that are told to be refused while `work` is done.
fn listening<T>(work: impl FnOnce() -> T) -> (T, Vec<u64>) {
    static START: Once = Once::new();
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    START.call_once(|| {
        log::set_logger(&Ear).unwrap();
        log::set_max_level(log::LevelFilter::Error);
    });
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    heard().clear();
    let result = work();
    (result, std::mem::take(&mut heard()))
}

static HEARD: Mutex<Vec<u64>> = Mutex::new(Vec::new());

fn heard() -> std::sync::MutexGuard<'static, Vec<u64>> {
    HEARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hears `action: leer_apuesta | result: fail | line: N | …`.
struct Ear;

impl log::Log for Ear {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let event = record.args().to_string();
        let line =
            event.strip_prefix("action: leer_apuesta | result: fail | line: ").and_then(|rest| rest.split(' ').next());
        heard().extend(line.map(|line| line.parse::<u64>().unwrap()));
    }

    fn flush(&self) {}
}
