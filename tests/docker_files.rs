//! Consistency of the container files. Needs no Docker.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::path::Path;
use std::process::Command;

fn project(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A Dockerfile up to its last stage.
fn build_stage(path: &str) -> String {
    let text = project(path);
    let (stages, _) = text.rsplit_once("\nFROM ").unwrap();
    assert!(stages.contains("\nFROM "), "{path} has one stage");
    stages.to_owned()
}

/// They must be equal byte for byte, or the second image would compile everything again.
#[test]
fn both_images_have_one_build_stage() {
    assert_eq!(build_stage("server/Dockerfile"), build_stage("client/Dockerfile"));
}

#[test]
fn the_compose_file_is_what_its_script_writes() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("generar-compose.sh"), project("generar-compose.sh")).unwrap();
    let written = dir.path().join("docker-compose-dev.yaml");
    let mut command = Command::new("sh");
    command.arg("generar-compose.sh").arg(&written).arg("5").current_dir(&dir);
    assert!(command.status().unwrap().success());
    // Where SELinux is enforcing, the mounts have one more option.
    let written = fs::read_to_string(written).unwrap().replace(":ro,z\n", ":ro\n");
    assert_eq!(written, project("docker-compose-dev.yaml"));
}

/// The lines of a file that are not comments.
fn settings(path: &str) -> Vec<String> {
    project(path).lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// They differ in their comments, which name their use.
#[test]
fn containers_and_native_runs_have_the_same_settings() {
    assert_eq!(settings("server/config.ini"), settings("config/server.ini"));
    assert_eq!(settings("client/config.yaml"), settings("config/client.yaml"));
}

/// A link becomes a text file where Git makes no links, and `sed -i` replaces it.
#[test]
fn the_containers_settings_are_files_and_not_links() {
    for path in ["server/config.ini", "client/config.yaml"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        assert!(fs::symlink_metadata(file).unwrap().is_file(), "{path}");
    }
}
