# shellcheck shell=bash
# What the scripts that build an image have in common; to be sourced, by sandbox-image/build and operator/image.
#
# They know what an image is made of, and this file what it is made with: Docker where an engine answers, else
# buildah. It wants `program` (who speaks, in messages) and `name` (the image's, without a tag), and gives:
#
#   begin WORKPLACE ARGUMENT...   reads the arguments, picks the engine and locks the workplace
#   tools PROGRAM...              without Docker: installs those that are missing; settles on a storage driver
#   have IMAGE, drop IMAGE        whether there is such an image; removes it
#   certificates                  lets the build trust what this machine does, by the secret `ca`
#   finish                        tags the image, and says its name if asked to
#   old DIRECTORY                 names of files in it that can go
#
# and the variables cache, engine, scratch (a directory that goes at the end), secrets and labels (the engine's
# arguments) and began. `key` is for the script to set: a hash of all that the image is made of.
# Environment: CATALOGER_CACHE, STORAGE_DRIVER, PIP_CERT or SSL_CERT_FILE (certificates; not kept).

say() { printf '%s\n' "$program: $*" >&2; }
fail() { say "$*"; exit 1; }
hash() { sha256sum | cut -c1-16; }

began=$SECONDS
wanted='' tag=dev
key='' working='' secrets=()
# There is one version, of the crate, the chart and both images.
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$(dirname "${BASH_SOURCE[0]}")/../Cargo.toml" | head -n 1)
labels=(--label "org.opencontainers.image.version=$version" --label org.opencontainers.image.licenses=Apache-2.0)

begin() { # begin WORKPLACE ARGUMENT...
  local workplace=$1 argument
  shift
  for argument; do
    case $argument in
      --image) wanted=yes ;;
      -*) fail "unknown option: $argument" ;;
      *) tag=$argument ;;
    esac
  done

  cache=${CATALOGER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cataloger}/$workplace
  mkdir -p "$cache/built/package"
  exec 9>"$cache/lock"
  flock 9

  scratch=$(mktemp -d)
  trap cleanup EXIT

  engine=buildah
  if command -v docker >/dev/null && timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; then
    engine=docker
  fi
}

cleanup() {
  [ -z "$working" ] || buildah rm "$working" >/dev/null 2>&1 || true
  rm -rf "$scratch"
}

tools() { # tools PROGRAM...
  [ "$engine" = buildah ] || return 0
  [ "$(id -u)" -eq 0 ] || fail "no Docker engine answers, and without one this needs root"
  local missing=() wants
  for wants; do
    command -v "$wants" >/dev/null || missing+=("$wants")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || fail "no Docker engine answers, and ${missing[*]} can't be installed without apt-get"
    say "installing ${missing[*]} with apt-get"
    { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } </dev/null >/dev/null
  fi

  export BUILDAH_ISOLATION=chroot
  if [ -z "${STORAGE_DRIVER:-}" ]; then
    export STORAGE_DRIVER=overlay
    buildah info >/dev/null 2>&1 || STORAGE_DRIVER=vfs
  fi
}

have() { # have IMAGE
  case $engine in
    docker) docker image inspect "$1" >/dev/null 2>&1 ;;
    *) buildah inspect --type image "$1" >/dev/null 2>&1 ;;
  esac
}

drop() { # drop IMAGE
  "$engine" rmi "$1" >/dev/null 2>&1 || true
}

certificates() {
  local bundle=${PIP_CERT:-${SSL_CERT_FILE:-}}
  [ ! -s "$bundle" ] || secrets+=(--secret "id=ca,src=$bundle")
}

size() { # size IMAGE: as one reads it
  case $engine in
    docker) docker image inspect --format '{{.Size}}' "$1" | awk '{ printf "%.1f MB", $1 / 1e6 }' ;;
    *) buildah images --format '{{.Size}}' "$1" | head -n 1 ;;
  esac
}

finish() {
  local image=$name:$key gone
  "$engine" tag "$image" "$name:$tag"
  say "$name:$tag is ready after $((SECONDS - began)) s: $(size "$image"), by $engine${STORAGE_DRIVER:+ with storage driver $STORAGE_DRIVER}"

  touch "$cache/built/package/$key"
  for gone in $(old "$cache/built/package"); do
    drop "$name:$gone"
    rm -f "$cache/built/package/$gone"
  done

  [ -z "$wanted" ] || printf '%s\n' "$image"
}

# The newest five stay, and all that was used in the last two hours.
old() { # old DIRECTORY
  find "$1" -maxdepth 1 -type f -printf '%T@ %f\n' | sort -rn | tail -n +6 |
    awk -v limit="$(($(date +%s) - 7200))" '$1 < limit { print $2 }'
}
