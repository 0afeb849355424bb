//! The scripts from outside: the files that they write, their output, and the files that they must not change.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_yaml::Value;
use support::{has_program, install, skipped, write_file};
use tempfile::TempDir;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A temporary directory that holds only a copy of one script.
fn alone(script: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    install(&project(script), &dir.path().join(script));
    dir
}

// ---- generar-compose.sh ------------------------------------------------------------------------------------------

const GENERATE: &str = "generar-compose.sh";

/// Runs the script in `dir`, directly or with a shell, as on a host without SELinux.
fn generate(dir: &Path, shell: Option<&str>, arguments: &[&str]) -> Output {
    generate_under("Disabled", dir, shell, arguments)
}

/// The same with `selinux` as the state that getenforce(8) prints.
fn generate_under(selinux: &str, dir: &Path, shell: Option<&str>, arguments: &[&str]) -> Output {
    let script = dir.join(GENERATE);
    let mut command = Command::new(shell.map_or(script.as_os_str(), |shell| shell.as_ref()));
    command.args(shell.map(|_| &script)).args(arguments).current_dir(dir);
    let path = format!("{}:{}", project("tests/fixtures/selinux").display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).env("SELINUX_STATE", selinux);
    command.output().unwrap()
}

/// Creates empty files of agencies.
fn agency_files(dir: &Path, ids: std::ops::RangeInclusive<u32>) {
    fs::create_dir_all(dir.join(".data")).unwrap();
    ids.for_each(|id| write_file(&dir.join(format!(".data/agency-{id}.csv")), ""));
}

#[test]
fn the_committed_compose_file_is_the_one_of_five_clients() {
    let dir = alone(GENERATE);
    agency_files(dir.path(), 1..=5);
    for shell in [None, Some("bash"), Some("sh")] {
        let output = generate(dir.path(), shell, &["docker-compose-dev.yaml", "5"]);
        assert!(output.status.success() && output.stderr.is_empty(), "{shell:?}: {output:?}");
        let written = fs::read_to_string(dir.path().join("docker-compose-dev.yaml")).unwrap();
        assert_eq!(written, fs::read_to_string(project("docker-compose-dev.yaml")).unwrap(), "{shell:?}");
        fs::remove_file(dir.path().join("docker-compose-dev.yaml")).unwrap();
    }
}

#[test]
fn a_compose_file_has_the_requested_number_of_clients() {
    for clients in [0, 1, 2, 5, 50] {
        let dir = alone(GENERATE);
        assert!(generate(dir.path(), None, &["out.yaml", &clients.to_string()]).status.success());
        let written = fs::read_to_string(dir.path().join("out.yaml")).unwrap();
        let compose: Value = serde_yaml::from_str(&written).unwrap();
        assert_eq!(compose["name"], "tp0");
        let services: BTreeMap<String, Value> = serde_yaml::from_value(compose["services"].clone()).unwrap();
        let mut names: Vec<_> = (1..=clients).map(|id| format!("client{id}")).collect();
        names.push("server".to_owned());
        names.sort();
        assert_eq!(services.keys().cloned().collect::<Vec<_>>(), names);
        for (name, service) in &services {
            assert_eq!(service["container_name"], Value::from(name.as_str()));
            assert_eq!(service["networks"][0], "testing_net");
            assert_eq!(service["image"], if name == "server" { "server:latest" } else { "client:latest" });
        }
        assert_eq!(compose["networks"]["testing_net"]["ipam"]["config"][0]["subnet"], "172.25.125.0/24");
        for (name, service) in &services {
            let (memory, processes) = if name == "server" { ("2g", 1280) } else { ("256m", 32) };
            assert_eq!((&service["mem_limit"], &service["pids_limit"]), (&memory.into(), &processes.into()), "{name}");
            let log = &service["logging"];
            assert_eq!((&log["driver"], &log["options"]["max-size"]), (&"json-file".into(), &"10m".into()), "{name}");
            assert_eq!(log["options"]["max-file"], "6", "five full files are 50 MB");
        }
        assert_environments(&services, clients);
        assert_volumes(&services);
        let builds = services.values().filter(|service| !service["build"].is_null()).count();
        assert_eq!(builds, 1 + usize::from(clients > 0), "each image is built by one service");
    }
}

fn assert_environments(services: &BTreeMap<String, Value>, clients: u32) {
    for (name, service) in services {
        let variables: Vec<String> = serde_yaml::from_value(service["environment"].clone()).unwrap();
        let has = |variable: &str| variables.iter().any(|one| one == variable);
        match name.strip_prefix("client") {
            None => assert_eq!(variables, [format!("CLIENT_AMOUNT={clients}")]),
            Some(id) => {
                assert!(has(&format!("CLI_ID={id}")) && has("CLI_MODE=${CLI_MODE:-draw}"), "{variables:?}");
                assert!(has("NOMBRE=Santiago Lionel") && has("APELLIDO=Lorca") && has("DOCUMENTO=30904465"));
                assert!(has("NACIMIENTO=1999-03-17") && has("NUMERO=7574"));
            }
        }
        // These would override the configuration that the course injects.
        let official = [
            "SERVER_PORT",
            "SERVER_IP",
            "LISTEN_BACKLOG",
            "LOGGING_LEVEL",
            "SERVER_ADDRESS",
            "LOOP",
            "LOG_LEVEL",
            "BATCH",
        ];
        let overrules =
            |variable: &String| official.iter().any(|key| variable.split('=').next().unwrap().contains(key));
        assert!(!variables.iter().any(overrules), "{variables:?}");
    }
}

fn assert_volumes(services: &BTreeMap<String, Value>) {
    for (name, service) in services {
        let volumes: Vec<String> = serde_yaml::from_value(service["volumes"].clone()).unwrap();
        let expected: &[&str] = match name.as_str() {
            "server" => &["./server/config.ini:/config.ini:ro"],
            _ => &["./client/config.yaml:/config.yaml:ro", "./.data:/.data:ro"],
        };
        assert_eq!(volumes, expected, "{name}");
    }
}

#[test]
fn missing_agency_files_are_a_warning_with_the_next_step() {
    let dir = alone(GENERATE);
    for (files, clients, warning) in [
        (0, "2", Some("2 of 2 agency files are missing in .data (the first: agency-1.csv)")),
        (5, "12", Some("7 of 12 agency files are missing in .data (the first: agency-6.csv)")),
        (5, "5", None),
        (5, "0", None),
    ] {
        if files > 0 {
            agency_files(dir.path(), 1..=files);
        }
        for shell in [None, Some("bash"), Some("sh")] {
            let output = generate(dir.path(), shell, &["out.yaml", clients]);
            let errors = text(&output.stderr);
            assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
            assert!(dir.path().join("out.yaml").exists());
            let Some(warning) = warning else {
                assert_eq!(errors, "");
                continue;
            };
            let command =
                format!("cargo run --release --bin dataset -- --agencies {clients} --out .data --seed 7574\n");
            assert!(errors.contains(warning) && errors.ends_with(&command), "{errors}");
        }
    }
}

#[test]
fn mounts_are_labelled_only_where_selinux_is_enforcing() {
    let dir = alone(GENERATE);
    let generated = |selinux| {
        assert!(generate_under(selinux, dir.path(), None, &["out.yaml", "2"]).status.success());
        fs::read_to_string(dir.path().join("out.yaml")).unwrap()
    };
    let usual = generated("Disabled");
    assert_eq!(generated("Permissive"), usual);
    assert_eq!(usual.matches(":ro\n").count(), 5);
    assert_eq!(generated("Enforcing"), usual.replace(":ro\n", ":ro,z\n"));
}

#[test]
fn paths_with_spaces_and_outside_the_project_work() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (dir.path().join("a b"), dir.path().join("c d"));
    [&here, &there].into_iter().for_each(|path| fs::create_dir(path).unwrap());
    install(&project(GENERATE), &here.join(GENERATE));
    for shell in [None, Some("bash"), Some("sh")] {
        let output = generate(&here, shell, &["my compose file.yaml", "2"]);
        assert!(output.status.success(), "{output:?}");
        let written = fs::read_to_string(here.join("my compose file.yaml")).unwrap();
        assert!(written.contains("- ./.data:/.data:ro") && written.contains("container_name: client2"));
        let elsewhere = there.join("out put.yaml");
        assert!(generate(&here, shell, &[elsewhere.to_str().unwrap(), "2"]).status.success());
        let compose: Value = serde_yaml::from_str(&fs::read_to_string(&elsewhere).unwrap()).unwrap();
        let data = format!("{}/.data:/.data:ro", here.canonicalize().unwrap().display());
        assert_eq!(compose["services"]["client1"]["volumes"][1], Value::from(data));
        fs::remove_file(elsewhere).unwrap();
    }
    let mut left: Vec<_> = fs::read_dir(&here).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [GENERATE, "my compose file.yaml"], "nothing temporary is left");
}

#[test]
fn wrong_arguments_are_exit_code_2_and_touch_no_file() {
    for arguments in [
        &[][..],
        &["old.yaml"],
        &["old.yaml", "-1"],
        &["old.yaml", "abc"],
        &["old.yaml", ""],
        &["old.yaml", "1.5"],
        &["old.yaml", "5 "],
        &["old.yaml", "007"],
        &["old.yaml", "1000000"],
        &["old.yaml", "5", "6"],
        &["", "5"],
        &[".", "5"],
        &["missing/new.yaml", "5"],
        &["new.yaml", "abc"],
    ] {
        for shell in [None, Some("bash"), Some("sh")] {
            let dir = alone(GENERATE);
            write_file(&dir.path().join("old.yaml"), "as it was");
            let output = generate(dir.path(), shell, arguments);
            assert_eq!(output.status.code(), Some(2), "{shell:?} {arguments:?}: {output:?}");
            assert!(output.stdout.is_empty() && text(&output.stderr).contains("usage: "), "{output:?}");
            assert_eq!(fs::read_to_string(dir.path().join("old.yaml")).unwrap(), "as it was");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "{arguments:?} made a file");
        }
    }
}

#[test]
fn an_existing_compose_file_is_replaced_with_a_usual_mode() {
    let dir = alone(GENERATE);
    let file = dir.path().join("out.yaml");
    write_file(&file, "x".repeat(100_000));
    assert!(generate(dir.path(), None, &["out.yaml", "1"]).status.success());
    let written = fs::read_to_string(&file).unwrap();
    assert!(!written.contains('x') || serde_yaml::from_str::<Value>(&written).is_ok());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o400, 0o400);
    assert!(written.len() < 10_000 && written.ends_with("172.25.125.0/24\n"));
}

// ---- validar-echo-server.sh --------------------------------------------------------------------------------------

const VALIDATE: &str = "validar-echo-server.sh";
const SUCCESS: &str = "action: test_echo_server | result: success\n";
const FAIL: &str = "action: test_echo_server | result: fail\n";
/// The script detects a mute or dead server within 5 s; a slow machine gets more.
const VALIDATION_BOUND: Duration = Duration::from_secs(15);

/// Runs the script with each shell that it must support, with `docker` as the docker program; `None` is no such
/// program.
fn validate(docker: Option<&str>) -> Vec<(String, Option<i32>)> {
    validate_with(&project(VALIDATE), docker, "exec /bin/sleep \"$@\"")
}

/// The same for a copy of the script, with `sleep` as the sleep program. No other program has a time limit: there is no
/// timeout(1).
fn validate_with(script: &Path, docker: Option<&str>, sleep: &str) -> Vec<(String, Option<i32>)> {
    let bin = tempfile::tempdir().unwrap();
    for program in ["sh", "bash", "date", "dirname", "printf", "env", "cat", "sed", "tr"] {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|dir| dir.join(program))
            .find(|path| path.is_file());
        symlink(found.unwrap(), bin.path().join(program)).unwrap();
    }
    write_file(&bin.path().join("sleep.sh"), format!("#!/bin/sh\n{sleep}\n"));
    install(&bin.path().join("sleep.sh"), &bin.path().join("sleep"));
    if let Some(docker) = docker {
        let text = bin.path().join("docker.sh");
        write_file(&text, format!("#!/bin/sh\n{docker}\n"));
        install(&text, &bin.path().join("docker"));
    }
    let script = script.to_owned();
    let ways = [vec![script.clone()], vec!["sh".into(), script.clone()], vec!["bash".into(), script]];
    let outcomes = ways.map(|way| {
        let bin = bin.path().to_owned();
        std::thread::spawn(move || {
            let began = Instant::now();
            let output = Command::new(&way[0]).args(&way[1..]).env("PATH", bin).current_dir("/").output().unwrap();
            assert!(began.elapsed() < VALIDATION_BOUND, "{:?}", began.elapsed());
            assert!(output.stderr.is_empty(), "{output:?}");
            (text(&output.stdout), output.status.code())
        })
    });
    outcomes.map(|outcome| outcome.join().unwrap()).into()
}

#[track_caller]
fn assert_fails(docker: Option<&str>) {
    assert_eq!(validate(docker), vec![(FAIL.to_owned(), Some(1)); 3]);
}

#[test]
fn an_echo_is_valid_if_the_same_came_back() {
    // The message is the last argument of `docker run`.
    let echo = "[ $1 != run ] || { for message; do :; done; echo \"$message\"; }";
    assert_eq!(validate(Some(echo)), vec![(SUCCESS.to_owned(), Some(0)); 3]);
}

#[test]
fn without_docker_the_echo_is_invalid() {
    assert_fails(None);
}

#[test]
fn a_docker_that_fails_is_an_invalid_echo() {
    assert_fails(Some("echo 'Cannot connect to the Docker daemon' >&2; exit 1"));
}

#[test]
fn a_network_that_is_missing_is_an_invalid_echo() {
    assert_fails(Some("[ $1 != network ] || exit 1; for message; do :; done; echo \"$message\""));
}

#[test]
fn an_answer_that_differs_is_an_invalid_echo() {
    for answer in
        ["echo something else", "echo \"$message!\"", "echo \" $message\"", ":", "echo \"$message\"; echo more"]
    {
        assert_fails(Some(&format!("[ $1 != run ] || {{ for message; do :; done; {answer}; }}")));
    }
}

#[test]
fn a_docker_that_hangs_is_an_invalid_echo_in_time() {
    assert_fails(Some("exec sleep 60"));
}

#[test]
fn a_server_that_is_mute_is_an_invalid_echo_in_time() {
    assert_fails(Some("[ $1 != run ] || exec sleep 60"));
}

#[test]
fn a_sleep_of_whole_seconds_is_enough() {
    let whole = "case $1 in *.*) exit 1 ;; esac; exec /bin/sleep \"$1\"";
    let slow = "[ $1 != run ] || /bin/sleep 1; for message; do :; done; echo \"$message\"";
    assert_eq!(validate_with(&project(VALIDATE), Some(slow), whole), vec![(SUCCESS.to_owned(), Some(0)); 3]);
    let outcomes = validate_with(&project(VALIDATE), Some("[ $1 != run ] || exec /bin/sleep 60"), whole);
    assert_eq!(outcomes, vec![(FAIL.to_owned(), Some(1)); 3]);
}

/// A docker whose server answers at one port only. The port is the last argument but one of `docker run`.
fn answers_at(port: &str) -> String {
    format!("[ $1 = run ] || exit 0; while [ $# -gt 2 ]; do shift; done; [ \"$1\" != {port} ] || printf '%s\\n' \"$2\"")
}

#[test]
fn the_echo_is_asked_at_the_port_of_the_settings() {
    for (settings, port) in [
        ("[DEFAULT]\nSERVER_PORT = 8080\n", "8080"),
        ("[DEFAULT]\r\nserver_port:8080\r\nSERVER_IP = server\r\n", "8080"),
        ("[DEFAULT]\n  Server_Port =\t8080", "8080"),
        ("[DEFAULT]\n# SERVER_PORT = 8080\n; SERVER_PORT = 8080\n", "12345"),
        ("[DEFAULT]\nSERVER_IP = server\n", "12345"),
    ] {
        let dir = alone(VALIDATE);
        fs::create_dir(dir.path().join("server")).unwrap();
        write_file(&dir.path().join("server/config.ini"), settings);
        let outcomes = validate_with(&dir.path().join(VALIDATE), Some(&answers_at(port)), "exec /bin/sleep \"$@\"");
        assert_eq!(outcomes, vec![(SUCCESS.to_owned(), Some(0)); 3], "{settings:?}");
    }
}

#[test]
fn without_settings_the_echo_is_asked_at_the_default_port() {
    let dir = alone(VALIDATE);
    let outcomes = validate_with(&dir.path().join(VALIDATE), Some(&answers_at("12345")), "exec /bin/sleep \"$@\"");
    assert_eq!(outcomes, vec![(SUCCESS.to_owned(), Some(0)); 3]);
}

// ---- scripts/ramas.sh --------------------------------------------------------------------------------------------

struct Clone(TempDir);

impl Clone {
    /// A scratch clone of this repository's HEAD, with the script as it is now.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let clone =
            Command::new("git").args(["clone", "--quiet", "--no-hardlinks"]).arg(project("")).arg(dir.path()).output();
        if !clone.as_ref().is_ok_and(|output| output.status.success()) {
            skipped("scripts/ramas.sh", &format!("the project cannot be cloned: {clone:?}"));
            return None;
        }
        fs::create_dir_all(dir.path().join("scripts")).unwrap();
        install(&project("scripts/ramas.sh"), &dir.path().join("scripts/ramas.sh"));
        Some(Self(dir))
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git").args(arguments).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        text(&output.stdout)
    }

    fn branches(&self, arguments: &[&str]) -> Output {
        Command::new("scripts/ramas.sh").args(arguments).env_remove("FORCE").current_dir(&self.0).output().unwrap()
    }

    /// Every branch with its commit.
    fn heads(&self) -> String {
        self.git(&["for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads"])
    }
}

#[test]
fn exercise_branches_differ_from_head_only_in_the_mode() {
    let Some(clone) = Clone::new() else { return };
    let (status, head) = (clone.git(&["status", "--porcelain"]), clone.git(&["symbolic-ref", "HEAD"]));
    let output = clone.branches(&[]);
    assert!(output.status.success(), "{output:?}");
    for (number, mode) in (1..).zip(["echo", "echo", "echo", "echo", "bet", "batch", "draw", "draw"]) {
        let branch = format!("ej{number}");
        let env = clone.git(&["show", &format!("{branch}:.env")]);
        assert_eq!(
            env.lines().filter(|line| line.starts_with("CLI_MODE=")).collect::<Vec<_>>(),
            [format!("CLI_MODE={mode}")]
        );
        let changed = clone.git(&["diff", "--numstat", "HEAD", &branch]);
        assert!(changed.is_empty() || changed == "1\t1\t.env\n", "{branch}: {changed}");
        let modes = ["HEAD", &branch].map(|commit| {
            clone.git(&["ls-tree", "-r", commit]).lines().map(|line| line[..6].to_owned()).collect::<Vec<_>>()
        });
        assert_eq!(modes[0], modes[1], "{branch}: links and modes of files");
    }
    assert_eq!((clone.git(&["status", "--porcelain"]), clone.git(&["symbolic-ref", "HEAD"])), (status, head));
    let heads = clone.heads();
    assert!(clone.branches(&[]).status.success());
    assert_eq!(clone.heads(), heads, "the same HEAD gives the same commits");
}

#[test]
fn a_changed_branch_is_moved_only_by_force() {
    let Some(clone) = Clone::new() else { return };
    assert!(clone.branches(&[]).status.success());
    let made = clone.heads();
    clone.git(&["branch", "--force", "ej5", "ej6"]);
    clone.git(&["branch", "--delete", "--force", "ej2"]);
    let moved = clone.heads();
    let refused = clone.branches(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("ej5"), "{refused:?}");
    assert_eq!(clone.heads(), moved, "all of them or none");
    assert!(clone.branches(&["--force"]).status.success());
    assert_eq!(clone.heads(), made);
    let wrong = clone.branches(&["--hard"]);
    assert!(wrong.status.code() == Some(2) && text(&wrong.stderr).contains("usage: "), "{wrong:?}");
}

// ---- clones ------------------------------------------------------------------------------------------------------

/// A clone of the work tree, with files that are not committed yet, made with the settings that Git has on Windows.
fn clone_with_settings_of_windows() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (origin, clone) = (dir.path().join("origin"), dir.path().join("clone"));
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let author = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
        let output = command.args(author).args(arguments).current_dir(project("")).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
    };
    let (origin, clone) = (origin.to_str().unwrap(), clone.to_str().unwrap());
    let git_dir = &*format!("--git-dir={origin}/.git");
    let work_tree = &*format!("--work-tree={}", project("").display());
    git(&["init", "--quiet", "--template=", origin]);
    git(&[git_dir, work_tree, "add", "--all"]);
    git(&[git_dir, work_tree, "commit", "--quiet", "--message=The work tree"]);
    git(&["clone", "--quiet", "-c", "core.autocrlf=true", "-c", "core.symlinks=false", origin, clone]);
    dir
}

#[test]
fn settings_of_git_change_no_file_of_a_clone() {
    let dir = clone_with_settings_of_windows();
    let clone = dir.path().join("clone");
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(&clone).output().unwrap();
    let paths: Vec<_> = text(&listed.stdout).split_terminator('\0').map(str::to_owned).collect();
    assert!(paths.iter().any(|path| path == GENERATE), "{paths:?}");
    for path in paths {
        assert!(fs::read(clone.join(&path)).unwrap() == fs::read(project(&path)).unwrap(), "{path} differs");
    }
    let (file, shell) = ("docker-compose-dev.yaml", Some("sh"));
    assert!(generate(&clone, shell, &[file, "5"]).status.success());
    assert_eq!(fs::read(clone.join(file)).unwrap(), fs::read(project(file)).unwrap());
}

// ---- dataset -----------------------------------------------------------------------------------------------------

#[test]
fn the_bundled_files_follow_from_the_committed_seed() {
    let makefile = fs::read_to_string(project("Makefile")).unwrap();
    let command = makefile.lines().find_map(|line| line.split_once("$(BIN)/dataset ")).unwrap().1;
    let command = command.trim_end_matches(['\\', ' ', ';']);
    let dir = tempfile::tempdir().unwrap();
    let arguments = command.split(' ').map(|word| if word == ".data" { dir.path().to_str().unwrap() } else { word });
    let output = Command::new(env!("CARGO_BIN_EXE_dataset")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    for (agency, rows) in (1..=5).zip([26_936, 25_518, 16_014, 9_238, 991]) {
        let name = format!("agency-{agency}.csv");
        let made = fs::read(dir.path().join(&name)).unwrap();
        assert!(made == fs::read(project(".data").join(&name)).unwrap(), "{name} differs");
        assert_eq!(made.split(|&byte| byte == b'\n').count() - 1, rows, "{name}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
}

/// A zip file with other bets of all five agencies.
const MAKE_ZIP: &str = "
import zipfile
with zipfile.ZipFile('.data/dataset.zip', 'w') as file:
    for agency in range(1, 6):
        file.writestr(f'agency-{agency}.csv', 'Ana,Paz,1,2000-01-01,7574')
";

#[test]
fn unpacking_other_data_names_the_way_back() {
    let Some(clone) = Clone::new() else { return };
    fs::copy(project("Makefile"), clone.0.path().join("Makefile")).unwrap();
    let run = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        // `make test` may run this test: an inner make would print the directories that it enters.
        command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").args(&words[1..]);
        let output = command.current_dir(&clone.0).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        text(&output.stdout)
    };
    run(&["python3", "-c", MAKE_ZIP]);
    // The programs are not needed: the target build counts as done.
    let output = run(&["make", "--old-file=build", "dataset"]);
    assert_eq!(clone.git(&["status", "--porcelain", ".data"]).matches(" M ").count(), 5);
    let (_, way_back) = output.lines().last().unwrap().split_once("files: ").unwrap();
    run(&way_back.split(' ').collect::<Vec<_>>());
    assert_eq!(clone.git(&["status", "--porcelain", ".data"]), "");
}

// ---- all of them -------------------------------------------------------------------------------------------------

#[test]
fn every_script_is_executable_and_parses() {
    let scripts = [GENERATE, "validar-echo-server.sh", "scripts/ramas.sh", "scripts/run.sh"];
    for script in scripts {
        let path = project(script);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o111, 0o111, "{script}");
        let shells: &[&str] = if script.starts_with("scripts/") { &["bash"] } else { &["bash", "sh", "dash"] };
        for shell in shells {
            if !has_program(shell) {
                skipped(script, &format!("{shell} is not installed"));
                continue;
            }
            let output = Command::new(shell).arg("-n").arg(&path).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{shell} {script}: {output:?}");
        }
    }
}

// ---- mutants -----------------------------------------------------------------------------------------------------

#[test]
fn every_mutant_names_its_judge_and_applies_to_the_program() {
    if !has_program("patch") {
        return skipped("whether the mutants apply", "patch is not installed");
    }
    let patches = fs::read_dir(project("tests/mutants")).unwrap().map(|entry| entry.unwrap().path());
    for path in patches {
        let patch = fs::read_to_string(&path).unwrap();
        let has = |field| patch.lines().any(|line| line.strip_prefix(field).is_some_and(|value| !value.is_empty()));
        assert!(has("Judge: ") && has("Sees: "), "{}", path.display());
        let mut dry_run = Command::new("patch");
        dry_run.args(["--dry-run", "--strip=1", "--batch", "--forward", "--input"]).arg(&path).current_dir(project(""));
        let output = dry_run.output().unwrap();
        assert!(output.status.success(), "{}: {}", path.display(), text(&output.stdout));
    }
}
