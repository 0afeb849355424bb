//! The session: serves one connection, from its first request until it closes.
//!
//! Owns the order of the steps: decode, admit, carry out, log, answer. Used by the server, which runs it in a forked
//! child. Knows neither the bytes of a message nor the format of a file.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use ipc::events::{HANGUP, PollFlags};
use ipc::signals::SignalSource;

use super::admission::{Admission, Admitted, Speaker};
use super::connection::{Connection, Wake};
use super::given::{Common, Given};
use super::group::Group;
use super::journal::{self, Summary};
use super::outcome::{Close, Outcome, Refusal};
use super::questions::Questions;
use crate::bet::AgencyId;
use crate::config::server::Plaintext;
use crate::event;
use crate::exit_code::ExitStatus;
use crate::logging;
use crate::messages::{ChildEnd, Cut, Intake, Order, Reason};
use crate::protocol::decoder::Decoder;
use crate::protocol::{Answer, Code, Generation, Malformed, Request, detect, encoder};
use crate::storage::{self, Slot, Slots, Store, Stored};
use crate::tls;

/// One connection, and the state that its child keeps for it.
pub struct Session {
    connection: Connection,
    peer: IpAddr,
    /// Opened before the first byte is parsed; `None` for an echo, which needs no file.
    store: Option<storage::Result<Store>>,
    common: Rc<Common>,
    /// The slots when the connection was accepted.
    slots: Rc<Slots>,
    /// A slot that the parent has assigned since then.
    assigned: Option<Slot>,
    /// The slot outside of which this process can write no tally and no end.
    confined: Option<Slot>,
    admission: Admission,
    questions: Questions,
    decoder: Decoder,
    /// Messages with bets that are admitted, and neither stored nor answered yet.
    group: Group,
    /// The time at which the current message must be complete, or the next message must have begun.
    deadline: Instant,
}

impl Session {
    /// Serves the connection until it closes. Returns the exit status of the child.
    pub fn run(given: Given, signals: SignalSource) -> ExitStatus {
        let Given { client, peer, link, common, ledger, slots } = given;
        let mut session = Self {
            store: None,
            connection: Connection::new(client, Rc::new(link), signals),
            peer,
            slots,
            assigned: None,
            confined: None,
            admission: Admission::new(ledger, common.config.untyped, speaker_without_tls(&common)),
            questions: Questions::new(Instant::now()),
            decoder: Decoder::new(),
            group: Group::default(),
            deadline: Instant::now() + common.config.message_timeout,
            common,
        };
        let close = session.prepare().map_or_else(|close| close, |()| session.converse());
        session.close(&close);
        match close {
            Close::StorageBroken => ExitStatus::StorageBroken,
            Close::Unsafe(_) => ExitStatus::NotSetUp,
            _ => ExitStatus::Done,
        }
    }

    /// Waits for the first byte, does everything that the conversation will need from outside of this process, and closes
    /// the sandbox: from then on, bytes of the client are parsed.
    ///
    /// # Errors
    /// The reason to close a connection that ends, or stays silent, before its first byte; [`Close::Unsafe`] if a step of
    /// the sandbox fails.
    fn prepare(&mut self) -> Result<(), Close> {
        let first = self.first_byte()?;
        if let (tls::FIRST_BYTE, Some(acceptor)) = (first, &self.common.tls) {
            self.connection.start_tls(acceptor)?;
        }
        // TLS hides what the client wants, so the files are open for an echo, too.
        if detect::generation(first) != Generation::Echo {
            self.store = Some(open_store(&self.common, self.connection.link().clone()));
        }
        let files = self.store.as_ref().and_then(|store| store.as_ref().ok()).map(Store::writable);
        self.common.sandbox.close(files).map_err(Close::Unsafe)
    }

    /// Waits for the first byte, and leaves it unread.
    fn first_byte(&mut self) -> Result<u8, Close> {
        loop {
            match self.connection.wait(Some(PollFlags::POLLIN), Some(self.deadline))? {
                Wake::ClientReady => {
                    if let Some(first) = self.connection.first_byte()? {
                        return Ok(first);
                    }
                }
                Wake::Ordered(_) => {}
                Wake::StopRequested => return Err(Close::Stopping),
                Wake::TimedOut => return Err(Close::Idle),
            }
        }
    }

    /// Serves requests until there is a reason to close the connection. Returns the reason.
    fn converse(&mut self) -> Close {
        let close = loop {
            let step = match self.decoder.next_request() {
                Ok(Some(request)) => self.answer(&request),
                Ok(None) => self.store_group().and_then(|()| self.receive()),
                Err(malformed) => self.store_group().and_then(|()| Err(self.refuse_malformed(malformed))),
            };
            if let Err(close) = step {
                break close;
            }
        };
        match close {
            Close::PeerClosed if self.decoder.mid_message() => Close::Cut(Cut::Lost),
            close => close,
        }
    }

    // ---- bytes ----

    /// Waits for more bytes of the client, and passes them to the decoder.
    fn receive(&mut self) -> Result<(), Close> {
        if self.connection.is_stopping() && !self.decoder.mid_message() {
            return Err(Close::Stopping);
        }
        match self.connection.wait(Some(PollFlags::POLLIN), Some(self.deadline))? {
            Wake::ClientReady => self.take_bytes(),
            Wake::StopRequested | Wake::Ordered(_) => Ok(()),
            Wake::TimedOut => Err(self.late()),
        }
    }

    /// The deadline has passed.
    fn late(&self) -> Close {
        match (self.connection.is_handshaking(), self.decoder.mid_message()) {
            (true, _) => Close::Handshake("the TLS handshake was not complete in time"),
            (false, true) => Close::Cut(Cut::Late),
            (false, false) => Close::Idle,
        }
    }

    fn take_bytes(&mut self) -> Result<(), Close> {
        let between_messages = !self.decoder.mid_message();
        match self.connection.read(self.decoder.space())? {
            // A client may send bytes of TLS for ever that hold no message.
            None if Instant::now() >= self.deadline => Err(self.late()),
            None => Ok(()),
            Some(0) => self.end_of_stream(),
            Some(len) => {
                if self.connection.is_tls() && self.decoder.generation().is_none() {
                    self.identify()?;
                }
                // The first message keeps its deadline, which counts from accept. Each later message gets its deadline
                // with its first bytes.
                if between_messages && self.decoder.generation().is_some() {
                    self.deadline = Instant::now() + self.common.config.message_timeout;
                }
                self.decoder.filled(len);
                Ok(())
            }
        }
    }

    /// The handshake has ended, and the first bytes of a message have arrived.
    fn identify(&mut self) -> Result<(), Close> {
        let agency = self.connection.agency();
        let agency = agency.ok_or_else(|| Close::Tls("the client has proved no agency".to_owned()))?;
        journal::proved(self.peer, agency);
        self.admission.restrict(Speaker::Agency(agency));
        Ok(())
    }

    /// Handles the client's end of stream, which may complete a request: an echo without its line feed.
    fn end_of_stream(&mut self) -> Result<(), Close> {
        if self.connection.is_handshaking() {
            return Err(Close::Handshake("the connection ended inside the TLS handshake"));
        }
        if self.connection.is_truncated() {
            // The end may be forged: it completes no message.
            return Err(Close::PeerClosed);
        }
        match self.decoder.end_of_stream() {
            Ok(Some(request)) => self.answer(&request),
            Ok(None) if self.decoder.mid_message() => Err(Close::Cut(Cut::Ended)),
            Ok(None) => Err(Close::PeerClosed),
            Err(malformed) => Err(self.refuse_malformed(malformed)),
        }
    }

    fn send(&mut self, answer: &Answer) -> Result<(), Close> {
        self.send_all(answer, 1)
    }

    /// Sends `answer`, repeated `times` times, in the encoding of the client's generation. Sends nothing while the generation
    /// is unknown.
    fn send_all(&mut self, answer: &Answer, times: usize) -> Result<(), Close> {
        let Some(generation) = self.decoder.generation() else { return Ok(()) };
        let answers = encoder::encode(answer, generation).repeat(times);
        self.connection.send(&answers, self.common.config.message_timeout)
    }

    // ---- answers ----

    /// Serves one request. Bets join the group, which is answered later; any other answer is sent at once, after those to
    /// the group. Returns a reason to close if the request was refused, or the conversation is over.
    fn answer(&mut self, request: &Request) -> Result<(), Close> {
        let admitted = self.await_turn(request).and_then(|()| self.admit(request));
        if !matches!(admitted, Ok(Admitted::Bets { .. })) {
            self.store_group()?;
        }
        match admitted.and_then(|admitted| self.carry_out(admitted)) {
            Ok(None) if self.group.is_full() => self.store_group(),
            Ok(None) => Ok(()),
            Ok(Some(answer)) => self.send(&answer).and_then(|()| self.answered()),
            Err(Outcome::Refuse(refusal)) => Err(self.refuse(&Summary::of(request), &refusal)),
            Err(Outcome::Close(close)) => Err(close),
        }
    }

    /// Stores and answers the messages in the group. If the storage fails, none of them is stored, and the first one is
    /// refused. After a failed sync the connection closes without an answer, and they may be stored all the same.
    fn store_group(&mut self) -> Result<(), Close> {
        let group = std::mem::take(&mut self.group);
        let (Some(agency), [first, ..]) = (group.agency(), group.messages()) else { return Ok(()) };
        let stored = self.slot(agency);
        match stored.and_then(|slot| self.with_store(|store| store.store(slot, group.rows(), group.origin()))) {
            Ok(()) => {}
            Err(Outcome::Refuse(refusal)) => return Err(self.refuse(&Summary::of_bets(*first, group.rows()), &refusal)),
            Err(Outcome::Close(close)) => return Err(close),
        }
        logging::together(|| journal::stored(group.messages(), group.rows()));
        self.send_all(&Answer::Confirmation(Ok(())), group.messages().len())?;
        self.answered()
    }

    /// Sets the deadline after an answer. Returns a reason to close if the client's generation sends only one message per
    /// connection, or if the server is stopping and the client has already begun the next message.
    fn answered(&mut self) -> Result<(), Close> {
        if self.decoder.generation() != Some(Generation::Typed) {
            return Err(Close::Spent);
        }
        if self.connection.is_stopping() && self.decoder.mid_message() {
            return Err(self.refuse(&Summary::Other, &Code::Stopping.into()));
        }
        let config = &self.common.config;
        let patience = if self.decoder.mid_message() { config.message_timeout } else { config.idle_timeout };
        self.deadline = Instant::now() + patience;
        Ok(())
    }

    fn refuse_malformed(&mut self, malformed: Malformed) -> Close {
        // Only the penalty of the source depends on it.
        let _ = self.connection.link().report_garbage();
        let summary = Summary::of_fragment(self.decoder.announced());
        let refusal = match malformed {
            Malformed::UnknownType(tls::FIRST_BYTE) if !self.connection.is_tls() => {
                Refusal::because(Code::ProtocolBroken, format_args!("{malformed}: a TLS client, and TLS is off"))
            }
            malformed => Refusal::because(Code::ProtocolBroken, malformed),
        };
        self.refuse(&summary, &refusal)
    }

    /// Logs the refusal if the parent does not only count it, and sends its code. Returns the reason to close.
    /// [`Code::Stopping`] is not a failure: only the closing of its connection is logged.
    fn refuse(&mut self, summary: &Summary, refusal: &Refusal) -> Close {
        let code = refusal.code;
        if code != Code::Stopping && self.connection.is_to_be_logged(Reason::Code(code as u8)) {
            journal::refused(self.peer, summary, refusal);
        }
        match self.send(&Answer::Confirmation(Err(refusal.code))) {
            Ok(()) if refusal.code == Code::Stopping => Close::Stopping,
            Ok(()) => Close::Refused,
            Err(close) => close,
        }
    }

    // ---- requests ----

    /// If `request` is a question and the session holds no claim, waits until the client may ask it. Bytes of the client stay
    /// unread meanwhile.
    fn await_turn(&mut self, request: &Request) -> Result<(), Outcome> {
        if self.admission.holds_claim() || !matches!(request, Request::Winners { .. } | Request::Tally { .. }) {
            return Ok(());
        }
        while let Err(turn) = self.questions.take(Instant::now()) {
            if self.connection.is_stopping() {
                return Err(Code::Stopping.into());
            }
            // Without requested events, poll(2) reports only errors and resets.
            if self.connection.wait(Some(PollFlags::empty()), Some(turn))? == Wake::ClientReady {
                return Err(Close::PeerClosed.into());
            }
        }
        Ok(())
    }

    /// Checks whether `request` is allowed. First claims its agency, if it requires the claim.
    fn admit<'r>(&mut self, request: &'r Request) -> Result<Admitted<'r>, Outcome> {
        if let Some(agency) = self.admission.to_claim(request) {
            self.claim(agency)?;
        }
        Ok(self.admission.admit(request)?)
    }

    /// Carries out an admitted request. Returns the answer; `None` for bets, which are answered when their group is stored.
    fn carry_out(&mut self, admitted: Admitted<'_>) -> Result<Option<Answer>, Outcome> {
        match admitted {
            Admitted::Echo(text) => Ok(Some(self.echo(text))),
            Admitted::Bets { agency, message, rows } => {
                self.group.add(agency, message, rows);
                Ok(None)
            }
            Admitted::End { agency, intake } => self.end(agency, intake).map(Some),
            Admitted::Winners { agency } => self.winners(agency).map(Some),
            Admitted::Tally { agency, intake } => self.tally(agency, intake).map(Some),
        }
    }

    /// Asks the parent for the claim of `agency`, and waits for the order. If another connection holds the claim
    /// ([`Order::Busy`]), this is not an error yet: [`Admission::admit`] then refuses the request.
    fn claim(&mut self, agency: AgencyId) -> Result<(), Outcome> {
        self.connection.link().claim(agency).map_err(Close::from)?;
        match self.connection.wait(None, None)? {
            Wake::Ordered(Order::Granted(intake)) => self.admission.hold(agency, intake),
            Wake::Ordered(Order::Busy) => {}
            _ => return Err(Code::Stopping.into()),
        }
        Ok(())
    }

    fn echo(&self, text: &str) -> Answer {
        journal::echo(self.peer, text);
        Answer::Echo(text.to_owned())
    }

    fn known_slot(&self, agency: AgencyId) -> Option<Slot> {
        self.slots.of(agency).or(self.assigned.filter(|slot| slot.agency == agency))
    }

    /// The slot of `agency`. From now on, this process can write to no other one.
    fn slot(&mut self, agency: AgencyId) -> Result<Slot, Outcome> {
        let slot = self.find_slot(agency)?;
        if let (None, Some(Ok(store))) = (self.confined, &self.store) {
            self.common.sandbox.narrow(&store.places(slot)).map_err(Close::Unsafe)?;
            self.confined = Some(slot);
        }
        Ok(slot)
    }

    /// The slot of `agency`. Asks the parent if the agency was new after the fork, which needs CLIENT_AMOUNT=0.
    fn find_slot(&mut self, agency: AgencyId) -> Result<Slot, Outcome> {
        if let Some(slot) = self.known_slot(agency) {
            return Ok(slot);
        }
        self.connection.link().ask_slot(agency).map_err(Close::from)?;
        match self.connection.wait(None, None)? {
            Wake::Ordered(Order::Slot(number)) => Ok(*self.assigned.insert(Slot { agency, number })),
            Wake::Ordered(Order::NoSlot) => {
                Err(Refusal::because(Code::UnknownAgency, "there are already a million agencies").into())
            }
            _ => Err(Code::Stopping.into()),
        }
    }

    /// Records the end of `agency`. If the end is already recorded, makes it durable: the process that recorded it may
    /// have died before it did so.
    fn end(&mut self, agency: AgencyId, intake: Intake) -> Result<Answer, Outcome> {
        let slot = self.slot(agency)?;
        self.with_store(|store| store.end(slot))?;
        if intake == Intake::Open {
            self.admission.hold(agency, Intake::Ended);
            self.connection.link().report_ended(agency).map_err(Close::from)?;
            journal::ended(agency);
        }
        Ok(Answer::Confirmation(Ok(())))
    }

    /// Waits until the draw has been held, then reads the winners of `agency` from its result.
    fn winners(&mut self, agency: AgencyId) -> Result<Answer, Outcome> {
        if !self.admission.is_drawn() {
            // `Connection::wait` reports a stop only once, and may have reported it while this query arrived.
            if self.connection.is_stopping() {
                return Err(Code::Stopping.into());
            }
            match self.await_draw(agency)? {
                Order::Drawn => self.admission.record_draw(),
                _ => return Ok(Answer::NotDrawn),
            }
        }
        // An agency without a slot did not take part.
        let Some(slot) = self.known_slot(agency) else { return Ok(Answer::Winners(Vec::new())) };
        let documents = self.with_store(|store| store.winners(slot))?;
        let damaged = || Refusal::because(Code::StorageFailed, "the draw's result is damaged");
        Ok(Answer::Winners(documents.ok_or_else(damaged)?))
    }

    /// Waits for the order that follows the draw. A client that ends its stream during this wait may still read the answer,
    /// so the query goes on waiting. But the client may also be gone, so the session releases its claim for a replacement; so
    /// it does if the client is silent and another connection claims the agency. A reset ends the wait.
    fn await_draw(&mut self, agency: AgencyId) -> Result<Order, Outcome> {
        self.connection.link().await_draw(agency).map_err(Close::from)?;
        let mut events = HANGUP;
        loop {
            match self.connection.wait(Some(events), None) {
                Ok(Wake::Ordered(order)) => return Ok(order),
                Ok(Wake::StopRequested | Wake::TimedOut) => return Err(Code::Stopping.into()),
                Ok(Wake::ClientReady) if events.is_empty() => return Err(Close::PeerClosed.into()),
                // Without requested events, poll(2) reports only errors and resets.
                Ok(Wake::ClientReady) => events = PollFlags::empty(),
                Err(Close::Replaced) => {}
                Err(Close::Dismissed(why)) => {
                    self.send(&Answer::NotDrawn)?;
                    return Err(Close::DismissedWithAnswer(why).into());
                }
                Err(close) => return Err(close.into()),
            }
            self.release_claim()?;
        }
    }

    /// Releases the claim, if the session holds one. All messages before the query are stored and answered.
    fn release_claim(&mut self) -> Result<(), Close> {
        match self.admission.release() {
            Some(agency) => Ok(self.connection.link().release(agency)?),
            None => Ok(()),
        }
    }

    /// Counts the stored bets of `agency`. An end that the answer reports is made durable first, as in
    /// [`Session::end`].
    fn tally(&mut self, agency: AgencyId, intake: Intake) -> Result<Answer, Outcome> {
        let slot = self.slot(agency)?;
        let Stored { tally, has_ended } = self.with_store(|store| store.stored(slot))?;
        Ok(Answer::Tally { agency: agency.get(), tally, ended: has_ended || intake == Intake::Ended })
    }

    /// Calls the storage, and turns its errors into outcomes. A recorded end of the agency is code 3, and so are
    /// untyped bets of an agency with typed ones. After a failed
    /// sync no process may acknowledge anything: the connection closes without an answer, and the parent stops the
    /// server. Every other error is code 4.
    fn with_store<T>(&mut self, call: impl FnOnce(&Store) -> storage::Result<T>) -> Result<T, Outcome> {
        let Some(store) = &self.store else {
            return Err(Refusal::because(Code::StorageFailed, "the files are not open").into());
        };
        let store = store.as_ref().map_err(|e| Refusal::because(Code::StorageFailed, e))?;
        call(store).map_err(|e| match e {
            storage::Error::Ended => Code::AlreadyEnded.into(),
            storage::Error::HasTyped => Refusal::because(Code::AlreadyEnded, e).into(),
            storage::Error::Sync { .. } => {
                event!(Critical, "sync", fail, error = e);
                // If this report fails, the exit code of the child still informs the parent.
                let _ = self.connection.link().report_storage_broken();
                Close::StorageBroken.into()
            }
            e => Refusal::because(Code::StorageFailed, e).into(),
        })
    }

    // ---- the end ----

    /// Logs the reason to close, and lets the client read its last answer. Reports lost log lines to the parent.
    fn close(&mut self, close: &Close) {
        if let Close::Tls(_) = close {
            // Only the penalty of the source depends on it.
            let _ = self.connection.link().report_garbage();
        }
        if close.refusal().is_none_or(|reason| self.connection.is_to_be_logged(reason)) {
            journal::closed(self.peer, close, self.decoder.announced());
        }
        match close {
            Close::Spent
            | Close::Refused
            | Close::Stopping
            | Close::DismissedWithAnswer(_)
            | Close::Tls(_)
            | Close::Handshake(_) => {
                self.connection.linger();
            }
            _ => self.connection.close_tls(Instant::now()),
        }
        let lost = logging::take_lost();
        if lost > 0 {
            // If the parent is gone, no process is left to log the number.
            let _ = self.connection.link().report_lines_lost(lost);
        }
    }
}

/// Who a client without TLS may be.
fn speaker_without_tls(common: &Common) -> Speaker {
    match &common.config.tls {
        Some(tls) if tls.plaintext == Plaintext::EchoOnly => Speaker::EchoOnly,
        _ => Speaker::Anyone,
    }
}

/// Opens the files of this process. A long wait for the data lock is reported to the parent, which looks for the holder.
fn open_store(common: &Common, link: Rc<ChildEnd>) -> storage::Result<Store> {
    let report = move || {
        // If the report fails, the wait ends with an error all the same.
        let _ = link.report_lock_held();
    };
    Ok(Store::open(&common.location, common.config.durability)?.on_long_wait(report))
}
