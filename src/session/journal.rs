//! The log lines of a session.

use std::net::IpAddr;

use super::group::Message;
use super::outcome::{Close, Refusal};
use crate::bet::AgencyId;
use crate::event;
use crate::logging::{self, Level};
use crate::messages::Dismissal;
use crate::protocol::{Form, Request};
use crate::row::Rows;

/// The fields of a request that the line of its refusal carries.
#[derive(Debug)]
pub enum Summary {
    /// A single bet.
    Single {
        /// Its document.
        document: u32,
        /// Its number.
        number: u32,
    },
    /// A batch, or the end of an agency.
    Batch {
        /// The number of bets that the message announced.
        count: u8,
    },
    /// Another message.
    Other,
}

impl Summary {
    /// The summary of `request`.
    pub fn of(request: &Request) -> Self {
        match request {
            Request::Bets { form, count, rows: Ok(rows), .. } => Self::of_bets((*form, *count), rows),
            Request::Bets { form: Form::TypedBatch | Form::UntypedBatch, count, .. } => Self::Batch { count: *count },
            Request::End { .. } => Self::Batch { count: 0 },
            _ => Self::Other,
        }
    }

    /// The summary of a message with bets; `rows` begin with its own.
    pub fn of_bets((form, count): Message, rows: &Rows) -> Self {
        match (form, rows.bets().next()) {
            (Form::Single, Some(bet)) => Self::Single { document: bet.document, number: bet.number },
            (Form::Single, None) => Self::Other,
            (Form::TypedBatch | Form::UntypedBatch, _) => Self::Batch { count },
        }
    }

    /// The summary of a message that did not become a request; `announced` is the count of the batch that it began.
    pub fn of_fragment(announced: Option<u8>) -> Self {
        announced.map_or(Self::Other, |count| Self::Batch { count })
    }
}

/// Logs the text of an echo, in at most twice as many bytes: a client cannot fill the log faster than it sends.
pub fn echo(ip: IpAddr, text: &str) {
    event!(Info, "receive_message", success, ip = ip, msg = logging::shortened(text, 2 * text.len()));
}

/// Logs stored bets, before the acknowledgements are sent: a client that has an acknowledgement finds the line. `rows` are
/// those of all `messages`.
pub fn stored(messages: &[Message], rows: &Rows) {
    let mut bets = rows.bets();
    for &(form, count) in messages {
        if form == Form::Single {
            if let Some(bet) = bets.next() {
                let (dni, numero) = (bet.document, bet.number);
                event!(Info, "apuesta_almacenada", success, dni = dni, numero = numero, agencia = bet.agency);
            }
            continue;
        }
        if logging::is_logged(Level::Debug) {
            for bet in bets.by_ref().take(count.into()) {
                event!(Debug, "apuesta_almacenada", success, dni = bet.document, numero = bet.number);
            }
        }
        event!(Info, "apuesta_recibida", success, cantidad = count);
    }
}

/// Logs the recorded end of an agency.
pub fn ended(agency: AgencyId) {
    event!(Info, "fin_apuestas", success, agencia = agency);
}

/// Logs a refusal.
pub fn refused(ip: IpAddr, summary: &Summary, refusal: &Refusal) {
    let (codigo, error) = (refusal.code as u8, refusal.reason());
    match summary {
        Summary::Single { document, number } => {
            event!(
                Error,
                "apuesta_almacenada",
                fail,
                dni = document,
                numero = number,
                ip = ip,
                codigo = codigo,
                error = error
            );
        }
        Summary::Batch { count } => {
            event!(Error, "apuesta_recibida", fail, cantidad = count, ip = ip, codigo = codigo, error = error);
        }
        Summary::Other => event!(Error, "receive_message", fail, ip = ip, codigo = codigo, error = error),
    }
}

fn left(ip: IpAddr, motivo: &str) {
    event!(Info, "close_connection", success, ip = ip, motivo = motivo);
}

/// Logs the end of a handshake: the client has proved that it is this agency.
pub fn proved(ip: IpAddr, agency: AgencyId) {
    event!(Debug, "tls", success, ip = ip, agencia = agency);
}

/// Logs the end of a session, unless an earlier line has done so. `announced` is the count of an unfinished batch.
pub fn closed(ip: IpAddr, close: &Close, announced: Option<u8>) {
    match (close, announced) {
        (Close::Cut(why), Some(count)) => {
            event!(Error, "apuesta_recibida", fail, cantidad = count, ip = ip, error = why);
        }
        (Close::Cut(why), None) => event!(Error, "receive_message", fail, ip = ip, error = why),
        (Close::Tls(why), _) => event!(Error, "tls", fail, ip = ip, error = why),
        (Close::Handshake(why), _) => event!(Error, "tls", fail, ip = ip, error = why),
        (Close::Failed(e), _) => event!(Error, "close_connection", fail, ip = ip, error = e),
        (Close::Unsafe(e), _) => event!(Error, "sandbox", fail, ip = ip, error = e),
        (Close::Stopping, _) => event!(Info, "close_connection", success, ip = ip),
        (Close::Idle, _) => left(ip, "sin mensajes durante IDLE_TIMEOUT"),
        (Close::Dismissed(why) | Close::DismissedWithAnswer(why), _) => match why {
            Dismissal::Room => left(ip, "lugar cedido a una conexión nueva"),
            Dismissal::Age => left(ip, "sin agencia durante NEWCOMER_TIMEOUT"),
        },
        (Close::Replaced, _) => left(ip, "agencia cedida a otra conexión tras un silencio"),
        (Close::PeerClosed | Close::Spent | Close::Refused | Close::StorageBroken, _) => {
            event!(Debug, "close_connection", success, ip = ip);
        }
    }
}
