//! The bytes on the wire: one codec for each generation of clients, and the rule that distinguishes the generations.
//!
//! Pure and incremental. Every decoder takes the bytes that have arrived so far and needs no socket. The server's session
//! uses [`decoder::Decoder`] and [`encoder::encode`]; the agency uses [`typed`], [`batch`], [`single`] and [`echo`]. This
//! module knows nothing about claims, locks or draws. All integers are unsigned and big-endian; `docs/protocol.md` shows
//! every byte.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | [`code`], [`malformed`], [`generation`] | result codes; the defects that make bytes no message; generations and forms |
//! | [`request`], [`answer`], [`fields`] | requests; answers; integers and texts at the front of the received bytes |
//! | [`echo`], [`single`], [`batch`], [`detect`] | exercises 1–4, a line; 5, one bet; 6, a batch; the rule that distinguishes them |
//! | [`typed`] | exercises 7 and 8: messages with a type byte, and their answers |
//! | [`decoder`], [`encoder`] | the server's side: the requests in a receive buffer; the bytes of an answer |

pub mod answer;
pub mod batch;
pub mod code;
pub mod decoder;
pub mod detect;
pub mod echo;
pub mod encoder;
pub mod fields;
pub mod generation;
pub mod malformed;
pub mod request;
pub mod single;
pub mod typed;

pub use answer::Answer;
pub use code::Code;
pub use fields::DecodeError;
pub use generation::{Form, Generation};
pub use malformed::Malformed;
pub use request::Request;
