# How to do anything here. `make` alone lists the targets.
#
# demo, test and the other targets install the Debian packages they need, as root or by sudo where that asks no
# password; else they name them and stop. On a machine that has everything, or is not Debian: make DEPS=true TARGET.

DEPS  ?= packaging/deps
CARGO  = packaging/rust cargo

.PHONY: help demo test test-all check fuzz static host bench bench-boot deb rpm install uninstall install-host uninstall-host deps
.NOTPARALLEL:

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F '|' '{ printf "%-21s %s\n", $$1, $$2 }'

demo: ## three guests of a package, started in order, changed while they run, and stopped; and a drawing of it
	@$(DEPS) build static vm
	@packaging/static/build
	@$(CARGO) build -p ovf-host
	@qemu-tests/guest-kernel
	@examples/petstore/demo

test: ## run every test, without a VM and then in guests; the last line is the total
	@$(DEPS) build static vm libvirt debian image package package-readers
	@packaging/static/build --inside
	@packaging/cargo-tool deb --fetch
	@packaging/cargo-tool generate-rpm --fetch
	@qemu-tests/guest-kernel
	@qemu-tests/guest-programs
	@qemu-tests/guest-debian
	@packaging/deb/build
	@host/tests/kubevirt/fetch
	@qemu-tests/guest-appliance
	@qemu-tests/host-vsock
	@tests/run

test-all: export OVF_TEST_LONG = 1
test-all: ## the same with the long runs, and the agent for aarch64
	@$(DEPS) build static vm debian aarch64
	@ARCH=aarch64 packaging/static/build --inside
	@packaging/static/build -p ovf-host
	@packaging/qemu-user --fetch aarch64
	@ARCH=aarch64 qemu-tests/guest-kernel
	@qemu-tests/guest-kernel
	@qemu-tests/guest-debian
	@qemu-tests/guest-initramfs
	@qemu-tests/guest-openrc
	@$(MAKE) test

check: ## formatting, lints, licences, duplicate dependencies, shell scripts, house rules
	@$(DEPS) build check
	@tests/check

fuzz: export TIME ?= 20
fuzz: ## run each fuzz target for TIME seconds (20)
	@$(DEPS) build fuzz
	@packaging/cargo-tool fuzz --fetch
	@tests/fuzz/smoke

static: ## build the static binary into target/static (ARCH=aarch64: into target/static/aarch64); print path and size
	@$(DEPS) build static
	@packaging/static/build

host: ## build ovf-host, the platform's half, into target/static; print path and size
	@$(DEPS) build static
	@packaging/static/build -p ovf-host

bench: ## measure the static binary and guests that live with it, beside peers; fail where a budget is missed (25 min; QUICK=1: 6)
	@$(DEPS) build static vm debian bench
	@packaging/static/build -p ovf-agent -p bench-parse -p bench-guests -p ovf-host
	@qemu-tests/guest-kernel
	@qemu-tests/guest-programs
	@qemu-tests/guest-debian
	@bench/run

bench-boot: ## boot Debian with cloud-init, with the agent and with neither, and compare them (15 min; QUICK=1: 5)
	@$(DEPS) build static vm debian package
	@packaging/cargo-tool deb --fetch
	@packaging/static/build
	@qemu-tests/guest-kernel
	@bench/boot

deb: ## build target/package/*.deb from the static binaries, for guests and for platforms
	@$(DEPS) build static package
	@packaging/cargo-tool deb --fetch
	@packaging/static/build
	@packaging/deb/build
	@packaging/static/build -p ovf-host
	@packaging/deb/build ovf-host

rpm: ## build target/package/*.rpm from the static binaries, for guests and for platforms
	@$(DEPS) build static package
	@packaging/cargo-tool generate-rpm --fetch
	@packaging/static/build
	@packaging/rpm/build
	@packaging/static/build -p ovf-host
	@packaging/rpm/build ovf-host

install: ## install the agent with manual pages, completions and units below DESTDIR, with PREFIX (/usr)
	@$(DEPS) build static
	@packaging/static/build
	@packaging/tree ovf-agent "$(or $(PREFIX),/usr)"
	@packaging/install ovf-agent "$(DESTDIR)"

uninstall: ## remove what install put there, with the same DESTDIR and PREFIX
	@$(DEPS) build static
	@packaging/static/build
	@packaging/tree ovf-agent "$(or $(PREFIX),/usr)"
	@packaging/install --remove ovf-agent "$(DESTDIR)"

install-host: ## install ovf-host with manual pages and completions below DESTDIR, with PREFIX (/usr)
	@$(DEPS) build static
	@packaging/static/build -p ovf-host
	@packaging/tree ovf-host "$(or $(PREFIX),/usr)"
	@packaging/install ovf-host "$(DESTDIR)"

uninstall-host: ## remove what install-host put there, with the same DESTDIR and PREFIX
	@$(DEPS) build static
	@packaging/static/build -p ovf-host
	@packaging/tree ovf-host "$(or $(PREFIX),/usr)"
	@packaging/install --remove ovf-host "$(DESTDIR)"

deps: ## install what all of the above need, and no more
	@$(DEPS) build static vm libvirt debian image aarch64 check bench fuzz iso-readers package package-readers
