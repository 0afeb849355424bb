#!/bin/sh
# Asks the running server for an echo, with netcat from a container on its network: nothing is installed on the
# host and no port is published. Prints one line; exit code 0 if exactly what was sent came back, else 1.

network=tp0_testing_net
image=busybox

# Nobody answers this by accident, and no shell or server reads anything into it.
message=echo-test-$$-$(date +%s)

# Runs in the container. netcat ends by itself when the server closes; one that does not, or that never answers,
# is cut off after 3 s, name resolution included. A NUL would get lost in a shell variable: it becomes a '!'.
# shellcheck disable=SC2016 # expanded by the container's shell
ask='printf "%s\n" "$1" | timeout -s KILL 3 nc server 12345 | head -c 4096 | tr "\000" "!"'

echo_is_right() {
  timeout -s KILL 2 docker network inspect "$network" || return 1
  timeout -s KILL 2 docker image inspect "$image" || timeout -s KILL 60 docker pull "$image" || return 1 # a first use only
  reply=$(timeout -s KILL 4.5 docker run --rm --name "$message" --network "$network" "$image" sh -c "$ask" sh "$message")
  status=$?
  # The engine removes the container by itself, unless docker was cut off before it had started it.
  [ "$status" -eq 0 ] || timeout -s KILL 10 docker rm --force "$message" &
  [ "$reply" = "$message" ]
} >/dev/null 2>&1 </dev/null

if echo_is_right; then
  echo 'action: test_echo_server | result: success'
else
  echo 'action: test_echo_server | result: fail'
  exit 1
fi
