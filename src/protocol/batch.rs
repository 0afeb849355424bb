//! Exercise 6, one batch per connection: `u32 agency | u8 count | count × bet` → `u8 result`. The typed batches of
//! exercises 7 and 8 carry the same bytes after their type byte.
//!
//! bet = `cstr(30) first_name | cstr(30) last_name | u32 document | cstr(11) birthdate | u32 number`, at most 79 bytes.
//! `cstr(n)` is a text that ends with a NUL, at most n bytes with the NUL.
//!
//! Used by the decoder and by the agency. Knows no socket.

use std::num::NonZeroU8;

use super::fields::{DecodeError, Fields};
use super::generation::Form;
use super::request::Request;
use crate::bet::{AgencyId, Bet, Birthdate, InvalidBet};
use crate::row::Rows;

/// Most bytes of a name in a batch, without its NUL.
pub const MAX_NAME: usize = 29;
/// Bytes of the header: agency and count.
pub const HEADER: usize = 5;
/// Bytes of a bet without its two names: the NULs of the names, document, birthdate with its NUL, number.
const FIXED: usize = 2 + 4 + Birthdate::LEN + 1 + 4;

/// Bytes that few rows exceed, so that memory is reserved once a batch.
const USUAL_ROW: usize = 64;

/// At most 255 bets, each of which the batch formats can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch<'a> {
    bets: &'a [Bet<'a>],
    count: u8,
}

impl<'a> Batch<'a> {
    /// Returns `None` if there are more than 255 bets, or if one of them fails [`check_len`].
    pub fn new(bets: &'a [Bet<'a>]) -> Option<Self> {
        let count = u8::try_from(bets.len()).ok()?;
        bets.iter().all(|bet| check_len(bet).is_ok()).then_some(Self { bets, count })
    }

    /// The bets, in order.
    pub fn bets(self) -> &'a [Bet<'a>] {
        self.bets
    }

    /// The number of bets.
    pub fn count(self) -> u8 {
        self.count
    }

    /// Bytes of the batch on the wire, without a type byte.
    pub fn encoded_len(self) -> usize {
        HEADER + self.bets.iter().map(encoded_len).sum::<usize>()
    }
}

/// Checks that the batch formats can carry `bet`.
///
/// # Errors
/// [`InvalidBet::TooLong`] if a name has more than [`MAX_NAME`] bytes.
pub fn check_len(bet: &Bet<'_>) -> Result<(), InvalidBet> {
    for (field, name) in [("first name", &bet.first_name), ("last name", &bet.last_name)] {
        if name.as_bytes().len() > MAX_NAME {
            return Err(InvalidBet::TooLong(field));
        }
    }
    Ok(())
}

/// Bytes of `bet` in a batch.
pub fn encoded_len(bet: &Bet<'_>) -> usize {
    bet.first_name.as_bytes().len() + bet.last_name.as_bytes().len() + FIXED
}

/// Encodes the whole message of exercise 6.
pub fn encode(agency: AgencyId, batch: Batch<'_>) -> Vec<u8> {
    let mut message = Vec::with_capacity(batch.encoded_len());
    encode_into(&mut message, agency, batch);
    message
}

/// Appends the batch to `message`. The caller has already added the type byte, if there is one.
pub(super) fn encode_into(message: &mut Vec<u8>, agency: AgencyId, batch: Batch<'_>) {
    push_header(message, agency, batch.count);
    batch.bets.iter().for_each(|bet| push_bet(message, bet));
}

fn push_header(message: &mut Vec<u8>, agency: AgencyId, count: u8) {
    message.extend(agency.get().to_be_bytes());
    message.push(count);
}

fn push_bet(message: &mut Vec<u8>, bet: &Bet<'_>) {
    message.extend_from_slice(bet.first_name.as_bytes());
    message.push(0);
    message.extend_from_slice(bet.last_name.as_bytes());
    let mut rest = [0; FIXED - 1];
    rest[1..5].copy_from_slice(&bet.document.to_be_bytes());
    rest[5..15].copy_from_slice(bet.birthdate.bytes());
    rest[16..].copy_from_slice(&bet.number.to_be_bytes());
    message.extend_from_slice(&rest);
}

/// A batch at the end of a buffer of messages, which grows bet by bet. It leaves no byte unless [`Growing::finish`]
/// completes it.
#[derive(Debug)]
pub struct Growing<'m> {
    messages: &'m mut Vec<u8>,
    start: usize,
    /// Position of the count in `messages`.
    count_at: usize,
    count: u8,
    /// Length of `messages` when this value is dropped.
    kept: usize,
}

impl<'m> Growing<'m> {
    /// A batch without a type byte, as in exercise 6.
    pub fn untyped(messages: &'m mut Vec<u8>, agency: AgencyId) -> Self {
        Self::start(messages, &[], agency)
    }

    /// A batch after its type byte, if it has one.
    pub(super) fn start(messages: &'m mut Vec<u8>, type_byte: &[u8], agency: AgencyId) -> Self {
        let start = messages.len();
        messages.extend_from_slice(type_byte);
        push_header(messages, agency, 0);
        let count_at = messages.len() - 1;
        Self { messages, start, count_at, count: 0, kept: start }
    }

    /// Bytes of the message so far, type byte included.
    pub fn encoded_len(&self) -> usize {
        self.messages.len() - self.start
    }

    /// The number of bets so far.
    pub fn count(&self) -> u8 {
        self.count
    }

    /// Appends `bet`, which must pass [`check_len`].
    ///
    /// # Panics
    /// If the batch has 255 bets already.
    pub fn push(&mut self, bet: &Bet<'_>) {
        debug_assert_eq!(check_len(bet), Ok(()));
        self.count = self.count.checked_add(1).expect("a batch has at most 255 bets");
        push_bet(self.messages, bet);
    }

    /// Writes the number of bets into the header and returns it; `None` for a batch without bets, which leaves no byte,
    /// because it would state the end of the agency.
    pub fn finish(mut self) -> Option<NonZeroU8> {
        let count = NonZeroU8::new(self.count)?;
        self.messages[self.count_at] = count.get();
        self.kept = self.messages.len();
        Some(count)
    }
}

impl Drop for Growing<'_> {
    fn drop(&mut self) {
        self.messages.truncate(self.kept);
    }
}

/// A batch of which only a part may have arrived. It decodes each bet as soon as it is complete, so no bet is decoded
/// twice, and the memory depends on the bytes that the client has sent, and not on the announced count.
#[derive(Debug)]
pub struct Arriving {
    form: Form,
    agency: u32,
    count: u8,
    left: u8,
    rows: Result<Rows, InvalidBet>,
}

impl Arriving {
    /// Decodes the header at the front of `bytes`. Also returns the length of the header.
    ///
    /// # Errors
    /// [`DecodeError::Incomplete`] if the header has not arrived completely.
    pub fn start(form: Form, bytes: &[u8]) -> Result<(Self, usize), DecodeError> {
        let mut fields = Fields(bytes);
        let agency = fields.u32()?;
        let count = fields.u8()?;
        Ok((Self { form, agency, count, left: count, rows: Ok(Rows::default()) }, HEADER))
    }

    /// The number of bets that the message announced.
    pub fn count(&self) -> u8 {
        self.count
    }

    /// Decodes the complete bets at the front of `bytes` into rows. Returns their length in bytes. The first invalid bet
    /// becomes the defect of the batch, which [`Arriving::finish`] returns.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] if a text has no NUL within its greatest length.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        if let Ok(rows) = &mut self.rows {
            rows.reserve(bytes.len().min(usize::from(self.left) * USUAL_ROW));
        }
        let mut fields = Fields(bytes);
        while self.left > 0 {
            if self.take_plain(&mut fields).is_some() {
                continue;
            }
            let before = fields;
            match decode_bet(&mut fields, self.agency) {
                Ok(bet) => self.add(bet),
                Err(DecodeError::Incomplete) => return Ok(bytes.len() - before.0.len()),
                Err(malformed) => return Err(malformed),
            }
        }
        Ok(bytes.len() - fields.0.len())
    }

    /// The request, once [`Arriving::take`] has decoded all bets; `None` before. A typed batch without bets is
    /// [`Request::End`].
    pub fn finish(&mut self) -> Option<Request> {
        if self.left > 0 {
            return None;
        }
        let (form, agency, count) = (self.form, self.agency, self.count);
        if form == Form::TypedBatch && count == 0 {
            return Some(Request::End { agency });
        }
        let rows = std::mem::replace(&mut self.rows, Ok(Rows::default()));
        Some(Request::Bets { form, agency, count, rows })
    }

    /// The fast path: decodes a valid bet with plain names at the front of `fields`, and removes it from them. `None`
    /// changes nothing, and leaves the decision to [`decode_bet`].
    fn take_plain(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let (Ok(rows), agency) = (&mut self.rows, AgencyId::new(self.agency)?) else { return None };
        let mut ahead = *fields;
        let [first_name, last_name] = [ahead.plain_name(MAX_NAME)?, ahead.plain_name(MAX_NAME)?];
        let document = ahead.u32().ok()?;
        let (date, 0) = (ahead.bytes(Birthdate::LEN).ok()?, ahead.u8().ok()?) else { return None };
        let birthdate = Birthdate::parse(date)?;
        rows.push_plain(&Bet { agency, first_name, last_name, document, birthdate, number: ahead.u32().ok()? });
        *fields = ahead;
        self.left -= 1;
        Some(())
    }

    fn add(&mut self, bet: Result<Bet<'_>, InvalidBet>) {
        self.left -= 1;
        match (&mut self.rows, bet) {
            (Ok(rows), Ok(bet)) => rows.push(&bet),
            (Ok(_), Err(defect)) => self.rows = Err(defect),
            (Err(_), _) => {}
        }
    }
}

/// Decodes one bet and removes it from `fields`. The outer error means that the bytes are not a complete bet; then
/// `fields` is unchanged. The inner error means that the bet is complete but invalid.
fn decode_bet<'a>(fields: &mut Fields<'a>, agency: u32) -> Result<Result<Bet<'a>, InvalidBet>, DecodeError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As [`Arriving::take`] with all bytes, by the general code only.
    fn take_slowly(bytes: &[u8], agency: u32, count: u8) -> (Result<Rows, InvalidBet>, Option<DecodeError>) {
        let (mut fields, mut rows) = (Fields(bytes), Ok(Rows::default()));
        for _ in 0..count {
            match (decode_bet(&mut fields, agency), &mut rows) {
                (Ok(Ok(bet)), Ok(rows)) => rows.push(&bet),
                (Ok(Err(defect)), Ok(_)) => rows = Err(defect),
                (Ok(_), Err(_)) => {}
                (Err(e), _) => return (rows, Some(e)),
            }
        }
        (rows, None)
    }

    prop_compose! {
        /// The bytes of a bet: usually plain, sometimes with one defect.
        fn any_bet()(
            names in proptest::array::uniform2(prop_oneof![
                4 => "[A-Za-záéñ ]{1,15}", 1 => "[a-z]{27,31}", 1 => "[ñ\",€\u{85}a]{0,12}",
            ]),
            document: u32,
            date in prop_oneof![9 => "(19|20)[0-9]{2}-0[1-9]-[0-2][1-8]", 1 => "[0-9-]{8,12}"],
            number: u32,
        ) -> Vec<u8> {
            let texts = names.iter().flat_map(|name| [name.as_bytes(), b"\0"].concat());
            let date = [date.as_bytes(), b"\0"].concat();
            texts.chain(document.to_be_bytes()).chain(date).chain(number.to_be_bytes()).collect()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn fast_path_decodes_what_the_general_code_decodes(
            bets in prop::collection::vec(any_bet(), 1..6), agency in 0..3_u32, cut: prop::sample::Index, damage in prop::option::of(any::<(prop::sample::Index, u8)>()),
        ) {
            let count = u8::try_from(bets.len()).unwrap();
            let mut bytes = bets.concat();
            if let Some((at, byte)) = damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let mut arriving = Arriving { form: Form::TypedBatch, agency, count, left: count, rows: Ok(Rows::default()) };
            let cut = cut.index(bytes.len());
            let in_two_pieces = arriving.take(&bytes[..cut]).and_then(|taken| arriving.take(&bytes[taken..]));
            let (rows, defect) = take_slowly(&bytes, agency, count);
            match defect {
                Some(DecodeError::Malformed(_)) => prop_assert_eq!(in_two_pieces, Err(defect.unwrap())),
                incomplete => prop_assert_eq!((in_two_pieces.is_ok(), arriving.left > 0), (true, incomplete.is_some())),
            }
            prop_assert_eq!(arriving.rows, rows);
        }
    }
}
