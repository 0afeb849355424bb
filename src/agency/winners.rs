//! Exercises 7 and 8, the second half: 3 → 5, however often 4 comes before.
//!
//! Owns the waiting for the draw, which may take for ever. Used by [`super::draw_mode`] when the end is acknowledged: from
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

/// A server that kept a question for so long was at work: that it is lost, or refuses then, begins a new outage.
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

    /// 3 → 4 or 5, once; on the connection that is there, and kept if it brings an answer.
    fn ask(&mut self, retry: &Retry<'_>) -> Result<Answer, Error> {
        let kept = self.connection.take();
        let was_kept = kept.is_some();
        let mut connection = kept.map_or_else(|| self.dialer.connect(), Ok)?;
        connection.outgoing().extend(typed::encode_winners_query(self.agency));
        let began = Instant::now();
        let answer = connection.ask(Question::Winners, None, typed::decode_answer);
        let steady = began.elapsed() >= STEADY;
        if steady {
            retry.progress();
        }
        match answer {
            Ok(Answer::Confirmation(Err(code))) => Err(Error::Refused { question: Question::Winners, code }),
            Ok(answer) => {
                self.connection = Some(connection);
                Ok(answer)
            }
            Err(Error::Lost(lost)) if was_kept && !steady => {
                // The server closed behind its last answer. Once only: none is kept now.
                event!(Debug, "connect", in_progress, reason = lost);
                drop(connection);
                self.ask(retry)
            }
            Err(error) => Err(error),
        }
    }

    fn pause(&mut self, retry: &Retry<'_>) -> Result<(), Error> {
        retry.progress();
        let pause = self.pauses.next_length();
        event!(Debug, "consulta_ganadores", in_progress, retry_in = format_args!("{}ms", pause.as_millis()));
        self.dialer.stop.pause(pause)
    }
}
