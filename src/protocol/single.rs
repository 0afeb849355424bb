//! Exercise 5, one bet per connection:
//! `u32 agency | pstr first_name | pstr last_name | u32 document | pstr birthdate | u32 number` → `u8 result`.
//! `pstr` is one length byte and then the bytes of a text.
//!
//! Used by the decoder and by the agency. Knows no socket.

use super::fields::{DecodeError, Fields};
use super::generation::Form;
use super::request::Request;
use crate::bet::{AgencyId, Bet, InvalidBet};
use crate::row::Rows;

/// Encodes the whole message. Returns `None` if a name has more than 255 bytes.
pub fn encode(bet: &Bet<'_>) -> Option<Vec<u8>> {
    let mut message = bet.agency.get().to_be_bytes().to_vec();
    push_pstr(&mut message, bet.first_name.as_bytes())?;
    push_pstr(&mut message, bet.last_name.as_bytes())?;
    message.extend(bet.document.to_be_bytes());
    push_pstr(&mut message, bet.birthdate.bytes())?;
    message.extend(bet.number.to_be_bytes());
    Some(message)
}

/// Decodes the request at the front of `bytes`. The request holds the row of the bet, or the defect that makes it invalid.
///
/// # Errors
/// [`DecodeError::Incomplete`] if the message has not arrived completely. Never [`DecodeError::Malformed`]: any bytes
/// can be the beginning of this message.
pub fn decode(bytes: &[u8]) -> Result<Request, DecodeError> {
    let mut fields = Fields(bytes);
    let agency = fields.u32()?;
    let names = [fields.pstr()?, fields.pstr()?];
    let document = fields.u32()?;
    let birthdate = fields.pstr()?;
    let number = fields.u32()?;
    let rows = AgencyId::new(agency)
        .ok_or(InvalidBet::Number("agency"))
        .and_then(|agency| Bet::new(agency, names, document, birthdate, number))
        .map(|bet| Rows::from_iter([&bet]));
    Ok(Request::Bets { form: Form::Single, agency, count: 1, rows })
}

/// Appends `text` as a `pstr`. Returns `None` if it has more than 255 bytes.
fn push_pstr(message: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    message.push(text.len().try_into().ok()?);
    message.extend_from_slice(text);
    Some(())
}
