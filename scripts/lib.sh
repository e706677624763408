# shellcheck shell=bash
# What the scripts here share.

VENV=.venv # in the repository's root, from where scripts/test and scripts/demo work

note() { printf '%s\n' "$*" >&2; }
die() {
  printf '%s: %s\n' "scripts/$(basename "$0")" "$1" >&2
  shift
  (($# == 0)) || printf '  %s\n' "$@" >&2
  exit 1
}

# Runs a command for at most so many seconds, where the machine can count them (macOS has no timeout).
within() { # SECONDS COMMAND...
  if command -v timeout >/dev/null; then timeout "$@"; else "${@:2}"; fi
}

# Version of the Docker engine that answers, or failure.
engine_version() {
  local version
  version=$(within 20 docker version --format '{{.Server.Version}}' 2>/dev/null) && [[ -n $version ]] && echo "$version"
}

# This Python project wants at least 3.11; PYTHON chooses among several.
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python python3.14 python3.13 python3.12 python3.11}; do
    # Version managers leave commands behind that exist but do not run, so each is tried.
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  if [[ -n ${PYTHON:-} ]]; then die "PYTHON=$PYTHON is not a Python 3.11 or newer" "name one that is, or unset PYTHON"; fi
  die "no Python 3.11 or newer found" "install one, or name one: PYTHON=/path/to/python3 $0"
}

# Whether there is a .venv, of the Python that was asked for if one was.
venv_works() {
  local version='import sys; print(sys.version)' ours wanted
  ours=$("$VENV/bin/python" -c "$version" 2>/dev/null) || return
  wanted=${PYTHON:+$("$PYTHON" -c "$version" 2>/dev/null || true)}
  [[ $ours == "${wanted:-$ours}" ]]
}

# Makes .venv with the project in it, editable, or ends the script. Nothing is done where this was done before with the
# same pyproject.toml in the same place (a virtual environment cannot be moved).
install_project() { # EXTRA, or nothing
  local python said stamp want have=''
  stamp=$VENV/installed
  want="$PWD $(sha256 pyproject.toml)"
  if venv_works; then have=$(cat "$stamp" 2>/dev/null || true); fi
  [[ $have == "$PWD "* ]] || have=''
  # What has an extra has the project, too.
  if [[ $have == "$want $1" || (-z $1 && $have == "$want "*) ]]; then return; fi

  if [[ -z $have ]]; then
    python=$(find_python) || exit
    "$python" -c 'import ensurepip' 2>/dev/null ||
      die "$python cannot make virtual environments" "install its venv module (on Debian: apt install python3-venv)"
    "$python" -m venv --clear "$VENV" || die "$python could not make $PWD/$VENV"
  fi
  # Compiling every module takes a third of the time; Python compiles what is imported, when it is.
  said=$("$VENV/bin/python" -m pip install --no-compile --disable-pip-version-check \
    --editable ".${1:+[$1]}" 2>&1 </dev/null) || {
    note "$said"
    die "the project could not be installed into $PWD/$VENV, pip says why above" \
      "a package index must be in reach, or be named by PIP_INDEX_URL"
  }
  echo "$want $1" >"$stamp"
}

sha256() { { sha256sum "$1" || shasum -a 256 "$1"; } 2>/dev/null | cut -d ' ' -f 1; }
