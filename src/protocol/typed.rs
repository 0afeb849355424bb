//! Exercises 7 and 8: `u8 type`, then the body of that type. Requests and answers, each encoded beside its decoder.

use super::wire::Fields;
use super::{Answer, Code, Form, Holding, Malformed, Request, Stop, batch};
use crate::bet::{AgencyId, Bet};

/// The type bytes. 6 and 7 are this project's extension.
const ENVIO_BATCH: u8 = 1;
const CONFIRMACION_RECEPCION: u8 = 2;
const SOLICITUD_GANADORES: u8 = 3;
const SORTEO_NO_REALIZADO: u8 = 4;
const RESPUESTA_GANADORES: u8 = 5;
const CONSULTA_RECIBIDAS: u8 = 6;
const RECIBIDAS: u8 = 7;

/// Bytes in front of the bets of a typed batch: type, agency, count.
pub const BATCH_HEADER: usize = 1 + batch::HEADER;

/// Type 1 with at most 255 bets; with none it tells that the agency has sent all.
pub fn encode_batch(agency: AgencyId, bets: &[Bet]) -> Vec<u8> {
    let mut message = Vec::with_capacity(BATCH_HEADER + bets.iter().map(batch::encoded_len).sum::<usize>());
    encode_batch_into(&mut message, agency, bets);
    message
}

/// The same, at the end of `messages`.
pub fn encode_batch_into(messages: &mut Vec<u8>, agency: AgencyId, bets: &[Bet]) {
    messages.push(ENVIO_BATCH);
    batch::encode_into(messages, agency, bets);
}

/// Type 3: which bets have won?
pub fn encode_winners_query(agency: AgencyId) -> Vec<u8> {
    typed_u32(SOLICITUD_GANADORES, agency.get())
}

/// Type 6: which bets are stored?
pub fn encode_received_query(agency: AgencyId) -> Vec<u8> {
    typed_u32(CONSULTA_RECIBIDAS, agency.get())
}

/// What the front of the bytes is, on the server's side.
#[derive(Debug)]
pub enum Front {
    /// A whole request.
    Request(Request),
    /// The beginning of a batch, whose bets follow.
    Batch(batch::Arriving),
}

/// The request at the front of `bytes`, and the length of what was taken.
///
/// # Errors
/// [`Stop`], with [`Malformed::UnknownType`] or [`Malformed::WrongDirection`].
pub fn decode_request(bytes: &[u8]) -> Result<(Front, usize), Stop> {
    let mut fields = Fields(bytes);
    let front = match fields.u8()? {
        ENVIO_BATCH => {
            let (arriving, len) = batch::Arriving::start(Form::TypedBatch, fields.0)?;
            fields.bytes(len)?;
            Front::Batch(arriving)
        }
        SOLICITUD_GANADORES => Front::Request(Request::Winners { agency: fields.u32()? }),
        CONSULTA_RECIBIDAS => Front::Request(Request::Received { agency: fields.u32()? }),
        other @ (CONFIRMACION_RECEPCION | SORTEO_NO_REALIZADO | RESPUESTA_GANADORES | RECIBIDAS) => {
            return Err(Stop::Malformed(Malformed::WrongDirection(other)));
        }
        other => return Err(Stop::Malformed(Malformed::UnknownType(other))),
    };
    Ok((front, bytes.len() - fields.0.len()))
}

/// The message of an answer; nothing for an echo, which has none.
pub fn encode_answer(answer: &Answer) -> Vec<u8> {
    match answer {
        Answer::Echo(_) => Vec::new(),
        Answer::Confirmation(result) => vec![CONFIRMACION_RECEPCION, Code::byte(*result)],
        Answer::NotDrawn => vec![SORTEO_NO_REALIZADO],
        Answer::Winners(documents) => {
            let count = u32::try_from(documents.len()).unwrap_or(u32::MAX);
            let mut message = typed_u32(RESPUESTA_GANADORES, count);
            message.reserve_exact(documents.len() * size_of::<u32>());
            message.extend(documents.iter().flat_map(|document| document.to_be_bytes()));
            message
        }
        Answer::Received { agency, holding, ended } => {
            let mut message = typed_u32(RECIBIDAS, *agency);
            message.extend(holding.count.to_be_bytes());
            message.push(u8::from(*ended));
            message.extend(holding.crc.to_be_bytes());
            message
        }
    }
}

/// The answer at the front of `bytes`, and its length.
///
/// # Errors
/// [`Stop`], with [`Malformed::UnknownType`], [`Malformed::WrongDirection`] or [`Malformed::UnknownCode`].
pub fn decode_answer(bytes: &[u8]) -> Result<(Answer, usize), Stop> {
    let mut fields = Fields(bytes);
    let answer = match fields.u8()? {
        CONFIRMACION_RECEPCION => {
            let byte = fields.u8()?;
            Answer::Confirmation(Code::from_byte(byte).ok_or(Stop::Malformed(Malformed::UnknownCode(byte)))?)
        }
        SORTEO_NO_REALIZADO => Answer::NotDrawn,
        RESPUESTA_GANADORES => {
            let count = fields.u32()?;
            let len = usize::try_from(count).ok().and_then(|count| count.checked_mul(size_of::<u32>()));
            let mut documents = Fields(fields.bytes(len.ok_or(Stop::Incomplete)?)?);
            Answer::Winners((0..count).map(|_| documents.u32()).collect::<Result<_, _>>()?)
        }
        RECIBIDAS => {
            let agency = fields.u32()?;
            let count = fields.u64()?;
            let ended = fields.u8()? == 1;
            Answer::Received { agency, holding: Holding { count, crc: fields.u32()? }, ended }
        }
        other @ (ENVIO_BATCH | SOLICITUD_GANADORES | CONSULTA_RECIBIDAS) => {
            return Err(Stop::Malformed(Malformed::WrongDirection(other)));
        }
        other => return Err(Stop::Malformed(Malformed::UnknownType(other))),
    };
    Ok((answer, bytes.len() - fields.0.len()))
}

fn typed_u32(kind: u8, number: u32) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend(number.to_be_bytes());
    message
}
