//! The processor time of processes, and the choice of a processor.

use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use crate::Result;

const THIS_THREAD: Pid = Pid::from_raw(0);

/// The processor time, user and system, that the process `pid` has used so far, without its children.
pub fn processor_time(pid: u32) -> Result<Duration> {
    Ok(clock_getcpuclockid(Pid::from_raw(pid.try_into()?))?.now()?.into())
}

/// The processor time of all children of this process that were reaped so far, and of the children that they reaped.
pub fn reaped_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok(Duration::from_micros((usage.user_time() + usage.system_time()).num_microseconds().try_into()?))
}

/// This thread and some processes on one processor, with all that they start. Ends when it is dropped.
pub struct OneProcessor {
    bound: Vec<Pid>,
    allowed: CpuSet,
}

impl OneProcessor {
    /// Binds this thread and the processes `pids`.
    pub fn bind(pids: impl IntoIterator<Item = u32>) -> Result<Self> {
        let allowed = sched_getaffinity(THIS_THREAD)?;
        let mut one = CpuSet::new();
        one.set((0..CpuSet::count()).find(|&n| allowed.is_set(n) == Ok(true)).ok_or("no processor may be used")?)?;
        let mut binding = Self { bound: Vec::new(), allowed };
        let pids = pids.into_iter().map(|pid| Ok(Pid::from_raw(pid.try_into()?))).collect::<Result<Vec<_>>>()?;
        for pid in pids.into_iter().chain([THIS_THREAD]) {
            sched_setaffinity(pid, &one)?;
            binding.bound.push(pid);
        }
        Ok(binding)
    }
}

impl Drop for OneProcessor {
    fn drop(&mut self) {
        for pid in &self.bound {
            // Fails only if the process has ended.
            let _ = sched_setaffinity(*pid, &self.allowed);
        }
    }
}
