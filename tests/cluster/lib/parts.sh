# The cluster's parts: how each is started, and how one knows that it answers. Sourced after common.sh.

# In the order that they start in. A part is added here and in the functions below.
parts=(containerd etcd apiserver controller-manager scheduler proxy policy kubelet)

command_of() { # command_of PART: sets `command`
  local pki=$state/pki
  case $1 in
    containerd)
      command=(containerd --config "$state/config/containerd.toml" --root "$disk/containerd"
        --state "$state/containerd" --address "$containerd_socket")
      ;;
    etcd)
      # Its data end with the cluster, so nothing waits for the disk. Nobody but this machine's users reaches it.
      command=(etcd --name tests --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn
        --listen-client-urls http://127.0.0.1:22379 --advertise-client-urls http://127.0.0.1:22379
        --listen-peer-urls http://127.0.0.1:22380 --initial-advertise-peer-urls http://127.0.0.1:22380
        --initial-cluster tests=http://127.0.0.1:22380)
      ;;
    apiserver)
      command=(kube-apiserver --etcd-servers http://127.0.0.1:22379
        --bind-address "$node_address" --advertise-address "$node_address" --secure-port 6443
        --service-cluster-ip-range 198.19.0.0/16
        --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction
        --client-ca-file "$pki/ca.crt" --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key"
        --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP
        --kubelet-client-certificate "$pki/apiserver-to-kubelet.crt" --kubelet-client-key "$pki/apiserver-to-kubelet.key"
        --service-account-issuer https://kubernetes.default.svc
        --service-account-key-file "$pki/service-accounts.pub" --service-account-signing-key-file "$pki/service-accounts.key"
        # At most 96 MiB of it, which lie in memory.
        --audit-policy-file "$state/config/audit.yaml" --audit-log-path "$state/logs/audit.log"
        --audit-log-maxsize 32 --audit-log-maxbackup 2
        --allow-privileged --profiling=false)
      ;;
    controller-manager)
      command=(kube-controller-manager --kubeconfig "$pki/controller-manager.kubeconfig" --leader-elect=false
        --bind-address 127.0.0.1 --use-service-account-credentials --kube-api-qps 200 --kube-api-burst 400
        --root-ca-file "$pki/ca.crt" --service-account-private-key-file "$pki/service-accounts.key"
        --cluster-signing-cert-file "$pki/ca.crt" --cluster-signing-key-file "$pki/ca.key")
      ;;
    scheduler)
      command=(kube-scheduler --kubeconfig "$pki/scheduler.kubeconfig" --leader-elect=false --bind-address 127.0.0.1
        --kube-api-qps 200 --kube-api-burst 400)
      ;;
    proxy) command=(kube-proxy --config "$state/config/proxy.yaml" --hostname-override "$node") ;;
    kubelet)
      command=(kubelet --config "$state/config/kubelet.yaml" --kubeconfig "$pki/kubelet.kubeconfig"
        --root-dir "$disk/kubelet" --cert-dir "$pki" --hostname-override "$node" --node-ip "$node_address")
      ;;
    policy) command=(policy --kubeconfig "$pki/policy.kubeconfig" --pods 198.18.0.0/24 --interfaces 'veth*') ;;
    *) fail "there is no part $1; there are ${parts[*]}" ;;
  esac
  [ "$1" = containerd ] || command=("$state/cluster" "${command[@]}")
}

answers() { # answers PART
  case $1 in
    containerd) ctr version ;;
    apiserver) kubectl get --raw /readyz --request-timeout=5s ;;
    # It says that it is healthy before it has heard of its Pods, and until then no exec finds one.
    kubelet) kubectl get --raw "/api/v1/nodes/$node/proxy/pods" --request-timeout=5s | grep -q '"items":\[{' ;;
    # Before it closes all there are no rules, and all is open.
    policy) alive policy && nft list table inet cataloger_policy ;;
    *) alive "$1" ;;
  esac >/dev/null 2>&1
}

started_at() { # started_at PID: when that process started, in ticks since this boot; nothing if there is none
  local text
  text=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # A name may have spaces and brackets in it; the state comes after its last bracket, the start 19 fields later.
  read -r -a fields <<<"${text##*) }"
  [ "${fields[0]}" != Z ] || return 1
  printf '%s\n' "${fields[19]}"
}

alive() { # alive PART: whether the process that was started as this part is there. Sets `pid`
  local started boot
  read -r pid started boot 2>/dev/null <"$state/pids/$1" || return 1
  [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ] && [ "$(started_at "$pid")" = "$started" ]
}

start_part() { # start_part PART
  alive "$1" && return
  local command pid
  command_of "$1"
  mkdir -p "$state/pids" "$state/logs"
  # A session of its own, nothing of the caller's: neither its files, pipes and locks, nor its proxies and directory.
  (
    cd /
    exec </dev/null >>"$state/logs/$1" 2>&1
    for file in "/proc/$BASHPID/fd"/*; do
      [ "${file##*/}" -le 2 ] || eval "exec ${file##*/}>&-"
    done
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root setsid "${command[@]}"
  ) &
  pid=$!
  printf '%s %s %s\n' "$pid" "$(started_at "$pid")" "$(cat /proc/sys/kernel/random/boot_id)" >"$state/pids/$1"
  disown "$pid" 2>/dev/null || true
}

end_part() { # end_part PART SIGNAL SECONDS: ends it; with force when the time is over
  local pid
  if alive "$1"; then
    kill -s "$2" "$pid" 2>/dev/null || true
    if ! wait_for "$3" gone "$1"; then
      say "$1 did not end in $3 s, so it was killed"
      kill -s KILL "$pid" 2>/dev/null || true
      wait_for 10 gone "$1" || fail "$1 can't be ended"
    fi
  fi
  rm -f "$state/pids/$1"
}
gone() { ! alive "$1"; }
