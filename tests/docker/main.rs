//! The system in containers, from outside: the requirements of the assignment's eight exercises, each on its branch,
//! and further traps. `make test-docker`; needs a Docker engine.
//!
//! The cases work in a repository of their own and remove the containers that they start. They use the system's real
//! names, network and image tags, since these are tested as well. So the system must not be running, the cases run one
//! after another, and `server:latest` and `client:latest` are built again.
//!
//! A case works like a user at a terminal: switch to the branch, generate the compose file, edit the two
//! configurations, put the agencies' files in place, run `docker compose up -d`, and only then follow the logs.

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

/// A case: its name, and the function that runs it in the repository.
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

/// Builds the images once: the differences between the branches are not in them.
fn with_images() -> Scratch {
    let scratch = Scratch::new();
    scratch.build_images();
    scratch
}
