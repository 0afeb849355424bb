.DEFAULT_GOAL := help
.PHONY: help build run certs certs-program test test-docker fuzz chaos sweep test-faults model stress mutants lint bench bench-full dataset picture ramas docker-image docker-compose-up docker-compose-down docker-compose-logs

# where cargo puts the programs
BIN := $(or $(CARGO_TARGET_DIR),target)/release
# the targets of `make fuzz`, and the seconds for each
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= decoder recovery agency_file config tls
SCRIPTS := generar-compose.sh validar-echo-server.sh $(wildcard scripts/*.sh)

# Dozens of test programs link much faster without the optimization of whole programs.
test stress mutants mutants-pure model test-faults sweep chaos: export CARGO_PROFILE_RELEASE_LTO = off
test stress mutants mutants-pure model test-faults sweep chaos: export CARGO_PROFILE_RELEASE_CODEGEN_UNITS = 16

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: ## Compiles server, client and dataset for this machine
	cargo build --release --locked

run: build $(if $(TLS),certs-program) ## Runs a server and five agencies as local processes; ends by itself with a table (TLS=1: over TLS)
	@TLS=$(TLS) scripts/run.sh

certs: ## Makes certificates for development in .data/certs (CERTS_ARGS='--help' for other folders, agencies, names)
	cargo run --release --locked -q -p certs -- $(CERTS_ARGS)

certs-program:
	cargo build --release --locked -p certs

test: ## Runs every test that needs no Docker
	cargo test --release --locked --workspace

test-docker: ## Runs the system in containers and checks it from outside (TEST_ARGS='ej7' for a part)
	cargo test --release --locked --features docker --test docker -- $(TEST_ARGS)

stress: ## 100,000 connections of every kind, 1,000 stops at random moments (CONNECTIONS=… STOPS=… SEED=…)
	cargo test --release --locked --features faults --test stress -- --test-threads=1

mutants: ## Removes one mechanism of the program at a time: a test must fail each time (MUTANTS='NAME…' for a part)
	@scripts/mutants.sh $(MUTANTS)

mutants-pure: ## Changes the pure modules in many small ways: their tests must notice each change (PART='0/4' for a quarter)
	@scripts/mutants-pure.sh $(PART)

model: ## Searches the model of storage and draw deeper than `make test` does; takes two minutes
	cargo test --release --locked --features faults --test model

test-faults: ## Tests full and broken disks, power cuts and lost networks; needs root (TEST_ARGS='network' for a part)
	cargo test --release --locked --features faults --test root -- --test-threads=2 $(TEST_ARGS)

sweep: ## Makes each system call of server and client fail once and checks the result (SWEEP_ARGS='--help' for parts)
	cargo test --release --locked --features faults --test sweep -- $(SWEEP_ARGS)

chaos: ## Kills processes and cuts power at random and counts every bet (RUNS=200 SEED=1; default: 50 and a new seed)
	cargo test --release --locked --features faults --test chaos -- --runs $(or $(RUNS),50) $(addprefix --seed ,$(SEED))

fuzz: ## Fuzzes every parser of untrusted bytes (FUZZ_SECONDS=60 each, FUZZ_TARGETS='decoder config' for a part)
	@scripts/fuzz.sh $(FUZZ_SECONDS) $(FUZZ_TARGETS)

lint: ## Checks format, clippy, documentation and shell scripts; warnings are errors
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --locked --manifest-path fuzz/Cargo.toml --no-default-features --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --workspace --no-deps
	@if command -v shellcheck >/dev/null; then echo shellcheck $(SCRIPTS); shellcheck $(SCRIPTS); \
	else echo 'shellcheck is not installed: the scripts were not checked'; fi

bench: ## Measures the speed next to floors, Redis and PostgreSQL in seven minutes (BENCH_ARGS='--help' for more)
	cargo bench --locked --bench lottery -- $(BENCH_ARGS)

bench-full: ## The same with more rounds and 100 million stored bets; takes half an hour (BENCH_ARGS='--save' writes docs)
	cargo bench --locked --bench lottery -- --full $(BENCH_ARGS)

dataset: build ## Writes the agencies' files again, or unpacks .data/dataset.zip if that file exists
	@mkdir -p .data
	@if [ ! -f .data/dataset.zip ]; then \
	  $(BIN)/dataset --agencies 5 --out .data --seed 7574 --rows 26936,25518,16014,9238,991; \
	else \
	  if command -v unzip >/dev/null; then unzip -o .data/dataset.zip -d .data; \
	  else python3 -m zipfile -e .data/dataset.zip .data; fi && \
	  echo 'These files replace the tracked ones, so git status shows them as changed: do not commit them.' && \
	  echo 'To go back to the bundled files: git checkout -- .data'; \
	fi

picture: build ## Plays a lottery and draws it as docs/run.svg, the picture in the README
	@scripts/picture-run.py

ramas: ## Makes the local branches ej1..ej8 from HEAD (FORCE=1 moves existing ones)
	@scripts/ramas.sh

docker-image: ## Builds the images server:latest and client:latest
	docker build -f server/Dockerfile -t server:latest .
	docker build -f client/Dockerfile -t client:latest .

docker-compose-up: docker-image ## Builds the images and starts the system in the background
	@mkdir -p .data
	docker compose up -d

docker-compose-down: ## Stops the system in order, then removes its containers and network
	docker compose stop -t 10
	docker compose down --remove-orphans

docker-compose-logs: ## Follows the logs of all containers
	docker compose logs -f
