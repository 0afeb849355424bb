//! The bytes of the messages (docs/protocol.md), and of the rows of `bets.csv`.

use std::io;

/// Type bytes.
const BATCH: u8 = 1;
const WINNERS_QUERY: u8 = 3;
const TALLY_QUERY: u8 = 6;

/// The answer to a stored batch and to an end.
pub const ACKNOWLEDGEMENT: [u8; 2] = [2, 0];
/// Bytes of message 7.
pub const TALLY: usize = 18;
/// Bytes of message 5 before the documents, and of a document.
pub const WINNERS_HEADER: usize = 5;
/// Bytes of a winner's document.
pub const DOCUMENT: usize = 4;
/// The number that wins, if the server is not told another one.
pub const WINNING_NUMBER: u32 = 7574;

/// Most bytes of a message, as in the assignment.
const MOST_BYTES: usize = 8000;
/// Bytes of a batch before its bets.
const BATCH_HEADER: usize = 6;

/// Whether a length precedes each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The project's protocol has none.
    Plain,
    /// A floor parses nothing, so it needs the length.
    Prefixed,
}

/// A message after its length.
pub struct Frame(Vec<u8>);

impl Frame {
    const PREFIX: usize = size_of::<u32>();

    fn new(message: &[u8]) -> Self {
        let len = u32::try_from(message.len()).expect("a message has at most 8000 bytes");
        Self([&len.to_be_bytes(), message].concat())
    }

    /// The bytes to send.
    pub fn bytes(&self, framing: Framing) -> &[u8] {
        match framing {
            Framing::Plain => &self.0[Self::PREFIX..],
            Framing::Prefixed => &self.0,
        }
    }
}

/// A bet's fields.
#[derive(Debug, Clone, Copy)]
pub struct Bet<'a> {
    /// First and last name.
    pub names: [&'a str; 2],
    /// Document.
    pub document: u32,
    /// Date of birth, YYYY-MM-DD.
    pub birthdate: &'a str,
    /// Number.
    pub number: u32,
}

impl Bet<'_> {
    /// The bytes of the bet in a batch.
    pub fn encode(&self) -> Vec<u8> {
        let [first, last] = self.names;
        let texts = |texts: &[&str]| texts.iter().flat_map(|text| [text.as_bytes(), &[0]].concat()).collect::<Vec<_>>();
        let [document, number] = [self.document, self.number].map(u32::to_be_bytes);
        [&texts(&[first, last])[..], &document, &texts(&[self.birthdate]), &number].concat()
    }

    /// The row of `agency` in `bets.csv`. The names need no quotes.
    pub fn row(&self, agency: u32) -> String {
        let Self { names: [first, last], document, birthdate, number } = self;
        format!("{agency},{first},{last},{document},{birthdate},{number}\r\n")
    }
}

/// The batches of `bets`, which are encoded: each has at most `most` bets and 8000 bytes.
pub fn batches(agency: u32, bets: &[Vec<u8>], most: u8) -> Vec<Frame> {
    let mut batches = Vec::new();
    let mut rest = bets;
    while !rest.is_empty() {
        let mut bytes = BATCH_HEADER;
        let fits = |bet: &&Vec<u8>| {
            bytes += bet.len();
            bytes <= MOST_BYTES
        };
        let count = rest.iter().take(most.into()).take_while(fits).count().max(1);
        batches.push(batch(agency, &rest[..count]));
        rest = &rest[count..];
    }
    batches
}

/// The batch of all `bets`, at most 255.
pub fn batch(agency: u32, bets: &[Vec<u8>]) -> Frame {
    let count = u8::try_from(bets.len()).expect("a batch has at most 255 bets");
    Frame::new(&[&header(BATCH, agency)[..], &[count], &bets.concat()].concat())
}

/// The statement that `agency` has sent everything.
pub fn end(agency: u32) -> Frame {
    batch(agency, &[])
}

/// Message 3.
pub fn winners_query(agency: u32) -> Frame {
    Frame::new(&header(WINNERS_QUERY, agency))
}

/// Message 6.
pub fn tally_query(agency: u32) -> Frame {
    Frame::new(&header(TALLY_QUERY, agency))
}

fn header(message_type: u8, agency: u32) -> [u8; 5] {
    let [a, b, c, d] = agency.to_be_bytes();
    [message_type, a, b, c, d]
}

/// The number of winners in `header`, the first bytes of message 5.
pub fn winners(header: [u8; WINNERS_HEADER]) -> io::Result<u32> {
    match header {
        [5, count @ ..] => Ok(u32::from_be_bytes(count)),
        _ => Err(io::Error::other(format!("the answer to a query for winners is {header:?}"))),
    }
}

/// Bet number `n` of a made-up agency. It does not win.
pub fn made_up(n: u32) -> Bet<'static> {
    const NAMES: [[&str; 2]; 4] =
        [["Santiago Lionel", "Lorca"], ["Agustín", "Zambrano"], ["Ana María", "Paz"], ["Zoë", "Núñez"]];
    let names = NAMES[n as usize % NAMES.len()];
    Bet { names, document: 10_000_000 + n * 397, birthdate: "1999-03-17", number: n % WINNING_NUMBER }
}

/// `count` made-up bets, encoded. One of them wins.
pub fn made_up_bets(count: u32) -> Vec<Vec<u8>> {
    let number = |n| if n == 0 { WINNING_NUMBER } else { made_up(n).number };
    (0..count).map(|n| Bet { number: number(n), ..made_up(n) }.encode()).collect()
}
