# Installs, upgrades, removes and purges the gateway's package in a root laid over this machine's.
# Arguments: a scratch folder, the old package, the new package. Runs in a mount namespace of its own.
mount -t tmpfs tmpfs "$1/manual"
mkdir "$1/manual/upper" "$1/manual/work" "$1/manual/root"
root="$1/manual/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/manual/upper,workdir=$1/manual/work" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc" || mount --rbind /proc "$root/proc"
mkdir -p "$root/run"
mount -t tmpfs tmpfs "$root/run" # no systemd listens in there
cp "$2" "$root/old.deb"
cp "$3" "$root/new.deb"
in_root() { chroot "$root" env DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
fail() { echo "FAILED: $*"; exit 1; }

rm -f "$root/var/lib/man-db/auto-update" # reading all manual pages anew takes a minute
in_root dpkg --purge fogline-gateway >/dev/null 2>&1 || true # of an earlier installation here
in_root dpkg --install /old.deb
in_root id fogline | grep -q dialout || fail "the user has no serial ports"
[ "$(in_root stat -c '%U:%G %a' /var/lib/fogline)" = "fogline:fogline 750" ] || fail "state directory"
[ "$(in_root stat -c '%U:%G %a' /etc/fogline)" = "root:fogline 750" ] || fail "configuration directory"
[ -x "$root/usr/bin/fogline-gateway" ] || fail "no program"
[ -L "$root/etc/systemd/system/multi-user.target.wants/fogline-gateway.service" ] || fail "it does not start with the machine"
echo installed

echo 'schema = 1' > "$root/etc/fogline/gateway.toml"
echo 'key = "secret"' > "$root/etc/fogline/identity.toml"
chmod 644 "$root/etc/fogline/identity.toml"
mkdir "$root/var/lib/fogline/spool"
echo readings > "$root/var/lib/fogline/spool/db"
in_root dpkg --install /new.deb
in_root dpkg --status fogline-gateway | grep -q '^Version: 1.0-2$' || fail "not upgraded"
[ "$(cat "$root/var/lib/fogline/spool/db")" = readings ] || fail "the spool is gone"
[ "$(cat "$root/etc/fogline/gateway.toml")" = 'schema = 1' ] || fail "the configuration is gone"
[ "$(in_root stat -c '%U %a' /etc/fogline/identity.toml)" = "fogline 600" ] || fail "others can read the key"
echo upgraded

in_root dpkg --remove fogline-gateway
[ ! -e "$root/usr/bin/fogline-gateway" ] || fail "the program is still there"
[ "$(cat "$root/var/lib/fogline/spool/db")" = readings ] || fail "removal took the spool"
[ -e "$root/etc/fogline/identity.toml" ] || fail "removal took the identity"
in_root dpkg --install /new.deb
[ -L "$root/etc/systemd/system/multi-user.target.wants/fogline-gateway.service" ] || fail "it does not start again"
echo "removed and back"

in_root dpkg --purge fogline-gateway
for left in /usr/bin/fogline-gateway /var/lib/fogline /etc/fogline \
    /etc/systemd/system/fogline-gateway.service \
    /etc/systemd/system/multi-user.target.wants/fogline-gateway.service; do
    [ ! -e "$root$left" ] && [ ! -L "$root$left" ] || fail "purging left $left"
done
echo "purged: nothing is left"
