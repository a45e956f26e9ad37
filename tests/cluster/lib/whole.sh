# The cluster as a whole: whether it is well, how it comes up and how it goes. Sourced after all others.

well() { # whether all parts run and the node is ready
  local part
  for part in "${parts[@]}"; do alive "$part" || return 1; done
  answers containerd && node_ready && answers kubelet
}
node_ready() {
  [ "$(kubectl get node "$node" --request-timeout=5s \
    -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = True ]
}
servers_ready() {
  kubectl rollout status --namespace cataloger-tests --timeout "$1" deployment >/dev/null 2>&1 &&
    kubectl rollout status --namespace kube-system --timeout "$1" deployment >/dev/null 2>&1
}

# Makes what is missing and leaves what is there, so that it also puts right what is half down.
bring_up() { # bring_up KEY PROGRAMS
  local part file
  mkdir -p "$state" "$disk"
  chmod 700 "$state"
  printf '%s\n' "$disk" >"$state/disk"
  cp /proc/sys/kernel/random/boot_id "$state/boot"
  [ -e "$state/places" ] || remember_machine
  mkdir -p "$state"/{config,cni,pki}
  ln -sfn "$2/cluster" "$state/cluster"
  for file in "$here"/config/*; do
    sed -e "s|@DISK@|$disk|g; s|@PROGRAMS@|$2|g; s|@TOOLS@|$cache/tools|g" \
      -e "s|@POSTGRES@|$(dirname "$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1)")|g" \
      -e "s|@SNAPSHOTTER@|$(snapshotter)|g" "$file" >"$state/config/${file##*/}"
  done
  mv "$state/config/cni.conflist" "$state/cni/"
  make_network
  make_cgroups
  [ -e "$state/pki/kubeconfig" ] || "$state/cluster" pki --directory "$state/pki" --address "$node_address" \
    --service 198.19.0.1 --node "$node" --server "https://$node_address:6443"
  printf '%s\n' "$1" >"$state/key"

  for part in etcd containerd apiserver; do start_part "$part"; done
  wait_for 30 answers containerd || { trouble containerd; return 1; }
  # A cluster that went without being taken down has left its containers' records: they are none of this one.
  if [ ! -e "$state/fresh" ] && [ -n "$(ctr containers ls --quiet)" ]; then
    forget_containers
    end_part containerd TERM 10
    start_part containerd
    wait_for 30 answers containerd || { trouble containerd; return 1; }
  fi
  : >"$state/fresh"
  import_own_images "$2"
  wait_for 60 answers apiserver || { trouble apiserver; return 1; }
  # Before any Pod is: without its rules all are let through.
  start_part policy
  wait_for 30 answers policy || { trouble policy; return 1; }
  for part in "${parts[@]}"; do start_part "$part"; done
  kubectl apply --server-side --force-conflicts --validate=false -f "$state/config/system.yaml" \
    -f "$state/config/servers.yaml" >>"$state/logs/apply" 2>&1 || { trouble apply; return 1; }
  wait_for 60 well || { trouble kubelet; return 1; }
}

trouble() { # trouble PART: the end of what it said
  say "$1 does not come up; it said last:"
  tail -n 15 "$state/logs/$1" >&2 || true
}

take_down() {
  local part i
  # What would start things anew goes first. What they know needn't be kept.
  for ((i = ${#parts[@]} - 1; i >= 0; i--)); do
    [ "${parts[i]}" = containerd ] || end_part "${parts[i]}" KILL 10
  done
  alive containerd || { strays | kill_all; wait_for 10 no_strays || say "a part can't be ended"; }
  in_cgroups | kill_all
  wait_for 20 no_processes || say "a container's process does not end"
  # What containerd knows of containers stays in its root, which outlives the cluster: it forgets them itself.
  if [ -r "$state/config/containerd.toml" ] && start_part containerd && wait_for 8 answers containerd; then
    wait_for 3 no_tasks || true
    forget_containers
  fi
  end_part containerd TERM 10
  { strays; shims; } | kill_all
  wait_for 10 no_shims || say "a container's shim does not end"
  remove_mounts
  remove_network
  remove_links
  command -v conntrack >/dev/null && conntrack -D -s "$everything" >/dev/null 2>&1 || true
  wait_for 5 no_cgroups || say "a cgroup of the cluster can't be removed"
  restore_machine
  rm -rf --one-file-system "$disk/kubelet" "$disk/logs" "$state"
}
forget_containers() { forget tasks rm --force; forget containers rm; }
no_tasks() { [ -z "$(ctr tasks ls --quiet)" ]; }
no_cgroups() { remove_cgroups; [ -z "$(for tree in $(cgroup_trees); do ls -d "$tree/cataloger-cluster" 2>/dev/null; done)" ]; }
forget() { # forget tasks|containers COMMAND...
  local kind=$1 names
  mapfile -t names < <(ctr "$kind" ls --quiet)
  [ ${#names[@]} -eq 0 ] || ctr "$@" "${names[@]}" >/dev/null 2>&1 || true
}
