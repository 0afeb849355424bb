//! Processes, links, signals, readiness and file locks for a server that forks one process per connection.
//!
//! This crate is the mechanism of such a server. It never knows what a bet, an agency or a draw is. All `unsafe`
//! blocks of the workspace are in it: they fork, end a child, reap, ask for or set the action of a signal, close or move
//! descriptors by their numbers, give the kernel an advice, and ask it for an action of filters.
//!
//! ```text
//!    parent process                                       child process
//!
//!    process::spawn(handover, signals, run) ── fork ────▶ run(handover, signals::SignalSource) → exit code
//!    link::Link<Order, Report> ◀────── socketpair ──────▶ link::Link<Report, Order>
//!    signals::SignalSource (SIGTERM, SIGCHLD)             signals::SignalSource (its own)
//!    events::Poller (epoll, many descriptors)             events::wait (poll, a few descriptors)
//!    holders::holder (who has the lock)                   lock::exclusive (flock, on a file that it opened)
//!    sandbox::Sandbox::begin (before the first fork)      sandbox::Sandbox::close, narrow (before it parses bytes)
//!    process::reap_child ◀──── SIGCHLD, exit code ─────── the end of run
//! ```
//!
//! The shortest complete program is `examples/echo.rs`, an echo server.
//!
//! # Modules
//!
//! | module | owns | never |
//! |---|---|---|
//! | [`process`] | fork, the first steps of a child, reaping | returns from a child into the code of its parent |
//! | [`nursery`] | forks that do not copy the parent's links | waits for a child |
//! | [`descriptors`] | which descriptors are closed or moved | closes one that still has an owner |
//! | [`link`] | the socketpair and its framing | blocks, or interprets a message |
//! | [`signals`] | descriptors that report signals | acts on a signal |
//! | [`events`] | poll, epoll and deadlines | reads, writes or closes a descriptor that it watches |
//! | [`lock`] | flock with a bounded wait | opens a file |
//! | [`holders`] | which process holds a lock | takes a lock, or signals a process |
//! | [`sandbox`] | what a process gives up before it parses bytes | gives anything back |
//! | `calls` | the system calls that parent and children may make | interprets a result |
//! | `filter` | instructions for the kernel's filter | knows which call is which |
//! | [`writeback`] | the early start of writes to the disk | replaces a sync |
//!
//! [`nursery`] uses [`process`], and both use [`signals`] and [`descriptors`]. [`link`] uses [`descriptors`].
//! [`sandbox`] uses `calls`, and both use `filter`. No other module
//! uses another one.
//!
//! # Traps of a forking server
//!
//! Each trap is explained in the place that the second column links to. Each test belongs to `tests/processes/` and
//! triggers the trap.
//!
//! | trap | avoided by | test |
//! |---|---|---|
//! | a lock on an inherited descriptor excludes no other process | [`lock`](lock#trap-a-lock-on-an-inherited-descriptor-excludes-no-other-process) | `locks::inherited_descriptor_excludes_no_sibling` |
//! | std has methods with the names of `fs2` | [`lock`](lock#trap-std-has-methods-with-the-names-of-fs2) | `map::only_lock_uses_fs2` |
//! | the list of locks is incomplete | [`holders`](holders#trap-the-list-of-locks-is-incomplete) | `locks::stopped_holder_is_named`, `locks::inherited_lock_is_listed_with_the_pid_that_took_it` |
//! | a signal pipe survives a fork | [`signals`](signals#trap-a-signal-pipe-survives-a-fork) | `signals::sigterm_to_a_child_does_not_wake_its_parent` |
//! | process 1 loses signals that it does not handle | [`signals::block`](signals::block#trap-process-1-loses-signals-that-it-does-not-handle) | `signals::blocked_signal_waits_for_the_subscription` |
//! | no signal interrupts a blocking call | [`signals`](signals#trap-no-signal-interrupts-a-blocking-call) | `signals::blocking_read_is_not_interrupted` |
//! | a child inherits the links of earlier children | [`process::spawn`](process::spawn#trap-a-child-inherits-the-links-of-earlier-children) | `descriptors::later_child_does_not_hide_the_end_of_an_earlier_link` |
//! | a descriptor that one closes is closed in both | [`nursery`](nursery#trap-a-descriptor-that-one-closes-is-closed-in-both) | `nursery::parent_works_on_while_a_child_shares_its_table`, `nursery::child_killed_before_it_has_a_table_closes_nothing` |
//! | a system call forks without glibc | [`nursery`](nursery#trap-a-system-call-forks-without-glibc) | `nursery::thousands_of_children_leave_no_descriptor_open` |
//! | epoll watches open file descriptions | [`events::Poller`](events::Poller#trap-epoll-watches-open-file-descriptions) | `descriptors::epoll_reports_a_closed_descriptor_that_a_child_holds` |
//! | a destructor runs in the parent and in the child | [`process::Handover`](process::Handover#trap-a-destructor-runs-in-the-parent-and-in-the-child) | `exits::child_runs_no_code_and_no_destructor_of_its_parent`, `exits::unflushed_stdout_is_written_once_by_the_parent` |
//! | a fork copies only one thread | [`process::spawn`](process::spawn#trap-a-fork-copies-only-one-thread) | each test asserts before a fork that it has one thread |
//! | a child outlives its parent | [`process::spawn`](process::spawn#trap-a-child-outlives-its-parent) | `orphans::stopped_child_dies_with_its_parent`, `orphans::child_that_starts_after_its_parents_death_runs_nothing` |
//! | SIGCHLDs merge | [`process::reap`](process::reap#trap-sigchlds-merge) | `exits::merged_sigchlds_report_each_child_once` |
//! | nix does not know real-time signals | [`process::Exit`](process::Exit::KilledByRealTimeSignal) | `exits::real_time_signal_is_reported_for_the_right_child` |
//! | the end of a link and SIGCHLD come in either order | [`link`](link#trap-the-end-of-a-link-and-sigchld-come-in-either-order) | `links::end_of_a_link_may_come_before_the_exit`, `links::messages_stay_in_order_and_outlive_their_sender` |
//! | a file has more doors than one | [`sandbox`](sandbox#trap-a-file-has-more-doors-than-one) | `sandbox::writes_elsewhere_fail` |
//! | a skipped call is filtered again | [`sandbox`](sandbox#trap-a-skipped-call-is-filtered-again) | `sandbox::escapes_fail` |
//! | ECONNRESET comes before the last messages | [`link::Link::receive`](link::Link::receive) | `links::messages_of_a_killed_peer_arrive_before_the_end` |
//!
//! Two more traps lie outside this crate, and the program must avoid them. A `syslog` connection fixes the pid when it
//! is opened, so a child must open its own. Counters and results that outlive a child belong in the parent or in a file.

mod calls;
pub mod descriptors;
pub mod events;
mod filter;
pub mod holders;
pub mod link;
pub mod lock;
pub mod nursery;
pub mod process;
pub mod sandbox;
pub mod signals;
pub mod writeback;
