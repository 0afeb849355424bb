//! The system in containers, judged from outside: what the assignment's eight exercises demand, each on its branch, and
//! the traps beside them. `make test-docker`; needs a Docker engine.
//!
//! The cases work in a repository of their own and remove the containers that they start. Names, network and image tags
//! are the system's own, since these are judged as well: so the system must not be running, the cases run one after the
//! other, and `server:latest` and `client:latest` are built anew.
//!
//! A case does what somebody at a terminal would do: switch to the branch, generate the compose file, edit the two
//! configurations, put the agencies' files in place, `docker compose up -d`, and only then begin to follow the logs.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod engine;
mod exercises;
mod follower;
mod grammar;
mod scratch;
#[path = "../support/mod.rs"]
mod support;
mod system;
mod traps;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use engine::obstacle;
use libtest_mimic::{Arguments, Trial};
use scratch::Scratch;

/// A case, by its name and what it does in the repository.
type Case = (String, Box<dyn FnOnce(&Scratch) + Send>);

/// A case of this name.
fn case(name: impl Into<String>, run: impl FnOnce(&Scratch) + Send + 'static) -> Case {
    (name.into(), Box::new(run))
}

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads = Some(1); // one system at a time
    let scratch = Arc::new(OnceLock::new());
    if !args.list {
        if let Some(obstacle) = obstacle() {
            eprintln!("the Docker tests cannot run: {obstacle}");
            return ExitCode::FAILURE;
        }
        eprintln!("building both images");
        scratch.get_or_init(with_images);
    }
    let cases = exercises::cases().into_iter().chain(traps::cases());
    let trials = cases.map(|(name, run)| {
        let scratch = Arc::clone(&scratch);
        Trial::test(name, move || {
            run(scratch.get_or_init(with_images));
            Ok(())
        })
    });
    libtest_mimic::run(&args, trials.collect()).exit_code()
}

/// The images are built once: what differs between the branches is not in them.
fn with_images() -> Scratch {
    let scratch = Scratch::new();
    scratch.build_images();
    scratch
}
