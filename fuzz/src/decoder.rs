//! The protocol: compares the incremental decoder with the reference in `page`, for any split of the stream, and checks
//! its memory. Also decodes the stream as answers, and encodes them again.
//!
//! Input: a byte whose low half is the number of piece lengths; the piece lengths, one byte each; the stream.

use loteria::bet::AgencyId;
use loteria::protocol::batch::Batch;
use loteria::protocol::decoder::{BUFFER, Decoder};
use loteria::protocol::{Answer, DecodeError, Form, Generation, Malformed, Request, batch, encoder, single, typed};

use super::Memory;
use super::oracle::{answers, page};

/// Memory besides the buffer, for any stream: the decoder's own fields, and the few requests of a short stream.
const SLACK: usize = 4096;
/// Bytes of memory for requests per byte of the stream. The worst case is queries of five bytes in a vector that has
/// just doubled its capacity.
const PER_BYTE: usize = 64;
/// Number of cuts at which the reference reads the stream so far. Its time grows with the square of this number.
const CUTS: usize = 32;
/// A length byte from the first number on stands for a multiple of the second number, to allow pieces above 256 bytes.
const LONG: (u8, usize) = (200, 150);

/// The requests of a stream, and the defect after them.
type Decoded = (Vec<Request>, Option<Malformed>);

/// Checks one input.
pub fn check(input: &[u8], memory: &Memory) {
    let Some((&first, rest)) = input.split_first() else { return };
    let (lengths, stream) = rest.split_at(rest.len().min(usize::from(first & 0x0f)));
    let pieces: Vec<usize> = lengths.iter().map(|&byte| piece(byte)).collect();
    let expected = page::reference(stream);
    for pieces in [&pieces[..], &[], &[1]] {
        assert_eq!(deliver(stream, pieces, |_, _, _| ()), expected, "in pieces of {pieces:?}");
        if pieces.len() != 1 || stream.len() <= CUTS {
            requests_are_returned_at_once(stream, pieces);
        }
    }
    memory_is_bounded(stream, &pieces, memory);
    end_of_stream(stream);
    requests_encode_to_the_stream(stream, &expected.0);
    answers_are_those_of_the_reference(stream, memory);
}

fn piece(byte: u8) -> usize {
    match byte.checked_sub(LONG.0) {
        None => usize::from(byte) + 1,
        Some(more) => (usize::from(more) + 1) * LONG.1,
    }
}

/// Decodes `stream`, delivered in pieces of these lengths in turn, or at once if there are no lengths. Calls `inspect`
/// after each piece with the number of delivered bytes.
fn deliver(stream: &[u8], pieces: &[usize], mut inspect: impl FnMut(usize, &Decoder, &Decoded)) -> Decoded {
    let mut decoder = Decoder::new();
    let mut decoded = (Vec::new(), None);
    let mut sent = 0;
    let mut lengths = pieces.iter().cycle();
    while sent < stream.len() && decoded.1.is_none() {
        let space = decoder.space();
        assert!(!space.is_empty(), "an empty read looks like the end of the stream");
        let len = lengths.next().copied().unwrap_or(usize::MAX).min(space.len()).min(stream.len() - sent);
        space[..len].copy_from_slice(&stream[sent..sent + len]);
        decoder.filled(len);
        sent += len;
        decode_all(&mut decoder, &mut decoded);
        inspect(sent, &decoder, &decoded);
    }
    decoded
}

/// Takes all requests that the decoder can return now.
fn decode_all(decoder: &mut Decoder, decoded: &mut Decoded) {
    loop {
        match decoder.next_request() {
            Ok(Some(request)) => decoded.0.push(request),
            Ok(None) => break,
            Err(malformed) => {
                assert_eq!(decoder.next_request(), Err(malformed), "a defect stays");
                decoded.1 = Some(malformed);
                break;
            }
        }
    }
}

/// The decoder returns each request as soon as its bytes have arrived, not only when more bytes arrive.
fn requests_are_returned_at_once(stream: &[u8], pieces: &[usize]) {
    let mut cuts = 0;
    deliver(stream, pieces, |sent, decoder, decoded| {
        cuts += 1;
        if cuts <= CUTS {
            let expected = page::reference(&stream[..sent]);
            assert_eq!((decoded.0.len(), decoded.1), (expected.0.len(), expected.1), "after {sent} bytes");
            assert_eq!(decoder.generation(), Some(generation(stream[0])));
        }
    });
}

fn generation(first: u8) -> Generation {
    match first {
        0 => Generation::Untyped,
        0x01..=0x1f => Generation::Typed,
        _ => Generation::Echo,
    }
}

fn memory_is_bounded(stream: &[u8], pieces: &[usize], memory: &Memory) {
    let before = (memory.restart)();
    deliver(stream, pieces, |sent, _, _| {
        let used = (memory.peak)().saturating_sub(before);
        assert!(used <= BUFFER + SLACK + PER_BYTE * sent, "{used} bytes of memory after {sent} bytes");
    });
}

/// The end of the stream completes an echo, and no other request.
fn end_of_stream(stream: &[u8]) {
    let mut decoder = Decoder::new();
    let space = decoder.space();
    let len = stream.len().min(space.len());
    space[..len].copy_from_slice(&stream[..len]);
    decoder.filled(len);
    let mut decoded = (Vec::new(), None);
    decode_all(&mut decoder, &mut decoded);
    if decoded.1.is_some() {
        return;
    }
    let open_echo = stream.first().is_some_and(|&first| generation(first) == Generation::Echo) && decoded.0.is_empty();
    let expected = match open_echo {
        true => match page::reference(&[&stream[..len], b"\n"].concat()) {
            (mut requests, None) => Ok(requests.pop()),
            (_, Some(malformed)) => Err(malformed),
        },
        false => Ok(None),
    };
    assert_eq!(decoder.end_of_stream(), expected);
}

/// The stream consists of the bytes that a client sends for the valid requests, in order.
fn requests_encode_to_the_stream(stream: &[u8], requests: &[Request]) {
    let mut rest = stream;
    for message in requests.iter().map_while(encode) {
        let Some(after) = rest.strip_prefix(&message[..]) else {
            panic!("{message:?} is not at the start of {rest:?}")
        };
        rest = after;
    }
}

fn encode(request: &Request) -> Option<Vec<u8>> {
    match request {
        Request::Echo(_) => None,
        Request::Bets { form, agency, rows, .. } => {
            let (agency, rows) = (AgencyId::new(*agency)?, rows.as_ref().ok()?);
            let bets: Vec<_> = rows.bets().collect();
            match form {
                Form::Single => single::encode(bets.first()?),
                Form::UntypedBatch => Some(batch::encode(agency, Batch::new(&bets).unwrap())),
                Form::TypedBatch => Some(typed::encode_batch(agency, Batch::new(&bets).unwrap())),
            }
        }
        Request::End { agency } => Some(typed::encode_end(AgencyId::new(*agency)?)),
        Request::Winners { agency } => Some(typed::encode_winners_query(AgencyId::new(*agency)?)),
        Request::Tally { agency } => Some(typed::encode_tally_query(AgencyId::new(*agency)?)),
    }
}

/// Decodes the same bytes as a server's answers, as the reference does, also if they are cut; and encodes them again.
fn answers_are_those_of_the_reference(mut stream: &[u8], memory: &Memory) {
    loop {
        let expected = answers::read(stream);
        let before = (memory.restart)();
        let read = typed::decode_answer(stream);
        let used = (memory.peak)().saturating_sub(before);
        assert!(used <= SLACK + PER_BYTE * stream.len(), "{used} bytes of memory for {} bytes", stream.len());
        assert_eq!(read, expected);
        let Ok((answer, len)) = read else { break };
        for cut in (0..len).take(CUTS).chain([len - 1]) {
            assert_eq!(typed::decode_answer(&stream[..cut]), Err(DecodeError::Incomplete));
        }
        assert_eq!(typed::decode_answer(&encoder::encode(&answer, Generation::Typed)), Ok((answer.clone(), len)));
        // Every byte except 1 means that the agency has not ended. The encoder writes 0.
        if !matches!(answer, Answer::Tally { ended: false, .. }) {
            assert_eq!(encoder::encode(&answer, Generation::Typed), &stream[..len]);
        }
        stream = &stream[len..];
    }
}
