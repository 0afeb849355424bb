//! Exercises 1–4: a line of text, given back without its trailing white space.

use super::{Malformed, Stop};

/// Most bytes in front of the line feed.
pub const MAX_TEXT: usize = 1024;

/// The text and its line feed.
pub fn encode(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

/// The text of the line at the front of `bytes`, trimmed.
///
/// # Errors
/// [`Stop`], with [`Malformed::EchoTooLong`] or [`Malformed::EchoNotUtf8`].
pub fn decode(bytes: &[u8]) -> Result<String, Stop> {
    let window = &bytes[..bytes.len().min(MAX_TEXT + 1)];
    match window.iter().position(|&b| b == b'\n') {
        Some(len) => text(&window[..len]),
        None if window.len() > MAX_TEXT => Err(Stop::Malformed(Malformed::EchoTooLong)),
        None => Err(Stop::Incomplete),
    }
}

/// What `line` says, without its line feed: also for a line that the end of the stream has closed.
///
/// # Errors
/// [`Malformed::EchoNotUtf8`], [`Malformed::EchoTooLong`].
pub fn text(line: &[u8]) -> Result<String, Stop> {
    if line.len() > MAX_TEXT {
        return Err(Stop::Malformed(Malformed::EchoTooLong));
    }
    let text = str::from_utf8(line).map_err(|_| Stop::Malformed(Malformed::EchoNotUtf8))?;
    Ok(text.trim_end_matches([' ', '\t', '\r', '\u{b}', '\u{c}']).to_owned())
}
