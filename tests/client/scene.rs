//! The clients that most tests start, and lines of their logs.

use crate::support::answers::received;
use crate::support::peer::{Peer, PlayedServer};
use crate::support::{Client, ClientSetup, agency_file};

pub const CLOSE_FILE: &str = "INFO     action: close_file | result: success | archivo: ";
pub const CLOSE_CONNECTION: &str = "INFO     action: close_connection | result: success";
/// A failure after which the client tries again.
pub const RETRY: &str = "WARNING  action: connect | result: in_progress";
/// Batches in a draw of 25 bets.
pub const BATCHES: usize = 3;

/// Mode draw, in batches of 10. Each is acknowledged before the next one, unless the test sets another window.
pub fn draw(server: &PlayedServer) -> ClientSetup {
    ClientSetup::new("draw").server(server.address()).set("BATCH_MAXAMOUNT", "10").set("BATCH_WINDOW", "1")
}

/// Mode batch, with 25 bets in batches of 10.
pub fn batch(server: &PlayedServer) -> ClientSetup {
    ClientSetup::new("batch").server(server.address()).set("BATCH_MAXAMOUNT", "10").bets(agency_file(25))
}

/// Mode bet, with the bet of [`BET`].
pub fn bet(server: &PlayedServer) -> ClientSetup {
    let names = [("NOMBRE", "Santiago Ñandú"), ("APELLIDO", "Lorca"), ("NACIMIENTO", "1999-03-17")];
    let numbers = [("DOCUMENTO", "30904465"), ("NUMERO", "7574")];
    names
        .into_iter()
        .chain(numbers)
        .fold(ClientSetup::new("bet").server(server.address()), |setup, (name, value)| setup.variable(name, value))
}

/// The bytes of a bet.
pub const BET: &[u8] = b"\0\0\0\x01\x10Santiago \xc3\x91and\xc3\xba\x05Lorca\x01\xd7\x90\x91\x0a1999-03-17\0\0\x1d\x96";

/// Starts a client in mode draw and answers its message 6: the server has no bets yet.
pub fn begun(server: &PlayedServer, setup: ClientSetup) -> (Client, Peer) {
    let client = setup.start();
    let mut peer = server.accept();
    peer.message();
    peer.send(&received(0, false, ""));
    (client, peer)
}
