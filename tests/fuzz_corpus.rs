//! The inputs of the fuzz targets, and every defect that they have found, go through the same checks here: without a
//! fuzzer, in every run of the tests.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::path::PathBuf;

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

/// No measurement: unlike the fuzzer, this process runs other tests at the same time.
const UNMEASURED: fuzz::Memory = fuzz::Memory { restart: || 0, peak: || 0 };

fn judge(target: &str, check: impl Fn(&[u8])) {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let inputs: Vec<_> = fs::read_dir(&corpus).unwrap().map(|input| input.unwrap().path()).collect();
    assert!(inputs.len() > 10, "{} has no corpus", corpus.display());
    for input in inputs {
        eprintln!("{}", input.display());
        check(&fs::read(&input).unwrap());
    }
}

#[test]
fn the_decoder_agrees_with_the_reference_on_the_corpus() {
    judge("decoder", |input| fuzz::decoder::check(input, &UNMEASURED));
}

#[test]
fn a_start_on_each_corpus_file_keeps_only_whole_rows() {
    judge("recovery", fuzz::recovery::check);
}

#[test]
fn the_agency_files_of_the_corpus_are_read_line_by_line() {
    judge("agency_file", fuzz::agency_file::check);
}

#[test]
fn tls_takes_any_bytes_of_the_corpus() {
    judge("tls", |input| fuzz::tls::check(input, &UNMEASURED));
}

#[test]
fn corpus_settings_are_read_like_python_or_refused() {
    judge("config", fuzz::config::check);
}
