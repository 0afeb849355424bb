//! Exercises 7 and 8, the first half: all bets and the end of them, on one connection: (6 → 7)? · (1 → 2)* · 1 → 2.
//!
//! Owns how far the delivery has got, over any number of connections. Used by [`super::draw_mode`]; knows nothing of winners.
//! With `resume` each connection asks first which bets the server holds, and goes on behind them if they are the first
//! ones of this file: so each is stored once, whatever broke. Without, it goes on behind the last acknowledged batch.

use std::collections::VecDeque;

use super::batches::{Batches, Limits};
use super::connection::{Connection, Dialer, SILENCE};
use super::error::{Error, Question};
use super::progress::Progress;
use super::reader::Reader;
use super::retry::Retry;
use crate::bet::AgencyId;
use crate::config::client::Config;
use crate::event;
use crate::protocol::{Answer, DecodeError, typed};
use crate::row::Tally;

/// What may help where message 6 was never answered.
const TRY_WITHOUT_RESUME: &str =
    "; message 6 was never answered: for a server that knows only messages 1 to 5, set resume to false";

/// The agency's bets on their way.
#[derive(Debug)]
pub struct Delivery<'a> {
    agency: AgencyId,
    window: usize,
    resume: bool,
    bets: Batches<'a>,
    progress: Progress,
    /// Bets that the server has acknowledged, or has said to hold.
    acknowledged: u64,
    /// Batches that were acknowledged in this run.
    batches: u64,
    /// Whether 6 was asked, and whether 7 ever came.
    asked: Asked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Never,
    InVain,
    Answered,
}

/// What the server holds of the agency.
#[derive(Debug, Clone, Copy)]
struct ServerState {
    tally: Tally,
    ended: bool,
}

impl<'a> Delivery<'a> {
    /// Of the bets of `reader`, as `config` says.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Stopped`].
    pub fn new(config: &Config, mut reader: Reader<'a>) -> Result<Self, Error> {
        let progress = Progress::of(&mut reader)?;
        let limits = Limits { bets: config.batch_max_amount, header: typed::BATCH_HEADER };
        Ok(Self {
            agency: config.id,
            window: config.batch_window as usize,
            resume: config.resume,
            bets: Batches::new(reader, limits),
            progress,
            acknowledged: 0,
            batches: 0,
            asked: Asked::Never,
        })
    }

    /// Delivers until the end is acknowledged: the connection on which it was, and how many rows were refused.
    ///
    /// # Errors
    /// [`Error`], if nothing more can be tried.
    pub fn run<'s>(mut self, dialer: Dialer<'s>, retry: &Retry<'_>) -> Result<(Connection<'s>, u64), Error> {
        let connection = retry.run(|| self.attempt(dialer, retry)).map_err(|error| self.explain(error))?;
        event!(Info, "apuestas_enviadas", success, cantidad = self.acknowledged, batches = self.batches);
        Ok((connection, self.bets.reader().refused()))
    }

    /// One connection.
    fn attempt<'s>(&mut self, dialer: Dialer<'s>, retry: &Retry<'_>) -> Result<Connection<'s>, Error> {
        let mut connection = dialer.connect()?;
        let ended = if self.resume {
            self.ask_tally(&mut connection, retry)?
        } else {
            self.bets.restart_behind(self.acknowledged)?;
            false
        };
        if !ended {
            self.send_batches(&mut connection, retry)?;
            self.send_end(&mut connection)?;
        }
        retry.progress();
        Ok(connection)
    }

    /// 6 → 7: goes on behind what the server holds; true if that is everything, and the end.
    fn ask_tally(&mut self, connection: &mut Connection<'_>, retry: &Retry<'_>) -> Result<bool, Error> {
        if self.asked == Asked::Never {
            self.asked = Asked::InVain;
        }
        connection.outgoing().extend(typed::encode_tally_query(self.agency));
        let answer = connection.ask(Question::Tally, Some(SILENCE), decode_any);
        let received = self.received(answer?)?;
        self.asked = Asked::Answered;
        self.compare(received)?;
        let ServerState { tally: Tally { count, .. }, ended } = received;
        if count > self.acknowledged {
            retry.progress();
        }
        self.tell(count, ended);
        self.advance_to(count);
        Ok(ended)
    }

    fn tell(&self, count: u64, ended: bool) {
        if count > 0 || ended {
            event!(Info, "consulta_recibidas", success, cantidad = count, ended = ended);
        }
        let lost = self.acknowledged.saturating_sub(count);
        if lost > 0 {
            event!(Warning, "consulta_recibidas", in_progress, cantidad = count, sent_again = lost);
        }
    }

    /// What an answer to 6 says; anything but 7 and a refusal is what a server says that does not know the question.
    fn received(&self, answer: Result<Answer, String>) -> Result<ServerState, Error> {
        match answer {
            Ok(Answer::Tally { agency, tally, ended }) if agency == self.agency.get() => {
                Ok(ServerState { tally, ended })
            }
            Ok(Answer::Tally { agency, .. }) => {
                Err(Error::Unexpected { question: Question::Tally, answer: format!("the bets of agency {agency}") })
            }
            Ok(Answer::Confirmation(Err(code))) => Err(Error::Refused { question: Question::Tally, code }),
            Ok(other) => Err(Error::ResumeUnknown(format!("it answered with {}", describe(&other)))),
            Err(defect) => Err(Error::ResumeUnknown(format!("it answered with bytes that are no message: {defect}"))),
        }
    }

    /// Moves behind the bets that the server holds, if they are the first ones of the file, and all if it has the end.
    fn compare(&mut self, received: ServerState) -> Result<(), Error> {
        let ServerState { tally, ended } = received;
        let own = self.bets.restart_checking(tally.count)?;
        let what = if own.count < tally.count {
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
            "the server holds {count} bets of agency {agency} (CRC-32 {crc:08x}, ended: {ended}), {what}: {path}"
        )))
    }

    /// (1 → 2)*, with up to a window of batches under way. Only their lengths are kept: another connection reads the
    /// file again.
    fn send_batches(&mut self, connection: &mut Connection<'_>, retry: &Retry<'_>) -> Result<(), Error> {
        let mut under_way: VecDeque<u8> = VecDeque::new();
        loop {
            // With none under way there is room, or the connection is lost, which the next step tells.
            while under_way.len() < self.window && (under_way.is_empty() || connection.has_room()) {
                let Some(batch) = self.bets.next_batch()? else { break };
                typed::encode_batch_into(connection.outgoing(), self.agency, batch);
                under_way.push_back(batch.count());
            }
            let Some(&count) = under_way.front() else { return Ok(()) };
            let question = Question::Batch { number: self.batches + 1, first: self.acknowledged + 1, count };
            if let Some(answer) = connection.step(question, Some(SILENCE), typed::decode_answer)? {
                confirm(question, answer)?;
                under_way.pop_front();
                retry.progress();
                self.batches += 1;
                event!(Debug, "batch_enviado", success, batch = self.batches, cantidad = count);
                self.advance_to(self.acknowledged + u64::from(count));
            }
        }
    }

    /// 1 with count 0 → 2.
    fn send_end(&self, connection: &mut Connection<'_>) -> Result<(), Error> {
        connection.outgoing().extend(typed::encode_end(self.agency));
        confirm(Question::End, connection.ask(Question::End, Some(SILENCE), typed::decode_answer)?)
    }

    fn advance_to(&mut self, acknowledged: u64) {
        self.acknowledged = acknowledged;
        self.progress.show(acknowledged);
    }

    fn explain(&self, error: Error) -> Error {
        match error {
            Error::GaveUp { after, last, .. } if self.asked == Asked::InVain => {
                Error::GaveUp { after, last, hint: TRY_WITHOUT_RESUME }
            }
            other => other,
        }
    }
}

/// Answers as [`typed::decode_answer`] takes them; bytes that are none are an answer, too, told in words.
fn decode_any(bytes: &[u8]) -> Result<(Result<Answer, String>, usize), DecodeError> {
    match typed::decode_answer(bytes) {
        Ok((answer, len)) => Ok((Ok(answer), len)),
        Err(DecodeError::Malformed(defect)) => Ok((Err(defect.to_string()), 0)),
        Err(DecodeError::Incomplete) => Err(DecodeError::Incomplete),
    }
}

/// `Ok` for an acknowledgement of `question`.
fn confirm(question: Question, answer: Answer) -> Result<(), Error> {
    match answer {
        Answer::Confirmation(Ok(())) => Ok(()),
        other => Err(refusal_or_unexpected(question, &other)),
    }
}

/// The error that an answer is which does not grant `question`.
pub fn refusal_or_unexpected(question: Question, answer: &Answer) -> Error {
    match answer {
        Answer::Confirmation(Err(code)) => Error::Refused { question, code: *code },
        other => Error::Unexpected { question, answer: describe(other) },
    }
}

fn describe(answer: &Answer) -> String {
    match answer {
        Answer::Echo(_) => "a text".to_owned(),
        Answer::Confirmation(_) => "a confirmation (message 2)".to_owned(),
        Answer::NotDrawn => "\"not drawn yet\" (message 4)".to_owned(),
        Answer::Winners(_) => "winners (message 5)".to_owned(),
        Answer::Tally { .. } => "bets received (message 7)".to_owned(),
    }
}
