//! Slow, simple parsers of the same bytes, written only from the documents. The real parsers are compared with them.

pub mod answers;
pub mod csv;
pub mod ini;
pub mod numbers;
pub mod records;
pub mod seal;
pub mod start;

#[path = "../../../tests/codecs/page.rs"]
pub mod page;

// The names that `page` takes from the module that includes it.
use loteria::bet::{AgencyId, Bet, InvalidBet};
use loteria::protocol::detect::Kind;
use loteria::protocol::{Form, Malformed, Request};
use loteria::row::Rows;
