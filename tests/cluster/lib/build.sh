# Builds the cluster's one binary and `pause`, and installs what Debian has. Sourced after common.sh.

kubernetes=v1.35.4

install_packages() {
  local missing=() package
  need() { # need PACKAGE PATH-OR-PROGRAM
    [ -e "$2" ] || command -v "$2" >/dev/null || missing+=("$1")
  }
  need containerd containerd
  need runc runc
  need containernetworking-plugins /usr/lib/cni/ptp
  need nftables nft
  need iproute2 ip
  need conntrack conntrack
  need util-linux flock
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "${missing[*]} can't be installed without apt-get; install them by hand and try again"
  say "installing ${missing[*]} with apt-get"
  local log
  log=$(mktemp)
  # The service of Debian's containerd is not wanted: the cluster has one of its own.
  if ! { apt-get update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    rm -f "$log"
    fail "apt-get could not install ${missing[*]}"
  fi
  rm -f "$log"
}

need_go() {
  local has
  has=$(go env GOVERSION 2>/dev/null) || fail "the tests' cluster is built with Go 1.25 or later; install it and try again"
  printf '%s\n' 1.25 "${has#go}" | sort --version-sort --check=quiet ||
    fail "the tests' cluster is built with Go 1.25 or later, and this is ${has#go}"
}

# Names what the binary is made of.
binary_key() {
  { cd "$here"
    go env GOVERSION GOARCH
    find . \( -name '*.go' -o -name go.mod -o -name go.sum -o -path ./lib/build.sh \) ! -name '*_test.go' -print0 |
      LC_ALL=C sort -z | xargs -0 sha256sum
  } | hash
}

build() { # build KEY: prints the directory of the programs
  local programs=$cache/cluster/programs/$1 began version=k8s.io/component-base/version
  mkdir -p "$cache/cluster/programs"
  exec 7>"$cache/cluster/build.lock"
  flock 7
  if ! [ -x "$programs/cluster" ]; then
    say "building Kubernetes $kubernetes (about 5 minutes the first time; 20 s when only the project's part changed)"
    began=$(now)
    rm -rf "$programs.new"
    mkdir -p "$programs.new"
    (cd "$here" && export CGO_ENABLED=0 GOFLAGS='-mod=readonly -trimpath -buildvcs=false' &&
      go build -ldflags '-s -w' -o "$programs.new/pause" ./pause &&
      go build -ldflags "-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=35 \
        -X k8s.io/client-go/pkg/version.gitVersion=$kubernetes" -o "$programs.new/cluster" .) >&2 ||
      fail "the build of Kubernetes failed"
    rm -rf "$programs"
    mv "$programs.new" "$programs"
    say "built it in $(seconds "$began")"
  fi
  touch "$programs"
  # The newest three stay.
  find "$cache/cluster/programs" -mindepth 1 -maxdepth 1 -printf '%T@ %p\n' | sort -rn | tail -n +4 | cut -d' ' -f2- |
    while read -r old; do [ "$(readlink -f "$state/cluster")" = "$old/cluster" ] || rm -rf "$old"; done
  exec 7>&-
  printf '%s\n' "$programs"
}
