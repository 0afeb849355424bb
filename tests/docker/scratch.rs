//! A repository for the cases, with the files of the project's work tree and the branches of `make ramas`. The
//! project's own repository and files are only read.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::engine::{BUILD_PATIENCE, PATIENCE, must};

/// A repository in a temporary directory.
pub struct Scratch {
    dir: TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        let scratch = Self { dir: tempfile::Builder::new().prefix("loteria-docker-").tempdir().unwrap() };
        let (repo, git_dir) = (scratch.repo(), scratch.repo().join(".git"));
        fs::create_dir(&repo).unwrap();
        must(&repo, PATIENCE, &["git", "init", "--quiet", "--template=", "--initial-branch=main"]);
        // Files that are not committed yet are tested as well.
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (git_dir, work_tree) =
            (format!("--git-dir={}", git_dir.display()), format!("--work-tree={}", project.display()));
        must(project, PATIENCE, &["git", &git_dir, &work_tree, "add", "--all"]);
        scratch.git(&["commit", "--quiet", "--message=The work tree"]);
        scratch.git(&["reset", "--quiet", "--hard"]);
        must(&repo, PATIENCE, &["make", "--silent", "ramas"]);
        scratch
    }

    /// The repository, in which all commands run.
    pub fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    /// The path of a file outside the repository, in the same temporary directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts the files of `branch` in place, as the course does: ignored files stay.
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
