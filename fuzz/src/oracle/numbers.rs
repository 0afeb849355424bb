//! Numbers in bytes and in digits, and checksums. Used by the other parsers and by the checks.

/// The big-endian number of at most eight bytes.
pub fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// zlib's CRC-32, bit by bit.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// A number from 0 to 4294967295, written in digits only.
pub fn decimal(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    let significant = text.trim_start_matches('0');
    let all_digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    (all_digits && significant.len() <= 10).then(|| format!("0{significant}").parse().ok())?
}
