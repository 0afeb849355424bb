//! Triggers every trap that the map in `src/lib.rs` lists, with real processes. One module for each subject.
//!
//! A fork is safe only in a process with one thread, and libtest starts several. So these tests run on the main thread,
//! one after the other (`libtest-mimic`). [`support::spawn`] asserts that no other thread exists, and [`run`] asserts
//! that a test leaves no child and no descriptor open.
//!
//! No test sleeps for a fixed time: each one waits for an event, at most [`support::PATIENCE`].
#![allow(clippy::unwrap_used)]

mod descriptors;
mod echo;
mod exits;
mod links;
mod locks;
mod map;
mod nursery;
mod orphans;
mod sandbox;
mod signals;
mod support;

use std::panic;
use std::process::ExitCode;

use ipc::process;
use libtest_mimic::{Arguments, Failed, Trial};
use nix::sys::prctl;
use nix::sys::wait;
use nix::unistd::{self, alarm};
use support::{children, open_descriptors, wait_until_ended};

/// No test takes longer than a few seconds.
const TEST_TIMEOUT_SECONDS: u32 = 100;
/// Exit code of a child that returns from [`process::spawn`] into a test.
const ESCAPED: i32 = 99;

macro_rules! tests {
    ($($group:ident { $($test:ident),* $(,)? })*) => {
        [$($((concat!(stringify!($group), "::", stringify!($test)), $group::$test as fn())),*),*]
    };
}

const TESTS: &[(&str, fn())] = &tests! {
    locks {
        inherited_descriptor_excludes_no_sibling,
        file_opened_after_the_fork_excludes_siblings_and_parent,
        lock_lasts_until_the_last_heir_of_its_descriptor_ends,
        lock_is_free_when_its_holder_dies,
        wait_is_bounded_even_if_signals_keep_coming,
        stopped_holder_is_named,
        inherited_lock_is_listed_with_the_pid_that_took_it,
    }
    signals {
        sigterm_to_a_child_does_not_wake_its_parent,
        signal_sent_before_the_child_subscribes_still_wakes_it,
        signals_during_forks_reach_the_parent_once_each,
        child_survives_signals_that_only_its_parent_subscribed,
        subscription_unblocks_its_signals,
        blocked_signal_waits_for_the_subscription,
        ignored_sighup_stays_ignored,
        disarmed_signal_does_not_kill,
        blocking_read_is_not_interrupted,
    }
    descriptors {
        child_holds_its_handover_and_its_signal_pipe_only,
        program_can_close_what_it_inherited,
        later_child_does_not_hide_the_end_of_an_earlier_link,
        epoll_reports_a_closed_descriptor_that_a_child_holds,
        two_thousand_children_leave_no_descriptor_open,
    }
    orphans {
        child_dies_with_its_parent,
        stopped_child_dies_with_its_parent,
        child_that_starts_after_its_parents_death_runs_nothing,
    }
    nursery {
        child_holds_its_handover_and_its_signal_pipe_only,
        parent_closes_what_it_holds_when_the_child_is_on_its_own,
        link_of_a_child_that_has_ended_ends_once_it_is_settled,
        parent_works_on_while_a_child_shares_its_table,
        child_killed_before_it_has_a_table_closes_nothing,
        child_that_is_stopped_early_does_not_outlive_its_parent,
        stopped_children_do_not_stop_the_nursery,
        handover_with_a_high_number_is_a_plain_fork,
        childs_table_does_not_grow_with_its_parents,
        descriptor_without_room_stays_where_it_is,
        thousands_of_children_leave_no_descriptor_open,
    }
    exits {
        codes_arrive_unchanged_and_a_panic_is_101,
        killed_child_is_reported_with_its_signal,
        real_time_signal_is_reported_for_the_right_child,
        child_runs_no_code_and_no_destructor_of_its_parent,
        unflushed_stdout_is_written_once_by_the_parent,
        merged_sigchlds_report_each_child_once,
    }
    links {
        messages_stay_in_order_and_outlive_their_sender,
        end_of_a_link_may_come_before_the_exit,
        messages_of_a_killed_peer_arrive_before_the_end,
        send_to_a_closed_peer_fails_without_sigpipe,
        full_link_fails_instead_of_blocking,
        invalid_packet_is_an_error_and_hides_no_later_message,
    }
    sandbox {
        work_of_a_server_goes_on,
        panic_is_101,
        escapes_fail,
        writes_elsewhere_fail,
        landlock_alone_closes_files_network_and_processes,
        process_that_is_off_gives_up_nothing,
    }
    echo {
        clients_at_once_get_their_bytes_back,
        ended_connections_leave_no_child,
        sigterm_ends_the_server_and_its_children,
        sigterm_ends_a_child_whose_client_reads_nothing,
    }
    map {
        each_trap_names_its_tests,
        modules_import_only_from_lower_ones,
        only_lock_uses_fs2,
    }
};

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads = Some(1);
    // Orphans become children of this process: it sees how they end, and none of them outlives it.
    prctl::set_child_subreaper(true).unwrap();
    let trials = TESTS.iter().map(|&(name, test)| Trial::test(name, move || run(test))).collect();
    libtest_mimic::run(&args, trials).exit_code()
}

/// Runs one test, and ends all children that it has left.
fn run(test: fn()) -> Result<(), Failed> {
    let (runner, before) = (unistd::getpid(), open_descriptors());
    // Ends the whole run if a test blocks. A child does not inherit the alarm.
    alarm::set(TEST_TIMEOUT_SECONDS);
    let outcome = panic::catch_unwind(test);
    if unistd::getpid() != runner {
        std::process::exit(ESCAPED);
    }
    let left = children();
    // One at a time: when a child dies, its own children become children of this process.
    while let Some(&child) = children().first() {
        process::kill(child);
        wait_until_ended(child);
        process::reap();
        let _ = wait::waitpid(child, None);
    }
    alarm::cancel();
    outcome.unwrap_or_else(|cause| panic::resume_unwind(cause));
    assert_eq!(left, [], "the test left children");
    assert_eq!(open_descriptors(), before, "the test left descriptors open");
    Ok(())
}
