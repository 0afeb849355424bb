//! Exercises 7 and 8, first half: sends all bets and the end, on one connection: (6 → 7)? · (1 → 2)* · 1 → 2.
//!
//! Owns the progress of the delivery, over any number of connections. Used by [`super::draw_mode`]. Knows nothing of
//! winners.
//!
//! With `resume`, each connection first asks for the tally of the agency's bets on the server. If it is the tally of
//! the first bets of this file, the agency sends the bets after them: so each bet is stored once, even after a failure.
//! Without `resume`, the agency sends the bets after the last acknowledged batch.

use std::collections::VecDeque;

use super::batches::Batches;
use super::connection::{Connection, Dialer, SILENCE};
use super::error::{Error, describe};
use super::progress::Progress;
use super::question::Question;
use super::reader::Reader;
use super::retry::Retry;
use crate::bet::AgencyId;
use crate::config::client::Config;
use crate::event;
use crate::protocol::{Answer, AnswerStart, DecodeError, typed};
use crate::row::Tally;

/// The next step for the operator if the server has never answered message 6.
const TRY_WITHOUT_RESUME: &str =
    "; message 6 was never answered: for a server that knows only messages 1 to 5, set resume to false";

/// The next step for the operator if the server holds the bets of another lottery.
const NEW_LOTTERY: &str = "; a new lottery begins with `server --new-draw`, or in containers after `docker compose down`, \
     which deletes the server's bets";

/// The delivery of one agency's bets.
#[derive(Debug)]
pub struct Delivery<'a> {
    agency: AgencyId,
    /// Most batches that are sent and not yet acknowledged.
    window: usize,
    resume: Resume,
    bets: Batches<'a>,
    progress: Progress,
    /// Bets that the server has acknowledged or reported in a tally.
    acknowledged: u64,
    /// Batches that the server has acknowledged in this run.
    batches: u64,
}

/// The result of a delivery.
#[derive(Debug)]
pub struct Delivered<'s> {
    /// The connection on which the end was acknowledged.
    pub connection: Connection<'s>,
    /// Bets that the server has acknowledged or reported in a tally. With `resume`, all bets of the file.
    pub bets: u64,
    /// Rows of the file that were refused.
    pub refused: u64,
}

/// Whether each connection starts with message 6, and whether the server has answered one so far, with a tally or a
/// refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resume {
    Off,
    NeverAsked,
    NeverAnswered,
    Answered,
}

/// The bets of the agency that the server has.
#[derive(Debug, Clone, Copy)]
struct ServerState {
    tally: Tally,
    ended: bool,
}

/// The part of the file that a connection must still send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remaining {
    BetsAndEnd,
    Nothing,
}

impl<'a> Delivery<'a> {
    /// The delivery of the bets of `reader`.
    ///
    /// # Errors
    /// As [`Progress::of`].
    pub fn new(config: &Config, mut reader: Reader<'a>) -> Result<Self, Error> {
        let progress = Progress::of(&mut reader)?;
        Ok(Self {
            agency: config.id,
            window: config.batch_window as usize,
            resume: if config.resume { Resume::NeverAsked } else { Resume::Off },
            bets: Batches::new(reader, config.batch_max_amount),
            progress,
            acknowledged: 0,
            batches: 0,
        })
    }

    /// Sends everything until the end is acknowledged.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unexpected`] or [`Error::Malformed`] after such an answer; [`Error::ResumeUnknown`]
    /// if the server does not know message 6; [`Error::Mismatch`] if its bets are not the first ones of the file;
    /// [`Error::GaveUp`] if it cannot be reached for the configured time; [`Error::File`] if the file cannot be read;
    /// [`Error::Stopped`] after a request to stop.
    pub fn run<'s>(mut self, dialer: Dialer<'s>, retry: &Retry<'_>) -> Result<Delivered<'s>, Error> {
        let connection = retry.run(|| self.attempt(dialer, retry)).map_err(|error| self.add_hint(error))?;
        event!(Info, "apuestas_enviadas", success, cantidad = self.acknowledged, batches = self.batches);
        Ok(Delivered { connection, bets: self.acknowledged, refused: self.bets.reader().refused() })
    }

    /// Opens a connection and sends everything that remains.
    fn attempt<'s>(&mut self, dialer: Dialer<'s>, retry: &Retry<'_>) -> Result<Connection<'s>, Error> {
        let mut connection = dialer.connect()?;
        if self.position(&mut connection, retry)? == Remaining::BetsAndEnd {
            self.send_batches(&mut connection, retry)?;
            self.send_end(&mut connection)?;
        }
        retry.progress();
        Ok(connection)
    }

    /// Moves in the file to the first bet that `connection` must send.
    fn position(&mut self, connection: &mut Connection<'_>, retry: &Retry<'_>) -> Result<Remaining, Error> {
        if self.resume == Resume::Off {
            self.bets.restart_after(self.acknowledged)?;
            return Ok(Remaining::BetsAndEnd);
        }
        let server = self.query_tally(connection)?;
        self.restart_after(server)?;
        let ServerState { tally: Tally { count, .. }, ended } = server;
        if count > self.acknowledged {
            retry.progress();
        }
        self.log(server);
        self.advance_to(count);
        Ok(if ended { Remaining::Nothing } else { Remaining::BetsAndEnd })
    }

    /// 6 → 7.
    fn query_tally(&mut self, connection: &mut Connection<'_>) -> Result<ServerState, Error> {
        if self.resume == Resume::NeverAsked {
            self.resume = Resume::NeverAnswered;
        }
        connection.outgoing().extend(typed::encode_tally_query(self.agency));
        let answer = connection.ask(Question::Tally, Some(SILENCE), decode_any)?;
        if matches!(answer, Ok(Answer::Tally { .. } | Answer::Confirmation(Err(_)))) {
            self.resume = Resume::Answered;
        }
        self.server_state(answer)
    }

    /// The content of an answer to 6. A server that does not know message 6 answers with neither 7 nor a refusal.
    fn server_state(&self, answer: Result<AnswerStart, String>) -> Result<ServerState, Error> {
        match answer {
            Ok(Answer::Tally { agency, tally, ended }) if agency == self.agency.get() => {
                Ok(ServerState { tally, ended })
            }
            Ok(Answer::Tally { agency, .. }) => {
                Err(Error::Unexpected { question: Question::Tally, answer: format!("the bets of agency {agency}") })
            }
            Ok(refusal @ Answer::Confirmation(Err(_))) => Err(Error::from_answer(Question::Tally, &refusal)),
            Ok(other) => Err(Error::ResumeUnknown(format!("it answered with {}", describe(&other)))),
            Err(defect) => {
                Err(Error::ResumeUnknown(format!("it answered with bytes that are not a message: {defect}")))
            }
        }
    }

    /// Skips the bets that the server has. They must be the first ones of the file, and all of them if the agency has
    /// ended.
    fn restart_after(&mut self, server: ServerState) -> Result<(), Error> {
        let ServerState { tally, ended } = server;
        let own = self.bets.restart_with_tally(tally.count)?;
        let difference = if own.count < tally.count {
            format!("and the file has only {}", own.count)
        } else if own.crc != tally.crc {
            "but not the first ones of the file".to_owned()
        } else if ended && self.bets.has_more()? {
            "and the end of them, but the file has more".to_owned()
        } else {
            return Ok(());
        };
        let (agency, path) = (self.agency, self.bets.reader().path().display());
        let Tally { count, crc } = tally;
        Err(Error::Mismatch(format!(
            "the server holds {count} bets of agency {agency} (CRC-32 {crc:08x}, ended: {ended}), {difference}: {path}{NEW_LOTTERY}"
        )))
    }

    fn log(&self, ServerState { tally: Tally { count, .. }, ended }: ServerState) {
        if count > 0 || ended {
            event!(Info, "consulta_recibidas", success, cantidad = count, ended = ended);
        }
        let lost = self.acknowledged.saturating_sub(count);
        if lost > 0 {
            event!(Warning, "consulta_recibidas", in_progress, cantidad = count, sent_again = lost);
        }
    }

    /// (1 → 2)*, with up to a window of batches that are not yet acknowledged. Only their counts are kept, because
    /// another connection reads the file again.
    fn send_batches(&mut self, connection: &mut Connection<'_>, retry: &Retry<'_>) -> Result<(), Error> {
        let mut window = VecDeque::new();
        loop {
            self.fill_window(connection, &mut window)?;
            let Some(question) = self.question(&window) else { return Ok(()) };
            let mut answer = connection.step(question, Some(SILENCE), typed::decode_answer_start)?;
            // All answers that have arrived make room before the window is filled again.
            while let Some(answered) = answer.take() {
                self.acknowledge(&answered, &mut window, retry)?;
                if let Some(question) = self.question(&window) {
                    answer = connection.take(question, typed::decode_answer_start)?;
                }
            }
        }
    }

    /// Appends batches to `connection` until the window or the connection is full, or the file ends. Does nothing until half
    /// of the window is free: then one send(2) carries several batches, and the server can store them as one group.
    fn fill_window(&mut self, connection: &mut Connection<'_>, window: &mut VecDeque<u8>) -> Result<(), Error> {
        let free = self.window - window.len();
        if free < self.window.div_ceil(2) {
            return Ok(());
        }
        // If nothing is unacknowledged, there is room, or the connection is lost; then its next step reports the loss.
        while window.len() < self.window && (window.is_empty() || connection.has_room()) {
            let batch = typed::start_batch(connection.outgoing(), self.agency);
            let Some(count) = self.bets.fill(batch)? else { break };
            window.push_back(count.get());
        }
        Ok(())
    }

    /// The name of the oldest batch in `window`, which the next answer acknowledges; `None` if the window is empty.
    fn question(&self, window: &VecDeque<u8>) -> Option<Question> {
        let &count = window.front()?;
        Some(Question::Batch { number: self.batches + 1, first: self.acknowledged + 1, count })
    }

    /// Removes the oldest batch from `window`, which `answer` must acknowledge.
    fn acknowledge(&mut self, answer: &AnswerStart, window: &mut VecDeque<u8>, retry: &Retry<'_>) -> Result<(), Error> {
        let (Some(question), Some(count)) = (self.question(window), window.pop_front()) else { return Ok(()) };
        confirm(question, answer)?;
        retry.progress();
        self.batches += 1;
        event!(Debug, "batch_enviado", success, batch = self.batches, cantidad = count);
        self.advance_to(self.acknowledged + u64::from(count));
        Ok(())
    }

    /// 1 with count 0 → 2.
    fn send_end(&self, connection: &mut Connection<'_>) -> Result<(), Error> {
        connection.outgoing().extend(typed::encode_end(self.agency));
        confirm(Question::End, &connection.ask(Question::End, Some(SILENCE), typed::decode_answer_start)?)
    }

    fn advance_to(&mut self, acknowledged: u64) {
        self.acknowledged = acknowledged;
        self.progress.show(acknowledged);
    }

    fn add_hint(&self, error: Error) -> Error {
        match error {
            Error::GaveUp { after, last, .. } if self.resume == Resume::NeverAnswered => {
                Error::GaveUp { after, last, hint: TRY_WITHOUT_RESUME }
            }
            other => other,
        }
    }
}

/// As [`typed::decode_answer_start`], but malformed bytes are an answer too: the description of their defect.
fn decode_any(bytes: &[u8]) -> Result<(Result<AnswerStart, String>, usize), DecodeError> {
    match typed::decode_answer_start(bytes) {
        Ok((answer, len)) => Ok((Ok(answer), len)),
        Err(DecodeError::Malformed(defect)) => Ok((Err(defect.to_string()), 0)),
        Err(DecodeError::Incomplete) => Err(DecodeError::Incomplete),
    }
}

/// Succeeds if `answer` acknowledges `question`.
fn confirm(question: Question, answer: &AnswerStart) -> Result<(), Error> {
    match answer {
        Answer::Confirmation(Ok(())) => Ok(()),
        other => Err(Error::from_answer(question, other)),
    }
}
