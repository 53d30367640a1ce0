#!/bin/sh
# Writes the list of all Rust files at the end of ARCHITECTURE.md: each by the first sentence of what
# it says of itself.
#
#   files.sh            brings the list up to date
#   files.sh --check    fails where it is not
set -eu
cd "$(dirname "$0")/.."

heading='## Every file'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

git ls-files --cached --others --exclude-standard '*.rs' > "$folder/all"
LC_ALL=C sort -o "$folder/all" "$folder/all"
while read -r file; do
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
            split(file, part, "/")
            print part[1] "/" part[2] "\t" substr(file, length(part[1] part[2]) + 3) "\t" said
        }' "$file"
done < "$folder/all" > "$folder/said"
if grep -P '\t$' "$folder/said" >&2; then
    echo "These files do not say what they are: begin them with //!" >&2
    exit 1
fi

made=$folder/made
{
    sed "/^$heading\$/,\$d" ARCHITECTURE.md
    printf '%s\n\nMade by `infra/files.sh` of what the files say of themselves.\n' "$heading"
    awk -F '\t' '
        $1 != crate { crate = $1; printf "\n### %s\n\n", crate }
        { printf "- `%s`: %s\n", $2, $3 }' "$folder/said"
} > "$made"
case ${1-} in
--check)
    diff ARCHITECTURE.md "$made" > /dev/null || {
        echo "ARCHITECTURE.md does not list the files as they are: run infra/files.sh" >&2
        exit 1
    }
    ;;
*) cat "$made" > ARCHITECTURE.md ;;
esac
