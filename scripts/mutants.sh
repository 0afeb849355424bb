#!/usr/bin/env bash
# Shows that the tests can fail: removes one mechanism at a time from a copy of the program. The test that judges the
# mechanism must fail, and its output must match. Each mutant is a file tests/mutants/NAME.patch:
#   one or two sentences: what is removed, and the damage
#   Judge: the command that must fail; it runs with LOTERIA_SERVER and LOTERIA_CLIENT set to the mutant's programs
#   Sees: an extended regular expression that the output of the judge must match
#   a unified diff, best with one line of context (git diff -U1): then fewer changes of the source break it
# Usage: scripts/mutants.sh [NAME…]; without names, it runs all mutants.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(realpath -m "${CARGO_TARGET_DIR:-target}")/mutants
tree=$scratch/tree
programs=$scratch/build/release
patience=900 # longest time of a judge, in seconds

field() { # NAME PATCH
  sed -n "s/^$1: //p" "$2" | head -n 1
}

build() {
  (cd "$tree" && CARGO_TARGET_DIR=$scratch/build CARGO_INCREMENTAL=1 cargo build --release --locked --quiet --bins) >"$scratch/build.log" 2>&1 ||
    { cat "$scratch/build.log"; return 1; }
}

digest() {
  cat "$programs/server" "$programs/client" | sha256sum
}

copy_source() {
  rm -rf "$tree"
  mkdir -p "$tree"
  git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$tree"
}

# Trap: with little context, patch --reverse may find another place than the patch did. So copy the files again.
restore() { # PATCH
  sed -n 's,^+++ b/,,p' "$1" | xargs -d '\n' cp --parents -t "$tree"
}

in_tree() { # FOLDER COMMAND…: runs the command there
  if [ "$1" = . ]; then "${@:2}"; else (cd "$1" && CARGO_TARGET_DIR=$scratch/build "${@:2}"); fi
}

judge() { # PATCH: prints the verdict
  local command regex where=. output=$scratch/judge.log
  command=$(field Judge "$1") regex=$(field Sees "$1")
  # Tests inside of a crate contain the code that the patch changes; all others start the mutant's programs.
  case $command in *' --lib '* | *' -p ipc '*) where=$tree ;; esac
  if [ -z "$command" ] || [ -z "$regex" ]; then
    echo 'BROKEN: the patch has no line Judge: or no line Sees:'
  elif [ "$(digest)" = "$unchanged" ]; then
    echo 'BROKEN: the patch does not change the programs'
  elif LOTERIA_SERVER=$programs/server LOTERIA_CLIENT=$programs/client in_tree "$where" timeout "$patience" bash -c "$command" >"$output" 2>&1; then
    # Count a skip only if it is the judging test (the last word of the command) or the whole sweep.
    grep -Eom 1 "SKIPPED: (${command##* }|the sweep): .*" "$output" || echo "SURVIVED: $command"
  elif grep -Eq -- "$regex" "$output"; then
    echo caught
  else
    tail -n 20 "$output" >&2
    echo "SURVIVED: the judge failed, but its output does not match: $regex"
  fi
}

copy_source
build
unchanged=$(digest)
caught=0 skipped=0 failed=0
if [ $# = 0 ]; then
  set -- tests/mutants/*.patch
  set -- "${@##*/}"
fi
for name; do
  patch=$PWD/tests/mutants/${name%.patch}.patch
  began=$SECONDS
  if ! patch --directory="$tree" --strip=1 --quiet --batch --forward --reject-file=- <"$patch" >"$scratch/patch.log" 2>&1; then
    verdict='BROKEN: the patch does not apply'
    cat "$scratch/patch.log" >&2
    copy_source
  else
    if build; then verdict=$(judge "$patch"); else verdict='BROKEN: the mutant does not compile'; fi
    restore "$patch"
  fi
  printf '%-40s %s, %s s\n' "${name%.patch}" "$verdict" $((SECONDS - began))
  case $verdict in
    caught) caught=$((caught + 1)) ;;
    SKIPPED*) skipped=$((skipped + 1)) ;;
    *) failed=$((failed + 1)) ;;
  esac
done
printf 'mutants: %s caught, %s skipped, %s not caught\n' "$caught" "$skipped" "$failed"
[ "$failed" = 0 ]
