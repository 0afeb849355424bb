//! Exercise 5, one bet a connection:
//! `u32 agency | pstr first_name | pstr last_name | u32 document | pstr birthdate | u32 number` → `u8 result`.

use super::fields::{DecodeError, Fields};
use super::generation::Form;
use super::request::Request;
use crate::bet::{AgencyId, Bet, InvalidBet};

/// The message of one bet. `None` if a name has more than 255 bytes.
pub fn encode(bet: &Bet) -> Option<Vec<u8>> {
    let mut message = bet.agency.get().to_be_bytes().to_vec();
    push_pstr(&mut message, &bet.first_name)?;
    push_pstr(&mut message, &bet.last_name)?;
    message.extend(bet.document.to_be_bytes());
    push_pstr(&mut message, bet.birthdate.as_str())?;
    message.extend(bet.number.to_be_bytes());
    Some(message)
}

/// The request at the front of `bytes`. A bet may be invalid; no bytes are malformed in this form.
///
/// # Errors
/// [`DecodeError::Incomplete`].
pub fn decode(bytes: &[u8]) -> Result<Request, DecodeError> {
    let mut fields = Fields(bytes);
    let agency = fields.u32()?;
    let names = [fields.pstr()?, fields.pstr()?];
    let document = fields.u32()?;
    let birthdate = fields.pstr()?;
    let number = fields.u32()?;
    let bets = AgencyId::new(agency)
        .ok_or(InvalidBet::Number("agency"))
        .and_then(|agency| Bet::new(agency, names, document, birthdate, number))
        .map(|bet| vec![bet]);
    Ok(Request::Bets { form: Form::Single, agency, count: 1, bets })
}

fn push_pstr(message: &mut Vec<u8>, text: &str) -> Option<()> {
    message.push(text.len().try_into().ok()?);
    message.extend(text.as_bytes());
    Some(())
}
