#!/bin/sh
# Writes the list of all Rust files at the end of ARCHITECTURE.md: each by the first sentence of what
# it says of itself.
#
#   files.sh            brings the list up to date
#   files.sh --check    fails where it is not
set -eu
cd "$(dirname "$0")/.."

heading='## Every file'

list() {
    git ls-files --cached --others --exclude-standard '*.rs' | LC_ALL=C sort | while read -r file; do
        [ -e "$file" ] || continue
        awk -v file="$file" '
            !/^\/\/!/ || $0 == "//!" { exit }
            { sub(/^\/\/! ?/, ""); said = said (said ? " " : "") $0 }
            said ~ /\. |\.$|:$/ { exit }
            END {
                # A sentence, or what stands before a list.
                if (match(said, /\. /)) said = substr(said, 1, RSTART)
                sub(/:$/, ".", said)
                gsub(/\[`/, "`", said); gsub(/`\]/, "`", said)
                if (said) {
                    split(file, part, "/")
                    print part[1] "/" part[2] "\t" substr(file, length(part[1] part[2]) + 3) "\t" said
                }
            }' "$file"
    done | awk -F '\t' '
        $1 != crate { crate = $1; printf "\n### %s\n\n", crate }
        { printf "- `%s`: %s\n", $2, $3 }'
}

made=$(mktemp)
trap 'rm -f "$made"' EXIT
{
    sed "/^$heading\$/,\$d" ARCHITECTURE.md
    printf '%s\n\nMade by `infra/files.sh` of what the files say of themselves.\n' "$heading"
    list
} > "$made"
case ${1-} in
--check)
    diff ARCHITECTURE.md "$made" > /dev/null || {
        echo "ARCHITECTURE.md does not list the files as they are: run infra/files.sh" >&2
        exit 1
    }
    ;;
*) cp "$made" ARCHITECTURE.md ;;
esac
