//! Exercises 7 and 8: `u8 type`, then the body of that type. Requests and answers, each encoded beside its decoder.

use super::answer::{Answer, AnswerStart};
use super::batch::{self, Batch, Growing};
use super::code::Code;
use super::fields::{DecodeError, Fields};
use super::generation::Form;
use super::malformed::Malformed;
use super::request::Request;
use crate::bet::AgencyId;
use crate::row::Tally;

/// The type bytes. 6 and 7 extend the assignment's protocol.
const ENVIO_BATCH: u8 = 1;
const CONFIRMACION_RECEPCION: u8 = 2;
const SOLICITUD_GANADORES: u8 = 3;
const SORTEO_NO_REALIZADO: u8 = 4;
const RESPUESTA_GANADORES: u8 = 5;
const CONSULTA_RECIBIDAS: u8 = 6;
const RECIBIDAS: u8 = 7;

/// Bytes of a winner's document in type 5.
pub const DOCUMENT: usize = size_of::<u32>();

/// Bytes of type, agency and count, before the bets of a typed batch.
pub const BATCH_HEADER: usize = 1 + batch::HEADER;

/// Type 1. A batch without bets states the end of the agency.
pub fn encode_batch(agency: AgencyId, batch: Batch<'_>) -> Vec<u8> {
    let mut message = Vec::with_capacity(1 + batch.encoded_len());
    message.push(ENVIO_BATCH);
    batch::encode_into(&mut message, agency, batch);
    message
}

/// Starts a batch, type 1, at the end of `messages`.
pub fn start_batch(messages: &mut Vec<u8>, agency: AgencyId) -> Growing<'_> {
    Growing::start(messages, &[ENVIO_BATCH], agency)
}

/// Type 1 with count 0: the agency has sent all its bets.
pub fn encode_end(agency: AgencyId) -> Vec<u8> {
    let mut message = typed_u32(ENVIO_BATCH, agency.get());
    message.push(0);
    message
}

/// Type 3: the query for the agency's winners.
pub fn encode_winners_query(agency: AgencyId) -> Vec<u8> {
    typed_u32(SOLICITUD_GANADORES, agency.get())
}

/// Type 6: the query for the agency's tally.
pub fn encode_tally_query(agency: AgencyId) -> Vec<u8> {
    typed_u32(CONSULTA_RECIBIDAS, agency.get())
}

/// The first thing in the received bytes, on the server's side.
#[derive(Debug)]
pub enum Front {
    /// A whole request.
    Request(Request),
    /// The header of a batch, whose bets follow.
    Batch(batch::Arriving),
}

/// The request at the front of `bytes`, and the number of bytes taken.
///
/// # Errors
/// [`DecodeError::Incomplete`]; [`Malformed::UnknownType`]; [`Malformed::WrongDirection`] for types that only a server
/// sends.
pub fn decode_request(bytes: &[u8]) -> Result<(Front, usize), DecodeError> {
    let mut fields = Fields(bytes);
    let front = match fields.u8()? {
        ENVIO_BATCH => {
            let (arriving, len) = batch::Arriving::start(Form::TypedBatch, fields.0)?;
            fields.bytes(len)?;
            Front::Batch(arriving)
        }
        SOLICITUD_GANADORES => Front::Request(Request::Winners { agency: fields.u32()? }),
        CONSULTA_RECIBIDAS => Front::Request(Request::Tally { agency: fields.u32()? }),
        other @ (CONFIRMACION_RECEPCION | SORTEO_NO_REALIZADO | RESPUESTA_GANADORES | RECIBIDAS) => {
            return Err(DecodeError::Malformed(Malformed::WrongDirection(other)));
        }
        other => return Err(DecodeError::Malformed(Malformed::UnknownType(other))),
    };
    Ok((front, bytes.len() - fields.0.len()))
}

/// The message of an answer; empty for an echo, which has no typed form.
pub fn encode_answer(answer: &Answer) -> Vec<u8> {
    match answer {
        Answer::Echo(_) => Vec::new(),
        Answer::Confirmation(result) => vec![CONFIRMACION_RECEPCION, Code::byte(*result)],
        Answer::NotDrawn => vec![SORTEO_NO_REALIZADO],
        Answer::Winners(documents) => {
            let count =
                u32::try_from(documents.len()).expect("the file `draw` counts the winners of an agency in 32 bits");
            let mut message = typed_u32(RESPUESTA_GANADORES, count);
            message.reserve_exact(documents.len() * DOCUMENT);
            message.extend(documents.iter().flat_map(|document| document.to_be_bytes()));
            message
        }
        Answer::Tally { agency, tally, ended } => {
            let mut message = typed_u32(RECIBIDAS, *agency);
            message.extend(tally.count.to_be_bytes());
            message.push(u8::from(*ended));
            message.extend(tally.crc.to_be_bytes());
            message
        }
    }
}

/// The whole answer at the front of `bytes`, and its length.
///
/// # Errors
/// [`DecodeError::Incomplete`]; [`Malformed::UnknownType`]; [`Malformed::WrongDirection`] for types that only a client
/// sends; [`Malformed::UnknownCode`].
pub fn decode_answer(bytes: &[u8]) -> Result<(Answer, usize), DecodeError> {
    decode_with(bytes, |count, fields| {
        let len = usize::try_from(count).ok().and_then(|count| count.checked_mul(DOCUMENT));
        let mut documents = Fields(fields.bytes(len.ok_or(DecodeError::Incomplete)?)?);
        (0..count).map(|_| documents.u32()).collect()
    })
}

/// As [`decode_answer`], but type 5 is decoded only up to its count. The documents follow, [`DOCUMENT`] bytes each. So a
/// client needs no memory for them, and sees a count that cannot be true before they arrive.
///
/// # Errors
/// As [`decode_answer`].
pub fn decode_answer_start(bytes: &[u8]) -> Result<(AnswerStart, usize), DecodeError> {
    decode_with(bytes, |count, _| Ok(count))
}

/// Decodes an answer. `winners` takes the content of type 5 after its count.
fn decode_with<W>(
    bytes: &[u8],
    winners: impl FnOnce(u32, &mut Fields<'_>) -> Result<W, DecodeError>,
) -> Result<(Answer<W>, usize), DecodeError> {
    let mut fields = Fields(bytes);
    let answer = match fields.u8()? {
        CONFIRMACION_RECEPCION => {
            let byte = fields.u8()?;
            let unknown = DecodeError::Malformed(Malformed::UnknownCode(byte));
            Answer::Confirmation(Code::from_byte(byte).ok_or(unknown)?)
        }
        SORTEO_NO_REALIZADO => Answer::NotDrawn,
        RESPUESTA_GANADORES => {
            let count = fields.u32()?;
            Answer::Winners(winners(count, &mut fields)?)
        }
        RECIBIDAS => {
            let agency = fields.u32()?;
            let count = fields.u64()?;
            let ended = fields.u8()? == 1;
            Answer::Tally { agency, tally: Tally { count, crc: fields.u32()? }, ended }
        }
        other @ (ENVIO_BATCH | SOLICITUD_GANADORES | CONSULTA_RECIBIDAS) => {
            return Err(DecodeError::Malformed(Malformed::WrongDirection(other)));
        }
        other => return Err(DecodeError::Malformed(Malformed::UnknownType(other))),
    };
    Ok((answer, bytes.len() - fields.0.len()))
}

fn typed_u32(kind: u8, number: u32) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend(number.to_be_bytes());
    message
}
