//! Values in a log line: escaped, so that a value can forge neither a field nor a line, and shortened.
//!
//! Used by [`event!`](crate::event) for every value, and by [`super::stderr`].

use std::fmt::{self, Write as _};

/// Most bytes of one value: leaves room for the other fields of its line.
const VALUE_MAX: usize = 3000;
/// Ends a value or a line that was shortened.
pub(super) const SHORTENED: char = '…';

/// `value` for a line: `|`, line breaks and other control characters are escaped, and the text is shortened to
/// 3000 bytes.
pub fn value<T: fmt::Display + ?Sized>(value: &T) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let mut escaped = Escaped { out: f, room: VALUE_MAX };
        match write!(escaped, "{value}") {
            Err(fmt::Error) if escaped.room == 0 => f.write_char(SHORTENED),
            result => result,
        }
    })
}

/// Writes escaped text until `room` bytes are used. Then sets `room` to 0 and fails.
struct Escaped<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    room: usize,
}

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let needs_no_escape = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'|';
        if text.len() < self.room && text.bytes().all(needs_no_escape) {
            self.room -= text.len();
            return self.out.write_str(text);
        }
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        let must_escape = c == '|' || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        let len = if must_escape { c.escape_unicode().len() } else { c.len_utf8() };
        self.room = self.room.checked_sub(len).filter(|&room| room > 0).unwrap_or(0);
        match (self.room, must_escape) {
            (0, _) => Err(fmt::Error),
            (_, true) => write!(self.out, "{}", c.escape_unicode()),
            (_, false) => self.out.write_char(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_forge_fields_or_lines() {
        assert_eq!(
            value("a|b\nc\u{85}d\u{2028}e\x1b[2J ñ°").to_string(),
            "a\\u{7c}b\\u{a}c\\u{85}d\\u{2028}e\\u{1b}[2J ñ°"
        );
    }

    #[test]
    fn long_values_are_shortened_and_marked() {
        let long = value(&"ñ".repeat(5000)).to_string();
        assert!(long.len() <= VALUE_MAX + SHORTENED.len_utf8() && long.ends_with("ñ…"), "{}", long.len());
    }
}
