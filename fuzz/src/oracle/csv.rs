//! Rows as Python's csv module reads and writes them, character by character; and which of them are bets.

use loteria::bet::Bet;

use super::{decimal, page};

/// Where Python's reader is in a row.
#[derive(Clone, Copy, PartialEq)]
enum State {
    FieldBegins,
    Plain,
    Quoted,
    QuoteInQuoted,
}

/// The fields of a row that is one line, given without its end; `None` for what Python refuses (a lone CR) or goes on to
/// read on the next line (a quote that is not closed).
pub fn fields(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut fields = vec![Vec::new()];
    let mut state = State::FieldBegins;
    for &byte in line {
        state = match (state, byte) {
            (State::FieldBegins, b'"') => State::Quoted,
            (State::Quoted, b'"') => State::QuoteInQuoted,
            (State::Quoted, _) => {
                fields.last_mut()?.push(byte);
                State::Quoted
            }
            (State::QuoteInQuoted, b'"') => {
                fields.last_mut()?.push(byte);
                State::Quoted
            }
            (_, b'\r' | b'\n') => return None,
            (_, b',') => {
                fields.push(Vec::new());
                State::FieldBegins
            }
            _ => {
                fields.last_mut()?.push(byte);
                State::Plain
            }
        };
    }
    (state != State::Quoted).then_some(fields)
}

/// The bet in a row of `bets.csv`, line end included.
pub fn stored_bet(line: &[u8]) -> Option<Bet> {
    let fields = fields(line.strip_suffix(b"\r\n")?)?;
    let [agency, first, last, document, birthdate, number] = &fields[..] else { return None };
    page::judge(decimal(agency)?, [first, last], decimal(document)?, birthdate, decimal(number)?).ok()
}

/// The bet in a row of an agency's file, without line end; names within what batches carry.
pub fn agency_bet(line: &[u8], agency: u32) -> Option<Bet> {
    let fields = fields(line)?;
    let [first, last, document, birthdate, number] = &fields[..] else { return None };
    let bet = page::judge(agency, [first, last], decimal(document)?, birthdate, decimal(number)?).ok()?;
    (first.len() <= 29 && last.len() <= 29).then_some(bet)
}

/// The row of `bet`, with quotes where QUOTE_MINIMAL puts them.
pub fn row(bet: &Bet) -> Vec<u8> {
    let quoted = |name: &String| match name.contains([',', '"']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.clone(),
    };
    let names = format!("{},{}", quoted(&bet.first_name), quoted(&bet.last_name));
    format!("{},{names},{},{},{}\r\n", bet.agency, bet.document, bet.birthdate.as_str(), bet.number).into_bytes()
}
