//! The server's typed answers, by the table of `docs/protocol.md`. Reads from all bytes at once.

use loteria::protocol::{Answer, Code, DecodeError, Malformed};
use loteria::row::Tally;

use super::numbers::number;

/// The answer at the start of `bytes`, and its length.
pub fn read(bytes: &[u8]) -> Result<(Answer, usize), DecodeError> {
    let word = |at: usize| u32::try_from(number(&bytes[at..at + 4])).unwrap();
    let needs = |len: usize| if bytes.len() < len { Err(DecodeError::Incomplete) } else { Ok(len) };
    needs(1)?;
    match bytes[0] {
        2 => Ok((Answer::Confirmation(confirmation(bytes[needs(2)? - 1])?), 2)),
        4 => Ok((Answer::NotDrawn, 1)),
        5 => {
            needs(5)?;
            let len = needs(5 + 4 * word(1) as usize)?;
            Ok((Answer::Winners((5..len).step_by(4).map(word).collect()), len))
        }
        7 => {
            let len = needs(1 + 4 + 8 + 1 + 4)?;
            let tally = Tally { count: number(&bytes[5..13]), crc: word(14) };
            Ok((Answer::Tally { agency: word(1), tally, ended: bytes[13] == 1 }, len))
        }
        client @ (1 | 3 | 6) => Err(DecodeError::Malformed(Malformed::WrongDirection(client))),
        unknown => Err(DecodeError::Malformed(Malformed::UnknownType(unknown))),
    }
}

fn confirmation(byte: u8) -> Result<Result<(), Code>, DecodeError> {
    let code = match byte {
        0 => return Ok(Ok(())),
        1 => Code::InvalidBet,
        2 => Code::UnknownAgency,
        3 => Code::AlreadyEnded,
        4 => Code::StorageFailed,
        5 => Code::ConnectedElsewhere,
        6 => Code::ProtocolBroken,
        7 => Code::Stopping,
        unknown => return Err(DecodeError::Malformed(Malformed::UnknownCode(unknown))),
    };
    Ok(Err(code))
}
