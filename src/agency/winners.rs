//! Exercises 7 and 8, second half: asks for the winners, 3 → 5, and repeats the query after each 4.
//!
//! Owns the wait for the draw, which has no limit. Used by [`super::draw_mode`] once the end is acknowledged. From then
//! on the agency sends only message 3, also after a reconnect. A server may close the connection after the end or after
//! each 4, as servers of exercise 7 do. Then the next query opens a new connection; this is not a failure.
//!
//! The winners are counted, not held: memory does not grow with their number.

use std::time::{Duration, Instant};

use super::connection::{Connection, Dialer, SILENCE};
use super::error::{Error, Lost};
use super::question::Question;
use super::retry::{Pauses, Retry};
use crate::bet::AgencyId;
use crate::event;
use crate::protocol::{Answer, AnswerStart, typed};

/// A server that held a query for this long was in service. A loss or refusal after that starts a new outage.
const IN_SERVICE: Duration = Duration::from_secs(5);

/// The query for the winners of one agency.
#[derive(Debug)]
pub struct WinnersQuery<'a> {
    agency: AgencyId,
    dialer: Dialer<'a>,
    /// The connection for the next query, as long as it is open.
    connection: Option<Connection<'a>>,
    /// Most winners that can be true; `None` if the server may have stored bets twice.
    most: Option<u64>,
    pauses: Pauses,
}

impl<'a> WinnersQuery<'a> {
    /// A query that starts on `connection`, where the end was acknowledged. The agency cannot have more winners than
    /// `most`, the number of its bets; `None` if the server may have stored bets twice.
    pub fn new(agency: AgencyId, dialer: Dialer<'a>, connection: Connection<'a>, most: Option<u64>) -> Self {
        Self { agency, dialer, connection: Some(connection), most, pauses: Pauses::before_the_draw() }
    }

    /// Asks until the draw has been held. Returns the number of this agency's winners, with all connections closed.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unexpected`] or [`Error::Malformed`] after such an answer;
    /// [`Error::TooManyWinners`] if there are more winners than bets; [`Error::GaveUp`] if the server cannot be reached
    /// for the configured time; [`Error::Stopped`] after a request to stop.
    pub fn run(mut self, retry: &Retry<'_>) -> Result<u32, Error> {
        loop {
            match retry.run(|| self.ask(retry))? {
                Answer::Winners(count) => return Ok(count),
                Answer::NotDrawn => self.pause(retry)?,
                other => return Err(Error::from_answer(Question::Winners, &other)),
            }
        }
    }

    /// Sends one query, on the kept connection if there is one. Keeps the connection if an answer arrives that is not a
    /// refusal.
    fn ask(&mut self, retry: &Retry<'_>) -> Result<AnswerStart, Error> {
        let kept = self.connection.take();
        let was_kept = kept.is_some();
        let mut connection = kept.map_or_else(|| self.dialer.connect(), Ok)?;
        connection.outgoing().extend(typed::encode_winners_query(self.agency));
        let start = Instant::now();
        let answer = self.answer(&mut connection);
        let in_service = start.elapsed() >= IN_SERVICE;
        if in_service {
            retry.progress();
        }
        match answer {
            Ok(refusal @ Answer::Confirmation(Err(_))) => Err(Error::from_answer(Question::Winners, &refusal)),
            Ok(answer) => {
                self.connection = Some(connection);
                Ok(answer)
            }
            Err(Error::Lost(lost)) if was_kept && !in_service => self.ask_again(connection, &lost, retry),
            Err(error) => Err(error),
        }
    }

    /// Waits for the answer to a query. Once it is returned, all winners have arrived.
    fn answer(&self, connection: &mut Connection<'_>) -> Result<AnswerStart, Error> {
        let answer = connection.ask(Question::Winners, None, typed::decode_answer_start);
        if matches!(answer, Err(Error::Stopped)) {
            connection.reset_when_closed();
        }
        let answer = answer?;
        if let Answer::Winners(announced) = answer {
            if let Some(bets) = self.most.filter(|most| u64::from(announced) > *most) {
                return Err(Error::TooManyWinners { announced, bets });
            }
            connection.discard(u64::from(announced) * typed::DOCUMENT as u64, SILENCE)?;
        }
        Ok(answer)
    }

    /// The server closed `connection` after its last answer: asks on a new one. Happens at most once in a row, because
    /// no connection is kept now.
    fn ask_again(&mut self, connection: Connection<'_>, lost: &Lost, retry: &Retry<'_>) -> Result<AnswerStart, Error> {
        event!(Debug, "connect", in_progress, reason = lost);
        drop(connection);
        self.ask(retry)
    }

    fn pause(&mut self, retry: &Retry<'_>) -> Result<(), Error> {
        retry.progress();
        let pause = self.pauses.next_length();
        event!(Debug, "consulta_ganadores", in_progress, retry_in = format_args!("{}ms", pause.as_millis()));
        self.dialer.stop.pause(pause)
    }
}
