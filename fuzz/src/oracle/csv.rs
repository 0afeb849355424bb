//! Rows as Python's csv module reads and writes them, byte by byte, and which of these rows are bets.

use loteria::bet::Bet;

use super::numbers::decimal;
use super::page;

/// The state of Python's reader within a row.
#[derive(Clone, Copy, PartialEq)]
enum State {
    FieldBegins,
    Plain,
    Quoted,
    QuoteInQuoted,
}

/// The fields of a row in one line, which is given without its line end. `None` if Python refuses the line (it has a CR
/// without LF), or if the row continues on the next line (a quote is not closed).
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

/// The bet in a row of `bets.csv`, which is given with its line end.
pub fn stored_bet(line: &[u8]) -> Option<Bet<'static>> {
    let fields = fields(line.strip_suffix(b"\r\n")?)?;
    let [agency, first, last, document, birthdate, number] = &fields[..] else { return None };
    let bet = page::judge(decimal(agency)?, [first, last], decimal(document)?, birthdate, decimal(number)?).ok()?;
    Some(bet.into_owned())
}

/// The bet in a row of an agency's file, which is given without its line end. `None` also if a name is too long for a
/// batch.
pub fn agency_bet(line: &[u8], agency: u32) -> Option<Bet<'static>> {
    let fields = fields(line)?;
    let [first, last, document, birthdate, number] = &fields[..] else { return None };
    let bet = page::judge(agency, [first, last], decimal(document)?, birthdate, decimal(number)?).ok()?;
    (first.len() <= 29 && last.len() <= 29).then_some(bet.into_owned())
}

/// The row of `bet`, quoted as QUOTE_MINIMAL does.
pub fn row(bet: &Bet<'_>) -> Vec<u8> {
    let quoted = |name: &str| match name.contains([',', '"']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.to_owned(),
    };
    let names = format!("{},{}", quoted(bet.first_name.as_str()), quoted(bet.last_name.as_str()));
    format!("{},{names},{},{},{}\r\n", bet.agency, bet.document, bet.birthdate.as_str(), bet.number).into_bytes()
}
