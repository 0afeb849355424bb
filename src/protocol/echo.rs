//! Exercises 1–4: a line of text, returned without its trailing white space.

use super::fields::DecodeError;
use super::malformed::{ECHO_MAX, Malformed};

/// The text and its line feed.
pub fn encode(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

/// The text of the line at the front of `bytes`, without trailing white space.
///
/// # Errors
/// [`DecodeError::Incomplete`] without a line feed within [`ECHO_MAX`] bytes so far; [`Malformed::EchoTooLong`] if none
/// can follow; [`Malformed::EchoNotUtf8`].
pub fn decode(bytes: &[u8]) -> Result<String, DecodeError> {
    let window = &bytes[..bytes.len().min(ECHO_MAX + 1)];
    match window.iter().position(|&b| b == b'\n') {
        Some(len) => text(&window[..len]),
        None if window.len() > ECHO_MAX => Err(DecodeError::Malformed(Malformed::EchoTooLong)),
        None => Err(DecodeError::Incomplete),
    }
}

/// The text of `line`, which has no line feed; also for a line that ends with the stream.
///
/// # Errors
/// [`Malformed::EchoTooLong`] above [`ECHO_MAX`] bytes; [`Malformed::EchoNotUtf8`].
pub fn text(line: &[u8]) -> Result<String, DecodeError> {
    if line.len() > ECHO_MAX {
        return Err(DecodeError::Malformed(Malformed::EchoTooLong));
    }
    let text = str::from_utf8(line).map_err(|_| DecodeError::Malformed(Malformed::EchoNotUtf8))?;
    Ok(text.trim_end_matches([' ', '\t', '\r', '\u{b}', '\u{c}']).to_owned())
}
