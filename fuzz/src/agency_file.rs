//! The agency's file: each line is a bet, or it is refused and its number is logged. No bet is cut or changed. Reading
//! the file again gives the same bets and their tally. A file that has rows, but no bets, is refused.
//!
//! Input: the most bets of a batch, one byte; the number of bets to skip, two bytes; then the file. In the file, the
//! byte [`REPEAT`] followed by n repeats the byte before it 16 n times, so that short inputs can have long lines.

use std::sync::{Mutex, Once, PoisonError};

use loteria::agency::batches::{Batches, MAX_PACKET};
use loteria::agency::error::Error;
use loteria::agency::reader::Reader;
use loteria::agency::stop::StopSignal;
use loteria::bet::{AgencyId, Bet};
use loteria::protocol::{batch, typed};
use loteria::row::Tally;

use super::oracle::numbers::{crc32, number};
use super::oracle::{csv, page};
use super::scratch;

/// Never part of valid UTF-8. Inputs can use other invalid bytes for invalid text.
const REPEAT: u8 = 0xfe;
const REPEATED: usize = 16;
/// Most bytes of a file: more than the reader's buffer holds.
const LONGEST: usize = 200_000;
/// Most bytes of a line that the reader accepts.
const MAX_LINE: usize = 4096;
const BOM: &[u8] = b"\xef\xbb\xbf";
const AGENCY: u32 = 3;

/// The content of a file.
#[derive(Debug, Default, PartialEq)]
struct Content {
    bets: Vec<Bet<'static>>,
    /// Numbers of the refused lines, from 1.
    refused: Vec<u64>,
    lines: u64,
}

/// Checks one input.
pub fn check(input: &[u8]) {
    let Some((&[bets, skipped @ ..], text)) = input.split_first_chunk::<3>() else { return };
    let text = expand_repeats(text);
    let expected = read_slowly(&text);
    let most = bets.max(1);
    with_reader(&text, |mut reader| {
        let (accepted, before_bets) = with_refused_lines(|| reader.require_bets());
        match accepted {
            Ok(()) => assert!(!expected.bets.is_empty() || expected.refused.is_empty()),
            Err(error) => {
                assert!(expected.bets.is_empty() && before_bets == expected.refused && !before_bets.is_empty());
                assert!(matches!(error, Error::NoBets { .. }), "{error}");
                describes(&text, &error.to_string());
                reader.rewind().unwrap();
            }
        }
        assert_eq!(reader.count_lines().unwrap(), expected.lines);
        let mut batches = Batches::new(reader, most);
        let (first, after_bet) = with_refused_lines(|| take_all(&mut batches, most));
        assert_eq!(first, expected.bets);
        assert_eq!([before_bets, after_bet].concat(), expected.refused);
        continues_after(&mut batches, number(&skipped), &expected.bets, most);
        assert_eq!(
            batches.reader().refused(),
            expected.refused.len() as u64,
            "each line once, even if it is read again"
        );
    });
}

/// The error of a file without bets is one line, and names UTF-16 and binary data only if the file may be such.
fn describes(text: &[u8], error: &str) {
    assert!(error.ends_with("; nothing is sent") && !error.contains(['\n', '\r', '\0']), "{error}");
    let mark = text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff");
    assert!(!mark || error.contains("UTF-16"), "{error}");
    assert!(mark || text.contains(&0) || !error.contains("UTF-16") && !error.contains("binary"), "{error}");
}

fn expand_repeats(input: &[u8]) -> Vec<u8> {
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

/// The bets of all remaining batches, of at most `most` bets each. Each batch must be as full as the limits allow.
fn take_all(batches: &mut Batches<'_>, most: u8) -> Vec<Bet<'static>> {
    let agency = AgencyId::new(AGENCY).unwrap();
    let mut all = Vec::new();
    let mut room = None;
    let mut messages = b"other messages".to_vec();
    loop {
        let before = messages.len();
        let Some(count) = batches.fill(typed::start_batch(&mut messages, agency)).unwrap() else {
            assert_eq!(messages.len(), before, "no batch without bets");
            return all;
        };
        let message = &messages[before..];
        let bets = decode(message);
        assert!(message.len() <= MAX_PACKET && bets.len() == usize::from(count.get()) && count.get() <= most);
        let first = batch::encoded_len(&bets[0]);
        assert!(room.is_none_or(|room| first > room), "the previous batch had room for the first bet of this one");
        room = (count.get() < most).then_some(MAX_PACKET - message.len());
        all.extend(bets);
        messages.truncate(before);
    }
}

/// The bets of a whole batch, type 1.
fn decode(message: &[u8]) -> Vec<Bet<'static>> {
    let (&[1, 0, 0, 0, agency, count], mut rest) = message.split_first_chunk().unwrap() else { panic!("{message:?}") };
    let mut take = |len: Option<usize>| {
        let len = len.unwrap_or_else(|| rest.iter().position(|&byte| byte == 0).unwrap());
        let (field, after) = rest.split_at(len);
        rest = after;
        field
    };
    let number = |field: &[u8]| u32::from_be_bytes(field.try_into().unwrap());
    let bets = (0..count).map(|_| {
        let names = [(); 2].map(|()| (take(None), take(Some(1))).0);
        let document = number(take(Some(4)));
        let (birthdate, _nul) = (take(None), take(Some(1)));
        page::judge(agency.into(), names, document, birthdate, number(take(Some(4)))).unwrap().into_owned()
    });
    let bets = bets.collect();
    assert!(rest.is_empty());
    bets
}

/// Continues like a client whose server has `count` bets.
fn continues_after(batches: &mut Batches<'_>, count: u64, bets: &[Bet<'_>], most: u8) {
    let skipped = bets.len().min(usize::try_from(count).unwrap());
    let rows: Vec<u8> = bets[..skipped].iter().flat_map(csv::row).collect();
    let tally = Tally { count: skipped as u64, crc: crc32(&rows) };
    assert_eq!(batches.restart_with_tally(count).unwrap(), tally);
    assert_eq!(batches.has_more().unwrap(), skipped < bets.len());
    assert_eq!(take_all(batches, most), bets[skipped..]);
    batches.restart_after(count).unwrap();
    let (rest, refused) = with_refused_lines(|| take_all(batches, most));
    assert_eq!(rest, bets[skipped..]);
    assert!(refused.is_empty(), "logged again: {refused:?}");
}

/// Runs `work`. Also returns the numbers of the lines that it logged as refused.
fn with_refused_lines<T>(work: impl FnOnce() -> T) -> (T, Vec<u64>) {
    static START: Once = Once::new();
    static SINGLE_RUN: Mutex<()> = Mutex::new(());
    START.call_once(|| {
        log::set_logger(&Recorder).unwrap();
        log::set_max_level(log::LevelFilter::Error);
    });
    let _guard = SINGLE_RUN.lock().unwrap_or_else(PoisonError::into_inner);
    recorded().clear();
    let result = work();
    (result, std::mem::take(&mut recorded()))
}

static RECORDED: Mutex<Vec<u64>> = Mutex::new(Vec::new());

fn recorded() -> std::sync::MutexGuard<'static, Vec<u64>> {
    RECORDED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records the line number of each `action: leer_apuesta | result: fail | line: N | …`.
struct Recorder;

impl log::Log for Recorder {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let event = record.args().to_string();
        let line =
            event.strip_prefix("action: leer_apuesta | result: fail | line: ").and_then(|rest| rest.split(' ').next());
        recorded().extend(line.map(|line| line.parse::<u64>().unwrap()));
    }

    fn flush(&self) {}
}
