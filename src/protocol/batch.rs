//! Exercise 6, one batch a connection: `u32 agency | u8 count | count × bet` → `u8 result`; and the same bets in the
//! typed batches of exercises 7 and 8.
//!
//! bet = `cstr(30) first_name | cstr(30) last_name | u32 document | cstr(11) birthdate | u32 number`, at most 79 bytes.

use super::wire::Fields;
use super::{Form, Request, Stop};
use crate::bet::{AgencyId, Bet, Birthdate, InvalidBet};

/// Most bytes of a name in a batch, its NUL not counted.
pub const MAX_NAME: usize = 29;
/// Bytes of agency and count in front of the bets.
pub const HEADER: usize = 5;
/// Bytes of a bet besides its two names: two NULs, document, birthdate with its NUL, number.
const FIXED: usize = 2 + 4 + Birthdate::LEN + 1 + 4;

/// Whether the batch formats can carry this bet.
///
/// # Errors
/// [`InvalidBet::TooLong`].
pub fn check_len(bet: &Bet) -> Result<(), InvalidBet> {
    for (field, name) in [("first name", &bet.first_name), ("last name", &bet.last_name)] {
        if name.len() > MAX_NAME {
            return Err(InvalidBet::TooLong(field));
        }
    }
    Ok(())
}

/// Bytes of this bet in a batch.
pub fn encoded_len(bet: &Bet) -> usize {
    bet.first_name.len() + bet.last_name.len() + FIXED
}

/// A batch of at most 255 bets, each of which passed [`check_len`], without a type byte.
pub fn encode(agency: AgencyId, bets: &[Bet]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + bets.iter().map(encoded_len).sum::<usize>());
    encode_into(&mut message, agency, bets);
    message
}

pub(super) fn encode_into(message: &mut Vec<u8>, agency: AgencyId, bets: &[Bet]) {
    debug_assert!(bets.iter().all(|bet| check_len(bet).is_ok()));
    message.extend(agency.get().to_be_bytes());
    message.push(u8::try_from(bets.len()).unwrap_or(u8::MAX));
    for bet in bets.iter().take(u8::MAX.into()) {
        for name in [&bet.first_name, &bet.last_name] {
            message.extend(name.as_bytes());
            message.push(0);
        }
        message.extend(bet.document.to_be_bytes());
        message.extend(bet.birthdate.as_str().as_bytes());
        message.push(0);
        message.extend(bet.number.to_be_bytes());
    }
}

/// A batch on its way: takes its bets one by one as they arrive, so that memory grows only with what was sent.
#[derive(Debug)]
pub struct Arriving {
    form: Form,
    agency: u32,
    count: u8,
    left: u8,
    bets: Result<Vec<Bet>, InvalidBet>,
}

impl Arriving {
    /// Reads the header at the front of `bytes`; also returns its length.
    ///
    /// # Errors
    /// [`Stop::Incomplete`].
    pub fn start(form: Form, bytes: &[u8]) -> Result<(Self, usize), Stop> {
        let mut fields = Fields(bytes);
        let agency = fields.u32()?;
        let count = fields.u8()?;
        Ok((Self { form, agency, count, left: count, bets: Ok(Vec::new()) }, HEADER))
    }

    /// How many bets the message announced.
    pub fn count(&self) -> u8 {
        self.count
    }

    /// Takes the whole bets at the front of `bytes`; returns their length in bytes.
    ///
    /// # Errors
    /// [`Stop::Malformed`]; a bet that is merely invalid is remembered until the batch is complete.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        let mut fields = Fields(bytes);
        while self.left > 0 {
            let before = fields;
            match decode_bet(&mut fields, self.agency) {
                Ok(bet) => self.note(bet),
                Err(Stop::Incomplete) => return Ok(bytes.len() - before.0.len()),
                Err(malformed) => return Err(malformed),
            }
        }
        Ok(bytes.len() - fields.0.len())
    }

    /// The request, once all bets have been taken.
    pub fn finish(&mut self) -> Option<Request> {
        if self.left > 0 {
            return None;
        }
        let (form, agency, count) = (self.form, self.agency, self.count);
        if form == Form::TypedBatch && count == 0 {
            return Some(Request::End { agency });
        }
        let bets = std::mem::replace(&mut self.bets, Ok(Vec::new()));
        Some(Request::Bets { form, agency, count, bets })
    }

    fn note(&mut self, bet: Result<Bet, InvalidBet>) {
        self.left -= 1;
        match (&mut self.bets, bet) {
            (Ok(bets), Ok(bet)) => bets.push(bet),
            (Ok(_), Err(defect)) => self.bets = Err(defect),
            (Err(_), _) => {}
        }
    }
}

fn decode_bet(fields: &mut Fields<'_>, agency: u32) -> Result<Result<Bet, InvalidBet>, Stop> {
    let mut ahead = *fields;
    let names = [ahead.cstr(MAX_NAME + 1)?, ahead.cstr(MAX_NAME + 1)?];
    let document = ahead.u32()?;
    let birthdate = ahead.cstr(Birthdate::LEN + 1)?;
    let number = ahead.u32()?;
    *fields = ahead;
    Ok(AgencyId::new(agency)
        .ok_or(InvalidBet::Number("agency"))
        .and_then(|agency| Bet::new(agency, names, document, birthdate, number)))
}
