//! Mode echo, exercises 1 to 4: sends numbered lines, each on its own connection, and reads the answers.
//!
//! Owns the loop. Used by [`super::main`]. Does not open the agency's file.

use super::connection::{Connection, Dialer, SILENCE};
use super::error::{Error, Lost};
use super::question::Question;
use super::retry::Retry;
use crate::config::client::Config;
use crate::event;
use crate::protocol::{DecodeError, echo};

/// Sends `loop.amount` lines, each followed by a pause of `loop.period`.
///
/// # Errors
/// [`Error::GaveUp`] if the server cannot be reached for the configured time; [`Error::Malformed`] if an answer is not
/// a line of text; [`Error::Stopped`] after a request to stop.
pub fn run(config: &Config, dialer: Dialer<'_>) -> Result<(), Error> {
    let stop = dialer.stop;
    let retry = Retry::new(config.retry_timeout, stop);
    for number in 1..=config.loop_amount {
        let text = format!("[CLIENT {}] Message N°{number}", config.id);
        let echoed = retry.run(|| exchange(dialer.connect()?, &text))?;
        retry.progress();
        event!(Info, "receive_message", success, client_id = config.id, msg = echoed);
        stop.pause(config.loop_period)?;
    }
    event!(Info, "loop_finished", success, client_id = config.id);
    Ok(())
}

fn exchange(mut connection: Connection<'_>, text: &str) -> Result<String, Error> {
    connection.outgoing().extend(echo::encode(text));
    match connection.ask(Question::Echo, Some(SILENCE), decode_line) {
        // The end of the stream also ends a line.
        Err(Error::Lost(Lost::Closed { peer })) => match echo::text(connection.undecoded()) {
            Ok(text) if !text.is_empty() => Ok(text),
            _ => Err(Lost::Closed { peer }.into()),
        },
        other => other,
    }
}

/// Decodes the only line of a connection, and drops any bytes after it.
fn decode_line(bytes: &[u8]) -> Result<(String, usize), DecodeError> {
    Ok((echo::decode(bytes)?, bytes.len()))
}
