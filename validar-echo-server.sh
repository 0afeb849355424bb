#!/bin/sh
# Asks the running server for an echo, with netcat in a container on the server's network: installs nothing on the host
# and publishes no port. Prints one line. Exit code 0 if the answer equals the message, otherwise 1.

network=tp0_testing_net
image=busybox
settings=$(dirname -- "$0")/server/config.ini # mounted into the server's container

# No server answers this by accident, and no shell or server gives it a special meaning.
message=echo-test-$$-$(date +%s)

# Prints the port in the server's settings: the same lines count as in the server. Without one, the server's default.
server_port() {
  key='[Ss][Ee][Rr][Vv][Ee][Rr]_[Pp][Oo][Rr][Tt]'
  port=$(tr '\r' '\n' <"$settings" | sed -n "s/^[[:space:]]*${key}[[:space:]]*[=:][[:space:]]*\([0-9][0-9]*\)[[:space:]]*\$/\1/p")
  printf '%s\n' "${port:-12345}"
}

# Runs a command, and kills it after so many seconds. Not every host has timeout(1), and not every one takes fractions.
within() { # SECONDS COMMAND…
  limit=$1
  shift
  "$@" &
  running=$!
  # Without the redirection, a caller that reads the command's output would wait for the watchdog as well.
  { sleep "$limit" || sleep "${limit%.*}"; kill -KILL "$running"; } >/dev/null 2>&1 &
  watchdog=$!
  wait "$running"
  status=$?
  kill "$watchdog"
  return "$status"
}

# Runs in the container. netcat ends when the server closes. If the server does not close or does not answer, timeout
# kills netcat after 3 s, name resolution included. A shell variable would lose a NUL, so tr replaces it by '!'.
# shellcheck disable=SC2016 # expanded by the container's shell
ask='printf "%s\n" "$2" | timeout -s KILL 3 nc server "$1" | head -c 4096 | tr "\000" "!"'

echo_is_right() {
  within 2 docker network inspect "$network" || return 1
  within 2 docker image inspect "$image" || within 60 docker pull "$image" || return 1 # pulls only at the first use
  reply=$(within 4.5 docker run --rm --name "$message" --network "$network" "$image" sh -c "$ask" sh "$port" "$message")
  status=$?
  # The engine removes the container, unless docker was killed before it had started the container.
  [ "$status" -eq 0 ] || within 10 docker rm --force "$message" &
  [ "$reply" = "$message" ]
} >/dev/null 2>&1 </dev/null

port=$(server_port 2>/dev/null)
if echo_is_right; then
  echo 'action: test_echo_server | result: success'
else
  echo 'action: test_echo_server | result: fail'
  [ "$port" -ne 0 ] || printf '%s: the server is on a port of its own choice, because SERVER_PORT is 0 in %s\n' "${0##*/}" "$settings" >&2
  exit 1
fi
