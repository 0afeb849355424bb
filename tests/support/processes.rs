//! Processes of this machine, by what `/proc` reports of them.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{PATIENCE, eventually};

/// Living children and zombies of a process with one thread, oldest first.
pub fn children_of(parent: i32) -> Vec<i32> {
    match fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")) {
        Ok(pids) => pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect(),
        Err(_) if state(parent).is_none() => Vec::new(),
        // This kernel does not list them: look for all processes with this parent.
        Err(_) => {
            let processes = fs::read_dir("/proc").unwrap();
            let pids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
            pids.filter(|&pid| stat(pid).is_some_and(|fields| fields[1].parse() == Ok(parent))).collect()
        }
    }
}

/// Stops the process, then its children, and returns the children. A system call that one of them is in may still
/// finish.
pub fn freeze(parent: i32) -> Vec<i32> {
    let stop = |pid| {
        let _ = kill(Pid::from_raw(pid), Signal::SIGSTOP);
        let deadline = Instant::now() + PATIENCE;
        while matches!(state(pid), Some('R' | 'S')) && Instant::now() < deadline {}
    };
    stop(parent);
    let children = children_of(parent);
    children.iter().copied().for_each(stop);
    children
}

/// Stops one process and waits until it is stopped.
#[track_caller]
pub fn stop_process(pid: i32) {
    send_signal(pid, "STOP");
    eventually("the process is stopped", || state(pid) == Some('T'));
}

/// Sends the signal, named without `SIG`; a negative `pid` is a process group.
pub fn send_signal(pid: i32, signal: &str) {
    let signal = format!("SIG{signal}").parse::<Signal>().unwrap();
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// Whether the process exists and is not a zombie.
pub fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z")
}

/// The letter of the process's state: R, S, T, Z …; `None` once it is reaped.
pub fn state(pid: i32) -> Option<char> {
    stat(pid)?[0].chars().next()
}

/// Anonymous memory of a process in kB: pages that belong to no file.
pub fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

/// User and system time of the process so far, in clock ticks.
pub fn cpu_ticks(pid: i32) -> u64 {
    stat(pid).map_or(0, |fields| fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum())
}

/// For one second, none of the processes uses noticeable CPU time.
#[track_caller]
pub fn assert_idle(pids: &[i32]) {
    // Time for work that is still to be done.
    std::thread::sleep(Duration::from_millis(300));
    let before: Vec<_> = pids.iter().map(|&pid| cpu_ticks(pid)).collect();
    std::thread::sleep(Duration::from_secs(1));
    for (&pid, before) in pids.iter().zip(before) {
        let ticks = cpu_ticks(pid).saturating_sub(before);
        // A process that spins uses up to 100 ticks.
        assert!(ticks < 10, "process {pid} has used {ticks} ticks in a second");
    }
}

/// The open descriptors of the process, each with the target of its link in `/proc`.
pub fn descriptors(pid: i32) -> BTreeMap<i32, String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeMap::new() };
    let fds = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let target = fs::read_link(&path).ok()?;
        Some((path.file_name()?.to_str()?.parse().ok()?, target.to_string_lossy().into_owned()))
    });
    fds.collect()
}

/// The fields of `/proc/PID/stat` from the state on.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}
