//! TLS 1.3 of both programs: who proves what with which file, and the bytes between a socket that never blocks and its owner.
//!
//! Owns every use of `rustls`. Used by the session and the agency, which wait for their sockets themselves; by the server,
//! which reads the files before it forks; and by the settings, which name the files. Knows no message.
//!
//! A certificate of an agency has exactly one subject alternative name `URI:loteria:agencia:N`. Nothing is resumed: a server
//! that forks per connection has no memory for it, so every handshake proves the certificate again.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `file`, `name` | the files of certificates, keys and serial numbers; the agency of a certificate |
//! | `stream`, `verifier` | the bytes of one side of TLS; which clients the server accepts |
//! | `wire` | a connected socket, plain or TLS |
//! | [`server`], [`client`] | the settings of each side, and why a handshake failed, in its words |

pub mod client;
mod file;
mod name;
pub mod server;
mod stream;
mod verifier;
mod wire;

pub use self::file::{Error, File};
pub use self::stream::{Broken, FIRST_BYTE, Stream};
pub use self::wire::Wire;
