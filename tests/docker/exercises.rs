//! The 25 cases by which the assignment's exercises are judged.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::eventually;
use crate::grammar::{Event, read};
use crate::scratch::Scratch;
use crate::support::WINNING;
use crate::system::{ClientFile, Deployment, ServerFile, System};
use crate::{Case, case};

/// How long a program may take to stop on request, including the engine's part. The course waits 10 s before the engine
/// kills it.
const PROMPTLY: Duration = Duration::from_secs(8);
/// The least difference between the time stamps, in whole seconds, of two lines with a settle pause of 2 s in between.
const SETTLED: chrono::TimeDelta = chrono::TimeDelta::seconds(1);

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (clients, messages) in [(1, 1), (1, 3), (2, 1), (5, 1), (5, 5)] {
        cases.push(case(format!("ej1_{clients}_clients_echo_{messages}_messages_each"), move |scratch| {
            echo(scratch, clients, messages);
        }));
    }
    cases.extend([
        case("ej2_the_client_logs_its_settings_at_level_debug", |scratch| {
            let client =
                ClientFile { loop_amount: 5, loop_period: "100ms", log_level: "DEBUG", ..ClientFile::default() };
            settings(scratch, client, ServerFile::default());
        }),
        case("ej2_the_client_logs_its_settings_at_level_info", |scratch| {
            let client =
                ClientFile { loop_amount: 2, loop_period: "250ms", log_level: "INFO", ..ClientFile::default() };
            settings(scratch, client, ServerFile::default());
        }),
        case("ej2_the_server_logs_its_settings_at_level_debug", |scratch| {
            let server = ServerFile { listen_backlog: 8, logging_level: "DEBUG" };
            settings(scratch, ClientFile::default(), server);
        }),
        case("ej2_the_server_logs_no_settings_at_level_info", |scratch| {
            let server = ServerFile { listen_backlog: 16, logging_level: "INFO" };
            settings(scratch, ClientFile::default(), server);
        }),
        case("ej3_our_server_passes_the_echo_test", echo_test_of_our_server),
        case("ej3_a_healthy_echo_server_passes_the_echo_test", |scratch| {
            echo_test_of(scratch, "exec cat", "success");
        }),
        case("ej3_a_server_with_another_answer_fails_the_echo_test", |scratch| {
            echo_test_of(scratch, "printf 'could not read: '; exec cat", "fail");
        }),
        case("ej4_a_client_stops_with_code_0", |scratch| stop_one(scratch, "client1")),
        case("ej4_a_server_stops_with_code_0_and_then_its_client", |scratch| stop_one(scratch, "server")),
        case("ej4_a_server_without_clients_stops_with_code_0", stop_a_server_without_clients),
        case("ej4_both_stop_with_code_0_at_once", stop_both),
        case("ej5_the_bet_of_the_environment_is_stored", one_bet),
    ]);
    for (bets, max_amount) in [(64, 10), (99, 10), (16, 64), (21, 99)] {
        cases.push(case(format!("ej6_{bets}_bets_in_batches_of_{max_amount}"), move |scratch| {
            batches(scratch, bets, max_amount);
        }));
    }
    for exercise in [7, 8] {
        cases.push(case(format!("ej{exercise}_3_agencies_of_100_bets_get_their_winners"), move |scratch| {
            draw(scratch, exercise, 100, &[&[0, 99], &[50], &[]]);
        }));
        cases.push(case(format!("ej{exercise}_5_agencies_of_60_bets_get_their_winners"), move |scratch| {
            draw(scratch, exercise, 60, &[&[1], &[1, 2], &[1, 2, 3], &[1, 2, 3, 4], &[1, 2, 3, 4, 5]]);
        }));
    }
    cases
}

/// Exercise 1: each client gets back what it sends, ends with code 0, and the server stays up.
fn echo(scratch: &Scratch, clients: u32, messages: u32) {
    let setup = Deployment::new(scratch, 1, clients);
    scratch.build_images();
    let client = ClientFile { loop_amount: messages, ..ClientFile::default() };
    let system = setup.client(client).up();

    let mut left = clients;
    let events = system.follow().until("loop_finished of every client", |event| {
        left -= u32::from(event.action == "loop_finished");
        left == 0
    });
    assert!(!events.iter().any(|event| event.is("server", "exit")), "the server stays up");
    for id in 1..=clients {
        let source = format!("client{id}");
        let received = events.iter().filter(|event| event.is(&source, "receive_message"));
        let received: Vec<_> = received.map(|event| event.field("msg")).collect();
        let sent: Vec<_> = (1..=messages).map(|number| format!("[CLIENT {id}] Message N°{number}")).collect();
        assert_eq!(received, sent);
        assert_eq!(system.wait(&source), 0);
    }
    assert!(system.is_running("server"));
    system.down(&[]);
}

/// Exercise 2: the settings follow the files, without new images.
fn settings(scratch: &Scratch, client: ClientFile, server: ServerFile) {
    let system = Deployment::new(scratch, 2, 1).client(client).server(server).up();

    let events = system.follow().until("loop_finished", |event| event.action == "loop_finished");
    let of_client = events.iter().find(|event| event.is("client1", "config")).unwrap();
    assert_eq!(of_client.number("loop_amount"), client.loop_amount);
    assert_eq!(of_client.field("loop_period"), client.loop_period);
    assert_eq!(of_client.field("log_level"), client.log_level);
    // A reader that follows the logs may get all of the client's lines before any of the server's.
    let log = system.log("server");
    let of_server = log.lines().find(|line| line.contains("action: config "));
    let of_server = of_server.map(|line| read(&format!("server | {line}")).unwrap().unwrap());
    assert_eq!(of_server.is_some(), server.logging_level == "DEBUG", "the line is one of level DEBUG:\n{log}");
    if let Some(of_server) = of_server {
        assert_eq!(of_server.number("listen_backlog"), server.listen_backlog);
        assert_eq!(of_server.field("logging_level"), server.logging_level);
    }
    let received = events.iter().filter(|event| event.is("client1", "receive_message")).count();
    assert_eq!(received, client.loop_amount as usize);
    assert_eq!(system.wait("client1"), 0);
    system.down(&[]);
}

/// Exercise 3, by each shell that it is called with.
fn echo_test_of_our_server(scratch: &Scratch) {
    let system = Deployment::new(scratch, 3, 0).up();

    let mut logs = system.follow();
    for words in
        [&["sh", "validar-echo-server.sh"][..], &["bash", "validar-echo-server.sh"], &["./validar-echo-server.sh"]]
    {
        let ran = system.run(words);
        assert_eq!(ran.stdout, "action: test_echo_server | result: success\n", "{}", ran.stderr);
        assert_eq!(ran.code, Some(0));
        logs.until("the message in the server's log", |event| {
            event.is("server", "receive_message") && event.result == "success"
        });
    }
    system.down(&[]);
}

/// Exercise 3 against a container of this name that answers each connection by a shell command.
fn echo_test_of(scratch: &Scratch, answer: &str, result: &str) {
    scratch.switch("ej3");
    let system = stand_in(scratch, &format!("while :; do nc -l -p 12345 -e sh -c \"{answer}\"; done"));
    await_listening(&system);

    let ran = system.run(&["sh", "validar-echo-server.sh"]);
    assert_eq!(ran.stdout, format!("action: test_echo_server | result: {result}\n"), "{}", ran.stderr);
    assert_eq!(ran.code, Some(i32::from(result != "success")));
    system.compose(&["down", "-t", "0"]);
    system.assert_gone();
}

/// Another container in the server's place, with its name and network, that runs a shell command.
pub fn stand_in<'a>(scratch: &'a Scratch, shell_command: &str) -> System<'a> {
    let file = scratch.beside("stand-in.yaml");
    let text = include_str!("stand-in.yaml").replace("SHELL_COMMAND", shell_command);
    std::fs::write(&file, text).unwrap();
    System::up(scratch, file.to_str().unwrap())
}

/// Waits until something in the container `server` listens on port 12345 (0x3039), without connecting to it.
#[track_caller]
pub fn await_listening(system: &System<'_>) {
    let look = "cat /proc/net/tcp* | grep -q ':3039 0*:0000 0A'";
    eventually("the server's stand-in listens", || system.exec("server", &["sh", "-c", look]).code == Some(0));
}

/// Clients that continue until they are stopped.
pub fn endless() -> ClientFile {
    ClientFile { loop_amount: 500, loop_period: "150ms", ..ClientFile::default() }
}

/// Exercise 4: stops one of two after ten lines, then the other. A client then waits for a name that is not resolved
/// any more.
fn stop_one(scratch: &Scratch, container: &str) {
    let system = Deployment::new(scratch, 4, 1).client(endless()).up();

    let mut logs = system.follow();
    logs.take(10);
    logs.expect_failures();
    let took = system.stop(container);
    logs.until("the end of what was stopped", |event| event.is(container, "exit") && event.result == "success");
    assert_eq!(system.exit_code(container), 0);
    assert!(took < PROMPTLY, "{took:?}");
    let other = if container == "server" { "client1" } else { "server" };
    assert!(system.is_running(other), "{}", system.log(other));
    let took = system.stop(other);
    assert!(took < PROMPTLY, "{took:?}");
    system.down(&[]);
}

/// Exercise 4: a server without clients logs two lines.
fn stop_a_server_without_clients(scratch: &Scratch) {
    let system = Deployment::new(scratch, 4, 0).up();

    let mut logs = system.follow();
    logs.take(2);
    let took = system.stop("server");
    logs.until("the server's end", |event| event.is("server", "exit") && event.result == "success");
    assert!(took < PROMPTLY, "{took:?}");
    system.down(&[]);
}

/// Exercise 4: `compose stop` stops the client first, then the server.
fn stop_both(scratch: &Scratch) {
    let system = Deployment::new(scratch, 4, 1).client(endless()).up();

    let mut logs = system.follow();
    logs.take(10);
    logs.expect_failures();
    system.compose(&["stop", "-t", "10"]);
    for container in ["client1", "server"] {
        assert_eq!(system.exit_code(container), 0, "{}", system.log(container));
        assert!(system.log(container).ends_with("action: exit | result: success\n"), "{}", system.log(container));
    }
    logs.until("the first end", |event| event.action == "exit" && event.result == "success");
    system.down(&[]);
}

/// Exercise 5: the bet of the generated compose file arrives as it is.
fn one_bet(scratch: &Scratch) {
    let system = Deployment::new(scratch, 5, 1).client(endless()).up();

    let (mut sent, mut stored) = (None, None);
    system.follow().until("the bet on both sides", |event| {
        let dni = || Some(event.field("dni").to_owned());
        match &*event.action {
            "apuesta_enviada" => sent = dni(),
            "apuesta_almacenada" => stored = dni(),
            _ => {}
        }
        sent.is_some() && stored.is_some()
    });
    assert_eq!(sent.unwrap(), "30904465");
    assert_eq!(stored.unwrap(), "30904465");
    assert_eq!(system.wait("client1"), 0);
    assert_eq!(system.stored_rows(), ["1,Santiago Lionel,Lorca,30904465,1999-03-17,7574"]);
    system.down(&[]);
}

/// An agency's file with documents from 00000000 on. Only the bets in `winners` have the winning number.
pub fn agency_rows(bets: u32, winners: &[u32]) -> String {
    let number = |bet| match bet {
        _ if winners.contains(&bet) => WINNING,
        _ if bet < WINNING => bet,
        _ => bet + 1,
    };
    (0..bets).map(|bet| format!("Name,Surname,{bet:08},2000-01-01,{}\n", number(bet))).collect()
}

/// The same bets as the server stores them.
fn stored(agency: u32, rows: &str) -> impl Iterator<Item = String> {
    rows.lines().map(move |row| {
        let [first, last, document, birthdate, number] = row.split(',').collect::<Vec<_>>()[..] else { unreachable!() };
        format!("{agency},{first},{last},{},{birthdate},{number}", document.parse::<u32>().unwrap())
    })
}

/// Exercise 6: when the first container ends, every bet has been counted, and all batches but the last are full.
fn batches(scratch: &Scratch, bets: u32, max_amount: u32) {
    let rows = agency_rows(bets, &[]);
    let client = ClientFile { max_amount, ..endless() };
    let system = Deployment::new(scratch, 6, 1).client(client).agency(1, &rows).up();

    let events = system.follow().until("the client's end", |event| event.action == "exit");
    let received = events.iter().filter(|event| event.action == "apuesta_recibida");
    let received: Vec<_> = received.map(|event| event.number("cantidad")).collect();
    let full = (bets / max_amount) as usize;
    assert!(received.iter().take(full).all(|&cantidad| cantidad == max_amount), "{received:?}");
    assert_eq!(received.len(), bets.div_ceil(max_amount) as usize, "{received:?}");
    assert_eq!(received.iter().sum::<u32>(), bets);
    assert_eq!(system.wait("client1"), 0);
    assert_eq!(system.stored_rows(), sorted(stored(1, &rows)));
    assert!(system.is_running("server"));
    system.down(&[]);
}

fn sorted(rows: impl Iterator<Item = String>) -> Vec<String> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_unstable();
    rows
}

/// Exercises 7 and 8: the log shows all bets, then the draw, then the winners and the ends. `winners` has the winning
/// bets of each agency.
fn draw(scratch: &Scratch, exercise: u32, bets: u32, winners: &[&[u32]]) {
    let rows: BTreeMap<_, _> = (1..).zip(winners.iter().map(|winners| agency_rows(bets, winners))).collect();
    let clients = u32::try_from(rows.len()).unwrap();
    let setup = Deployment::new(scratch, exercise, clients).client(endless());
    let system = rows.iter().fold(setup, |setup, (&id, rows)| setup.agency(id, rows)).up();

    let mut ends = 0;
    let mut logs = system.follow();
    let events = logs.until("as many ends as clients", |event| {
        ends += u32::from(event.action == "exit");
        ends == clients
    });
    assert_draw_order(&events, clients * bets);
    for (id, winners) in (1..).zip(winners) {
        let source = format!("client{id}");
        let answers: Vec<_> = events.iter().filter(|event| event.is(&source, "consulta_ganadores")).collect();
        let [answer] = answers[..] else { panic!("{source} asked {} times:\n{}", answers.len(), logs.transcript()) };
        assert_eq!(answer.number("cant_ganadores") as usize, winners.len(), "{source}");
        assert_eq!(system.wait(&source), 0);
    }
    assert_settled(&events);
    assert_eq!(system.stored_rows(), sorted(rows.iter().flat_map(|(&id, rows)| stored(id, rows))));

    // After the draw, the server still runs and answers.
    assert!(system.is_running("server"));
    assert_eq!(system.run(&["sh", "validar-echo-server.sh"]).code, Some(0));
    system.down(&[]);
}

fn assert_draw_order(events: &[Event], bets: u32) {
    let draws: Vec<_> = (0..).zip(events).filter(|(_, event)| event.action == "sorteo").collect();
    let [(draw, event)] = draws[..] else { panic!("{} draws", draws.len()) };
    assert_eq!((&*event.source, &*event.result), ("server", "success"));
    let (before, after) = events.split_at(draw);
    let received = before.iter().filter(|event| event.action == "apuesta_recibida");
    assert_eq!(received.map(|event| event.number("cantidad")).sum::<u32>(), bets, "all bets come before the draw");
    let late = after.iter().find(|event| event.action == "apuesta_recibida");
    assert_eq!(late, None, "bets after the draw");
    let early = before.iter().find(|event| matches!(&*event.action, "consulta_ganadores" | "exit"));
    assert_eq!(early, None, "winners or an end before the draw");
}

/// Checks the pauses that keep this order for every reader of the logs.
fn assert_settled(events: &[Event]) {
    let draw = events.iter().find(|event| event.action == "sorteo").unwrap();
    for answer in events.iter().filter(|event| event.action == "consulta_ganadores") {
        assert!(answer.time() - draw.time() >= SETTLED, "{} is too close to {}", answer.line, draw.line);
        let own_end = |event: &&Event| event.is(&answer.source, "exit") && event.line.contains("action:");
        if let Some(end) = events.iter().find(own_end) {
            assert!(end.time() - answer.time() >= SETTLED, "{} is too close to {}", end.line, answer.line);
        }
    }
}
