//! Plain names: without control characters, commas and quotes, and with no character that takes more than two bytes in
//! UTF-8. They need no further check, and no quotes in CSV.
//!
//! Pure. Most names are plain. The fast paths handle bets with plain names, and leave all others to the general code. Tests
//! compare both.

/// How many bytes at the front of `bytes` are plain.
pub fn len(bytes: &[u8]) -> usize {
    let mut len = ascii_len(bytes);
    // U+00A0 to U+07FF: accented letters among them, and no control characters.
    while let [0xc2, 0xa0..=0xbf, ..] | [0xc3..=0xdf, 0x80..=0xbf, ..] = bytes[len..] {
        len += 2;
        len += ascii_len(&bytes[len..]);
    }
    len
}

/// How many bytes at the front of `bytes` are plain ASCII characters.
fn ascii_len(bytes: &[u8]) -> usize {
    let mut len = 0;
    while let Some(word) = bytes[len..].first_chunk() {
        let plain = plain_bytes(u64::from_le_bytes(*word));
        len += plain;
        if plain < size_of::<u64>() {
            return len;
        }
    }
    len + bytes[len..].iter().take_while(|&&byte| is_plain_ascii(byte)).count()
}

fn is_plain_ascii(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b',' && byte != b'"'
}

/// How many of the first bytes of `word`, in little-endian order, are plain ASCII characters.
fn plain_bytes(word: u64) -> usize {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHS: u64 = ONES << 7;
    // The high bit of each byte that is zero. Bits above the first such byte may be wrong, and are not used.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let below_space = word.wrapping_sub(ONES * u64::from(b' ')) & !word & HIGHS;
    // 0x7f and all bytes of other encodings.
    let not_ascii = (word | (word & !HIGHS).wrapping_add(ONES)) & HIGHS;
    let special =
        below_space | not_ascii | zeros(word ^ (ONES * u64::from(b','))) | zeros(word ^ (ONES * u64::from(b'"')));
    (special.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, character by character.
    fn slow_len(bytes: &[u8]) -> usize {
        let valid = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let is_plain = |c: &char| !c.is_control() && !matches!(c, ',' | '"') && c.len_utf8() <= 2;
        valid.chars().take_while(is_plain).map(char::len_utf8).sum()
    }

    proptest! {
        #[test]
        fn length_is_that_of_a_check_of_each_character(
            bytes in prop_oneof![
                "[ -~]{0,40}[,\"\\x00\\x7f\u{80}-\u{900}]?[ -~á-ű]{0,9}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..20),
            ],
        ) {
            prop_assert_eq!(len(&bytes), slow_len(&bytes));
        }
    }

    #[test]
    fn every_byte_in_every_place_of_a_word_is_judged() {
        for (at, byte) in (0..9).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
            let mut word = *b"abcdefghi";
            word[at] = byte;
            assert_eq!(len(&word), slow_len(&word), "{byte} at {at}");
        }
    }

    #[test]
    fn every_pair_of_bytes_is_judged() {
        for pair in (0..=u16::MAX).map(u16::to_be_bytes) {
            let bytes = [b'a', pair[0], pair[1], b'b'];
            assert_eq!(len(&bytes), slow_len(&bytes), "{pair:?}");
        }
    }
}
