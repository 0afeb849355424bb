//! The answers of servers, for tests that play one.

/// Type 2.
pub fn confirmation(code: u8) -> [u8; 2] {
    [2, code]
}

/// Type 5.
pub fn winners(documents: &[u32]) -> Vec<u8> {
    let count = u32::try_from(documents.len()).unwrap();
    let numbers = [count].into_iter().chain(documents.iter().copied());
    [5].into_iter().chain(numbers.flat_map(u32::to_be_bytes)).collect()
}

/// Type 7 for agency 1: `count` bets, whether it has ended, the checksum of `rows`.
pub fn received(count: u64, ended: bool, rows: &str) -> Vec<u8> {
    let crc = crc32fast::hash(rows.as_bytes());
    [&[7, 0, 0, 0, 1][..], &count.to_be_bytes(), &[u8::from(ended)], &crc.to_be_bytes()].concat()
}
