# What people type. CI runs `make test` and nothing else (.ci/run).

CARGO ?= cargo
ARGS ?=

.PHONY: bench-engines demo test chaos bench eval platforms screenshots search-eval setup

# Three sample brands on 127.0.0.1; prints one link. make demo ARGS="--listen 127.0.0.1:8080 --for 60s"
demo:
	@scripts/setup.sh build
	$(CARGO) run --locked -- demo $(ARGS)

# Everything that must hold, in the profile of the demo, so that both build once.
test:
	@scripts/setup.sh build test
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps
	scripts/test.sh $(CARGO) test --locked
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check bans licenses sources; \
	else echo "cargo-deny is not installed: licences and sources of dependencies were not checked"; fi

# Every fault at its full size, one after the other; docs/testing.md says how to read the lines. make chaos ARGS=faults::kill
chaos: ARGS = faults::
chaos:
	@scripts/setup.sh build test
	MOKSORI_CHAOS=full $(CARGO) test --locked --profile chaos --test it -- $(ARGS) --nocapture --test-threads=1

# The connector files against servers that others wrote, a whole Bluesky among them (550 MB, once).
platforms:
	@scripts/setup.sh build test platforms
	MOKSORI_ATPROTO=1 $(CARGO) test --locked --test it -- platforms:: --nocapture

# benches/README.md says what the figures mean. make bench ARGS="--mentions FILE --patterns FILE"
bench:
	@scripts/setup.sh build
	$(CARGO) bench --locked --bench journey -- $(ARGS)

# The embedded engines beside Kafka and PostgreSQL, which it starts: benches/README.md.
bench-engines:
	@scripts/setup.sh build test
	$(CARGO) bench --locked --bench engines -- $(ARGS)

# How right the classifier is on sources that it was not trained on, the baseline beside it: docs/classifier.md.
eval:
	@scripts/setup.sh build
	$(CARGO) run --locked --release -- eval --leave-out $(ARGS)
	scripts/baseline.py rules

# Recall and precision of the search over tests/search: the table of docs/search.md.
search-eval:
	@scripts/setup.sh build
	$(CARGO) build --locked
	python3 scripts/search-eval.py $${CARGO_TARGET_DIR:-target}/debug/moksori

# Every page in both languages, light and dark, wide and narrow, into docs/images/.
screenshots:
	@scripts/setup.sh build test
	SCREENSHOTS=docs/images $(CARGO) test --locked --test it screenshots

# Installs what `make test` needs, or says what is missing.
setup:
	@scripts/setup.sh build test
