//! What each request does: checks in the order of `protocol.md` (framing, agency, claim, bet, ended), then the storage or
//! the parent, and the log line that the assignment wants.

use ipc::events::HANGUP;

use super::{Claim, End, Refusal, Session, Wake};
use crate::bet::{AgencyId, Bet, InvalidBet};
use crate::event;
use crate::messages::Order;
use crate::protocol::{Answer, Code, Form, Malformed, Request};
use crate::storage::{self, Store};

/// Answered, or refused with a code.
type Outcome = Result<Answer, Refusal>;

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self { code, detail: None }
    }
}

impl Refusal {
    fn because(code: Code, why: impl ToString) -> Self {
        Self { code, detail: Some(why.to_string()) }
    }

    fn reason(&self) -> String {
        self.detail.clone().unwrap_or_else(|| self.code.to_string())
    }
}

/// Why a step of a request goes no further: the client is refused, or the session is over.
enum Interrupt {
    Refused(Refusal),
    Over(End),
}

impl<T: Into<Refusal>> From<T> for Interrupt {
    fn from(refusal: T) -> Self {
        Self::Refused(refusal.into())
    }
}

impl Session {
    /// Does what `request` asks for. Every refusal has been logged when this returns it.
    pub(super) fn serve(&mut self, request: Request) -> Result<Outcome, End> {
        let summary = Summary::of(&request);
        let answer = match request {
            Request::Echo(text) => Ok(self.echo(text)),
            Request::Bets { form: Form::TypedBatch, agency, bets, .. } => self.typed_batch(agency, bets),
            Request::Bets { form, agency, bets, .. } => self.untyped(form, agency, bets),
            Request::End { agency } => self.end_of_agency(agency),
            Request::Winners { agency } => self.winners(agency),
            Request::Received { agency } => self.received(agency),
        };
        match answer {
            Ok(answer) => Ok(Ok(answer)),
            Err(Interrupt::Over(end)) => Err(end),
            Err(Interrupt::Refused(refusal)) => {
                self.log_refusal(&summary, &refusal);
                Ok(Err(refusal))
            }
        }
    }

    /// Logs bytes that are no message, and tells the client.
    pub(super) fn refuse_malformed(&mut self, malformed: Malformed) -> End {
        let summary = self.decoder.announced().map_or(Summary::Other, |count| Summary::Batch { count });
        self.log_refusal(&summary, &Refusal::because(Code::ProtocolBroken, malformed));
        self.refuse(Code::ProtocolBroken)
    }

    /// Logs a message that did not arrive whole.
    pub(super) fn log_cut(&self, why: &str) {
        match self.decoder.announced() {
            Some(count) => event!(Error, "apuesta_recibida", fail, cantidad = count, ip = self.peer, error = why),
            None => event!(Error, "receive_message", fail, ip = self.peer, error = why),
        }
    }

    fn echo(&self, text: String) -> Answer {
        event!(Info, "receive_message", success, ip = self.peer, msg = text);
        Answer::Echo(text)
    }

    fn typed_batch(&mut self, agency: u32, bets: Result<Vec<Bet>, InvalidBet>) -> Result<Answer, Interrupt> {
        let agency = self.known(agency)?;
        let ended = self.claim(agency)?;
        let bets = valid(bets)?;
        if ended {
            return Err(Code::AlreadyEnded.into());
        }
        self.stored(|store| store.store_bets(&bets))?;
        log_batch(&bets);
        Ok(Answer::Confirmation(Ok(())))
    }

    fn untyped(&mut self, form: Form, agency: u32, bets: Result<Vec<Bet>, InvalidBet>) -> Result<Answer, Interrupt> {
        self.known(agency)?;
        let bets = valid(bets)?;
        if self.ledger.is_drawn() && !bets.is_empty() {
            return Err(Code::AlreadyEnded.into());
        }
        self.stored(|store| store.store_bets(&bets))?;
        match (form, bets.as_slice()) {
            (Form::Single, [bet]) => {
                event!(
                    Info,
                    "apuesta_almacenada",
                    success,
                    dni = bet.document,
                    numero = bet.number,
                    agencia = bet.agency
                );
            }
            _ => log_batch(&bets),
        }
        Ok(Answer::Confirmation(Ok(())))
    }

    fn end_of_agency(&mut self, agency: u32) -> Result<Answer, Interrupt> {
        let agency = self.known(agency)?;
        if self.claim(agency)? {
            self.stored(Store::sync_ends)?;
        } else {
            self.stored(|store| store.end(agency))?;
            self.claim = Claim::Held { agency, ended: true };
            self.link.report_ended(agency).map_err(|e| Interrupt::Over(e.into()))?;
            event!(Info, "fin_apuestas", success, agencia = agency);
        }
        Ok(Answer::Confirmation(Ok(())))
    }

    fn winners(&mut self, agency: u32) -> Result<Answer, Interrupt> {
        let agency = self.known(agency)?;
        self.not_another(agency)?;
        if !self.ledger.is_drawn() {
            // The order to stop came amid the query, and comes once.
            if self.stopping {
                return Err(Code::Stopping.into());
            }
            match self.await_draw(agency)? {
                Order::Drawn => self.ledger.hold_draw(),
                _ => return Ok(Answer::NotDrawn),
            }
        }
        let documents = self.stored(|store| store.winners(agency))?;
        let documents =
            documents.ok_or_else(|| Refusal::because(Code::StorageFailed, "the draw's result is damaged"))?;
        Ok(Answer::Winners(documents))
    }

    fn received(&mut self, agency: u32) -> Result<Answer, Interrupt> {
        let id = self.known(agency)?;
        let ended = self.claim(id)?;
        if ended {
            self.stored(Store::sync_ends)?;
        }
        let common = self.common.clone();
        let holding = self.stored(|store| store.holding(id, &common.tally))?;
        Ok(Answer::Received { agency, holding, ended })
    }

    fn known(&self, agency: u32) -> Result<AgencyId, Refusal> {
        self.ledger
            .knows(agency)
            .ok_or_else(|| Refusal::because(Code::UnknownAgency, format!("unknown agency {agency}")))
    }

    fn not_another(&self, agency: AgencyId) -> Result<(), Refusal> {
        match self.claim {
            Claim::Held { agency: held, .. } if held != agency => {
                let why = format!("a message for agency {agency} on the connection of agency {held}");
                Err(Refusal::because(Code::ProtocolBroken, why))
            }
            _ => Ok(()),
        }
    }

    /// Makes sure that the connection has the agency to itself; true if nothing more is stored for it.
    fn claim(&mut self, agency: AgencyId) -> Result<bool, Interrupt> {
        self.not_another(agency)?;
        if let Claim::Held { ended, .. } = self.claim {
            return Ok(ended);
        }
        self.link.claim(agency).map_err(|e| Interrupt::Over(e.into()))?;
        match self.wait(None, None).map_err(Interrupt::Over)? {
            Wake::Order(Order::Granted { ended }) => {
                self.claim = Claim::Held { agency, ended };
                Ok(ended)
            }
            Wake::Order(Order::Busy) => Err(Code::ConnectedElsewhere.into()),
            _ => Err(Code::Stopping.into()),
        }
    }

    /// The query waits without traffic; that the client ends its stream now means that it is gone.
    fn await_draw(&mut self, agency: AgencyId) -> Result<Order, Interrupt> {
        self.link.await_draw(agency).map_err(|e| Interrupt::Over(e.into()))?;
        match self.wait(Some(HANGUP), None).map_err(Interrupt::Over)? {
            Wake::Order(order) => Ok(order),
            Wake::Client => Err(Interrupt::Over(End::Closed)),
            Wake::Stop | Wake::Deadline => Err(Code::Stopping.into()),
        }
    }

    /// Calls the storage. What fails there is code 4, but for data that could not be made durable: then nothing may be
    /// acknowledged by anybody, and the server stops.
    fn stored<T>(&mut self, call: impl FnOnce(&Store) -> storage::Result<T>) -> Result<T, Interrupt> {
        let store = self.store.as_ref().map_err(|e| Refusal::because(Code::StorageFailed, e))?;
        call(store).map_err(|e| match e {
            storage::Error::Ended => Code::AlreadyEnded.into(),
            storage::Error::Sync { .. } => {
                event!(Critical, "sync", fail, error = e);
                // Should the parent not hear of it, the exit code tells it the same.
                let _ = self.link.report_storage_broken();
                Interrupt::Over(End::StorageBroken)
            }
            e => Refusal::because(Code::StorageFailed, e).into(),
        })
    }

    fn log_refusal(&self, summary: &Summary, refusal: &Refusal) {
        if refusal.code == Code::Stopping {
            // No failure of anybody's: that the connection closes is logged.
            return;
        }
        let (ip, codigo, error) = (self.peer, refusal.code as u8, refusal.reason());
        match summary {
            Summary::Single { document, number } => {
                event!(
                    Error,
                    "apuesta_almacenada",
                    fail,
                    dni = document,
                    numero = number,
                    ip = ip,
                    codigo = codigo,
                    error = error
                );
            }
            Summary::Batch { count } => {
                event!(Error, "apuesta_recibida", fail, cantidad = count, ip = ip, codigo = codigo, error = error);
            }
            Summary::Other => event!(Error, "receive_message", fail, ip = ip, codigo = codigo, error = error),
        }
    }
}

fn valid(bets: Result<Vec<Bet>, InvalidBet>) -> Result<Vec<Bet>, Refusal> {
    bets.map_err(|defect| Refusal::because(Code::InvalidBet, defect))
}

/// Ahead of the acknowledgement, so that whoever has it finds the line.
fn log_batch(bets: &[Bet]) {
    for bet in bets {
        event!(Debug, "apuesta_almacenada", success, dni = bet.document, numero = bet.number);
    }
    event!(Info, "apuesta_recibida", success, cantidad = bets.len());
}

/// What the log line of a refused request speaks of.
enum Summary {
    Single { document: u32, number: u32 },
    Batch { count: u8 },
    Other,
}

impl Summary {
    fn of(request: &Request) -> Self {
        match request {
            Request::Bets { form: Form::Single, bets: Ok(bets), .. } => match bets.as_slice() {
                [bet] => Self::Single { document: bet.document, number: bet.number },
                _ => Self::Other,
            },
            Request::Bets { form: Form::TypedBatch | Form::UntypedBatch, count, .. } => Self::Batch { count: *count },
            Request::End { .. } => Self::Batch { count: 0 },
            _ => Self::Other,
        }
    }
}
