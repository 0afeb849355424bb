//! Modes bet and batch, exercises 5 and 6: each message has its own connection, and its answer is one byte.
//!
//! Owns the two modes. Used by [`super::main`]. Untyped messages include no query for the stored bets. So if an answer
//! is lost, the client sends the message again, and the server may store its bets twice.

use super::batches::Batches;
use super::connection::{Dialer, SILENCE};
use super::error::Error;
use super::progress::Progress;
use super::question::Question;
use super::reader::Reader;
use super::retry::Retry;
use crate::bet::Bet;
use crate::config::client::Config;
use crate::event;
use crate::protocol::batch::Growing;
use crate::protocol::{Code, DecodeError, Malformed, single};

/// Mode bet: sends `bet` until the server has acknowledged it.
///
/// # Errors
/// [`Error::Refused`] if the server answers with an error code; [`Error::Malformed`] if its answer is not a known code;
/// [`Error::GaveUp`] if the server cannot be reached for the configured time; [`Error::Stopped`] after a request to
/// stop.
pub fn run_bet(bet: &Bet<'_>, config: &Config, dialer: Dialer<'_>) -> Result<(), Error> {
    let message = single::encode(bet).expect("the configuration accepts names of at most 255 bytes");
    Exchanges::new(config, dialer).run(Question::Bet, &message)?;
    event!(Info, "apuesta_enviada", success, dni = bet.document, numero = bet.number);
    Ok(())
}

/// Mode batch: sends all valid bets of the agency's file. Returns the number of rows that the reader refused because
/// they are not valid bets.
///
/// # Errors
/// The errors of [`run_bet`]; [`Error::File`] or [`Error::Directory`] if the file cannot be read; [`Error::NoBets`] if it has
/// rows and none of them is a bet.
pub fn run_batches(config: &Config, dialer: Dialer<'_>) -> Result<u64, Error> {
    let exchanges = Exchanges::new(config, dialer);
    let mut reader = Reader::open(config.id, &config.data_path, dialer.stop)?;
    reader.require_bets()?;
    let progress = Progress::of(&mut reader)?;
    let mut file = Batches::new(reader, config.batch_max_amount);
    let (mut sent, mut batches) = (0, 0);
    let mut message = Vec::new();
    while let Some(count) = file.fill(Growing::untyped(&mut message, config.id))? {
        let count = count.get();
        let question = Question::Batch { number: batches + 1, first: sent + 1, count };
        exchanges.run(question, &message)?;
        message.clear();
        sent += u64::from(count);
        batches += 1;
        event!(Debug, "batch_enviado", success, batch = batches, cantidad = count);
        progress.show(sent);
    }
    event!(Info, "apuestas_enviadas", success, cantidad = sent, batches = batches);
    Ok(file.reader().refused())
}

/// Sends messages, each on its own connection.
struct Exchanges<'a> {
    dialer: Dialer<'a>,
    retry: Retry<'a>,
}

impl<'a> Exchanges<'a> {
    fn new(config: &Config, dialer: Dialer<'a>) -> Self {
        Self { dialer, retry: Retry::new(config.retry_timeout, dialer.stop) }
    }

    /// Sends `message`, each time on another connection, until the server has acknowledged it.
    fn run(&self, question: Question, message: &[u8]) -> Result<(), Error> {
        self.retry.run(|| {
            let mut connection = self.dialer.connect()?;
            connection.outgoing().extend(message);
            let result = connection.ask(question, Some(SILENCE), decode_result)?;
            result.map_err(|code| Error::Refused { question, code })
        })?;
        self.retry.progress();
        Ok(())
    }
}

/// Decodes an answer of one byte. Returns the result and its length, 1.
fn decode_result(bytes: &[u8]) -> Result<(Result<(), Code>, usize), DecodeError> {
    let &byte = bytes.first().ok_or(DecodeError::Incomplete)?;
    let result = Code::from_byte(byte).ok_or(DecodeError::Malformed(Malformed::UnknownCode(byte)))?;
    Ok((result, 1))
}
