#!/usr/bin/env bash
# Shows that the tests can fail: takes one mechanism after the other out of a scratch copy of the program, and demands
# that the tests which judge it fail, and for that reason. Each is a file tests/mutants/NAME.patch:
#   what is removed, in a sentence or two
#   Judge: the command that must fail, run here with LOTERIA_SERVER and LOTERIA_CLIENT set to the mutant's programs
#   Sees: what its output then holds, an extended regular expression
#   a unified diff
# Usage: scripts/mutants.sh [NAME…]; without names, all of them.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(realpath -m "${CARGO_TARGET_DIR:-target}")/mutants
tree=$scratch/tree
programs=$scratch/build/release
patience=900 # seconds a judge may take

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

judge() { # PATCH: prints the verdict
  local command regex said=$scratch/judge.log
  command=$(field Judge "$1") regex=$(field Sees "$1")
  if [ -z "$command" ] || [ -z "$regex" ]; then
    echo 'BROKEN: a line Judge: or Sees: is missing'
  elif [ "$(digest)" = "$unchanged" ]; then
    echo 'BROKEN: the programs are the same with it'
  elif LOTERIA_SERVER=$programs/server LOTERIA_CLIENT=$programs/client timeout "$patience" bash -c "$command" >"$said" 2>&1; then
    # Of what the machine cannot do, only the test itself counts, which is the command's last word, or the whole sweep.
    grep -Eom 1 "SKIPPED: (${command##* }|the sweep): .*" "$said" || echo "SURVIVED: $command"
  elif grep -Eq -- "$regex" "$said"; then
    echo caught
  else
    tail -n 20 "$said" >&2
    echo "SURVIVED: its judge failed, but did not say: $regex"
  fi
}

rm -rf "$tree"
mkdir -p "$tree"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$tree"
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
    rm -rf "$tree" && mkdir -p "$tree"
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$tree"
  else
    if build; then verdict=$(judge "$patch"); else verdict='BROKEN: it does not compile'; fi
    patch --directory="$tree" --strip=1 --quiet --batch --reverse <"$patch"
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
