# The project's commands. `make check` is quick and changes nothing; `make test` is the whole gate.

.PHONY: check test e2e newer demo bench rpm test-rpm test-repro test-selinux packages help
.DEFAULT_GOAL := help

CARGO ?= cargo
# One target directory for everything; tests and the demo find the binaries there.
export CARGO_TARGET_DIR ?= $(CURDIR)/target

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

check: ## formatting, lints, unit tests, documentation, file rules (no root, no network namespaces)
	@tools/need-cargo
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) test --workspace --lib --bins --quiet
	$(CARGO) test -p e2e --test tidy --quiet
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

test: packages check e2e newer ## everything; as root, installs what it needs from Debian's packages

e2e: ## the tests with a real HAProxy, in network namespaces; as root
	@tools/need-cargo
	$(CARGO) build --workspace --bins
	$(CARGO) test --workspace

newer: ## the configuration, the reloads and the changes again with newer HAProxys; as root
	@tools/need-cargo
	$(CARGO) build --workspace --bins
	dir=$$(tools/newer-haproxy) && export PATH="$$dir:$$PATH" TEST_HAPROXY="$$dir/haproxy" && \
	    $(CARGO) test -p baton --test golden && \
	    $(CARGO) test -p haproxy --test reload --test runtime --test labels_haproxy && \
	    $(CARGO) test -p e2e --test follow --test reload --test families --test 'labels_*' --test 'change_*' \
	    --test fault_socket --test fault_crash
	@dir=$$(tools/debian-haproxy 3.4) || { echo "skipped: the tests with HAProxy 3.4"; exit 0; }; \
	    export PATH="$$dir:$$PATH" TEST_HAPROXY="$$dir/haproxy" && \
	    $(CARGO) test -p baton --test golden && \
	    $(CARGO) test -p haproxy --test runtime --test labels_haproxy && \
	    $(CARGO) test -p e2e --test dynamic --test follow --test reload --test 'change_*'

demo: packages ## two load balancers before a simulated Marathon, a narrated minute; as root
	@tools/need-cargo
	@echo "building baton, the simulator and the demo (some minutes the first time)"
	@$(CARGO) build -p baton -p e2e --bin baton --bin demo
	@PATH="$$PATH:/usr/sbin:/sbin" $(CARGO_TARGET_DIR)/debug/demo

bench: packages ## figures, one a line; ONLY=prefix for some of them
	@tools/need-cargo
	@$(CARGO) build --release -p baton -p e2e --bins 1>&2
	@$(CARGO_TARGET_DIR)/release/bench $(ONLY)

rpm: ## signed RPMs, SRPMs and a yum repository in dist/, on Debian; as root
	@tools/need-cargo
	@tools/packages autoconf automake binutils createrepo-c dpkg-dev git gnupg libtool make perl pkgconf python3-venv rpm
	rpm/build.sh dist

test-rpm: rpm ## the RPMs on booted hosts with a real systemd; as root
	@tools/packages binutils cpio createrepo-c curl dnf gnupg iproute2 mmdebstrap openssh-client python3 rpm rpmlint secilc \
	    systemd-container wrk
	$(CARGO) build --workspace --bins
	rpm/test/lint.sh dist
	rpm/test/shipped.sh dist
	rpm/test/depsolve.sh dist
	@echo "rpm: booted hosts (4 to 6 minutes)"
	rpm/test/next.sh build/rpm/next-repository
	SUITE=bookworm rpm/test/pair.sh dist build/rpm/next-repository
	SUITE=bullseye CGROUP=v1 rpm/test/install.sh dist
	SUITE=trixie rpm/test/install.sh dist

test-repro: rpm ## builds the RPMs once more elsewhere and compares them bit for bit
	rpm/test/repro.sh dist

test-selinux: rpm ## the SELinux module in force, in an emulated machine; some minutes
	@tools/packages busybox-static cpio e2fsprogs kmod mmdebstrap policycoreutils qemu-system-x86 rpm seabios
	$(CARGO) build -p e2e --bin marathon-sim
	rpm/test/selinux.sh dist

packages: ## Debian packages that tests, demo and benchmarks use
	@tools/packages
