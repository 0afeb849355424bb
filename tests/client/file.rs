//! The agency's file.

use crate::scene::*;
use crate::support::answers::{confirmation, received, winners};
use crate::support::peer::{Ledger, Message, PlayedServer};
use crate::support::{ClientSetup, agency_file, stored_rows};

#[test]
fn bad_rows_are_logged_by_line_and_skipped_with_exit_code_3() {
    let file = format!(
        "\u{feff}Ana,Paz,1,1999-03-17,7\r\n\r\nAna,Paz,1\n{},Paz,1,1999-03-17,7\n\"Pérez, Ana\",Paz,4,1999-03-17,7\n\"Ana,Paz,1,1999-03-17,7\nÑ,Paz,6,1999-03-17,7",
        "x".repeat(30)
    );
    for mode in ["draw", "batch"] {
        let server = PlayedServer::new();
        let client = ClientSetup::new(mode).server(server.address()).bets(&file).start();
        let mut peer = server.accept();
        let bets = if mode == "batch" {
            peer.untyped_batch()
        } else {
            peer.message();
            peer.send(&received(0, false, ""));
            let Message::Batch(bets) = peer.message() else { panic!() };
            bets
        };
        let names: Vec<_> = bets.iter().map(|bet| bet.first.as_str()).collect();
        assert_eq!(names, ["Ana", "Pérez, Ana", "Ñ"]);
        if mode == "batch" {
            peer.send(&[0]);
        } else {
            peer.send(&confirmation(0));
            assert_eq!(peer.message(), Message::End);
            peer.send(&confirmation(0));
            assert_eq!(peer.message(), Message::Winners);
            peer.send(&winners(&[]));
        }
        let ended = client.end();
        ended.failed(3, &["3 rows"]);
        for line in [3, 4, 6] {
            assert_eq!(ended.count(&format!("action: leer_apuesta | result: fail | line: {line} | error: ")), 1);
        }
    }
}

#[test]
fn a_bad_row_is_logged_once_even_if_the_file_is_read_again() {
    let server = PlayedServer::new();
    let client = draw(&server).bets(format!("bad\n{}bad\n", agency_file(12))).start();
    let mut ledger = Ledger::default();
    for served in [1, 2, 2] {
        let mut peer = server.accept();
        for _ in 0..served {
            ledger.serve(&mut peer);
        }
    }
    ledger.serve_all(&mut server.accept());
    let ended = client.end();
    ended.failed(3, &["2 rows"]);
    assert_eq!(ended.count("leer_apuesta"), 2, "{ended:?}");
    assert_eq!(ledger.rows, stored_rows(12));
}

#[test]
fn without_a_file_no_connection_is_made() {
    for mode in ["draw", "batch"] {
        let server = PlayedServer::new();
        let setup = ClientSetup::new(mode).server(server.address());
        setup.start().end().failed(1, &[".data/agency-1.csv", "No such file"]);
        let setup = ClientSetup::new(mode).server(server.address()).file(".data/agency-1.csv/x", "");
        setup.start().end().failed(1, &[".data/agency-1.csv", "is a directory"]);
        // A file that is not regular may only seem empty.
        let setup = ClientSetup::new(mode).server(server.address()).set("DATA_PATH", "/dev/null");
        setup.start().end().failed(1, &["/dev/null", "not a regular file"]);
        assert!(server.is_quiet());
    }
}

#[test]
fn no_packet_exceeds_8000_bytes_with_any_settings() {
    let name = "ñ".repeat(14) + "x";
    let file: String = (0..300).map(|i| format!("{name},{name},{i},1999-03-17,7\n")).collect();
    let server = PlayedServer::new();
    let client = draw(&server).set("BATCH_MAXAMOUNT", "255").bets(file).start();
    let (mut ledger, mut sizes) = (Ledger::default(), Vec::new());
    let mut peer = server.accept();
    while !ledger.ended {
        // Peer::message checks the length of each batch.
        if let Message::Batch(bets) = ledger.serve(&mut peer) {
            sizes.push(bets.len());
        }
    }
    ledger.serve(&mut peer);
    client.end().succeeded();
    assert_eq!(sizes, [101, 101, 98]);
    assert!(ledger.documents.into_iter().eq(0..300));
}
