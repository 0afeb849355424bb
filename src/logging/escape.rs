//! Values in a log line: escaped, so that a value can forge neither a field nor a line, and shortened.
//!
//! Used by [`event!`](crate::event) for every value, and by [`super::stderr`].
//!
//! | character | in the log |
//! |---|---|
//! | `|`, and control characters up to U+009F | `\x7c`: four bytes |
//! | line and paragraph separator, controls of the writing direction, characters of no width | `\u{202e}` |
//! | any other | itself |

use std::fmt::{self, Write as _};

/// Most bytes of one value: leaves room for the other fields of its line.
const VALUE_MAX: usize = 3000;
/// Ends a value or a line that was shortened.
pub(super) const SHORTENED: char = '…';

/// `value` for a line: characters that could forge a field or a line, or hide, are escaped, and the text is shortened to
/// 3000 bytes.
pub fn value<T: fmt::Display + ?Sized>(value: &T) -> impl fmt::Display {
    within(value, VALUE_MAX)
}

/// The same, shortened to `most` bytes and the mark `…`. For text whose escapes would take more room than it deserves.
/// [`value`] does not change the result.
pub fn shortened<T: fmt::Display + ?Sized>(value: &T, most: usize) -> impl fmt::Display {
    within(value, (most + 1).min(VALUE_MAX - SHORTENED.len_utf8()))
}

fn within<T: fmt::Display + ?Sized>(value: &T, room: usize) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let mut escaped = Escaped { out: f, room };
        match write!(escaped, "{value}") {
            Err(fmt::Error) if escaped.room == 0 => f.write_char(SHORTENED),
            result => result,
        }
    })
}

/// Writes escaped text of less than `room` bytes. Then sets `room` to 0 and fails.
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
        let form = Form::of(c);
        let len = match form {
            Form::Byte => r"\x00".len(),
            Form::Unicode => c.escape_unicode().len(),
            Form::Plain => c.len_utf8(),
        };
        self.room = self.room.saturating_sub(len);
        match form {
            _ if self.room == 0 => Err(fmt::Error),
            Form::Byte => write!(self.out, r"\x{:02x}", u32::from(c)),
            Form::Unicode => write!(self.out, "{}", c.escape_unicode()),
            Form::Plain => self.out.write_char(c),
        }
    }
}

/// How a character is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As `\x7c`.
    Byte,
    /// As `\u{202e}`.
    Unicode,
    /// As it is.
    Plain,
}

impl Form {
    fn of(c: char) -> Self {
        match c {
            '|' => Self::Byte,
            _ if c.is_control() => Self::Byte,
            // The direction of the writing, separators of lines and paragraphs, and no width.
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => Self::Unicode,
            '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => Self::Unicode,
            _ => Self::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_forge_fields_or_lines() {
        assert_eq!(value("a|b\nc\u{85}d\u{2028}e\x1b[2J ñ°").to_string(), "a\\x7cb\\x0ac\\x85d\\u{2028}e\\x1b[2J ñ°");
    }

    #[test]
    fn characters_that_hide_or_turn_text_are_escaped() {
        let lists = ['\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}', '\u{200b}'..='\u{200f}'];
        for c in lists.into_iter().flatten().chain(['\u{61c}', '\u{2060}', '\u{feff}']) {
            assert_eq!(value(&c).to_string(), format!("\\u{{{:x}}}", u32::from(c)));
        }
        let plain = "\u{200a}\u{2010}\u{2027}\u{202f}\u{2061}\u{206a}\u{a0}ñ";
        assert_eq!(value(plain).to_string(), plain);
    }

    #[test]
    fn shortened_text_has_its_bytes_and_the_mark() {
        let both = |text: &str, most| {
            let once = shortened(text, most).to_string();
            assert_eq!(value(&once).to_string(), once);
            once
        };
        assert_eq!(both("||||", 8), "\\x7c\\x7c…");
        assert_eq!(both("||||", 15), "\\x7c\\x7c\\x7c…");
        assert_eq!(both("abc", 3), "abc");
        assert_eq!(both("|a|a", 8), "\\x7ca…");
        assert_eq!(both("", 0), "");
        let long = both(&"a".repeat(VALUE_MAX), 2 * VALUE_MAX);
        assert!(long.len() < VALUE_MAX && long.ends_with("a…"), "{}", long.len());
    }

    #[test]
    fn long_values_are_shortened_and_marked() {
        let long = value(&"ñ".repeat(5000)).to_string();
        assert!(long.len() <= VALUE_MAX + SHORTENED.len_utf8() && long.ends_with("ñ…"), "{}", long.len());
    }
}
