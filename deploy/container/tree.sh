#!/bin/sh
# tree.sh BINARY DIRECTORY: everything that the image holds, and nothing else: the binary, the libraries that it is linked
# with, the certification authorities that AWS's endpoints are verified with, a user, and places to mount at. There is no
# shell, no package manager, no set-uid file.
set -eu
binary=$1 tree=$2
mkdir -p "$tree/usr/bin" "$tree/etc/ssl/certs" "$tree/etc/xks-preflight" "$tree/var/lib/xks-preflight" "$tree/proc" "$tree/dev"
install -m 0555 "$binary" "$tree/usr/bin/xks-preflight"
# Libraries stand where the loader looks for them; the first column without "=>" is the loader itself.
ldd "$binary" | awk '$2 == "=>" { print $3 } $1 ~ "^/" { print $1 }' | while read -r library; do
  install -D -m 0555 "$library" "$tree$library"
done
install -m 0444 /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/ca-certificates.crt"
echo 'xks-preflight:x:65532:65532::/var/lib/xks-preflight:/nonexistent' > "$tree/etc/passwd"
echo 'xks-preflight:x:65532:' > "$tree/etc/group"
echo 'hosts: files dns' > "$tree/etc/nsswitch.conf"
chmod 0700 "$tree/var/lib/xks-preflight"
