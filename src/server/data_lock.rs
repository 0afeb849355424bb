//! The parent's view of the data lock: who holds it, and what to do about a holder that stands still.
//!
//! Used only by the parent's event loop, after a [`super::standstill::Standstill`] has asked for a look. Never waits for
//! the lock.

use std::path::Path;
use std::time::Duration;

use ipc::process::{self, Pid};
use ipc::{holders, lock};

use super::children::Children;
use super::drawing::Drawing;
use super::standstill::{Holder, Look, Verdict};
use crate::event;
use crate::storage::Store;

/// Looks at the data lock. If the kernel does not name the holder, tries the lock and unlocks it at once: the list of
/// locks can be hidden, so an absent holder does not mean that the lock is free.
pub fn look(store: &Store) -> Look {
    let file = store.data_lock();
    let holder = match holders::holder(file) {
        Ok(Some(pid)) => Holder::Process(pid),
        _ if matches!(lock::exclusive(file, Duration::ZERO), Ok(Some(_))) => Holder::Nobody,
        _ => Holder::Unknown,
    };
    Look { holder, sequence: store.sequence().ok() }
}

/// Does what `verdict` calls for, and logs it. Kills only children of this server. `path` is the file of the lock.
pub fn act(verdict: Verdict, children: &Children, drawing: &Drawing, path: &Path) {
    match verdict {
        Verdict::Nothing => {}
        Verdict::ResumeChildren => {
            let aviso = "/proc/locks does not name the holder: SIGCONT to every child";
            event!(Warning, "data_lock", in_progress, archivo = path.display(), aviso = aviso);
            children.resume_all();
            drawing.resume();
        }
        Verdict::StandsStill(pid) => stands_still(pid, children, drawing, path),
        Verdict::StillUnknown => {
            let error = "holder unknown: /proc/locks does not name it; find the process that has this file locked";
            event!(Error, "data_lock", fail, archivo = path.display(), error = error);
        }
    }
}

fn stands_still(pid: Pid, children: &Children, drawing: &Drawing, path: &Path) {
    let agency = match children.with_pid(pid) {
        Some(child) => child.agency,
        None if drawing.is_child(pid) => None,
        None => {
            let error = "another program holds the data lock: end it, or let it continue";
            event!(Error, "data_lock", fail, archivo = path.display(), pid = pid, error = error);
            return;
        }
    };
    let agencia = agency.map_or_else(|| "-".to_owned(), |agency| agency.to_string());
    let motivo = "holds the data lock and stands still";
    event!(Warning, "kill_child", success, pid = pid, agencia = agencia, archivo = path.display(), motivo = motivo);
    process::kill(pid);
}
