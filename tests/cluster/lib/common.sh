# What all scripts of the tests' cluster share: its places and addresses, how it speaks, and who may change it.
# Sourced with `set -euo pipefail` in force.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
state=/run/cataloger-cluster # one cluster for the machine, whoever started it
node=cataloger
node_address=198.18.255.1
everything=198.18.0.0/15 # node, Pods and services: the range for tests of networks
bridge=cataloger0
kubeconfig=$state/pki/kubeconfig
containerd_socket=$state/containerd/containerd.sock

cache=${CATALOGER_CACHE:-/var/cache/cataloger}
# What is large or outlives the cluster: containerd's images, the programs. A running cluster knows its own.
disk=$cache/cluster
[ ! -r "$state/disk" ] || disk=$(cat "$state/disk")

say() { printf '%s\n' "cluster: $*" >&2; }
fail() { say "$*"; exit 1; }

given() { # whether the tests use a cluster that is not ours
  [ -n "${CATALOGER_TEST_KUBECONFIG:-}" ]
}

need_root() {
  [ "$(uname -s)" = Linux ] || fail "the tests' cluster runs on Linux only; elsewhere name one in CATALOGER_TEST_KUBECONFIG"
  [ "$(id -u)" -eq 0 ] || fail "the tests' cluster needs root; without it, name another one in CATALOGER_TEST_KUBECONFIG"
  mkdir -p /run/lock
  : >>"$users"
}

# At most one script at a time changes the cluster. The file stays: to delete a lock is to have two.
lock() {
  exec 9>/run/lock/cataloger-cluster.lock
  flock --nonblock 9 || { say "waiting for another script that changes the cluster"; flock 9; }
}

# Whoever uses the cluster holds this file shared; to replace the cluster or to take it down needs all of it. It is
# taken before the other lock: who waits for users may not keep others from changing the cluster for them.
users=/run/lock/cataloger-cluster.users
alone() { # alone SECONDS: waits so long until nobody uses it
  [ -z "${CATALOGER_CLUSTER_ALONE:-}" ] || return 0 # the caller has seen to it
  exec 8>>"$users"
  flock --nonblock 8 && return
  [ "$1" -gt 0 ] || return 1
  say "the cluster that is up is in use; waiting for up to $(($1 / 60)) minutes"
  flock --timeout "$1" 8
}

kubectl() {
  env NO_PROXY="$everything" KUBECONFIG="$kubeconfig" KUBECACHEDIR="$state/kubectl" KUBERC=off \
    "$state/cluster" kubectl "$@"
}
ctr() { command ctr --address "$containerd_socket" --namespace k8s.io "$@"; }

hash() { sha256sum | cut -c1-16; }
now() { date +%s%3N; }
seconds() { awk -v began="$1" -v ended="$(now)" 'BEGIN { printf "%.1f s", (ended - began) / 1000 }'; }

wait_for() { # wait_for SECONDS COMMAND...: until the command succeeds
  local limit=$(($(now) + $1 * 1000))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$(now)" -lt "$limit" ] || return 1
    sleep 0.1
  done
}
