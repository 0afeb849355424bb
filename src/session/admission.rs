//! The rules that decide whether a request is allowed.
//!
//! Owns the table of requirements. Used by [`super::serve`]. Pure: the decision depends only on the ledger that the
//! session inherited (number of agencies, draw held or not) and on the claim that the session holds. For bets the
//! decision is not final: the storage reads the agency's slot under the data lock, before it appends. There it also refuses
//! untyped bets of an agency that has typed ones (3).
//!
//! Every request but an echo first requires that the client may speak for its agency: in plaintext, that the settings do
//! not require TLS (6); in TLS, that it is the agency of the client's certificate (2).
//!
//! | request | requires, in the order of the checks |
//! |---|---|
//! | echo | – |
//! | single bet, untyped batch | untyped bets on (6), known agency (2), valid bets (1), open intake (3); the storage: no typed bets (3) |
//! | typed batch, message 1 | known agency (2), no other claim (6), claim (5), valid bets (1), open intake (3) |
//! | end, message 1 with count 0 | known agency (2), no other claim (6), claim (5) |
//! | winners, message 3 | known agency (2), no other claim (6) |
//! | tally, message 6 | known agency (2), no other claim (6), claim (5) |
//!
//! The number in parentheses is the code of the refusal if the requirement is not met. *Open intake* means that the
//! server still takes bets of the agency. Malformed bytes are refused earlier, with code 6: they never become a
//! request.

use super::group::Message;
use super::outcome::Refusal;
use crate::bet::{AgencyId, InvalidBet};
use crate::config::server::Untyped;
use crate::draw::Ledger;
use crate::messages::Intake;
use crate::protocol::{Code, Form, Request};
use crate::row::Rows;
use crate::tls::server;

/// Something that a request requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Requirement {
    /// UNTYPED is on.
    UntypedOn,
    /// The agency takes part: its number is from 1 to N.
    KnownAgency,
    /// The connection has not claimed another agency.
    NoOtherClaim,
    /// The connection holds the agency's claim.
    HoldsClaim,
    /// All bets are valid.
    ValidBets,
    /// The server still takes bets of the agency. An empty batch always meets this requirement.
    OpenIntake,
}

use Requirement::{HoldsClaim, KnownAgency, NoOtherClaim, OpenIntake, UntypedOn, ValidBets};

/// The requirements of `request`, in the order of the checks. This is the table above, as code.
fn requirements(request: &Request) -> &'static [Requirement] {
    match request {
        Request::Echo(_) => &[],
        Request::Bets { form: Form::Single | Form::UntypedBatch, .. } => {
            &[UntypedOn, KnownAgency, ValidBets, OpenIntake]
        }
        Request::Bets { form: Form::TypedBatch, .. } => &[KnownAgency, NoOtherClaim, HoldsClaim, ValidBets, OpenIntake],
        Request::End { .. } => &[KnownAgency, NoOtherClaim, HoldsClaim],
        Request::Winners { .. } => &[KnownAgency, NoOtherClaim],
        Request::Tally { .. } => &[KnownAgency, NoOtherClaim, HoldsClaim],
    }
}

/// The claim that a connection holds, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The connection holds none.
    None,
    /// The connection holds the claim of this agency.
    Held {
        /// The agency.
        agency: AgencyId,
        /// Whether the server still takes bets of the agency.
        intake: Intake,
    },
}

/// A request whose requirements are met.
#[derive(Debug, PartialEq, Eq)]
pub enum Admitted<'r> {
    /// Return the text.
    Echo(&'r str),
    /// Store the bets.
    Bets {
        /// The agency.
        agency: AgencyId,
        /// The form of the message, and the number of its bets.
        message: Message,
        /// The rows of the bets.
        rows: &'r Rows,
    },
    /// Record the end of the agency.
    End {
        /// The agency.
        agency: AgencyId,
        /// [`Intake::Ended`] if the end is recorded already.
        intake: Intake,
    },
    /// Return the winners.
    Winners {
        /// The agency.
        agency: AgencyId,
    },
    /// Return the tally.
    Tally {
        /// The agency.
        agency: AgencyId,
        /// Whether the agency has ended.
        intake: Intake,
    },
}

/// The agencies for which a client may speak. Anybody may send an echo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// For every agency: plaintext, and the settings allow it.
    Anyone,
    /// For none: plaintext, and the settings require TLS.
    EchoOnly,
    /// For the agency of its certificate.
    Agency(AgencyId),
}

/// The state of a session that decides which requests are allowed.
#[derive(Debug)]
pub struct Admission {
    ledger: Ledger,
    untyped: Untyped,
    speaker: Speaker,
    claim: Claim,
}

impl Admission {
    /// The state of a new connection, which holds no claim.
    pub fn new(ledger: Ledger, untyped: Untyped, speaker: Speaker) -> Self {
        Self { ledger, untyped, speaker, claim: Claim::None }
    }

    /// The client has proved that it is `speaker`.
    pub fn restrict(&mut self, speaker: Speaker) {
        self.speaker = speaker;
    }

    /// The agency that the session must claim before [`Admission::admit`]. `None` if `request` requires no claim, if
    /// the connection already holds one, or if the client may not speak for the agency or it is unknown.
    pub fn to_claim(&self, request: &Request) -> Option<AgencyId> {
        let unclaimed = self.claim == Claim::None && requirements(request).contains(&HoldsClaim);
        self.known(agency(request)).ok().filter(|_| unclaimed)
    }

    /// Records the claim of `agency`. Call it when the parent has granted the claim, and again, with [`Intake::Ended`],
    /// when the session has recorded the agency's end.
    pub fn hold(&mut self, agency: AgencyId, intake: Intake) {
        self.claim = Claim::Held { agency, intake };
    }

    /// Gives up the claim that the session holds; returns its agency. The next request that requires it claims it again.
    pub fn release(&mut self) -> Option<AgencyId> {
        match std::mem::replace(&mut self.claim, Claim::None) {
            Claim::Held { agency, .. } => Some(agency),
            Claim::None => None,
        }
    }

    /// Whether the session holds a claim.
    pub fn holds_claim(&self) -> bool {
        self.claim != Claim::None
    }

    /// Whether the session knows that the draw has been held.
    pub fn is_drawn(&self) -> bool {
        self.ledger.is_drawn()
    }

    /// Records that the draw has been held.
    pub fn record_draw(&mut self) {
        self.ledger.record_draw();
    }

    /// Checks the requirements of `request` in their order.
    ///
    /// # Errors
    /// The refusal for the first requirement that is not met.
    pub fn admit<'r>(&self, request: &'r Request) -> Result<Admitted<'r>, Refusal> {
        for requirement in requirements(request) {
            self.check(*requirement, request)?;
        }
        let known = |agency: &u32| self.known(*agency);
        Ok(match request {
            Request::Echo(text) => Admitted::Echo(text),
            Request::Bets { agency, form, count, rows } => {
                Admitted::Bets { agency: known(agency)?, message: (*form, *count), rows: valid(rows)? }
            }
            Request::End { agency } => Admitted::End { agency: known(agency)?, intake: self.intake() },
            Request::Winners { agency } => Admitted::Winners { agency: known(agency)? },
            Request::Tally { agency } => Admitted::Tally { agency: known(agency)?, intake: self.intake() },
        })
    }

    fn check(&self, requirement: Requirement, request: &Request) -> Result<(), Refusal> {
        let agency = agency(request);
        match (requirement, self.claim) {
            (UntypedOn, _) if self.untyped == Untyped::Off => {
                let why = "single bets and untyped batches are off (UNTYPED=off)";
                Err(Refusal::because(Code::ProtocolBroken, why))
            }
            (KnownAgency, _) => self.known(agency).map(drop),
            (NoOtherClaim, Claim::Held { agency: held, .. }) if held.get() != agency => {
                let why = format!("a message for agency {agency} on the connection of agency {held}");
                Err(Refusal::because(Code::ProtocolBroken, why))
            }
            (HoldsClaim, Claim::None) => Err(Code::ConnectedElsewhere.into()),
            (ValidBets, _) => rows(request).map_or(Ok(()), |rows| valid(rows).map(drop)),
            (OpenIntake, _) if self.intake() == Intake::Ended && has_bets(request) => Err(Code::AlreadyEnded.into()),
            (UntypedOn | NoOtherClaim | HoldsClaim | OpenIntake, _) => Ok(()),
        }
    }

    /// The known agency `agency`, for which the client may speak.
    fn known(&self, agency: u32) -> Result<AgencyId, Refusal> {
        match self.speaker {
            Speaker::EchoOnly => {
                return Err(Refusal::because(
                    Code::ProtocolBroken,
                    "plaintext, and TLS is required for all but an echo",
                ));
            }
            Speaker::Agency(own) if own.get() != agency => {
                let why = format!("a message for agency {agency} with the certificate {}", server::name_of(own));
                return Err(Refusal::because(Code::UnknownAgency, why));
            }
            Speaker::Agency(_) | Speaker::Anyone => {}
        }
        let unknown = || Refusal::because(Code::UnknownAgency, format!("unknown agency {agency}"));
        self.ledger.knows(agency).ok_or_else(unknown)
    }

    /// Whether the server still takes bets of the agency. With a claim, the parent has sent the answer. Without a
    /// claim, the answer is [`Intake::Ended`] only if the draw has been held; the storage finds a single recorded end
    /// later.
    fn intake(&self) -> Intake {
        match self.claim {
            Claim::Held { intake, .. } => intake,
            Claim::None if self.ledger.is_drawn() => Intake::Ended,
            Claim::None => Intake::Open,
        }
    }
}

/// The agency number in `request`, not checked yet. For an echo it is 0, which is no agency's number.
fn agency(request: &Request) -> u32 {
    match *request {
        Request::Echo(_) => 0,
        Request::Bets { agency, .. }
        | Request::End { agency }
        | Request::Winners { agency }
        | Request::Tally { agency } => agency,
    }
}

/// The rows of `request`, or the defect of its bets; `None` if it carries no bets.
fn rows(request: &Request) -> Option<&Result<Rows, InvalidBet>> {
    match request {
        Request::Bets { rows, .. } => Some(rows),
        _ => None,
    }
}

fn has_bets(request: &Request) -> bool {
    rows(request).is_some_and(|rows| rows.as_ref().is_ok_and(|rows| !rows.is_empty()))
}

/// The rows, or a refusal with code 1 that names the first defect.
fn valid(rows: &Result<Rows, InvalidBet>) -> Result<&Rows, Refusal> {
    rows.as_ref().map_err(|defect| Refusal::because(Code::InvalidBet, defect))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bet::Bet;

    const AGENCIES: u32 = 2;

    fn id(id: u32) -> AgencyId {
        AgencyId::new(id).unwrap()
    }

    fn admission(drawn: bool, claim: Claim) -> Admission {
        let mut ledger = Ledger::new(AGENCIES);
        if drawn {
            ledger.record_draw();
        }
        Admission { ledger, untyped: Untyped::On, speaker: Speaker::Anyone, claim }
    }

    fn bets(form: Form, agency: u32, rows: Result<Rows, InvalidBet>) -> Request {
        Request::Bets { form, agency, count: 1, rows }
    }

    /// Rows of this many bets.
    fn some(count: usize) -> Rows {
        let bet = Bet::new(id(1), [b"Ana", b"Paz"], 7, b"1999-03-17", 8).unwrap();
        std::iter::repeat_n(&bet, count).collect()
    }

    fn requests(agency: u32) -> Vec<Request> {
        let forms = [Form::Single, Form::UntypedBatch, Form::TypedBatch];
        let valid = forms.map(|form| bets(form, agency, Ok(some(1))));
        let invalid = forms.map(|form| bets(form, agency, Err(InvalidBet::Date)));
        let others = [Request::End { agency }, Request::Winners { agency }, Request::Tally { agency }];
        [valid, invalid, others].concat()
    }

    fn code(admission: &Admission, request: &Request) -> u8 {
        Code::byte(admission.admit(request).map(drop).map_err(|refusal| refusal.code))
    }

    /// The codes of all [`requests`], in one state.
    fn codes(drawn: bool, claim: Claim, agency: u32) -> Vec<u8> {
        let admission = admission(drawn, claim);
        requests(agency).iter().map(|request| code(&admission, request)).collect()
    }

    #[test]
    fn an_echo_requires_nothing() {
        let (open, drawn) = (admission(false, Claim::None), admission(true, Claim::None));
        let echo = Request::Echo("text".into());
        assert_eq!((open.admit(&echo), drawn.admit(&echo)), (Ok(Admitted::Echo("text")), Ok(Admitted::Echo("text"))));
    }

    #[test]
    fn an_unknown_agency_is_refused_before_everything_else() {
        let held = Claim::Held { agency: id(1), intake: Intake::Ended };
        for (claim, agency) in [(Claim::None, 0), (held, 0), (Claim::None, AGENCIES + 1), (held, AGENCIES + 1)] {
            assert_eq!(codes(true, claim, agency), [2; 9]);
        }
    }

    // The columns of the arrays below: a valid bet in three forms, an invalid bet in three forms, end, winners, tally.

    #[test]
    fn typed_messages_but_the_winners_query_require_the_claim() {
        assert_eq!(codes(false, Claim::None, 1), [0, 0, 5, 1, 1, 5, 5, 0, 5]);
        let held = Claim::Held { agency: id(1), intake: Intake::Open };
        assert_eq!(codes(false, held, 1), [0, 0, 0, 1, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn typed_messages_for_another_agency_are_refused() {
        let held = Claim::Held { agency: id(2), intake: Intake::Open };
        assert_eq!(codes(false, held, 1), [0, 0, 6, 1, 1, 6, 6, 6, 6]);
    }

    #[test]
    fn a_certificate_speaks_for_its_agency_only() {
        let mut admission = admission(false, Claim::None);
        admission.restrict(Speaker::Agency(id(2)));
        let codes = |agency| requests(agency).iter().map(|request| code(&admission, request)).collect::<Vec<_>>();
        assert_eq!(codes(1), [2; 9]);
        assert_eq!(codes(2), [0, 0, 5, 1, 1, 5, 5, 0, 5]);
        assert!(requests(1).iter().all(|request| admission.to_claim(request).is_none()));
        assert_eq!(code(&admission, &Request::Echo("text".into())), 0);
    }

    #[test]
    fn plaintext_is_refused_if_tls_is_required() {
        let mut admission = admission(false, Claim::None);
        admission.restrict(Speaker::EchoOnly);
        assert!(requests(1).iter().all(|request| code(&admission, request) == 6));
        assert!(requests(1).iter().all(|request| admission.to_claim(request).is_none()));
        assert_eq!(code(&admission, &Request::Echo("text".into())), 0);
    }

    #[test]
    fn bets_require_an_open_intake_after_they_are_valid() {
        let held = Claim::Held { agency: id(1), intake: Intake::Ended };
        assert_eq!(codes(false, held, 1), [3, 3, 3, 1, 1, 1, 0, 0, 0]);
        assert_eq!(codes(true, Claim::None, 1), [3, 3, 5, 1, 1, 5, 5, 0, 5]);
        let empty = bets(Form::UntypedBatch, 1, Ok(some(0)));
        assert_eq!(code(&admission(true, Claim::None), &empty), 0);
    }

    #[test]
    fn admitted_requests_carry_their_agency_and_its_intake() {
        let (mut admission, agency) = (Admission::new(Ledger::new(AGENCIES), Untyped::On, Speaker::Anyone), id(2));
        for intake in [Intake::Open, Intake::Ended] {
            admission.hold(agency, intake);
            for (request, admitted) in [
                (Request::End { agency: 2 }, Admitted::End { agency, intake }),
                (Request::Winners { agency: 2 }, Admitted::Winners { agency }),
                (Request::Tally { agency: 2 }, Admitted::Tally { agency, intake }),
            ] {
                assert_eq!(admission.admit(&request), Ok(admitted));
            }
        }
    }

    #[test]
    fn admitted_bets_are_those_of_the_request() {
        let admission = admission(false, Claim::Held { agency: id(1), intake: Intake::Open });
        for form in [Form::Single, Form::UntypedBatch, Form::TypedBatch] {
            let request = bets(form, 1, Ok(some(2)));
            let expected = Admitted::Bets { agency: id(1), message: (form, 1), rows: &some(2) };
            assert_eq!(admission.admit(&request), Ok(expected));
        }
    }

    #[test]
    fn untyped_bets_that_are_off_get_code_6_before_all_else() {
        let held = Claim::Held { agency: id(1), intake: Intake::Open };
        let admission = Admission { untyped: Untyped::Off, ..admission(false, held) };
        let codes: Vec<_> = requests(1).iter().map(|request| code(&admission, request)).collect();
        assert_eq!(codes, [6, 6, 0, 6, 6, 1, 0, 0, 0]);
        assert_eq!(code(&admission, &bets(Form::Single, 0, Ok(some(1)))), 6);
    }

    #[test]
    fn a_released_claim_is_held_no_more() {
        let mut admission = admission(false, Claim::None);
        assert_eq!((admission.holds_claim(), admission.release()), (false, None));
        admission.hold(id(2), Intake::Open);
        assert!(admission.holds_claim());
        assert_eq!((admission.release(), admission.holds_claim(), admission.release()), (Some(id(2)), false, None));
    }

    #[test]
    fn a_held_draw_closes_the_intake_without_a_claim() {
        let mut admission = Admission::new(Ledger::new(AGENCIES), Untyped::On, Speaker::Anyone);
        let single = bets(Form::Single, 1, Ok(some(1)));
        assert!(!admission.is_drawn());
        assert_eq!(code(&admission, &single), 0);
        admission.record_draw();
        assert!(admission.is_drawn());
        assert_eq!(code(&admission, &single), 3);
    }

    #[test]
    fn only_a_missing_claim_of_a_known_agency_is_claimed() {
        let to_claim = |claim, agency| -> Vec<_> {
            let admission = admission(false, claim);
            requests(agency).iter().map(|request| admission.to_claim(request).is_some()).collect()
        };
        assert_eq!(to_claim(Claim::None, 1), [false, false, true, false, false, true, true, false, true]);
        assert_eq!(to_claim(Claim::None, 0), [false; 9]);
        assert_eq!(to_claim(Claim::Held { agency: id(2), intake: Intake::Open }, 1), [false; 9]);
    }
}
