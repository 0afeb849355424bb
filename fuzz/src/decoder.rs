//! The protocol: the incremental decoder against the page, at any cuts, within its memory; and answers there and back.
//!
//! Input: a byte whose low half says how many bytes of piece lengths follow; these; the stream.

use loteria::bet::AgencyId;
use loteria::protocol::decoder::{BUFFER, Decoder};
use loteria::protocol::{Answer, DecodeError, Form, Generation, Malformed, Request, batch, single, typed};

use super::Memory;
use super::oracle::{answers, page};

/// Besides the buffer, whatever has arrived: the decoder's own fields, and room for the few requests of a short stream.
const SLACK: usize = 4096;
/// Bytes of requests in memory per byte that was sent. The worst are queries of five bytes in a vector that has just
/// doubled.
const PER_BYTE: usize = 64;
/// Cuts at which the page is read up to there: it takes time that grows with the square.
const CUTS: usize = 32;
/// Longer pieces than the lengths that a byte has.
const LONG: (u8, usize) = (200, 150);

type Said = (Vec<Request>, Option<Malformed>);

/// Judges one input.
pub fn check(input: &[u8], memory: &Memory) {
    let Some((&first, rest)) = input.split_first() else { return };
    let (lengths, stream) = rest.split_at(rest.len().min(usize::from(first & 0x0f)));
    let pieces: Vec<usize> = lengths.iter().map(|&byte| piece(byte)).collect();
    let said = page::reference(stream);
    for pieces in [&pieces[..], &[], &[1]] {
        assert_eq!(deliver(stream, pieces, |_, _, _| ()), said, "in pieces of {pieces:?}");
        if pieces.len() != 1 || stream.len() <= CUTS {
            nothing_is_waited_for(stream, pieces);
        }
    }
    memory_is_what_was_sent(stream, &pieces, memory);
    end_of_stream(stream);
    what_was_understood_is_what_would_be_sent(stream, &said.0);
    answers_are_those_of_the_page(stream, memory);
}

fn piece(byte: u8) -> usize {
    match byte.checked_sub(LONG.0) {
        None => usize::from(byte) + 1,
        Some(more) => (usize::from(more) + 1) * LONG.1,
    }
}

/// What the decoder says of `stream` in pieces of these lengths, over and over; all at once without any. `look` is shown
/// it after each piece.
fn deliver(stream: &[u8], pieces: &[usize], mut look: impl FnMut(usize, &Decoder, &Said)) -> Said {
    let mut decoder = Decoder::new();
    let mut said = (Vec::new(), None);
    let mut sent = 0;
    let mut lengths = pieces.iter().cycle();
    while sent < stream.len() && said.1.is_none() {
        let space = decoder.space();
        assert!(!space.is_empty(), "an empty read looks like the end of the stream");
        let len = lengths.next().copied().unwrap_or(usize::MAX).min(space.len()).min(stream.len() - sent);
        space[..len].copy_from_slice(&stream[sent..sent + len]);
        decoder.filled(len);
        sent += len;
        ask(&mut decoder, &mut said);
        look(sent, &decoder, &said);
    }
    said
}

fn ask(decoder: &mut Decoder, said: &mut Said) {
    loop {
        match decoder.next_request() {
            Ok(Some(request)) => said.0.push(request),
            Ok(None) => break,
            Err(malformed) => {
                assert_eq!(decoder.next_request(), Err(malformed), "nothing mends it");
                said.1 = Some(malformed);
                break;
            }
        }
    }
}

/// Whatever the bytes so far say is said, not only when more arrive.
fn nothing_is_waited_for(stream: &[u8], pieces: &[usize]) {
    let mut cuts = 0;
    deliver(stream, pieces, |sent, decoder, said| {
        cuts += 1;
        if cuts <= CUTS {
            let expected = page::reference(&stream[..sent]);
            assert_eq!((said.0.len(), said.1), (expected.0.len(), expected.1), "after {sent} bytes");
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

fn memory_is_what_was_sent(stream: &[u8], pieces: &[usize], memory: &Memory) {
    let before = (memory.restart)();
    deliver(stream, pieces, |sent, _, _| {
        let used = (memory.peak)().saturating_sub(before);
        assert!(used <= BUFFER + SLACK + PER_BYTE * sent, "{used} bytes of memory after {sent} bytes");
    });
}

/// It closes an echo, and nothing else.
fn end_of_stream(stream: &[u8]) {
    let mut decoder = Decoder::new();
    let space = decoder.space();
    let len = stream.len().min(space.len());
    space[..len].copy_from_slice(&stream[..len]);
    decoder.filled(len);
    let mut said = (Vec::new(), None);
    ask(&mut decoder, &mut said);
    if said.1.is_some() {
        return;
    }
    let open_echo = stream.first().is_some_and(|&first| generation(first) == Generation::Echo) && said.0.is_empty();
    let expected = match open_echo {
        true => match page::reference(&[&stream[..len], b"\n"].concat()) {
            (mut requests, None) => Ok(requests.pop()),
            (_, Some(malformed)) => Err(malformed),
        },
        false => Ok(None),
    };
    assert_eq!(decoder.end_of_stream(), expected);
}

/// Valid requests are the bytes that a client sends for them, one behind the other.
fn what_was_understood_is_what_would_be_sent(stream: &[u8], requests: &[Request]) {
    let mut rest = stream;
    for message in requests.iter().map_while(encode) {
        let Some(behind) = rest.strip_prefix(&message[..]) else {
            panic!("{message:?} is not at the front of {rest:?}")
        };
        rest = behind;
    }
}

fn encode(request: &Request) -> Option<Vec<u8>> {
    match request {
        Request::Echo(_) => None,
        Request::Bets { form, agency, bets, .. } => {
            let (agency, bets) = (AgencyId::new(*agency)?, bets.as_ref().ok()?);
            match form {
                Form::Single => single::encode(bets.first()?),
                Form::UntypedBatch => Some(batch::encode(agency, bets)),
                Form::TypedBatch => Some(typed::encode_batch(agency, bets)),
            }
        }
        Request::End { agency } => Some(typed::encode_batch(AgencyId::new(*agency)?, &[])),
        Request::Winners { agency } => Some(typed::encode_winners_query(AgencyId::new(*agency)?)),
        Request::Tally { agency } => Some(typed::encode_tally_query(AgencyId::new(*agency)?)),
    }
}

/// The same bytes as a server's: read as by the page, from every beginning of them, and written back.
fn answers_are_those_of_the_page(mut stream: &[u8], memory: &Memory) {
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
        assert_eq!(typed::decode_answer(&answer.encode(Generation::Typed)), Ok((answer.clone(), len)));
        // Any byte but 1 says that the agency has not ended: only 0 is sent.
        if !matches!(answer, Answer::Tally { ended: false, .. }) {
            assert_eq!(answer.encode(Generation::Typed), &stream[..len]);
        }
        stream = &stream[len..];
    }
}
