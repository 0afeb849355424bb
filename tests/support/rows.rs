//! Rows of bets: as `bets.csv` has them, and as an agency's file has them.

/// The winning number, unless `LOTTERY_WINNER_NUMBER` sets another one.
pub const WINNING: u32 = 7574;
/// Bytes of a [`row`] whose agency, document and number have one digit each.
pub const ROW: u64 = "1,Ana,Paz,0,1999-03-17,1\r\n".len() as u64;

/// The row of `bets.csv` for a default [`Bet`](super::Bet) with this document and number, with its line end.
pub fn row(agency: u32, document: u32, number: u32) -> String {
    format!("{agency},Ana,Paz,{document},1999-03-17,{number}\r\n")
}

/// The rows of a [`batch_of`](super::batch_of) with the same arguments.
pub fn rows(agency: u32, count: u32, number: u32) -> String {
    (0..count).map(|document| row(agency, document, number)).collect()
}

/// The rows of one agency in `bets`, the content of a `bets.csv`, unchanged and in order.
pub fn rows_of(bets: &[u8], agency: u32) -> String {
    let bets = std::str::from_utf8(bets).unwrap();
    bets.split_inclusive('\n').filter(|row| row.starts_with(&format!("{agency},"))).collect()
}

/// An agency's file of `count` bets: bet i has document i.
pub fn agency_file(count: u32) -> String {
    (0..count).map(|i| format!("Ñata {i},Paz,{i},1999-03-17,7574\r\n")).collect()
}

/// The first `count` bets of that file, as `bets.csv` has them for agency 1.
pub fn stored_rows(count: u32) -> String {
    (0..count).map(|i| format!("1,Ñata {i},Paz,{i},1999-03-17,7574\r\n")).collect()
}
