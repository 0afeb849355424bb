#!/usr/bin/env bash
# Plays one whole lottery on this machine: a server on a free port and five agencies with the files in .data. Prints
# all log lines as `docker compose logs` does, then a table. Exit code 0 only if every process ended with 0. Leaves no
# process and no file, not even after Ctrl-C. Needs the release build (`make run` builds it first). With TLS=1, everything
# runs over TLS, with certificates that are made for this run.
set -u
trap 'exit 130' HUP INT TERM # until the first process starts
cd "$(dirname "$0")/.." || exit 1

agencies=5
bin=${CARGO_TARGET_DIR:-target}/release
tls=${TLS-}
unset TLS # the server has a setting of this name
listen_limit=30 # seconds within which the server must log its port
stop_limit=10   # seconds within which all processes must end after the request to stop: above SHUTDOWN_GRACE (5 s)

declare -A pid began took code winners
port='' failed=0 interrupted=0 server_asked=0 stopping_since='' clients=0

# Sets `now` to the time in ms, without a process if bash can: while bash waits for a process, it may lose a Ctrl-C.
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

# mawk waits for full blocks of input unless it gets this option; other awks do not know it and do not need it.
line_wise=()
case $(awk -W version 2>&1 </dev/null) in mawk*) line_wise=(-W interactive) ;; esac

# Prints NAME's lines (standard input) and reports the events that the main loop waits for. It ignores signals and ends
# when NAME has ended, so that it loses no last line.
show() { # NAME
  trap '' HUP INT TERM
  awk "${line_wise[@]}" -v name="$1" -v events="$run/events" '
    function value(key) { match($0, key ": [0-9]+"); return substr($0, RSTART + length(key) + 2, RLENGTH - length(key) - 2) }
    function report(event) { print event "\n" > events; close(events) }
    BEGIN { ORS = "" } # a line is one write; otherwise lines of different processes would mix
    { print sprintf("%-7s  | %s\n", name, $0); fflush() }
    / action: listen \| result: success / { report("listening " name " " value("port")) }
    / action: consulta_ganadores \| result: success / { report("winners " name " " value("cant_ganadores")) }
  '
  echo "ended $1" >"$run/events"
}

# Starts a process in its own process group (set -m): Ctrl-C reaches only this script, which then stops all in order.
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

# Prints a log level at which the programs log the lines that this script waits for.
level() { # WANTED
  if [[ ${1^^} == DEBUG ]]; then echo DEBUG; else echo INFO; fi
}

start_server() {
  local keys=()
  [[ -z $tls ]] || keys=(TLS=required TLS_CERTIFICATE="$run/server.pem" TLS_KEY="$run/server.key" TLS_AGENCY_CA="$run/ca.pem")
  start server env SERVER_PORT=0 CLIENT_AMOUNT="$agencies" STORAGE_FILEPATH="$run/bets.csv" LOG_TARGET=stdout \
    LOGGING_LEVEL="$(level "${LOGGING_LEVEL-}")" "${keys[@]}" "$bin/server" --config config/server.ini
}

start_clients() {
  local id keys
  for ((id = 1; id <= agencies; id++)); do
    keys=()
    [[ -z $tls ]] || keys=(CLI_TLS_CA="$run/ca.pem" CLI_TLS_CERTIFICATE="$run/agency-$id.pem" CLI_TLS_KEY="$run/agency-$id.key")
    start "client$id" env CLI_ID="$id" CLI_MODE=draw CLI_SERVER_ADDRESS="127.0.0.1:$port" \
      CLI_DATA_PATH=".data/agency-$id.csv" CLI_LOG_LEVEL="$(level "${CLI_LOG_LEVEL-}")" "${keys[@]}" \
      "$bin/client" --config config/client.yaml
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

# Only once: a second SIGTERM would kill the server's children.
stop_server() {
  [[ -n ${pid[server]-} ]] || return
  stopping_since=${stopping_since:-$SECONDS}
  ((server_asked)) || kill -TERM "${pid[server]}" 2>/dev/null
  server_asked=1
}

stop_all() {
  stop_clients
  ((clients)) || stop_server # otherwise it stops after the last client
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

# `wait` returns early when a trapped signal arrives.
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
  if [[ $name == server ]] && ((!server_asked)); then
    complain 'the server ended before the agencies'
    stop_server # perhaps only its output has ended
  fi
  reap "${pid[$name]}" 2>/dev/null # hides bash's own messages about signals
  code[$name]=$?
  unset "pid[$name]"
  ((code[$name] == 0)) || complain "$name ended with exit code ${code[$name]}"
  [[ $name == server ]] || clients=$((clients - 1))
  ((!failed)) || stop_clients # the draw needs all agencies: the others would wait forever
  ((clients)) || stop_server
}

# After a second without an event: checks for ends and timeouts without an event, and for an event lost to a signal.
look_around() {
  local name
  for name in "${!pid[@]}"; do
    kill -0 "${pid[$name]}" 2>/dev/null || ended "$name"
  done
  if [[ -z $port ]] && ((!server_asked && SECONDS >= listen_limit)); then
    complain "the server logged no port within $listen_limit s"
    stop_server
  fi
  if [[ -n $stopping_since ]] && ((SECONDS - stopping_since > stop_limit)); then
    complain "killed after $stop_limit s, because they had not stopped: ${!pid[*]}"
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

for program in "$bin/server" "$bin/client" ${tls:+"$bin/certs"}; do
  [[ -x $program ]] || { complain "$program is missing: run \`make build\` first"; exit 1; }
done
run=${TMPDIR:-/tmp}/loteria-run.$$.$RANDOM$RANDOM
trap 'kill -KILL "${pid[@]}" 2>/dev/null; rm -rf "$run"' EXIT
mkdir -m 700 "$run" || { trap - EXIT; exit 1; }
if [[ -n $tls ]]; then
  "$bin/certs" --agencies "$agencies" --days 1 --out "$run" >/dev/null || exit 1
fi
trap interrupt HUP INT TERM
trap 'failed=1' PIPE # so that the script stops all in order even if nobody reads its output
mkfifo "$run/events"
exec 3<>"$run/events" # open both ends: then a read never blocks on open and gets no end of file

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
      ((!interrupted)) || stop_all # a signal may have arrived during the starts
      ;;
    winners) winners[$name]=$number ;;
    ended) [[ -z ${pid[$name]-} ]] || ended "$name" ;;
  esac
done

((interrupted)) && exit 130
table
exit "$failed"
