#!/usr/bin/env bash
# Shows that the tests can fail. A mutant is the program without one of its mechanisms. For each mutant, this script patches
# a scratch copy of the source, builds it, and runs a test, which must fail for the right reason.
# A mutant is a file tests/mutants/NAME.patch:
#   one or two sentences: the mechanism that is missing, and the result
#   Judge: the command that must fail; it runs here, with LOTERIA_SERVER and LOTERIA_CLIENT set to the mutant's programs
#   Sees: an extended regular expression that its output must match
#   a unified diff with one line of context
# Usage: scripts/mutants.sh [NAME…]; without names, all mutants.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(realpath -m "${CARGO_TARGET_DIR:-target}")/mutants
tree=$scratch/tree
programs=$scratch/build/release
patience=900 # seconds that a judge may take

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

# A reversed patch is no way back: with little context it may find another place than the patch did.
restore() { # PATCH
  sed -n 's,^+++ b/,,p' "$1" | xargs -d '\n' cp --parents -t "$tree"
}

judge() { # PATCH: prints the verdict
  local command regex output=$scratch/judge.log
  command=$(field Judge "$1") regex=$(field Sees "$1")
  if [ -z "$command" ] || [ -z "$regex" ]; then
    echo 'BROKEN: no line Judge: or Sees:'
  elif [ "$(digest)" = "$unchanged" ]; then
    echo 'BROKEN: the programs are the same as without it'
  elif LOTERIA_SERVER=$programs/server LOTERIA_CLIENT=$programs/client timeout "$patience" bash -c "$command" >"$output" 2>&1; then
    # If the machine cannot run the judge, the mutant is skipped. Its name is the last word of the command, or "the sweep".
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
    verdict='BROKEN: it does not apply'
    cat "$scratch/patch.log" >&2
    copy_source
  elif build; then
    verdict=$(judge "$patch")
    restore "$patch"
  else
    verdict='BROKEN: it does not compile'
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
