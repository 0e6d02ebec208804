# How each package is built and signed. Sourced by build.sh and by the tests, with root, work and version set.

# rpmbuild as EL's: its macros where this machine lacks them.
package() {
    local name=$1
    shift
    local macros="$root/rpm/macros.baton"
    rpm --eval '%{?_unitdir}' | grep -q / || macros="$root/rpm/macros.el $macros"
    local load=()
    for file in $macros; do load+=("--load=$file"); done
    # Not both at once (-ba): a package would then name its source package by a digest, and that one holds the spec as
    # it was understood, with the paths of this directory.
    local stage
    for stage in ${RPM_STAGE:--bs -bb}; do
        PATH="$work/venv/bin:$PATH" rpmbuild "${load[@]}" --nodeps "$stage" --define "_topdir ${RPM_TOP:-$work}" --define "_builddir ${RPM_TOP:-$work}/BUILD/$name" \
            --define "baton_version $version" "$@" "$root/rpm/$name.spec"
    done
}

haproxy() {
    local defines=() name found
    while read -r name found; do defines+=(--define "${name}_version $found"); done <"$work/haproxy/versions"
    package baton-haproxy "${defines[@]}" --define "baton_cc $work/bin/zcc" --define "baton_ar $work/bin/zar" --define "baton_ranlib $work/bin/zranlib"
}

daemon() {
    local target=x86_64-unknown-linux-gnu
    package baton --define "baton_cargo cargo zigbuild --target $target.2.17" --define "baton_target_dir $work/target" \
        --define "baton_output $work/target/$target/release" "$@"
}

selinux() {
    package baton-selinux
}

key() {
    if [ -z "${RPM_KEY:-}" ]; then
        export GNUPGHOME=$work/gnupg RPM_KEY="baton build"
        if [ ! -d "$GNUPGHOME" ]; then
            mkdir -m 700 "$GNUPGHOME"
            # RSA: rpm 4.11 (EL7) knows no Ed25519.
            printf '%%no-protection\nKey-Type: RSA\nKey-Length: 3072\nName-Real: %s\nExpire-Date: 0\n%%commit\n' "$RPM_KEY" | gpg --batch --gen-key
        fi
    fi
}
