#!/usr/bin/env bash
# Plays one whole lottery on this machine: a server on a free port and five agencies over the files in .data. Shows
# all their lines the way `docker compose logs` does, then a table. Exit code 0 only if every process ended with 0;
# nothing is left behind, Ctrl-C included. Needs the release build (`make run` does both).
set -u
trap 'exit 130' HUP INT TERM # until there is something to stop
cd "$(dirname "$0")/.." || exit 1

agencies=5
bin=${CARGO_TARGET_DIR:-target}/release
listen_limit=30 # seconds in which the server must say its port
stop_limit=10   # seconds in which everything must have stopped, once asked: above SHUTDOWN_GRACE (5 s)

declare -A pid began took code winners
port='' failed=0 interrupted=0 server_told=0 stopping_since='' clients=0

# Sets `now` to the time in ms. Without a process where bash can: it may lose a Ctrl-C that comes while it waits for one.
look_at_clock() {
  now=${EPOCHREALTIME-} # bash 5: seconds with six decimals, after a point or a comma
  now=${now/[.,]/}
  now=${now%???}
  [[ -n $now ]] || now=$(date +%s%3N)
}

complain() {
  failed=1
  printf 'run.sh: %s\n' "$1" >&2
}

# mawk would wait for full blocks of input; others know no such option and read what is there.
line_wise=()
case $(awk -W version 2>&1 </dev/null) in mawk*) line_wise=(-W interactive) ;; esac

# Shows NAME's lines (standard input) and reports to the main loop what it waits for. It ends when NAME has ended,
# not by a signal, so that no last line is lost.
show() { # NAME
  trap '' HUP INT TERM
  awk "${line_wise[@]}" -v name="$1" -v events="$run/events" '
    function value(key) { match($0, key ": [0-9]+"); return substr($0, RSTART + length(key) + 2, RLENGTH - length(key) - 2) }
    function tell(what) { print what "\n" > events; close(events) }
    BEGIN { ORS = "" } # a line is one write, or those of different processes would mix
    { print sprintf("%-7s  | %s\n", name, $0); fflush() }
    / action: listen \| result: success / { tell("listening " name " " value("port")) }
    / action: consulta_ganadores \| result: success / { tell("winners " name " " value("cant_ganadores")) }
  '
  echo "ended $1" >"$run/events"
}

# A process group of its own (set -m): Ctrl-C reaches this script alone, which then stops everything in order.
start() { # NAME COMMAND...
  local name=$1
  shift
  exec 4> >(show "$name" 3>&-)
  look_at_clock
  began[$name]=$now
  set -m
  "$@" >&4 2>&1 </dev/null 3>&- 4>&- &
  pid[$name]=$!
  set +m
  exec 4>&-
}

# A level at which there are the lines that this script waits for.
level() { # WANTED
  if [[ ${1^^} == DEBUG ]]; then echo DEBUG; else echo INFO; fi
}

start_server() {
  start server env SERVER_PORT=0 CLIENT_AMOUNT="$agencies" STORAGE_FILEPATH="$run/bets.csv" LOG_TARGET=stdout \
    LOGGING_LEVEL="$(level "${LOGGING_LEVEL-}")" "$bin/server" --config config/server.ini
}

start_clients() {
  local id
  for ((id = 1; id <= agencies; id++)); do
    start "client$id" env CLI_ID="$id" CLI_MODE=draw CLI_SERVER_ADDRESS="127.0.0.1:$port" \
      CLI_DATA_PATH=".data/agency-$id.csv" CLI_LOG_LEVEL="$(level "${CLI_LOG_LEVEL-}")" "$bin/client" --config config/client.yaml
    clients=$((clients + 1))
  done
}

stop_clients() {
  local name
  stopping_since=${stopping_since:-$SECONDS}
  for name in "${!pid[@]}"; do
    [[ $name == server ]] || kill -TERM "${pid[$name]}" 2>/dev/null
  done
}

# Told once: a second SIGTERM would cut its children off.
stop_server() {
  [[ -n ${pid[server]-} ]] || return
  stopping_since=${stopping_since:-$SECONDS}
  ((server_told)) || kill -TERM "${pid[server]}" 2>/dev/null
  server_told=1
}

stop_all() {
  stop_clients
  ((clients)) || stop_server # else it follows the last client
}

# shellcheck disable=SC2317 # called by a trap
interrupt() {
  if ((interrupted)); then
    kill -KILL "${pid[@]}"
  else
    interrupted=1
    stop_all
  fi 2>/dev/null
}

# wait returns early for a signal that has a trap.
reap() { # PID: returns its exit code
  local status
  while :; do
    wait "$1"
    status=$?
    ((status > 128)) && kill -0 "$1" 2>/dev/null || return "$status"
  done
}

ended() { # NAME
  local name=$1
  look_at_clock
  took[$name]=$((now - began[$name]))
  [[ $name == server ]] || ended_at=$now
  if [[ $name == server ]] && ((!server_told)); then
    complain 'the server ended before the agencies'
    stop_server # its output may have broken rather than itself
  fi
  reap "${pid[$name]}" 2>/dev/null # without bash's own words about signals
  code[$name]=$?
  unset "pid[$name]"
  ((code[$name] == 0)) || complain "$name ended with exit code ${code[$name]}"
  [[ $name == server ]] || clients=$((clients - 1))
  ((!failed)) || stop_clients # the draw needs all agencies: the others would wait for ever
  ((clients)) || stop_server
}

# After a second without news: what no event tells, or one that a signal has swallowed.
look_around() {
  local name
  for name in "${!pid[@]}"; do
    kill -0 "${pid[$name]}" 2>/dev/null || ended "$name"
  done
  if [[ -z $port ]] && ((!server_told && SECONDS >= listen_limit)); then
    complain "the server named no port within $listen_limit s"
    stop_server
  fi
  if [[ -n $stopping_since ]] && ((SECONDS - stopping_since > stop_limit)); then
    complain "not stopped within $stop_limit s, killed: ${!pid[*]}"
    kill -KILL "${pid[@]}" 2>/dev/null
  fi
}

table() {
  local id
  for ((id = 1; id <= agencies; id++)); do
    echo "$id ${winners[client$id]:--} ${took[client$id]:--}"
  done | awk -F '[ ,]' -v stored="$run/bets.csv" -v total="$((ended_at - began_at))" '
    BEGIN {
      while ((getline row < stored) > 0) { split(row, field, ","); bets[field[1]]++ }
      printf "\n%-8s %8s %8s %10s\n", "agency", "bets", "winners", "time"
    }
    { printf "%-8s %8d %8s %7s ms\n", $1, bets[$1], $2, $3; all += bets[$1]; won += $2 }
    END { printf "%-8s %8d %8d %7d ms\n", "total", all, won, total }
  '
}

for program in "$bin/server" "$bin/client"; do
  [[ -x $program ]] || { complain "$program is missing: run \`make build\` first"; exit 1; }
done
run=${TMPDIR:-/tmp}/loteria-run.$$.$RANDOM$RANDOM
trap 'kill -KILL "${pid[@]}" 2>/dev/null; rm -rf "$run"' EXIT
mkdir -m 700 "$run" || { trap - EXIT; exit 1; }
trap interrupt HUP INT TERM
trap 'failed=1' PIPE # so that the end is an orderly one, even if nobody reads
mkfifo "$run/events"
exec 3<>"$run/events" # both ends: it never blocks and has no end of file

start_server
began_at=${began[server]} ended_at=$began_at
while ((${#pid[@]})); do
  read -r -t 1 event name number <&3 || event=none
  case $event in
    none) look_around ;;
    listening)
      port=$number
      look_at_clock
      began_at=$now
      ((interrupted)) || start_clients
      ((!interrupted)) || stop_all # a signal may have come amid the starts
      ;;
    winners) winners[$name]=$number ;;
    ended) [[ -z ${pid[$name]-} ]] || ended "$name" ;;
  esac
done

((interrupted)) && exit 130
table
exit "$failed"
