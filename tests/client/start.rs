//! Settings, arguments and the first log line.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::scene::*;
use crate::support::ClientSetup;
use crate::support::peer::PlayedServer;

#[test]
fn wrong_settings_are_one_line_on_stderr_and_exit_code_2() {
    let cases = [
        (ClientSetup::new("draw").without("CLI_ID"), "id is not set"),
        (ClientSetup::new("win"), "mode"),
        (ClientSetup::new("draw").set("BATCH_MAXAMOUNT", "0"), "batch.maxAmount"),
        (ClientSetup::new("draw").set("BATCH_MAXAMOUNT", "256"), "batch.maxAmount"),
        (ClientSetup::new("draw").set("SERVER_ADDRESS", "server"), "server.address"),
        (ClientSetup::new("batch").set("ID", "16777216"), "id"),
        (ClientSetup::new("bet"), "NOMBRE"),
        (ClientSetup::new("draw").argument("--config").argument("none.yaml"), "none.yaml"),
        (ClientSetup::new("draw").file("c.yaml", "lop:\n  amount: 1\n").argument("--config").argument("c.yaml"), "lop"),
        (ClientSetup::new("draw").file("c.yaml", "\"l\\rp\": 1\n").argument("--config").argument("c.yaml"), "l\\x0dp"),
        (ClientSetup::new("draw").argument("--config").argument("n\n.yaml"), "n\\x0a.yaml"),
        (ClientSetup::new("draw").argument("--confg"), "--confg"),
        (ClientSetup::new("draw").argument("surplus"), "surplus"),
    ];
    for (setup, key) in cases {
        let ended = setup.start().end();
        assert_eq!((ended.code(), ended.log.len()), (2, 0), "{key}: {ended:?}");
        assert!(ended.stderr.contains(key) && ended.stderr.trim_end().lines().count() == 1, "{key}: {ended:?}");
    }
}

#[test]
fn a_value_that_is_not_utf_8_is_refused() {
    let latin_1 = OsStr::from_bytes(b"Jos\xe9");
    let name = bet(&PlayedServer::new()).variable("NOMBRE", latin_1);
    for (setup, key) in [(name, "NOMBRE"), (ClientSetup::new("draw").variable("CLI_DATA_PATH", latin_1), "data.path")] {
        let ended = setup.start().end();
        assert_eq!((ended.code(), ended.log.len()), (2, 0), "{ended:?}");
        assert!(ended.stderr.starts_with(&format!("client: {key}: ")), "{ended:?}");
    }
}

#[test]
fn help_and_version_are_printed_even_with_wrong_settings() {
    for (argument, expected) in [("--help", "--config <FILE>"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let output = ClientSetup::new("win").argument(argument).output();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(expected));
    }
}

#[test]
fn the_first_log_line_repeats_the_settings_of_the_file() {
    let server = PlayedServer::new();
    let file = format!(
        "id: 7\nserver:\n  address: \"{}\"\nloop:\n  amount: 0\n  period: \"1m0.5s\"\nlog:\n  level: \"INFO\"\nmode: echo\nbatch:\n  maxAmount: 12\n",
        server.address()
    );
    let setup = ClientSetup::new("").without("CLI_ID").without("CLI_LOOP_PERIOD").without("CLI_LOG_LEVEL");
    let mut client = setup.file("config/client.yaml", file).start();
    let line = client.line("action: config");
    let expected = format!(
        "INFO     action: config | result: success | client_id: 7 | server_address: {} | loop_amount: 0 | loop_period: 1m0.5s | log_level: INFO",
        server.address()
    );
    assert!(line.contains(&expected) && line.ends_with(" | batch_max_amount: 12"), "{line}");
    let ended = client.end();
    ended.succeeded();
    assert_eq!(ended.log.len(), 3, "{ended:?}");
}

#[test]
fn a_byte_order_mark_at_the_start_of_the_file_is_ignored() {
    let setup =
        |text| ClientSetup::new("echo").set("LOOP_AMOUNT", "0").without("CLI_ID").file("config/client.yaml", text);
    for text in ["\u{feff}id: 7\n", "\u{feff}# comment\nid: 7\n", "\u{feff}---\r\nid: 7\r\n"] {
        let ended = setup(text).start().end();
        ended.succeeded();
        assert_eq!(ended.count("client_id: 7 "), 1, "{ended:?}");
    }
    for text in ["\u{feff}", "\u{feff}# nothing\n"] {
        let ended = setup(text).start().end();
        assert!(ended.code() == 2 && ended.stderr.starts_with("client: id is not set"), "{ended:?}");
    }
}

#[test]
fn pauses_of_no_length_are_allowed() {
    let setup = ClientSetup::new("echo").set("LOOP_AMOUNT", "0").set("LOOP_PERIOD", "0s");
    setup.set("LOG_SETTLE", "0s").set("RETRY_TIMEOUT", "0s").start().end().succeeded();
}
