#!/usr/bin/env bash
# Other vendors' SDKs against a running server. The SDKs get a venv of their own; pytest runs in the
# project's (PYTHON). SOVITS_COMPAT_PACK names a model pack to speak with instead of tones; with the
# extra `judges` a recogniser then reads its words. SOVITS_WSTEST names an Autobahn `wstest`.
set -euo pipefail
cd "$(dirname "$0")/.."

python="${PYTHON:-python}"
if [ -z "${SOVITS_COMPAT_PYTHON:-}" ]; then
    venv="$(mktemp -d)/sdks"
    "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/compat/requirements.txt
    export SOVITS_COMPAT_PYTHON="$venv/bin/python"
fi
exec "$python" -m pytest -q -m compat tests/compat "$@"
