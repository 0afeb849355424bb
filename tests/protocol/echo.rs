//! Exercise 1: echoes.

use crate::scene::*;
use crate::support::*;

#[test]
fn an_echo_is_its_line_without_trailing_white_space() {
    let server = Server::start(1);
    let lines: [(&[u8], &str); 9] = [
        (b"hola\n", "hola\n"),
        ("[CLIENT 1] Message N°1\n".as_bytes(), "[CLIENT 1] Message N°1\n"),
        (b"  in front, be hind \t\r\x0b\x0c \n", "  in front, be hind\n"),
        (b" \t\n", "\n"),
        // no-break space and U+2003 are not white space here
        ("fin\u{a0}\n".as_bytes(), "fin\u{a0}\n"),
        ("fin\u{2003}\r\n".as_bytes(), "fin\u{2003}\n"),
        (b"uno|dos\x1b[2J\x07 tres\x7f\0x\n", "uno|dos\x1b[2J\x07 tres\x7f\0x\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\n"),
        (b"one line\nand no other\n", "one line\n"),
    ];
    for (sent, expected) in lines {
        assert_eq!(answer(&server, sent), expected.as_bytes(), "{sent:?}");
    }
    assert_eq!(server.connect().send_bytewise(b"byte by byte\n").rest(), b"byte by byte\n");
    server.stop();
}

#[test]
fn an_echo_may_end_with_the_stream_instead_of_a_line_feed() {
    let server = Server::start(1);
    assert_eq!(answer_at_end(&server, b"sin fin "), b"sin fin\n");
    assert_eq!(answer_at_end(&server, b" "), b"\n");
    assert_eq!(answer_at_end(&server, &[b'x'; 1024]), [&[b'x'; 1024][..], b"\n"].concat());
    assert_eq!(answer_at_end(&server, b"a\xff"), b"");
    assert_eq!(answer_at_end(&server, b""), b"");
    server.await_childless();
    let log = server.stop();
    assert_eq!(count_events(&log, "INFO     action: receive_message | result: success | ip: 127.0.0.1 | msg: "), 3);
    assert_eq!(count_events(&log, "ERROR    action: receive_message | result: fail | ip: 127.0.0.1"), 1);
}

#[test]
fn an_echo_has_at_most_1024_bytes_before_its_line_feed() {
    let server = Server::start(1);
    let longest = [&[b'x'; 1024][..], b"\n"].concat();
    assert_eq!(answer(&server, &longest), longest);
    let spaces = [b"x".as_slice(), &[b' '; 1023], b"\n"].concat();
    assert_eq!(answer(&server, &spaces), b"x\n");
    assert_eq!(answer(&server, &[b'x'; 1025]), b"");
    assert_eq!(answer(&server, &[&[b'x'; 1025][..], b"\n"].concat()), b"");
    assert_eq!(answer(&server, &[b'x'; 100_000]), b"");
    server.await_childless();
    assert_eq!(count_events(&server.stop(), "ERROR    action: receive_message | result: fail | ip: 127.0.0.1"), 3);
}

#[test]
fn an_echo_that_is_not_utf8_gets_no_answer_and_is_logged() {
    let server = Server::start(1);
    for text in [&b"\xff\xfe hola\n"[..], b"hola \xc3\n", b"\xed\xa0\x80\n", b"\x80\n"] {
        assert_eq!(answer(&server, text), b"", "{text:?}");
    }
    server.await_childless();
    let log = server.stop();
    assert_eq!(count_events(&log, "ERROR    action: receive_message | result: fail | ip: 127.0.0.1"), 4);
    assert_eq!(log.matches("receive_message").count(), 4);
}

#[test]
fn an_echo_is_logged_before_it_is_sent_and_cannot_forge_a_line() {
    let server = Server::start(1);
    let hostile = b"a|b\x1b[2J\rc\x07 | result: fail | source: x\n";
    assert_eq!(answer(&server, hostile), hostile);
    let log = server.log();
    assert_eq!(count_events(&log, "INFO     action: receive_message | result: success | ip: 127.0.0.1 | msg: a"), 1);
    assert_eq!(answer(&server, &[&b"|".repeat(1024)[..], b"\n"].concat()).len(), 1025);
    // stop() checks the form of every line
    assert_eq!(server.stop().matches("action: receive_message | result: success").count(), 2);
}
