//! A bet as a row of `bets.csv`: what Python's `csv.writer(file, quoting=csv.QUOTE_MINIMAL)` writes,
//! `agency,first_name,last_name,document,birthdate,number` and CRLF.
//!
//! Owns both directions. Pure. Used by the storage, and by the agency to compare its file with what the server holds.
//! As no field of a bet holds a line break, every row is one line.

use std::io::Read;

use crate::bet::{AgencyId, Bet, decimal};

/// What ends a row.
pub const END: &[u8] = b"\r\n";

/// Bytes of a row that hardly any exceeds: to reserve memory once a batch.
const USUAL_LEN: usize = 64;

/// The rows of `bets`, in order.
///
/// # Errors
/// None that writing to memory can have; kept as the csv crate reports it.
pub fn format(bets: &[Bet]) -> csv::Result<Vec<u8>> {
    let mut rows = csv::WriterBuilder::new()
        .has_headers(false)
        .terminator(csv::Terminator::CRLF)
        .buffer_capacity(bets.len() * USUAL_LEN)
        .from_writer(Vec::with_capacity(bets.len() * USUAL_LEN));
    for bet in bets {
        let agency = bet.agency.get();
        rows.serialize((agency, &bet.first_name, &bet.last_name, bet.document, bet.birthdate.as_str(), bet.number))?;
    }
    rows.into_inner().map_err(|e| e.into_error().into())
}

/// The bet that `line` holds; `None` for everything else, also for a row without its end (a torn `7574` may once have
/// been `75741`).
pub fn parse(line: &[u8]) -> Option<Bet> {
    let fields = line.strip_suffix(END)?;
    if fields.contains(&b'"') {
        from_fields(quoted_fields(fields)?.iter())
    } else {
        from_fields(fields.split(|&b| b == b','))
    }
}

/// The fields of one line, given without its end, in which quotes stand; `None` where one is not closed.
pub fn quoted_fields(line: &[u8]) -> Option<csv::ByteRecord> {
    // A line feed in front, as the csv crate drops a BOM at the start of its input, which here is part of a field; one
    // behind, which gets into the last field where a quote is open. No other byte ends a row, least of all a lone CR.
    let line_feed = &b"\n"[..];
    let rows = csv::ReaderBuilder::new()
        .has_headers(false)
        .terminator(csv::Terminator::Any(b'\n'))
        .buffer_capacity(line.len())
        .from_reader(line_feed.chain(line).chain(line_feed));
    let record = rows.into_byte_records().next()?.ok()?;
    record.iter().all(|field| !field.contains(&b'\n')).then_some(record)
}

/// The agency of a row that is known to be valid; without the rest of it, unless it is not written in digits alone
/// (somebody else may have quoted it).
pub fn agency(line: &[u8]) -> Option<AgencyId> {
    let field = line.split(|&b| b == b',').next()?;
    match decimal(field) {
        Some(id) => AgencyId::new(id),
        None => Some(parse(line)?.agency),
    }
}

/// The number that a row which is known to be valid is on, without the rest of it; `None` where it is not written in
/// digits alone (somebody else may have quoted it): then only [`parse`] can tell.
pub fn number(line: &[u8]) -> Option<u32> {
    decimal(line.strip_suffix(END)?.rsplit(|&b| b == b',').next()?)
}

fn from_fields<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Option<Bet> {
    let agency = AgencyId::new(decimal(fields.next()?)?)?;
    let names = [fields.next()?, fields.next()?];
    let document = decimal(fields.next()?)?;
    let birthdate = fields.next()?;
    let number = decimal(fields.next()?)?;
    let nothing_more = fields.next().is_none();
    nothing_more.then(|| Bet::new(agency, names, document, birthdate, number).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn bet()(agency in 1..=u32::MAX, first in "[^\\p{Cc}]{1,20}", last in "[,\"a' ñ]{1,9}", document: u32, number: u32) -> Bet {
            Bet::new(AgencyId::new(agency).unwrap(), [first.as_bytes(), last.as_bytes()], document, b"1999-03-17", number).unwrap()
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bet in bet()) {
            let row = format(std::slice::from_ref(&bet)).unwrap();
            prop_assert_eq!(agency(&row), Some(bet.agency));
            prop_assert_eq!(number(&row), Some(bet.number));
            prop_assert_eq!(row.iter().filter(|&&b| b == b'\n').count(), 1);
            prop_assert_eq!(parse(&row), Some(bet));
        }

        #[test]
        fn no_proper_prefix_of_a_row_is_a_row(bet in bet()) {
            let row = format(&[bet]).unwrap();
            prop_assert!((0..row.len()).all(|cut| parse(&row[..cut]).is_none()));
        }
    }

    #[test]
    fn rows_are_quoted_where_python_quotes_them() {
        let bet =
            |first: &str| Bet::new(AgencyId::new(1).unwrap(), [first.as_bytes(), b"Paz"], 7, b"1999-03-17", 8).unwrap();
        let rows = format(&[bet("Ana"), bet("Pérez, Ana"), bet("Ana \"La\""), bet("'x' =y;z|"), bet(" ")]).unwrap();
        assert_eq!(
            String::from_utf8(rows).unwrap(),
            "1,Ana,Paz,7,1999-03-17,8\r\n1,\"Pérez, Ana\",Paz,7,1999-03-17,8\r\n1,\"Ana \"\"La\"\"\",Paz,7,1999-03-17,8\r\n\
             1,'x' =y;z|,Paz,7,1999-03-17,8\r\n1, ,Paz,7,1999-03-17,8\r\n"
        );
    }

    #[test]
    fn rows_that_somebody_else_has_quoted_are_bets_of_their_agency() {
        let row = b"\"1\",\"Ana\",\"Paz\",\"7\",\"1999-03-17\",\"8\"\r\n";
        assert_eq!(parse(row), parse(b"1,Ana,Paz,7,1999-03-17,8\r\n"));
        assert_eq!((agency(row), number(row)), (AgencyId::new(1), None));
    }

    #[test]
    fn what_is_no_bet_is_no_row() {
        for bad in [
            "",
            "\r\n",
            "1,Ana,Paz,7,1999-03-17\r\n",
            "1,Ana,Paz,7,1999-03-17,8,9\r\n",
            "0,Ana,Paz,7,1999-03-17,8\r\n",
            "1,Ana,Paz,7,1999-02-30,8\r\n",
            "1,,Paz,7,1999-03-17,8\r\n",
            "1,Ana,Paz,7,1999-03-17,8\n",
            "1,\"Ana,Paz,7,1999-03-17,8\r\n",
            "1,Ana,Paz,x,1999-03-17,8\r\n",
            "1,\"Ana\",Paz,7,1999-03-17,8\rx,y\r\n",
            "\r1,\"Ana\",Paz,7,1999-03-17,8\r\n",
            "\u{feff}1,\"Ana\",Paz,7,1999-03-17,8\r\n",
            "1,Ana,Paz,7,1999-03-17,\"8\r\n",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
