#!/usr/bin/env bash
# Creates the local branches ej1..ej8 from HEAD. Each differs from HEAD only in the CLI_MODE line of .env, or in nothing
# if HEAD already has that mode. The script changes neither the work tree nor the current branch.
#   scripts/ramas.sh [--force]    --force (or FORCE=1): move existing branches that differ
set -euo pipefail
cd "$(dirname "$0")/.."

modes=(echo echo echo echo bet batch draw draw)

fail() {
  printf 'ramas.sh: %s\n' "$1" >&2
  exit 1
}

force=${FORCE:-}
case "$#${1-}" in
  0) ;;
  1--force) force=1 ;;
  *) printf 'usage: scripts/ramas.sh [--force]\n' >&2; exit 2 ;;
esac

head=$(git rev-parse --quiet --verify 'HEAD^{commit}') || fail 'the repository has no commit to start from'
# Author and date are those of HEAD, so that the same HEAD always gives the same commits.
{
  read -r GIT_AUTHOR_NAME
  read -r GIT_AUTHOR_EMAIL
  read -r GIT_AUTHOR_DATE
} < <(git -c log.showSignature=false log -1 --date=raw --format='%cn%n%ce%n@%cd' "$head")
export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE

lines=$(git cat-file blob "$head:.env" 2>/dev/null | grep -c '^CLI_MODE=') || true
[[ $lines == 1 ]] || fail "HEAD's .env has $lines lines CLI_MODE=, expected 1"

# Prints HEAD if it has that mode already, otherwise a new commit on top of it.
commit_with() { # MODE
  local blob tree
  blob=$(git cat-file blob "$head:.env" | sed "s/^CLI_MODE=.*/CLI_MODE=$1/" | git hash-object -w --stdin)
  tree=$(git ls-tree --full-tree "$head" | sed "s/^\(100[0-7]* blob\) [0-9a-f]*\(\t\.env\)$/\1 $blob\2/" | git mktree)
  if [[ $tree == "$(git rev-parse "$head^{tree}")" ]]; then
    echo "$head"
  else
    git commit-tree "$tree" -p "$head" -m "Set the mode of the whole set-up to $1"
  fi
}

checked_out=$(git worktree list --porcelain | sed -n 's,^branch refs/heads/,,p')
report='' updates='' refused=''
for number in {1..8}; do
  branch=ej$number
  mode=${modes[number - 1]}
  new=$(commit_with "$mode")
  old=$(git rev-parse --quiet --verify "refs/heads/$branch") || old=''
  if [[ $old == "$new" ]]; then
    what=unchanged
  elif [[ -z $old ]]; then
    what=created
    updates+="create refs/heads/$branch $new"$'\n'
  elif grep -qx "$branch" <<<"$checked_out"; then
    refused+=" $branch (checked out)"
  elif [[ -z $force || $force == 0 ]]; then
    refused+=" $branch"
  else
    what="moved from ${old:0:10}"
    updates+="update refs/heads/$branch $new $old"$'\n'
  fi
  report+="$branch  ${new:0:10}  CLI_MODE=$mode  ${what-}"$'\n'
done

[[ -z $refused ]] || fail "no branch was changed: these exist and differ from HEAD (FORCE=1 moves those that are not checked out):$refused"
printf '%s' "$updates" | git update-ref -m 'ramas.sh: from HEAD' --stdin # all branches or none
printf '%s' "$report"
