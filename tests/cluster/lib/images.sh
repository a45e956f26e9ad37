# The two images that the cluster itself stands on, made without an engine. Sourced after common.sh.

# One image with two names: `pause` holds Pods, and cataloger-host runs what the machine itself has, whose /usr its
# Pods mount. Its own are a program that does nothing, links to /usr, and the users that servers run as.
import_own_images() { # import_own_images PROGRAMS
  local scratch layer config key
  key=$({ cat "${BASH_SOURCE[0]}"; sha256sum <"$1/pause"; } | hash)
  if [ "$(cat "$disk/own-images" 2>/dev/null)" = "$key" ] &&
    [ "$(ctr images ls --quiet name==localhost/pause:1 name==localhost/cataloger-host:1 | wc -l)" -eq 2 ]; then
    return
  fi
  scratch=$(mktemp -d)
  mkdir -p "$scratch/root"/{usr,etc,tmp,data,programs,proc,sys,dev}
  chmod 1777 "$scratch/root/tmp"
  for link in bin lib lib64 sbin; do ln -s "usr/$link" "$scratch/root/$link"; done
  cp "$1/pause" "$scratch/root/pause"
  printf '%s\n' root:x:0:0::/:/bin/sh postgres:x:70:70::/data:/bin/sh mysql:x:71:71::/data:/bin/sh \
    s3:x:72:72::/data:/bin/sh nobody:x:65534:65534::/:/bin/sh >"$scratch/root/etc/passwd"
  printf '%s\n' root:x:0: postgres:x:70: mysql:x:71: s3:x:72: nogroup:x:65534: >"$scratch/root/etc/group"
  tar -C "$scratch/root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$scratch/layer.tar" .
  layer=$(sha256sum "$scratch/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["/pause"],"WorkingDir":"/"},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(go env GOARCH)" "$layer" >"$scratch/config"
  config=$(sha256sum "$scratch/config" | cut -d' ' -f1).json
  mv "$scratch/config" "$scratch/$config"
  printf '[{"Config":"%s","RepoTags":["localhost/pause:1","localhost/cataloger-host:1"],"Layers":["layer.tar"]}]' \
    "$config" >"$scratch/manifest.json"
  tar -C "$scratch" -cf "$scratch/image.tar" manifest.json "$config" layer.tar
  ctr images import --snapshotter "$(snapshotter)" "$scratch/image.tar" >/dev/null
  printf '%s\n' "$key" >"$disk/own-images"
  rm -rf "$scratch"
}

# An overlay can't lie on an overlay.
snapshotter() {
  case $(stat --file-system --format %T "$disk") in
    overlayfs) echo native ;;
    *) echo overlayfs ;;
  esac
}
