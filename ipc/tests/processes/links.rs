//! Links: order and borders of messages, closed peers, full links, and the end of the stream.

use std::io;

use ipc::link::{Incoming, MESSAGE_MAX};
use ipc::process::{self, Exit};
use ipc::signals::Signal;
use nix::unistd;

use crate::support::{Empty, One, Reaper, Text, Two, expect, pair, receive, send, sleep_forever, spawn};

/// SIGCHLD comes first here, and the messages and the end of the link come after it.
pub fn messages_stay_in_order_and_outlive_their_sender() {
    let reaper = Reaper::new();
    let messages = || (0..120).map(|n| format!("{n:0$}", n % MESSAGE_MAX + 1));
    let (ours, theirs) = pair();
    let child = spawn(One(theirs), &[], move |One(link), _| {
        messages().for_each(|text| send(&link, &text));
        0
    });
    assert_eq!(reaper.next(), (child, Exit::Code(0)));
    messages().for_each(|text| expect(&ours, &text));
    assert_eq!(ours.receive().unwrap(), Incoming::Closed);
    assert_eq!(ours.receive().unwrap(), Incoming::Closed);
}

pub fn end_of_a_link_may_come_before_the_exit() {
    let reaper = Reaper::new();
    let (ours, theirs) = pair();
    let (life, their_life) = pair();
    let child = spawn(Two(theirs, their_life), &[], |Two(link, life), _| {
        send(&link, "bye");
        drop(link);
        u8::from(receive(&life) == Incoming::Closed)
    });
    expect(&ours, "bye");
    assert_eq!(receive(&ours), Incoming::Closed);
    assert_eq!(process::reap(), None);
    drop(life);
    assert_eq!(reaper.next(), (child, Exit::Code(1)));
}

pub fn messages_of_a_killed_peer_arrive_before_the_end() {
    let reaper = Reaper::new();
    let (ours, theirs) = pair();
    ["never", "received"].iter().for_each(|order| send(&ours, order));
    let child = spawn(One(theirs), &[], |One(link), _| {
        send(&link, "stored");
        send(&link, "ended");
        process::kill(unistd::getpid());
        sleep_forever()
    });
    assert_eq!(reaper.next(), (child, Exit::Killed(Signal::SIGKILL)));
    expect(&ours, "stored");
    expect(&ours, "ended");
    assert_eq!(ours.receive().unwrap(), Incoming::Closed);
}

pub fn send_to_a_closed_peer_fails_without_sigpipe() {
    let reaper = Reaper::new();
    // A Rust program ignores SIGPIPE from its start. The subscription makes the signal visible.
    let child = spawn(Empty, &[Signal::SIGPIPE], |Empty, sigpipe| {
        let (ours, theirs) = pair();
        send(&theirs, "never received");
        send(&ours, "never received");
        drop(theirs);
        let closed = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        for _ in 0..3 {
            assert!(closed.contains(&ours.send(&Text("hello?".into())).unwrap_err().kind()));
        }
        sigpipe.drain().try_into().unwrap()
    });
    assert_eq!(reaper.next(), (child, Exit::Code(0)));
}

pub fn full_link_fails_instead_of_blocking() {
    let (ours, theirs) = pair();
    let refused = (0..1_000_000).find_map(|sent| ours.send(&Text("more".into())).err().map(|error| (sent, error)));
    let (sent, error) = refused.unwrap();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(sent >= 100, "{sent}");
    (0..sent).for_each(|_| expect(&theirs, "more"));
    assert_eq!(theirs.receive().unwrap(), Incoming::Nothing);
    send(&ours, "and more");
}

pub fn invalid_packet_is_an_error_and_hides_no_later_message() {
    let (ours, theirs) = pair();
    let not_text = [0xff; 3];
    let too_long = [b'x'; MESSAGE_MAX + 1];
    for packet in [&not_text[..], &too_long] {
        unistd::write(&theirs, packet).unwrap();
        assert_eq!(ours.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
    send(&theirs, "a message");
    expect(&ours, "a message");
}
