//! A repository of the tests' own, with what the project's work tree holds now and the branches that `make ramas` gives.
//! The project's repository, its files and its compose file are only read.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::engine::{BUILD_PATIENCE, PATIENCE, must};

/// In a directory that goes with it.
pub struct Scratch {
    dir: TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        let scratch = Self { dir: tempfile::Builder::new().prefix("loteria-docker-").tempdir().unwrap() };
        let (repo, git_dir) = (scratch.repo(), scratch.repo().join(".git"));
        fs::create_dir(&repo).unwrap();
        must(&repo, PATIENCE, &["git", "init", "--quiet", "--template=", "--initial-branch=main"]);
        // Also what is not committed yet: it is what is judged.
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (git_dir, work_tree) =
            (format!("--git-dir={}", git_dir.display()), format!("--work-tree={}", project.display()));
        must(project, PATIENCE, &["git", &git_dir, &work_tree, "add", "--all"]);
        scratch.git(&["commit", "--quiet", "--message=The work tree"]);
        scratch.git(&["reset", "--quiet", "--hard"]);
        must(&repo, PATIENCE, &["make", "--silent", "ramas"]);
        scratch
    }

    /// The repository, where everything is run.
    pub fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    /// A file beside the repository.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts the files of `branch` in place, as the course does: what is ignored stays.
    pub fn switch(&self, branch: &str) {
        self.git(&["checkout", "--quiet", "."]);
        self.git(&["clean", "--quiet", "-fd"]);
        self.git(&["switch", "--quiet", branch]);
    }

    /// Builds both images from the files in place.
    pub fn build_images(&self) {
        for program in ["server", "client"] {
            let (file, tag) = (format!("./{program}/Dockerfile"), format!("{program}:latest"));
            must(&self.repo(), BUILD_PATIENCE, &["docker", "build", "-f", &file, "-t", &tag, "."]);
        }
    }

    pub fn git(&self, words: &[&str]) -> String {
        must(&self.repo(), PATIENCE, &[&["git"], words].concat())
    }
}
