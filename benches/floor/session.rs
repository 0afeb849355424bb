//! The work of a floor's child.
//!
//! | message | the child |
//! |---|---|
//! | batch | locks with flock(2), writes its bytes with one write(2), syncs if asked, unlocks, acknowledges |
//! | end | syncs with fdatasync(2), as the real server must; acknowledges |
//! | query for winners | waits until every agency has ended; answers that there are none |

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::TcpStream;

use super::Sync;

/// Bytes of the length before each message. The length does not include itself.
const PREFIX: usize = size_of::<u32>();
/// The file of the bets, in the working directory.
pub const FILE: &str = "bets.csv";
/// The line that a child answers with.
pub const ECHO: &[u8; 5] = b"hola\n";

/// Most bytes of a message with its prefix. The clients send at most 8000.
const BUFFER: usize = 16 * 1024;
/// The type byte of a batch.
const BATCH: u8 = 1;
/// Position of the type byte in a frame.
const TYPE_AT: usize = PREFIX;
/// Position of the number of bets in the frame of a batch. The end of an agency has 0 bets.
const COUNT_AT: usize = PREFIX + 5;
const ACKNOWLEDGEMENT: &[u8] = &[2, 0];
const NO_WINNERS: &[u8] = &[5, 0, 0, 0, 0];

/// Answers with one line, without reading anything.
pub fn answer(mut client: TcpStream) -> io::Result<()> {
    client.write_all(ECHO)
}

/// Waits until the client closes.
pub fn hold(mut client: TcpStream) -> io::Result<()> {
    io::copy(&mut client, &mut io::sink()).map(drop)
}

/// Serves an agency. The pipe `all_ended` is at its end of file when every agency has ended: each child holds
/// `not_ended`, its writing end, until its own agency has ended.
pub fn store(
    mut client: TcpStream,
    mut all_ended: &PipeReader,
    mut not_ended: Option<PipeWriter>,
    sync: Sync,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let file = OpenOptions::new().create(true).append(true).open(FILE)?;
    let mut frames = Frames { buffer: [0; BUFFER], start: 0, end: 0 };
    while let Some(frame) = frames.next(&mut client)? {
        let answer = match (frame.get(TYPE_AT), frame.get(COUNT_AT)) {
            (Some(&BATCH), Some(1..)) => append(&file, frame, sync)?,
            (Some(&BATCH), _) => {
                file.sync_data()?;
                not_ended = None;
                ACKNOWLEDGEMENT
            }
            _ => {
                all_ended.read_to_end(&mut Vec::new())?;
                NO_WINNERS
            }
        };
        client.write_all(answer)?;
    }
    drop(not_ended);
    Ok(())
}

/// Uses the lock of the standard library, which waits in the kernel. The project's own lock does not.
fn append(mut file: &File, frame: &[u8], sync: Sync) -> io::Result<&'static [u8]> {
    file.lock()?;
    let written = file.write(frame)?;
    if sync == Sync::EachBatch {
        file.sync_data()?;
    }
    file.unlock()?;
    if written == frame.len() { Ok(ACKNOWLEDGEMENT) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// The received bytes. Usually one read(2) returns one message.
struct Frames {
    buffer: [u8; BUFFER],
    start: usize,
    end: usize,
}

impl Frames {
    /// The next message with its prefix; `None` at the end of the stream.
    fn next(&mut self, client: &mut TcpStream) -> io::Result<Option<&[u8]>> {
        loop {
            let arrived = &self.buffer[self.start..self.end];
            if let Some(len) = frame_len(arrived).filter(|&len| len <= arrived.len()) {
                self.start += len;
                return Ok(Some(&self.buffer[self.start - len..self.start]));
            }
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            match client.read(&mut self.buffer[self.end..])? {
                0 => return Ok(None),
                len => self.end += len,
            }
        }
    }
}

fn frame_len(arrived: &[u8]) -> Option<usize> {
    let prefix = arrived.first_chunk::<PREFIX>()?;
    usize::try_from(u32::from_be_bytes(*prefix)).ok().map(|len| PREFIX + len)
}
