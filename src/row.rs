//! A bet as a row of `bets.csv`: the bytes that Python's `csv.writer(file, quoting=csv.QUOTE_MINIMAL)` writes,
//! `agency,first_name,last_name,document,birthdate,number` and CRLF.
//!
//! Owns both directions, and the tally of rows. Pure. Used by the storage, and by the agency to compare its file with the
//! server's tally. No field of a bet holds a line break, so every row is one line.

use std::io::Read;

use crate::bet::{AgencyId, Bet, Name, decimal};

/// The line terminator of a row.
pub const TERMINATOR: &[u8] = b"\r\n";

/// Most bytes of a row, its terminator included. The longest row of a bet that a message can carry, with two names of 255
/// quotes each, needs 1,071.
pub const MAX_LEN: usize = 4096;

/// Count and CRC-32 (zlib's) of rows, line terminators included, in their order. The default is the tally of no rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Number of rows.
    pub count: u64,
    /// CRC-32 of the rows; 0 for none.
    pub crc: u32,
}

impl Tally {
    /// Adds one row, given with its terminator.
    pub fn add(&mut self, row: &[u8]) {
        self.add_rows(row, 1);
    }

    /// Adds `count` rows that follow each other in `rows`.
    pub fn add_rows(&mut self, rows: &[u8], count: u64) {
        let mut crc = crc32fast::Hasher::new_with_initial(self.crc);
        crc.update(rows);
        *self = Self { count: self.count + count, crc: crc.finalize() };
    }
}

/// Rows of bets, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    bytes: Vec<u8>,
    count: u64,
}

impl Rows {
    /// Makes room for rows of so many bytes in total.
    pub fn reserve(&mut self, len: usize) {
        self.bytes.reserve(len);
    }

    /// Appends the row of `bet`.
    pub fn push(&mut self, bet: &Bet<'_>) {
        let needs_quotes = |name: &Name<'_>| memchr::memchr2(b',', b'"', name.as_bytes()).is_some();
        if needs_quotes(&bet.first_name) || needs_quotes(&bet.last_name) {
            self.bytes.extend(quoted_row(bet));
            self.count += 1;
        } else {
            self.push_plain(bet);
        }
    }

    /// As [`Rows::push`], for a bet whose names hold neither commas nor quotes, which is not checked. Many times as fast as
    /// the csv crate.
    pub fn push_plain(&mut self, bet: &Bet<'_>) {
        let mut row = RowWriter(&mut self.bytes);
        row.number(bet.agency.get());
        row.text(bet.first_name.as_bytes());
        row.text(bet.last_name.as_bytes());
        row.number(bet.document);
        row.text(bet.birthdate.bytes());
        row.number(bet.number);
        row.terminate();
        self.count += 1;
    }

    /// Removes all rows and keeps their memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Appends all rows of `others`.
    pub fn append(&mut self, others: &Self) {
        self.bytes.extend_from_slice(&others.bytes);
        self.count += others.count;
    }

    /// The rows, each with its terminator.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of rows.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bets in the rows.
    pub fn bets(&self) -> impl Iterator<Item = Bet<'_>> {
        // No field of a bet holds a line break.
        self.bytes.split_inclusive(|&byte| byte == b'\n').filter_map(parse)
    }
}

/// Writes the fields of a row, each with a comma after it.
struct RowWriter<'a>(&'a mut Vec<u8>);

impl RowWriter<'_> {
    fn number(&mut self, number: u32) {
        self.text(itoa::Buffer::new().format(number).as_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.0.extend_from_slice(text);
        self.0.push(b',');
    }

    /// Writes the terminator in place of the last comma.
    fn terminate(self) {
        self.0.pop();
        self.0.extend_from_slice(TERMINATOR);
    }
}

impl<'b, 'a: 'b> FromIterator<&'b Bet<'a>> for Rows {
    fn from_iter<T: IntoIterator<Item = &'b Bet<'a>>>(bets: T) -> Self {
        let mut rows = Self::default();
        bets.into_iter().for_each(|bet| rows.push(bet));
        rows
    }
}

/// The row of `bet`, with quotes where they are needed.
fn quoted_row(bet: &Bet<'_>) -> Vec<u8> {
    const IN_MEMORY: &str = "six fields of a bet can be written as a row into memory";
    let mut row = csv::WriterBuilder::new()
        .has_headers(false)
        .terminator(csv::Terminator::CRLF)
        .buffer_capacity(MAX_LEN)
        .from_writer(Vec::new());
    let (agency, [first, last]) = (bet.agency.get(), [&bet.first_name, &bet.last_name].map(|name| name.as_str()));
    row.serialize((agency, first, last, bet.document, bet.birthdate.as_str(), bet.number)).expect(IN_MEMORY);
    row.into_inner().expect(IN_MEMORY)
}

/// The bet in `line`, which includes its terminator; `None` if `line` is not a valid row. A row without its terminator is
/// not valid: a torn `7574` may once have been `75741`.
pub fn parse(line: &[u8]) -> Option<Bet<'_>> {
    if line.len() > MAX_LEN {
        return None;
    }
    let fields = line.strip_suffix(TERMINATOR)?;
    if fields.contains(&b'"') {
        from_fields(quoted_fields(fields)?.iter()).map(Bet::into_owned)
    } else {
        from_fields(fields.split(|&b| b == b','))
    }
}

/// The fields of one line that holds quotes, given without its terminator; `None` if a quote is not closed.
pub fn quoted_fields(line: &[u8]) -> Option<csv::ByteRecord> {
    // The line feed before the line keeps a BOM, which the csv crate drops at the start of its input and which is part of
    // a field here. The line feed after it becomes part of the last field if a quote is open. No other byte ends a row,
    // not even a lone CR.
    let line_feed = &b"\n"[..];
    let rows = csv::ReaderBuilder::new()
        .has_headers(false)
        .terminator(csv::Terminator::Any(b'\n'))
        .buffer_capacity(line.len())
        .from_reader(line_feed.chain(line).chain(line_feed));
    let record = rows.into_byte_records().next()?.ok()?;
    record.iter().all(|field| !field.contains(&b'\n')).then_some(record)
}

/// The agency of a valid row. Parses only the first field, or the whole row if that field is quoted, as another program
/// may write it.
pub fn agency(line: &[u8]) -> Option<AgencyId> {
    let field = line.split(|&b| b == b',').next()?;
    match decimal(field) {
        Some(id) => AgencyId::new(id),
        None => Some(parse(line)?.agency),
    }
}

/// The number of a valid row. Parses only the last field; `None` if that field is quoted, as another program may write it:
/// then use [`parse`].
pub fn number(line: &[u8]) -> Option<u32> {
    decimal(line.strip_suffix(TERMINATOR)?.rsplit(|&b| b == b',').next()?)
}

fn from_fields<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Option<Bet<'a>> {
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
        fn bet()(agency in 1..=u32::MAX, first in "[^\\p{Cc}]{1,20}", last in "[,\"a' ñ]{1,9}", document: u32, number: u32) -> Bet<'static> {
            let names = [first.as_bytes(), last.as_bytes()];
            Bet::new(AgencyId::new(agency).unwrap(), names, document, b"1999-03-17", number).unwrap().into_owned()
        }
    }

    proptest! {
        #[test]
        fn rows_read_back_as_written(bet in bet()) {
            let rows = Rows::from_iter([&bet]);
            prop_assert_eq!(rows.bytes(), quoted_row(&bet));
            let row = rows.bytes();
            prop_assert_eq!(agency(row), Some(bet.agency));
            prop_assert_eq!(number(row), Some(bet.number));
            prop_assert_eq!(row.iter().filter(|&&b| b == b'\n').count(), 1);
            prop_assert_eq!(parse(row), Some(bet));
        }

        #[test]
        fn no_proper_prefix_of_a_row_is_a_row(bet in bet()) {
            let rows = Rows::from_iter([&bet]);
            let row = rows.bytes();
            prop_assert!((0..row.len()).all(|cut| parse(&row[..cut]).is_none()));
        }
    }

    #[test]
    fn rows_are_quoted_like_pythons() {
        let mut rows = Rows::default();
        for first in ["Ana", "Pérez, Ana", "Ana \"La\"", "'x' =y;z|", " "] {
            let names = [first.as_bytes(), b"Paz"];
            rows.push(&Bet::new(AgencyId::new(1).unwrap(), names, 7, b"1999-03-17", 8).unwrap());
        }
        assert_eq!(
            str::from_utf8(rows.bytes()).unwrap(),
            "1,Ana,Paz,7,1999-03-17,8\r\n1,\"Pérez, Ana\",Paz,7,1999-03-17,8\r\n1,\"Ana \"\"La\"\"\",Paz,7,1999-03-17,8\r\n\
             1,'x' =y;z|,Paz,7,1999-03-17,8\r\n1, ,Paz,7,1999-03-17,8\r\n"
        );
    }

    #[test]
    fn rows_are_counted_and_read_back() {
        let bet = |first: &'static str| {
            let names = [first.as_bytes(), b"Paz"];
            Bet::new(AgencyId::new(1).unwrap(), names, 7, b"1999-03-17", 8).unwrap()
        };
        let bets = [bet("Pérez, Ana"), bet("Ana"), bet("Pérez, Ana")];
        let some = Rows::from_iter(&bets);
        let mut rows = Rows::default();
        assert!(rows.is_empty());
        (0..2).for_each(|_| rows.append(&some));
        assert_eq!((rows.count(), rows.is_empty()), (6, false));
        assert!(rows.bets().eq(bets.iter().chain(&bets).cloned()));
        rows.clear();
        assert_eq!(rows, Rows::default());
    }

    #[test]
    fn rows_quoted_by_other_programs_are_valid() {
        let row = b"\"1\",\"Ana\",\"Paz\",\"7\",\"1999-03-17\",\"8\"\r\n";
        assert_eq!(parse(row), parse(b"1,Ana,Paz,7,1999-03-17,8\r\n"));
        assert_eq!((agency(row), number(row)), (AgencyId::new(1), None));
    }

    #[test]
    fn agency_and_number_of_a_row_read_one_field() {
        let row = b"7,neither name nor date,8\r\n";
        assert_eq!((agency(row), number(row), parse(row)), (AgencyId::new(7), Some(8), None));
    }

    #[test]
    fn a_row_has_at_most_max_len_bytes() {
        let row_of = |len: usize| format!("1,{},Paz,7,1999-03-17,8\r\n", "x".repeat(len - 23)).into_bytes();
        assert_eq!((row_of(MAX_LEN).len(), row_of(MAX_LEN + 1).len()), (MAX_LEN, MAX_LEN + 1));
        assert!(parse(&row_of(MAX_LEN)).is_some() && parse(&row_of(MAX_LEN + 1)).is_none());
    }

    #[test]
    fn a_tally_counts_rows_and_checks_their_bytes_in_order() {
        let mut tally = Tally::default();
        assert_eq!((tally.count, tally.crc), (0, 0));
        for row in [&b"one\r\n"[..], b"two\r\n"] {
            tally.add(row);
        }
        assert_eq!(tally, Tally { count: 2, crc: crc32fast::hash(b"one\r\ntwo\r\n") });
    }

    #[test]
    fn invalid_rows_are_refused() {
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
