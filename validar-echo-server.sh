#!/bin/sh
# Asks the running server for an echo, with netcat in a container on the server's network: installs nothing on the host
# and publishes no port. Prints one line. Exit code 0 if the answer equals the message, otherwise 1.

network=tp0_testing_net
image=busybox

# No server answers this by accident, and no shell or server gives it a special meaning.
message=echo-test-$$-$(date +%s)

# Runs in the container. netcat ends when the server closes. If the server does not close or does not answer, timeout
# kills netcat after 3 s, name resolution included. A shell variable would lose a NUL, so tr replaces it by '!'.
# shellcheck disable=SC2016 # expanded by the container's shell
ask='printf "%s\n" "$1" | timeout -s KILL 3 nc server 12345 | head -c 4096 | tr "\000" "!"'

echo_is_right() {
  timeout -s KILL 2 docker network inspect "$network" || return 1
  timeout -s KILL 2 docker image inspect "$image" || timeout -s KILL 60 docker pull "$image" || return 1 # pulls only at the first use
  reply=$(timeout -s KILL 4.5 docker run --rm --name "$message" --network "$network" "$image" sh -c "$ask" sh "$message")
  status=$?
  # The engine removes the container, unless timeout killed docker before it had started the container.
  [ "$status" -eq 0 ] || timeout -s KILL 10 docker rm --force "$message" &
  [ "$reply" = "$message" ]
} >/dev/null 2>&1 </dev/null

if echo_is_right; then
  echo 'action: test_echo_server | result: success'
else
  echo 'action: test_echo_server | result: fail'
  exit 1
fi
