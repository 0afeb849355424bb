//! A slow decoder that follows `docs/protocol.md` to the letter: it reads requests from all bytes at once, and checks bets by
//! rules of its own.
//!
//! The tests of the codecs and the fuzz targets in `fuzz/` compare the incremental decoder with it. Both include this file,
//! so it takes the names of requests and bets from the module that includes it. It must not call the codecs.

use super::{AgencyId, Bet, Form, InvalidBet, Kind, Malformed, Request, Rows};

/// The requests in `stream`, and the defect that follows them, if there is one.
pub fn reference(stream: &[u8]) -> (Vec<Request>, Option<Malformed>) {
    let mut requests = Vec::new();
    let mut rest = stream;
    loop {
        let kind = if requests.is_empty() { kind_by_the_page(stream) } else { Some(Kind::Typed) };
        let read = match kind {
            None => Err(None),
            Some(Kind::Echo) => read_echo(rest),
            Some(Kind::Single) => read_single(&mut rest),
            Some(Kind::UntypedBatch) => read_batch(Form::UntypedBatch, &mut rest),
            Some(Kind::Typed) => read_typed(&mut rest),
        };
        match read {
            Ok(request) => requests.push(request),
            Err(malformed) => return (requests, malformed),
        }
        if kind != Some(Kind::Typed) {
            return (requests, None);
        }
    }
}

/// The rule of the first bytes, sentence by sentence.
pub fn kind_by_the_page(stream: &[u8]) -> Option<Kind> {
    match stream.first()? {
        0x01..=0x1f => return Some(Kind::Typed),
        0x20..=0xff => return Some(Kind::Echo),
        0x00 => {}
    }
    let x = usize::from(*stream.get(4)?);
    let Some(l_at) = (x > 0).then_some(5 + x) else { return Some(Kind::UntypedBatch) };
    if stream.iter().skip(5).take(x).any(|&b| b == 0) || stream.get(l_at) == Some(&0) {
        return Some(Kind::UntypedBatch);
    }
    let l = usize::from(*stream.get(l_at)?);
    let second = &stream[l_at + 1..stream.len().min(l_at + 1 + l)];
    match second.contains(&0) {
        true => Some(Kind::UntypedBatch),
        false => (second.len() == l).then_some(Kind::Single),
    }
}

/// "Domain", sentence by sentence: the first defect in the order of the fields, or the bet.
pub fn judge<'a>(
    agency: u32,
    names: [&'a [u8]; 2],
    document: u32,
    birthdate: &[u8],
    number: u32,
) -> Result<Bet<'a>, InvalidBet> {
    let agency = AgencyId::new(agency).ok_or(InvalidBet::Number("agency"))?;
    for (field, name) in ["first name", "last name"].into_iter().zip(names) {
        let text = std::str::from_utf8(name).map_err(|_| InvalidBet::NotUtf8(field))?;
        if text.is_empty() {
            return Err(InvalidBet::Empty(field));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidBet::Control(field));
        }
    }
    if !is_a_day(birthdate) {
        return Err(InvalidBet::Date);
    }
    let bet = Bet::new(agency, names, document, birthdate, number);
    assert!(bet.is_ok(), "a bet by the page is refused: {bet:?}");
    bet
}

/// Whether `text` is ten bytes `YYYY-MM-DD` that name a real day, from the year 1 on.
fn is_a_day(text: &[u8]) -> bool {
    let digits: Vec<u32> = text.iter().filter(|b| b.is_ascii_digit()).map(|b| u32::from(b - b'0')).collect();
    let hyphens: Vec<usize> = (0..text.len()).filter(|&i| text[i] == b'-').collect();
    let (10, [y1, y2, y3, y4, m1, m2, d1, d2], [4, 7]) = (text.len(), &digits[..], &hyphens[..]) else { return false };
    let year = y1 * 1000 + y2 * 100 + y3 * 10 + y4;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match m1 * 10 + m2 {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    year > 0 && (1..=days).contains(&(d1 * 10 + d2))
}

/// A value; or `Some` defect; or `None` if the bytes end too early.
type Read<T> = Result<T, Option<Malformed>>;

fn read_echo(rest: &[u8]) -> Read<Request> {
    let line = rest.split(|&b| b == b'\n').next().unwrap_or_default();
    if line.len() > 1024 {
        return Err(Some(Malformed::EchoTooLong));
    }
    if line.len() == rest.len() {
        return Err(None);
    }
    let white = line.iter().rev().take_while(|b| b" \t\r\x0b\x0c".contains(b)).count();
    let text = String::from_utf8(line[..line.len() - white].to_vec());
    text.map(Request::Echo).map_err(|_| Some(Malformed::EchoNotUtf8))
}

fn read_single(rest: &mut &[u8]) -> Read<Request> {
    let agency = read_u32(rest)?;
    let names = [read_pstr(rest)?, read_pstr(rest)?];
    let document = read_u32(rest)?;
    let birthdate = read_pstr(rest)?;
    let bet = judge(agency, names, document, birthdate, read_u32(rest)?);
    Ok(Request::Bets { form: Form::Single, agency, count: 1, rows: bet.map(|bet| rows_of(&[bet])) })
}

fn read_batch(form: Form, rest: &mut &[u8]) -> Read<Request> {
    let agency = read_u32(rest)?;
    let count = read(rest, 1)?[0];
    if form == Form::TypedBatch && count == 0 {
        return Ok(Request::End { agency });
    }
    let mut bets = Vec::new();
    for _ in 0..count {
        let names = [read_cstr(rest, 30)?, read_cstr(rest, 30)?];
        let document = read_u32(rest)?;
        let birthdate = read_cstr(rest, 11)?;
        bets.push(judge(agency, names, document, birthdate, read_u32(rest)?));
    }
    let bets: Result<Vec<_>, _> = bets.into_iter().collect();
    Ok(Request::Bets { form, agency, count, rows: bets.map(|bets| rows_of(&bets)) })
}

fn rows_of(bets: &[Bet<'_>]) -> Rows {
    bets.iter().collect()
}

fn read_typed(rest: &mut &[u8]) -> Read<Request> {
    match read(rest, 1)?[0] {
        1 => read_batch(Form::TypedBatch, rest),
        3 => Ok(Request::Winners { agency: read_u32(rest)? }),
        6 => Ok(Request::Tally { agency: read_u32(rest)? }),
        kind @ (2 | 4 | 5 | 7) => Err(Some(Malformed::WrongDirection(kind))),
        kind => Err(Some(Malformed::UnknownType(kind))),
    }
}

fn read_pstr<'a>(rest: &mut &'a [u8]) -> Read<&'a [u8]> {
    let len = read(rest, 1)?[0];
    read(rest, len.into())
}

fn read_cstr<'a>(rest: &mut &'a [u8], max: usize) -> Read<&'a [u8]> {
    let all = *rest;
    for len in 0..max {
        if read(rest, 1)?[0] == 0 {
            return Ok(&all[..len]);
        }
    }
    Err(Some(Malformed::Unterminated(max - 1)))
}

fn read_u32(rest: &mut &[u8]) -> Read<u32> {
    Ok(read(rest, 4)?.iter().fold(0, |number, &byte| number << 8 | u32::from(byte)))
}

fn read<'a>(rest: &mut &'a [u8], len: usize) -> Read<&'a [u8]> {
    if rest.len() < len {
        return Err(None);
    }
    let (front, after) = rest.split_at(len);
    *rest = after;
    Ok(front)
}
