#!/usr/bin/env bash
# Writes a Docker Compose file with the server and N agencies: ./generar-compose.sh FILE N
# Plain POSIX shell, so that `sh generar-compose.sh` works as well.
set -eu
LC_ALL=C # [0-9] means ten digits in every locale
unset CDPATH

# The subnet has 253 addresses for containers: one for the server, one per agency, and some left for others (netcat).
max_clients=250

fail() { # CODE MESSAGE
  printf 'generar-compose.sh: %s\n' "$2" >&2
  exit "$1"
}

usage() { # MESSAGE
  printf 'usage: ./generar-compose.sh FILE N    (N: number of clients, 0..%s)\n' "$max_clients" >&2
  fail 2 "$1"
}

# Where SELinux is enforcing, containers may read only files with their label: z lets Docker put it on the mounted files.
# Elsewhere the file is the same on every machine.
mount_options() {
  case $(getenforce 2>/dev/null) in
    Enforcing) echo ro,z ;;
    *) echo ro ;;
  esac
}

# The modes batch and draw need a file for each agency. A client without one ends with an error, and the draw waits for
# its agency for ever.
warn_about_missing_files() {
  missing=0 first='' id=1
  while [ "$id" -le "$clients" ]; do
    if [ ! -f "$root/.data/agency-$id.csv" ]; then
      missing=$((missing + 1))
      first=${first:-agency-$id.csv}
    fi
    id=$((id + 1))
  done
  [ "$missing" -eq 0 ] || cat >&2 <<TEXT
generar-compose.sh: warning: $missing of $clients agency files are missing in .data (the first: $first)
  The modes batch and draw need them: without them the draw is never held. To write all $clients files:
  cargo run --release --bin dataset -- --agencies $clients --out .data --seed 7574
TEXT
}

# The log of a container is kept by the engine: at least the last 50 MB, in files of 10 MB, of which the oldest is dropped.
limits() { # MEMORY PROCESSES
  cat <<YAML
    mem_limit: $1
    pids_limit: $2
    logging:
      driver: json-file
      options:
        max-size: 10m
        max-file: "6"
YAML
}

# MAX_CONNECTIONS is 1024 by default: as many children, 64 processes more for the rest, and 1 MiB for each of them.
server() {
  cat <<YAML
# Written by generar-compose.sh: change that script, not this file.
name: tp0
services:
  server:
    container_name: server
    image: server:latest
    build:
      context: $base
      dockerfile: server/Dockerfile
    environment:
      - CLIENT_AMOUNT=$clients
    volumes:
      - $base/server/config.ini:/config.ini:$options
    # above SHUTDOWN_GRACE (5s), within which the server ends its children itself
    stop_grace_period: 9s
$(limits 2g 1280)
    cap_drop:
      - ALL
    security_opt:
      - no-new-privileges:true
    networks:
      - testing_net
YAML
}

# Only the first client has a build section: newer engines fail if several services build the same tag at the same time.
# The other clients use that image and never ask a registry for it.
image_of_client() { # ID
  if [ "$1" -eq 1 ]; then
    cat <<YAML
    build:
      context: $base
      dockerfile: client/Dockerfile
YAML
  else
    echo '    pull_policy: never'
  fi
}

# The bet is set in every mode, although only mode bet reads it: so CLI_MODE can change without a new file.
client() { # ID
  cat <<YAML

  client$1:
    container_name: client$1
    image: client:latest
$(image_of_client "$1")
    environment:
      - CLI_ID=$1
      - CLI_MODE=\${CLI_MODE:-draw}
      - CLI_LOG_SETTLE=\${CLI_LOG_SETTLE:-2s}
      - NOMBRE=Santiago Lionel
      - APELLIDO=Lorca
      - DOCUMENTO=30904465
      - NACIMIENTO=1999-03-17
      - NUMERO=7574
    volumes:
      - $base/client/config.yaml:/config.yaml:$options
      - $base/.data:/.data:$options
    read_only: true
$(limits 256m 32)
    cap_drop:
      - ALL
    security_opt:
      - no-new-privileges:true
    networks:
      - testing_net
    depends_on:
      - server
YAML
}

networks() {
  cat <<YAML

networks:
  testing_net:
    ipam:
      driver: default
      config:
        - subnet: 172.25.125.0/24
YAML
}

compose() {
  server
  id=1
  while [ "$id" -le "$clients" ]; do
    client "$id"
    id=$((id + 1))
  done
  networks
}

[ $# -eq 2 ] || usage "expected 2 arguments, got $#"
file=$1
clients=$2
case $clients in
  0 | [1-9] | [1-9][0-9] | [1-9][0-9][0-9]) ;;
  *) usage "N is '$clients': not a whole number from 0 to $max_clients, without leading zeros" ;;
esac
[ "$clients" -le "$max_clients" ] || usage "N is $clients: above $max_clients"
[ -n "$file" ] || usage 'FILE is empty'
[ ! -d "$file" ] || usage "FILE is a directory: $file"
folder=$(cd -- "$(dirname -- "$file")" 2>/dev/null && pwd -P) || usage "FILE is in no existing folder: $file"

# Compose resolves relative paths from the folder of the compose file. In the project's folder, relative paths keep the
# project movable; in any other folder, only absolute paths are right.
root=$(cd -- "$(dirname -- "$0")" && pwd -P)
base=.
if [ "$folder" != "$root" ]; then
  case $root in *[:#]*) fail 1 "the project's path has a ':' or '#': write FILE into the project's folder" ;; esac
  base=$(printf '%s\n' "$root" | sed 's/[$]/$$/g') # Compose reads $$ as $
fi

options=$(mount_options)
text=$(compose)
if [ -L "$file" ] || { [ -e "$file" ] && [ ! -f "$file" ]; }; then
  printf '%s\n' "$text" >"$file" # keep a link or a device as it is
else
  temporary=$(mktemp "$folder/.compose.XXXXXX")
  trap 'rm -f -- "$temporary"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '%s\n' "$text" >"$temporary"
  chmod '=rw' "$temporary" # as the umask allows; mktemp creates the file with 0600
  mv -f -- "$temporary" "$folder/$(basename -- "$file")"
fi
warn_about_missing_files
