#!/usr/bin/env bash
# Changes the pure modules in many small ways, one at a time: for each change, a test of the module must fail.
# cargo-mutants makes the changes; .cargo/mutants.toml lists the modules.
#   scripts/mutants-pure.sh [K/N]   only part K of N of the changes, counted from 0
# Two groups run at the same time, each in its own scratch copy of the project: src/protocol against the codec tests, and
# the other modules against their own unit tests.
# Exit 1 if a change survives, which means that no test fails: add the missing test, or remove the dead code.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo mutants --version >/dev/null 2>&1 || {
  printf 'SKIPPED: the mutants of the pure modules: there is no cargo-mutants: cargo install --locked cargo-mutants\n' >&2
  exit 0
}
[[ $# -le 1 && ${1:-0/1} =~ ^[0-9]+/[0-9]+$ ]] || { printf 'usage: scripts/mutants-pure.sh [K/N]\n' >&2; exit 2; }
part=${1:-0/1}

modules=(bet config draw messages row server session) # src/protocol is judged by the codec tests
scratch=$(realpath -m "${CARGO_TARGET_DIR:-target}")/mutants-pure
memory_kib=3000000 # for each process: a mutant may fill memory in an endless loop
file_kib=4000000   # for each file: likewise

# Property tests take the same inputs in each run, and do not search for a smaller input after a failure.
export PROPTEST_RNG_SEED=7574 PROPTEST_MAX_SHRINK_ITERS=0 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1

judge() { # GROUP MODULE ARGUMENT…: runs cargo-mutants for one module
  local group=$1 module=$2 status=0
  shift 2
  mkdir -p "$scratch/$group/$module"
  (
    cd "$scratch/$group/tree"
    CARGO_TARGET_DIR=$scratch/$group/build exec cargo mutants --in-place --output "$scratch/$group/$module" \
      --re "^src/${module}[./]" --shard "$part" --sharding round-robin --colors never --cargo-arg=--locked "$@"
  ) || status=$?
  # 2: a mutant survived. 3: a mutant ran into the time limit, so its tests did notice it.
  [ "$status" = 0 ] || [ "$status" = 2 ] || [ "$status" = 3 ]
}

group() { # GROUP: copies the project without its programs, which the pure modules do not need, and judges the group there
  local tree=$scratch/$1/tree
  ulimit -v "$memory_kib" -f "$file_kib"
  mkdir -p "$tree"
  git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$tree"
  rm -r "$tree/src/bin"
  sed -i '/^\[\[bin\]\]$/,/^$/d; /^default-run = /d' "$tree/Cargo.toml"
  if [ "$1" = protocol ]; then
    judge protocol protocol --cargo-arg=--test=codecs --cargo-arg=--config=profile.dev.package.loteria.opt-level=1
  else
    for module in "${modules[@]}"; do
      judge "$1" "$module" --cargo-arg=--lib -- -- "$module::" || return
    done
  fi
}

count() { # OUTCOME: counts the mutants that ended so
  cat "$scratch"/*/*/mutants.out/"$1.txt" 2>/dev/null | wc -l
}

list=$(cargo mutants --list)
for module in protocol "${modules[@]}"; do
  list=$(grep -v "^src/${module}[./]" <<<"$list" || true)
done
[ -z "$list" ] || { printf 'no group of this script judges these mutants:\n%s\n' "$list" >&2; exit 2; }

began=$SECONDS
export TMPDIR=$scratch/tmp
rm -rf "$TMPDIR" "$scratch"/*/tree "$scratch"/*/*/mutants.out*
mkdir -p "$TMPDIR"
trap 'rm -rf "$TMPDIR" "$scratch"/*/tree' EXIT
set -m # Each group is a process group, which a signal can end.
group protocol &
pids=($!)
group others &
pids+=($!)
trap 'for pid in "${pids[@]}"; do kill -INT -- "-$pid" 2>/dev/null || true; done; wait; exit 1' INT TERM
broken=0
for pid in "${pids[@]}"; do
  wait "$pid" || broken=1
done

survived=$(count missed)
printf 'mutants of the pure modules: %s caught, %s survived, %s timed out, %s do not compile, %s s\n' \
  "$(count caught)" "$survived" "$(count timeout)" "$(count unviable)" $((SECONDS - began))
[ "$broken" = 0 ] || { printf 'cargo-mutants could not judge all of them: its lines are above\n' >&2; exit 1; }
[ "$survived" = 0 ]
