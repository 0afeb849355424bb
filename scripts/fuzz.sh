#!/usr/bin/env bash
# Fuzzes targets of fuzz/, each for SECONDS, starting from the committed corpus. New inputs stay in fuzz/scratch.
#   scripts/fuzz.sh SECONDS TARGET…
# With FUZZ_SEED set and an empty fuzz/scratch, every run is the same.
# Exit code 1 if a target found a defect: the input is in fuzz/artifacts, and the end of the log shows how to run it.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() { # WHY
  printf 'SKIPPED: fuzzing: %s\n' "$1" >&2
  exit 0
}

[[ $# -ge 2 && $1 =~ ^[0-9]+$ ]] || { printf 'usage: scripts/fuzz.sh SECONDS TARGET…\n' >&2; exit 2; }
seconds=$1
shift
cargo +nightly --version >/dev/null 2>&1 || skip 'no nightly compiler is installed: rustup toolchain install nightly'
cargo +nightly fuzz --version >/dev/null 2>&1 || skip 'cargo-fuzz is not installed: cargo install --locked cargo-fuzz'
command -v "${CXX:-c++}" >/dev/null || skip 'no C++ compiler is installed, and libFuzzer needs one: apt-get install g++'

# Longest input in bytes: more than the decoder's buffer for the decoder, many lines for the others.
declare -A longest=([decoder]=10000 [recovery]=4000 [agency_file]=3000 [config]=2000)
# The project's code has no unsafe and runs ten times faster without an address sanitizer. The YAML crate has unsafe code.
declare -A sanitizer=([config]=address)

memory=/dev/shm
[[ -d $memory && -w $memory ]] || memory=${TMPDIR:-/tmp}
TMPDIR=$(mktemp -d "$memory/fuzz.XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

found=0
for target in "$@"; do
  printf '== fuzz %s for %s s\n' "$target" "$seconds"
  mkdir -p "fuzz/scratch/$target"
  log=fuzz/scratch/$target.log
  if cargo +nightly fuzz run --sanitizer "${sanitizer[$target]:-none}" "$target" "fuzz/scratch/$target" "fuzz/corpus/$target" -- \
    -seed="${FUZZ_SEED:-0}" -max_total_time="$seconds" -max_len="${longest[$target]:-4096}" -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=64 \
    -print_final_stats=1 >"$log" 2>&1; then
    grep -E '^#[0-9]+\s+DONE|^Done |^stat::number_of_executed_units|^stat::peak_rss_mb' "$log"
  else
    found=1
    tail -n 40 "$log"
  fi
done
exit "$found"
