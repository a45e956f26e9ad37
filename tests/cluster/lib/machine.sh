# What the cluster changes on the machine, and how that is undone. Sourced after common.sh.

# The settings that the cluster's parts change, some of them unasked: they get their old values back.
settings=(net.ipv4.ip_forward net.ipv4.conf.all.forwarding net.ipv4.conf.default.forwarding net.ipv4.conf.all.route_localnet
  vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes)
# What the parts leave in places that can't be chosen. Only what wasn't there before goes again.
places=(/run/containerd /run/containerd/s /var/lib/cni /var/lib/kubelet /var/log/containers /var/log/pods /opt/cni /etc/cni
  /usr/libexec/kubernetes /var/lib/containerd)

remember_machine() {
  local setting place file
  for setting in "${settings[@]}"; do
    file=/proc/sys/${setting//.//}
    [ ! -r "$file" ] || printf '%s %s\n' "$file" "$(cat "$file")"
  done >"$state/settings"
  for place in "${places[@]}"; do
    [ -e "$place" ] || printf '%s\n' "$place"
  done >"$state/places"
}

# Where the first version of cgroups is mounted there are many trees of them, else one.
cgroup_trees() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts | sort -u; }

make_network() {
  if ! [ -e "/sys/class/net/$bridge" ]; then
    # A bridge without ports: not every kernel has dummy devices.
    ip link add "$bridge" type bridge
    ip link set "$bridge" up
  fi
  ip address replace "$node_address/32" dev "$bridge"
  # What nobody answers stays on this machine.
  ip route replace "$everything" dev "$bridge" src "$node_address" metric 9999
  # The forwarded may not be taken for the machine's own rule: Docker, for one, drops what it doesn't know.
  if command -v iptables >/dev/null && iptables -S FORWARD 2>/dev/null | grep -qx -e '-P FORWARD DROP'; then
    iptables -C FORWARD -s "$everything" -d "$everything" -j ACCEPT 2>/dev/null ||
      iptables -I FORWARD -s "$everything" -d "$everything" -j ACCEPT
    touch "$state/iptables"
  fi
  nft list table inet cataloger-cluster >/dev/null 2>&1 || nft -f "$state/config/network.nft"
  echo 1 >/proc/sys/net/ipv4/ip_forward
  echo 'nameserver 198.19.0.10' >"$state/resolv.conf"
}

make_cgroups() {
  local tree controller
  for tree in $(cgroup_trees); do
    if [ -r "$tree/cgroup.controllers" ] && [ -n "$(cat "$tree/cgroup.controllers")" ]; then
      # Of the second version, a tree hands down only the controllers that it is told to.
      for controller in $(cat "$tree/cgroup.controllers"); do
        grep -qw "$controller" "$tree/cgroup.subtree_control" && continue
        echo "+$controller" >"$tree/cgroup.subtree_control" 2>/dev/null || continue
        printf '%s %s\n' "$tree" "$controller" >>"$state/controllers"
      done
    fi
    mkdir -p "$tree/cataloger-cluster"
  done
}

in_cgroups() { # the ids of all processes in the cluster's containers
  local tree
  for tree in $(cgroup_trees); do
    [ ! -d "$tree/cataloger-cluster" ] ||
      find "$tree/cataloger-cluster" -name cgroup.procs -exec cat {} + 2>/dev/null || true
  done | sort -un
}

shims() { # the ids of the processes that hold the cluster's containers
  local process
  # Each argument is a line to grep. containerd itself has been told of that socket, too.
  { grep -lsxzF -e "$containerd_socket" /proc/[0-9]*/cmdline || true; } | while read -r process; do
    process=${process%/cmdline}
    [ "$(cat "$process/comm" 2>/dev/null)" != containerd-shim ] || printf '%s\n' "${process##*/}"
  done
}

strays() { # the ids of parts, known or not: processes of the cluster's own program, and its containerd
  local process
  { grep -lsxzF -e "$state/cluster" -e "$containerd_socket" /proc/[0-9]*/cmdline || true; } | while read -r process; do
    process=${process%/cmdline}
    mapfile -d '' -t arguments 2>/dev/null <"$process/cmdline" || continue
    case ${arguments[0]:-}:${arguments[1]:-} in
      "$state/cluster:kubectl") ;;
      "$state/cluster":* | containerd:*) printf '%s\n' "${process##*/}" ;;
    esac
  done
}

# Whether there is anything of a cluster, be it without its records.
any() { [ -e "$state" ] || [ -e "/sys/class/net/$bridge" ] || [ -n "$(strays; shims)" ]; }

no_strays() { [ -z "$(strays)" ]; }
no_processes() { [ -z "$(in_cgroups)" ]; }
no_shims() { [ -z "$(shims)" ]; }
kill_all() { # kill_all: reads ids
  local pid
  while read -r pid; do kill -s KILL "$pid" 2>/dev/null || true; done
}

remove_network() {
  local table
  for table in 'inet cataloger-cluster' 'inet cataloger_policy' 'ip kube-proxy' 'ip6 kube-proxy'; do
    # shellcheck disable=SC2086 # two words
    nft delete table $table 2>/dev/null || true
  done
  [ ! -e "$state/iptables" ] || iptables -D FORWARD -s "$everything" -d "$everything" -j ACCEPT 2>/dev/null || true
  ip route flush table all root 198.18.0.0/15 2>/dev/null || true
  ip link delete "$bridge" 2>/dev/null || true
}

# Devices of Pods whose network namespace is still there for whatever reason.
remove_links() {
  local link
  ip -o -4 address show | awk '$4 == "198.18.0.1/32" { print $2 }' | while read -r link; do
    ip link delete "$link" 2>/dev/null || true
  done
}

remove_mounts() {
  local mount
  # The newest first, as one may lie on another.
  awk -v state="$state/" -v disk="$disk/" 'index($2, state) == 1 || index($2, disk) == 1 { print $2 }' /proc/mounts |
    tac | while read -r mount; do
    umount "$mount" 2>/dev/null || umount --lazy "$mount" 2>/dev/null || say "$mount is still mounted"
  done
}

remove_cgroups() {
  local tree controller
  for tree in $(cgroup_trees); do
    [ ! -d "$tree/cataloger-cluster" ] ||
      find "$tree/cataloger-cluster" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
  [ ! -r "$state/controllers" ] || while read -r tree controller; do
    echo "-$controller" >"$tree/cgroup.subtree_control" 2>/dev/null || true
  done <"$state/controllers"
}

restore_machine() {
  local file value place
  [ ! -r "$state/settings" ] || while read -r file value; do
    [ "$(cat "$file")" = "$value" ] || printf '%s\n' "$value" >"$file" 2>/dev/null || true
  done <"$state/settings"
  [ ! -r "$state/places" ] || while read -r place; do
    # Sockets, links and records of these parts only; what others have put there in the meantime stays.
    case $place in
      /var/lib/kubelet | /var/lib/cni | /var/log/containers | /var/log/pods) rm -rf "$place" ;;
      *) [ ! -d "$place" ] || find "$place" -depth -type d -empty -delete 2>/dev/null || true ;;
    esac
  done < <(tac "$state/places")
}
