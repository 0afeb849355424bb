//! Exercises 7 and 8, the second half: 3 → 5, however often 4 comes before.
//!
//! Owns the waiting for the draw, which may take for ever. Used by [`super::draw`] when the end is acknowledged: from
//! then on nothing but 3 is sent, after a reconnect as well. A server may close after the end or after each 4, as those
//! of exercise 7 do: then the next question opens a new connection, and that is no failure.

use std::time::{Duration, Instant};

use super::connection::{Connection, Dialer};
use super::delivery::refusal_or_unexpected;
use super::error::{Error, Question};
use super::retry::{Pauses, Retry};
use crate::bet::AgencyId;
use crate::event;
use crate::protocol::{Answer, typed};

/// A server that kept a question for so long before it was lost was at work: its loss begins a new outage.
const STEADY: Duration = Duration::from_secs(5);

/// The question for the winners of one agency.
#[derive(Debug)]
pub struct WinnersQuery<'a> {
    agency: AgencyId,
    dialer: Dialer<'a>,
    /// The one to ask on, as long as it lives.
    connection: Option<Connection<'a>>,
    pauses: Pauses,
}

impl<'a> WinnersQuery<'a> {
    /// To be asked first on `connection`, where the end was acknowledged.
    pub fn new(agency: AgencyId, dialer: Dialer<'a>, connection: Connection<'a>) -> Self {
        Self { agency, dialer, connection: Some(connection), pauses: Pauses::before_the_draw() }
    }

    /// Asks until the draw has been held; the documents of this agency's winners. All connections are closed then.
    ///
    /// # Errors
    /// [`Error`], if nothing more can be tried.
    pub fn run(mut self, retry: &Retry<'_>) -> Result<Vec<u32>, Error> {
        loop {
            match retry.run(|| self.ask(retry))? {
                Answer::Winners(documents) => return Ok(documents),
                Answer::NotDrawn => self.pause(retry)?,
                other => return Err(refusal_or_unexpected(Question::Winners, &other)),
            }
        }
    }

    /// 3 → 4 or 5, once.
    fn ask(&mut self, retry: &Retry<'_>) -> Result<Answer, Error> {
        if let Some(connection) = self.connection.take() {
            match self.ask_on(connection, retry) {
                // What it was opened for, it has done.
                Err(Error::Lost(lost)) => event!(Debug, "connect", in_progress, reason = lost),
                other => return other,
            }
        }
        let connection = self.dialer.connect()?;
        self.ask_on(connection, retry)
    }

    /// Keeps the connection if it brings an answer.
    fn ask_on(&mut self, mut connection: Connection<'a>, retry: &Retry<'_>) -> Result<Answer, Error> {
        let began = Instant::now();
        connection.outgoing().extend(typed::encode_winners_query(self.agency));
        match connection.ask(Question::Winners, None, typed::decode_answer) {
            Ok(Answer::Confirmation(Err(code))) => Err(Error::Refused { question: Question::Winners, code }),
            Ok(answer) => {
                self.connection = Some(connection);
                Ok(answer)
            }
            Err(error) => {
                if began.elapsed() >= STEADY {
                    retry.progress();
                }
                Err(error)
            }
        }
    }

    fn pause(&mut self, retry: &Retry<'_>) -> Result<(), Error> {
        retry.progress();
        let pause = self.pauses.next_length();
        event!(Debug, "consulta_ganadores", in_progress, retry_in = format_args!("{}ms", pause.as_millis()));
        self.dialer.stop.pause(pause)
    }
}
