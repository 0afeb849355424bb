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
    assert_eq!(fs::read_to_string(written).unwrap(), project("docker-compose-dev.yaml"));
}
