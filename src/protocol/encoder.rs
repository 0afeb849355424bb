//! The server's side of a connection, outwards: the bytes of an answer.

use super::answer::Answer;
use super::code::Code;
use super::generation::Generation;
use super::{echo, typed};

/// The bytes of `answer` for a client of `generation`.
///
/// Empty if the generation has no form for the answer: a refused echo gets no bytes, its connection only closes.
pub fn encode(answer: &Answer, generation: Generation) -> Vec<u8> {
    match (generation, answer) {
        (Generation::Echo, Answer::Echo(text)) => echo::encode(text),
        (Generation::Untyped, Answer::Confirmation(result)) => vec![Code::byte(*result)],
        (Generation::Typed, answer) => typed::encode_answer(answer),
        _ => Vec::new(),
    }
}
