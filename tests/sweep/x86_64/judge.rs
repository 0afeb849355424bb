//! The checks after each run.
//!
//! Owns the promises of `docs/promises.md`, as far as a single fault can break them. Used by the sweep; sees the
//! results of a run, not its course.

use ipc::process::Exit;
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;

use super::play::Played;
use super::scene::{self, AGENCIES, Scene};
use super::table::On;
use super::tracer::{Aim, Fault, Hit, Role};
use crate::support::{SORTEO, offence};

/// The last or only line of a program that fails.
const LAST_WORDS: [&str; 3] = ["action: exit | result: fail | error: ", "server: ", "client: "];
/// The lines of a client that has lost its connection or got none; the second one if it had just got an answer.
const LOST: [&str; 2] =
    ["action: connect | result: in_progress | error: ", "action: connect | result: in_progress | reason: "];

type Verdict = Result<(), String>;

fn demand(holds: bool, what: &str) -> Verdict {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// # Errors
/// The first check that fails.
pub fn judge(scene: Scene, aim: Option<Aim>, played: &Played) -> Verdict {
    let unknown = &played.trace.unknown;
    demand(unknown.is_empty(), &format!("the table does not know these calls: {unknown:?}"))?;
    stored_rows(played)?;
    winners(aim, played)?;
    kept_aside(scene, played)?;
    logs(aim, played)?;
    match (aim, played.trace.hit) {
        (Some(aim), Some(hit)) => after_hit(scene, aim, hit, played),
        _ => demand(played.hit_exit == Some(Exit::Code(0)), "a program that was not hit has failed"),
    }
}

/// Each agency's rows are stored once, in order and whole, and no others.
fn stored_rows(played: &Played) -> Verdict {
    let stored: Vec<&str> = played.bets.split_inclusive('\n').collect();
    for agency in AGENCIES {
        let own: Vec<_> = stored.iter().filter(|row| row.starts_with(&format!("{agency},"))).collect();
        let expected = scene::expected_rows(agency);
        demand(own.into_iter().eq(expected.iter()), &format!("the rows of agency {agency} are others: {stored:?}"))?;
    }
    let all: usize = AGENCIES.iter().map(|&agency| scene::expected_rows(agency).len()).sum();
    demand(stored.len() == all, &format!("there are other rows: {stored:?}"))
}

fn winners(aim: Option<Aim>, played: &Played) -> Verdict {
    let expected = AGENCIES.map(scene::winners).to_vec();
    demand(played.winners == expected, &format!("winners {:?} instead of {expected:?}", played.winners))?;
    for (log, winners) in played.client_logs.iter().zip(expected) {
        let line = format!("action: consulta_ganadores | result: success | cant_ganadores: {}\n", winners.len());
        demand(log.contains(&line) || log_was_hit(aim, played), &format!("a client never logged {line}"))?;
    }
    Ok(())
}

/// Whether the fault may have lost or torn a log line; a call that was only delayed has not.
fn log_was_hit(aim: Option<Aim>, played: &Played) -> bool {
    let held_up = aim.is_some_and(|aim| matches!(aim.fault, Fault::Error(Errno::EINTR | Errno::EAGAIN)));
    played.trace.hit.is_some_and(|hit| hit.on == On::Log) && !held_up
}

/// Bytes that are not bets of this lottery were kept in another file.
fn kept_aside(scene: Scene, played: &Played) -> Verdict {
    let old = scene::old_bets();
    let holds = played.aside.iter().any(|(name, text)| match scene {
        Scene::NewDraw => *text == old,
        Scene::Repair => *text == scene::damaged_bets(),
        _ => name == "bets.csv.rejected" && text.ends_with(scene.tail()),
    });
    let expected = matches!(scene, Scene::NewDraw | Scene::Repair) || !scene.tail().is_empty();
    demand(holds == expected, &format!("kept aside is: {:?}", played.aside))
}

/// Lines are whole, no process panics, the draw is held once, and no acknowledged bet was sent again.
fn logs(aim: Option<Aim>, played: &Played) -> Verdict {
    let Played { server_log, client_logs, .. } = played;
    for log in client_logs.iter().chain([server_log]) {
        let lines = log.split_inclusive('\n').filter(|line| !LAST_WORDS[1..].iter().any(|own| line.starts_with(own)));
        // Other processes may write between the two parts of a line.
        let may_be_torn = aim.is_some_and(|aim| (aim.call, aim.fault) == (libc::SYS_write, Fault::Short));
        if let Some(offence) = lines.filter_map(offence).next().filter(|_| !may_be_torn) {
            return Err(offence);
        }
        for forbidden in ["panic", "sent_again"] {
            demand(!log.contains(forbidden), forbidden)?;
        }
    }
    let draws = server_log.matches(SORTEO).count();
    // The result may be final by then, so that the next server finds it.
    let between = |aim: Aim| match aim.role {
        Role::Parent => aim.fault == Fault::Kill,
        Role::Draw => breaks_storage(aim),
        _ => false,
    };
    let may_be_missing = log_was_hit(aim, played) || aim.is_some_and(between);
    demand(draws == 1 || draws == 0 && may_be_missing, &format!("the draw was logged {draws} times"))
}

fn after_hit(scene: Scene, aim: Aim, hit: Hit, played: &Played) -> Verdict {
    victim(aim, hit, played)?;
    others(scene, aim, hit, played)?;
    untied(aim, hit, played)?;
    played.trace.ends.iter().try_for_each(|&end| ending(aim, hit, end, played))
}

/// Every process ends in order, or its parent, if it survives, logs how it ended.
fn ending(aim: Aim, hit: Hit, (pid, role, exit): (i32, Role, Exit), played: &Played) -> Verdict {
    demand(!is_disorderly(exit), &format!("{role:?} {pid} ended with {exit:?}"))?;
    let line = match role {
        Role::First | Role::Session => format!("action: child_exit | result: fail | pid: {pid} "),
        Role::Draw => format!("error: the process that held it ended: {exit:?}"),
        Role::Parent | Role::Client | Role::Resolver => return Ok(()),
    };
    let logged = played.hit_log.contains(&line) || hit.on == On::Log || killed_parent(aim, played).is_some();
    demand(exit == Exit::Code(0) || logged, &format!("no line reports that {role:?} {pid} ended with {exit:?}"))
}

/// A child that would outlive its parent, still has foreign descriptors, or has no sandbox does not serve.
fn untied(aim: Aim, hit: Hit, played: &Played) -> Verdict {
    const SETTING_UP: [i64; 6] = [
        libc::SYS_prctl,
        libc::SYS_getdents64,
        libc::SYS_prlimit64,
        libc::SYS_seccomp,
        libc::SYS_landlock_create_ruleset,
        libc::SYS_landlock_restrict_self,
    ];
    let sets_up = SETTING_UP.contains(&aim.call) && aim.role != Role::Parent;
    let given_up = Exit::Code(ipc::process::NOT_SET_UP.into());
    let served = !played.trace.ends.iter().any(|&(pid, _, exit)| (pid, exit) == (hit.pid, given_up));
    let failed = sets_up && matches!(aim.fault, Fault::Error(_));
    demand(!failed || !served, "a child served that was not set up")
}

/// Whether it ended by a panic, or by a signal that no process has sent.
fn is_disorderly(exit: Exit) -> bool {
    match exit {
        Exit::Code(code) => ![0, 1, 2, 4, i32::from(ipc::process::NOT_SET_UP)].contains(&code),
        Exit::Killed(signal) => signal != Signal::SIGKILL,
        Exit::KilledByRealTimeSignal => true,
    }
}

fn killed_parent(aim: Aim, played: &Played) -> Option<Exit> {
    played.hit_exit.filter(|exit| aim.role == Role::Parent && matches!(exit, Exit::Killed(_)))
}

/// The traced program ended and logged as the fault allows.
fn victim(aim: Aim, hit: Hit, played: &Played) -> Verdict {
    let exit = played.hit_exit.ok_or("the traced program did not end")?;
    let allowed: &[Exit] = if is_deadly(aim) && [Role::Parent, Role::Client, Role::Resolver].contains(&aim.role) {
        &[Exit::Killed(Signal::SIGKILL)]
    } else if breaks_storage(aim) {
        &[Exit::Code(4)]
    } else if may_give_up(aim, hit) {
        &[Exit::Code(0), Exit::Code(1), Exit::Code(2), Exit::Code(4)]
    } else {
        &[Exit::Code(0)]
    };
    demand(allowed.contains(&exit), &format!("the traced program ended with {exit:?}"))?;
    demand(!breaks_storage(aim) || !hit.answered, "acknowledged after a sync that failed")?;
    if matches!(exit, Exit::Code(1..)) && hit.on != On::Log {
        let reports = |line: &&str| LAST_WORDS.iter().any(|words| line.contains(words));
        let count = played.hit_log.lines().filter(reports).count();
        demand(count == 1, &format!("{count} lines report why it ended"))?;
    }
    Ok(())
}

fn is_deadly(aim: Aim) -> bool {
    matches!(aim.fault, Fault::Kill | Fault::Torn)
}

fn is_unnoticeable(aim: Aim, hit: Hit) -> bool {
    let is_of_processes = [libc::SYS_clone, libc::SYS_clone3].contains(&aim.call);
    // The parent gives up a child that leaves hundreds of messages unread.
    let is_full_link = aim.call == libc::SYS_sendto && hit.on == On::Link;
    match aim.fault {
        Fault::Short | Fault::Error(Errno::EINTR) => true,
        Fault::Error(Errno::EAGAIN) => !is_of_processes && !is_full_link,
        _ => false,
    }
}

fn breaks_storage(aim: Aim) -> bool {
    let is_sync = [libc::SYS_fsync, libc::SYS_fdatasync].contains(&aim.call);
    is_sync && matches!(aim.fault, Fault::Error(errno) if errno != Errno::EINTR)
}

/// Whether the program may give up: a server at its start, or a client, but not after a fault of the network or without
/// any.
fn may_give_up(aim: Aim, hit: Hit) -> bool {
    const NETWORK: [i64; 7] = [
        libc::SYS_socket,
        libc::SYS_setsockopt,
        libc::SYS_connect,
        libc::SYS_sendto,
        libc::SYS_recvfrom,
        libc::SYS_socketpair,
        libc::SYS_clone3,
    ];
    let alone = match aim.role {
        Role::Parent => !hit.serving,
        Role::Client => !NETWORK.contains(&aim.call),
        _ => false,
    };
    alone && !is_unnoticeable(aim, hit)
}

/// The programs that were not hit notice nothing, unless the process that serves them had to end.
fn others(scene: Scene, aim: Aim, hit: Hit, played: &Played) -> Verdict {
    let stopped = scene == Scene::Stopping;
    let ended = played.hit_exit != Some(Exit::Code(0));
    let server_ended = stopped || breaks_storage(aim) || (aim.role == Role::Parent && ended);
    let [aimed, other] = [0, 1].map(|i| LOST.iter().any(|words| played.client_logs[i].contains(words)));
    for (agency, lost) in [(scene::AIMED, aimed), (scene::OTHER, other)] {
        let concerned = server_ended || concerned(aim, hit) == Some(agency);
        demand(concerned || !lost, &format!("agency {agency} lost its connection"))?;
    }
    let noticed = aimed || (other && !stopped) || ended;
    demand(!is_unnoticeable(aim, hit) || !noticed, "the fault was noticed")
}

/// The agency that may lose its connection, or get none at first. A connection that one accept(2) misses comes later.
fn concerned(aim: Aim, hit: Hit) -> Option<u32> {
    const FOR_ONE: [i64; 5] =
        [libc::SYS_socketpair, libc::SYS_clone, libc::SYS_epoll_ctl, libc::SYS_sendto, libc::SYS_recvfrom];
    match hit.about {
        _ if aim.role == Role::Parent && !FOR_ONE.contains(&aim.call) => None,
        Role::First => Some(scene::OTHER),
        Role::Session | Role::Client | Role::Resolver => Some(scene::AIMED),
        Role::Draw | Role::Parent => None,
    }
}
